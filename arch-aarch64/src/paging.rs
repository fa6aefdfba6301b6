//! Translation tables: the kernel's half (TTBR1), the entries of user pages (TTBR0), 4 KiB granule, 48 bits, four levels.
//!
//! Layout of the upper half: direct map of RAM from [`DIRECT_MAP`], device registers from [`DEVICES`] (both at their
//! physical address), the kernel's image in the last 2 GiB, where RAM starts at [`KERNEL_BASE`]. Kernel mappings are
//! global, user mappings are not; no mapping is writable and executable.

use tessera_hal::{Access, Frame, PAGE_SIZE, PageTableEntry, PhysicalAddress};

/// Where physical address 0 stands in the direct map.
pub const DIRECT_MAP: usize = 0xffff_0000_0000_0000;
/// Where physical address 0 stands in the window of device registers.
pub const DEVICES: usize = 0xffff_e000_0000_0000;
/// Where the start of RAM stands in the window of the kernel's image.
pub const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
/// Where RAM starts on the machines that the image is linked for.
pub const RAM_BASE: u64 = 0x4000_0000;

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

const ENTRIES: usize = 512;
/// Bytes that one entry of a level maps, from level 1 (1 GiB) to level 3 (a page). Level 0 maps tables only.
const LEVEL_BYTES: [u64; 4] = [1 << 39, 1 << 30, 1 << 21, 1 << 12];

/// Where a physical address of RAM stands in the direct map.
pub const fn direct(address: PhysicalAddress) -> *mut u8 {
    (DIRECT_MAP + address.0 as usize) as *mut u8
}

/// Where a device register stands.
pub const fn device(address: PhysicalAddress) -> *mut u8 {
    (DEVICES + address.0 as usize) as *mut u8
}

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

/// There is no memory for another table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfTables;

/// The kernel's tables while they are built: nothing translates through them yet.
pub struct KernelTables<'a> {
    root: Frame,
    /// Where physical address 0 can be written while building.
    window: usize,
    allocate: &'a mut dyn FnMut() -> Option<Frame>,
}

impl<'a> KernelTables<'a> {
    /// Empty tables.
    ///
    /// # Safety
    /// `allocate` must give frames that nobody else uses, whose bytes stand at `window` + physical address and may be
    /// written for as long as the tables are being built.
    pub unsafe fn new(window: usize, allocate: &'a mut dyn FnMut() -> Option<Frame>) -> Result<Self, OutOfTables> {
        let mut tables = Self { root: Frame::from_number(0), window, allocate };
        tables.root = tables.new_table()?;
        Ok(tables)
    }

    /// The table of level 0.
    pub fn root(&self) -> Frame {
        self.root
    }

    /// Maps `bytes` bytes with the largest pages that fit. All three are multiples of a page; a page that is mapped
    /// already is left as it was.
    pub fn map(&mut self, start: usize, physical: PhysicalAddress, bytes: u64, kind: Kind) -> Result<(), OutOfTables> {
        let mut done = 0;
        while done < bytes {
            let (address, target) = (start as u64 + done, physical.0 + done);
            let fits = |level: &usize| {
                let size = LEVEL_BYTES[*level];
                (address | target) % size == 0 && bytes - done >= size
            };
            let level = (1..3).find(fits).unwrap_or(3);
            self.map_one(address, target, level, kind)?;
            done += LEVEL_BYTES[level];
        }
        Ok(())
    }

    fn map_one(&mut self, address: u64, target: u64, level: usize, kind: Kind) -> Result<(), OutOfTables> {
        let mut table = self.root;
        for upper in 0..level {
            let index = index(address, upper);
            let entry = self.read(table, index);
            table = if entry.is_present() {
                entry.frame()
            } else {
                let next = self.new_table()?;
                self.write(table, index, Entry::table(next));
                next
            };
        }
        let page = if level == 3 { TABLE_OR_PAGE } else { 0 };
        if !self.read(table, index(address, level)).is_present() {
            self.write(table, index(address, level), Entry(target | kind.bits() | page));
        }
        Ok(())
    }

    fn new_table(&mut self) -> Result<Frame, OutOfTables> {
        let frame = (self.allocate)().ok_or(OutOfTables)?;
        for index in 0..ENTRIES {
            self.write(frame, index, Entry(0));
        }
        Ok(frame)
    }

    fn place(&self, table: Frame, index: usize) -> *mut u64 {
        (self.window.wrapping_add(table.start().0 as usize) + index * size_of::<u64>()) as *mut u64
    }

    fn read(&self, table: Frame, index: usize) -> Entry {
        // SAFETY: every table came from `allocate`, whose frames are ours and stand in the window; `index` is below 512.
        Entry(unsafe { self.place(table, index).read() })
    }

    fn write(&mut self, table: Frame, index: usize, entry: Entry) {
        // SAFETY: every table came from `allocate`, whose frames are ours and stand in the window; `index` is below 512.
        unsafe { self.place(table, index).write(entry.0) };
    }
}

fn index(address: u64, level: usize) -> usize {
    (address / LEVEL_BYTES[level]) as usize % ENTRIES
}

/// Rounds up to a multiple of `step`, a power of two.
pub const fn round_up(value: u64, step: u64) -> u64 {
    (value + step - 1) & !(step - 1)
}

/// A page as a 64-bit length.
pub const PAGE: u64 = PAGE_SIZE as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    #[repr(align(4096))]
    struct Table([u64; 512]);

    fn translate(root: Frame, address: u64) -> Option<(u64, u64)> {
        let mut table = root;
        for (level, size) in LEVEL_BYTES.into_iter().enumerate() {
            let place = (table.start().0 as *const u64).wrapping_add(index(address, level));
            // SAFETY: the test's tables are leaked boxes at these addresses.
            let raw = unsafe { place.read() };
            if raw & VALID == 0 {
                return None;
            }
            if level == 3 || raw & TABLE_OR_PAGE == 0 {
                return Some(((raw & ADDRESS) + address % size, size));
            }
            table = Entry(raw).frame();
        }
        None
    }

    #[test]
    fn ranges_are_mapped_with_the_largest_pages_that_fit() {
        let mut tables = Vec::new();
        let mut allocate = || {
            let table = Box::leak(Box::new(Table([u64::MAX; 512])));
            tables.push(());
            Some(Frame::containing(PhysicalAddress(table.0.as_ptr() as u64)))
        };
        // SAFETY: the frames are leaked boxes and the window is the identity.
        let mut kernel = unsafe { KernelTables::new(0, &mut allocate) }.unwrap();
        let bytes = (1 << 30) + (1 << 21) + 4096;
        let start = PhysicalAddress(0x4000_0000);
        kernel.map(DIRECT_MAP + 0x4000_0000, start, bytes, Kind::Data).unwrap();
        let root = kernel.root();
        let at = |offset: u64| translate(root, DIRECT_MAP as u64 + 0x4000_0000 + offset);
        assert_eq!(at(5), Some((0x4000_0005, 1 << 30)));
        assert_eq!(at(1 << 30), Some((0x8000_0000, 1 << 21)));
        assert_eq!(at((1 << 30) + (1 << 21)), Some((0x8020_0000, 1 << 12)));
        assert_eq!(at(bytes), None);
    }

    #[test]
    fn running_out_of_memory_for_tables_is_an_error() {
        let table = Box::leak(Box::new(Table([0; 512])));
        let mut left = [Frame::containing(PhysicalAddress(table.0.as_ptr() as u64))].into_iter();
        let mut allocate = || left.next();
        // SAFETY: the frame is a leaked box and the window is the identity.
        let mut kernel = unsafe { KernelTables::new(0, &mut allocate) }.unwrap();
        assert_eq!(kernel.map(DIRECT_MAP, PhysicalAddress(0), 4096, Kind::Data), Err(OutOfTables));
    }

    #[test]
    fn user_pages_keep_their_access_and_are_never_writable_and_executable() {
        let frame = Frame::from_number(0x1234);
        for access in [Access::READ, Access::READ | Access::WRITE, Access::READ | Access::EXECUTE] {
            let entry = Entry::user_page(frame, access);
            assert_eq!((entry.frame(), entry.access(), entry.is_present()), (frame, access, true));
            assert_ne!(entry.to_raw() & NO_KERNEL_EXECUTE, 0);
        }
        let both = Entry::user_page(frame, Access::READ | Access::WRITE | Access::EXECUTE);
        assert!(!both.access().contains(Access::EXECUTE));
        assert!(Entry::table(frame).access().is_empty());
        assert!(!Entry::empty().is_present());
        let withdrawn = Entry::withdrawn(frame);
        assert_eq!((withdrawn.frame(), withdrawn.is_present(), withdrawn.is_empty()), (frame, false, false));
        assert!(withdrawn.access().is_empty());
    }

    #[test]
    fn no_kernel_range_is_writable_and_executable_or_open_to_user_mode() {
        for kind in [Kind::Code, Kind::Constants, Kind::Data, Kind::Registers] {
            let bits = kind.bits();
            assert!(bits & READ_ONLY != 0 || bits & NO_KERNEL_EXECUTE != 0, "{kind:?}");
            assert_eq!(bits & USER, 0, "{kind:?}");
            assert_ne!(bits & NO_USER_EXECUTE, 0, "{kind:?}");
        }
    }
}
