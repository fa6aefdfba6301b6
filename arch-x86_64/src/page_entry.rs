//! One page table entry: the encoding, as in Intel SDM volume 3, section 5.5.

use crate::features::{Features, features};
use tessera_hal::port::tables::{KernelEntry, Level};
use tessera_hal::{Access, Frame, PageTableEntry, PhysicalAddress};

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// In an entry that does not count, whose other bits the hardware ignores: there is a frame.
const WITHDRAWN: u64 = 1 << 9;

bitflags::bitflags! {
    /// The bits of an entry besides its frame.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Flags: u64 {
        /// The entry counts.
        const PRESENT = 1 << 0;
        /// Stores are allowed.
        const WRITE = 1 << 1;
        /// User mode is allowed.
        const USER = 1 << 2;
        /// Neither cached nor combined.
        const NO_CACHE = 1 << 3 | 1 << 4;
        /// A page at a level above the lowest.
        const LARGE = 1 << 7;
        /// Survives a root load.
        const GLOBAL = 1 << 8;
        /// Fetches are not allowed.
        const NO_EXECUTE = 1 << 63;
    }
}

/// One entry of a table of any level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Entry(u64);

/// What a range of the kernel's tables is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The kernel's code.
    Code,
    /// What is only read: the kernel's constants, firmware tables.
    Constants,
    /// The kernel's variables, stacks and the direct map.
    Data,
    /// Device registers.
    Registers,
    /// Where a starting CPU begins, in the lower half of a root of its own.
    Trampoline,
}

impl Kind {
    const fn flags(self) -> Flags {
        let global = Flags::PRESENT.union(Flags::GLOBAL);
        match self {
            Self::Code => global,
            Self::Constants => global.union(Flags::NO_EXECUTE),
            Self::Data => global.union(Flags::WRITE).union(Flags::NO_EXECUTE),
            Self::Registers => global.union(Flags::WRITE).union(Flags::NO_CACHE).union(Flags::NO_EXECUTE),
            Self::Trampoline => Flags::PRESENT,
        }
    }
}

impl KernelEntry for Entry {
    type Kind = Kind;

    fn kernel_page(frame: Frame, kind: Kind, level: Level) -> Self {
        let large = if level == Level::Page { Flags::empty() } else { Flags::LARGE };
        Self::encode(frame, kind.flags() | large, features())
    }

    fn kernel_table(frame: Frame) -> Self {
        Self::encode(frame, Flags::PRESENT | Flags::WRITE, features())
    }
}

impl Entry {
    /// Bits that the CPU does not have are reserved and must stay clear.
    fn encode(frame: Frame, flags: Flags, features: Features) -> Self {
        let mut flags = flags;
        if !features.contains(Features::NO_EXECUTE) {
            flags.remove(Flags::NO_EXECUTE);
        }
        if !features.contains(Features::GLOBAL_PAGES) {
            flags.remove(Flags::GLOBAL);
        }
        Self(frame.start().0 & ADDRESS | flags.bits())
    }

    fn flags(self) -> Flags {
        Flags::from_bits_truncate(self.0)
    }
}

/// What user mode may do becomes entry bits. Execution wins over writing: never both.
fn user_flags(access: Access) -> Flags {
    let mut flags = Flags::PRESENT | Flags::USER;
    if access.contains(Access::EXECUTE) {
        return flags;
    }
    flags |= Flags::NO_EXECUTE;
    if access.contains(Access::WRITE) {
        flags |= Flags::WRITE;
    }
    flags
}

impl PageTableEntry for Entry {
    fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    fn to_raw(self) -> u64 {
        self.0
    }

    fn empty() -> Self {
        Self(0)
    }

    fn table(frame: Frame) -> Self {
        Self::encode(frame, Flags::PRESENT | Flags::WRITE | Flags::USER, features())
    }

    fn user_page(frame: Frame, access: Access) -> Self {
        Self::encode(frame, user_flags(access), features())
    }

    fn withdrawn(frame: Frame) -> Self {
        Self(frame.start().0 & ADDRESS | WITHDRAWN)
    }

    fn is_present(self) -> bool {
        self.flags().contains(Flags::PRESENT)
    }

    fn frame(self) -> Frame {
        Frame::containing(PhysicalAddress(self.0 & ADDRESS))
    }

    fn access(self) -> Access {
        let flags = self.flags();
        if !flags.contains(Flags::PRESENT | Flags::USER) {
            return Access::empty();
        }
        let mut access = Access::READ;
        access.set(Access::WRITE, flags.contains(Flags::WRITE));
        access.set(Access::EXECUTE, !flags.contains(Flags::NO_EXECUTE));
        access
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame::from_number(0x12345);
    const ALL: Features = Features::all();

    fn user(access: Access) -> Entry {
        Entry::encode(FRAME, user_flags(access), ALL)
    }

    #[test]
    fn a_user_page_allows_what_was_asked_and_is_found_again() {
        for access in [Access::READ, Access::READ | Access::WRITE, Access::READ | Access::EXECUTE] {
            let entry = Entry::from_raw(user(access).to_raw());
            assert!(entry.is_present());
            assert_eq!((entry.frame(), entry.access()), (FRAME, access));
        }
    }

    #[test]
    fn no_user_page_is_writable_and_executable() {
        assert_eq!(user(Access::all()).access(), Access::READ | Access::EXECUTE);
    }

    #[test]
    fn no_kernel_range_is_writable_and_executable_or_open_to_user_mode() {
        for kind in [Kind::Code, Kind::Constants, Kind::Data, Kind::Registers, Kind::Trampoline] {
            let flags = kind.flags();
            assert!(!flags.contains(Flags::WRITE) || flags.contains(Flags::NO_EXECUTE), "{kind:?}");
            let entry = Entry::encode(FRAME, flags, ALL);
            assert_eq!((entry.access(), entry.is_present()), (Access::empty(), true), "{kind:?}");
        }
        assert!(!Entry::empty().is_present());
    }

    #[test]
    fn a_withdrawn_page_keeps_its_frame_and_allows_nothing() {
        let entry = Entry::withdrawn(FRAME);
        assert_eq!((entry.frame(), entry.is_present(), entry.is_empty()), (FRAME, false, false));
        assert_eq!(entry.access(), Access::empty());
    }

    #[test]
    fn bits_that_the_cpu_lacks_stay_clear() {
        let entry = Entry::encode(FRAME, user_flags(Access::READ) | Flags::GLOBAL, Features::empty());
        assert_eq!(entry.to_raw(), 0x1234_5000 | 0b101);
        assert_eq!(user(Access::READ).to_raw(), 1 << 63 | 0x1234_5000 | 0b101);
    }
}
