//! One translation table entry: 4 KiB granule, 48 bits, stage 1 (Arm ARM, D8.3).
//!
//! Kernel mappings are global, user mappings are not; no mapping is writable and executable; the kernel never executes a
//! user page (PXN) and user mode never a kernel page (UXN).

use tessera_hal::port::tables::{KernelEntry, Level};
use tessera_hal::{Access, Frame, PageTableEntry, PhysicalAddress};

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
/// Index 1 of MAIR: device memory. Index 0 is normal memory, write-back.
const DEVICE: u64 = 1 << 2;
const USER: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const NO_KERNEL_EXECUTE: u64 = 1 << 53;
const NO_USER_EXECUTE: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// In an entry that is not valid, which the hardware ignores: there is a frame.
const WITHDRAWN: u64 = 1 << 1;

/// A translation table entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Entry(u64);

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
        Self(frame.start().0 | VALID | TABLE_OR_PAGE)
    }

    fn user_page(frame: Frame, access: Access) -> Self {
        let mut bits = VALID | TABLE_OR_PAGE | USER | INNER_SHAREABLE | ACCESSED | NOT_GLOBAL | NO_KERNEL_EXECUTE;
        if !access.contains(Access::WRITE) {
            bits |= READ_ONLY;
        }
        if !access.contains(Access::EXECUTE) || access.contains(Access::WRITE) {
            bits |= NO_USER_EXECUTE;
        }
        Self(frame.start().0 | bits)
    }

    fn withdrawn(frame: Frame) -> Self {
        Self(frame.start().0 | WITHDRAWN)
    }

    fn is_present(self) -> bool {
        self.0 & VALID != 0
    }

    fn frame(self) -> Frame {
        Frame::containing(PhysicalAddress(self.0 & ADDRESS))
    }

    fn access(self) -> Access {
        if self.0 & (VALID | USER) != VALID | USER {
            return Access::empty();
        }
        let write = if self.0 & READ_ONLY == 0 { Access::WRITE } else { Access::empty() };
        let execute = if self.0 & NO_USER_EXECUTE == 0 { Access::EXECUTE } else { Access::empty() };
        Access::READ | write | execute
    }
}

/// What a range of the kernel's half is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The kernel's code.
    Code,
    /// The kernel's constants.
    Constants,
    /// The kernel's variables, stacks and the direct map.
    Data,
    /// Device registers.
    Registers,
}

impl Kind {
    fn bits(self) -> u64 {
        let normal = VALID | INNER_SHAREABLE | ACCESSED | NO_USER_EXECUTE;
        match self {
            Self::Code => normal | READ_ONLY,
            Self::Constants => normal | READ_ONLY | NO_KERNEL_EXECUTE,
            Self::Data => normal | NO_KERNEL_EXECUTE,
            Self::Registers => VALID | DEVICE | ACCESSED | NO_USER_EXECUTE | NO_KERNEL_EXECUTE,
        }
    }
}

impl KernelEntry for Entry {
    type Kind = Kind;

    fn kernel_page(frame: Frame, kind: Kind, level: Level) -> Self {
        let page = if level == Level::Page { TABLE_OR_PAGE } else { 0 };
        Self(frame.start().0 | kind.bits() | page)
    }

    fn kernel_table(frame: Frame) -> Self {
        Self::table(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_pages_keep_their_access_and_are_never_writable_and_executable() {
        let frame = Frame::from_number(0x1234);
        for access in [Access::READ, Access::READ | Access::WRITE, Access::READ | Access::EXECUTE] {
            let entry = Entry::user_page(frame, access);
            assert_eq!((entry.frame(), entry.access(), entry.is_present()), (frame, access, true));
            assert_ne!(entry.to_raw() & NO_KERNEL_EXECUTE, 0);
            assert_ne!(entry.to_raw() & NOT_GLOBAL, 0);
        }
        let both = Entry::user_page(frame, Access::READ | Access::WRITE | Access::EXECUTE);
        assert!(!both.access().contains(Access::EXECUTE));
        assert!(Entry::table(frame).access().is_empty());
        assert!(!Entry::empty().is_present());
    }

    #[test]
    fn no_kernel_range_is_writable_and_executable_or_open_to_user_mode() {
        for kind in [Kind::Code, Kind::Constants, Kind::Data, Kind::Registers] {
            for level in [Level::Page, Level::Large, Level::Giant] {
                let entry = Entry::kernel_page(Frame::from_number(0x4_0000), kind, level);
                let bits = entry.to_raw();
                assert!(bits & READ_ONLY != 0 || bits & NO_KERNEL_EXECUTE != 0, "{kind:?}");
                assert_ne!(bits & NO_USER_EXECUTE, 0, "{kind:?}");
                assert!(entry.access().is_empty(), "{kind:?}");
                assert_eq!(bits & TABLE_OR_PAGE != 0, level == Level::Page, "{kind:?}");
            }
        }
    }
}
