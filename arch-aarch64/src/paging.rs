//! Translation tables: the kernel's half (TTBR1), and the roots of user spaces (TTBR0).
//!
//! Layout of the upper half: direct map of all RAM from [`DIRECT_MAP`], kernel stacks from [`STACKS`] with a guard page
//! under each, device registers from [`DEVICES`] (at their physical address plus the window's), the kernel's image in the
//! last 2 GiB, where RAM starts at [`KERNEL_BASE`]. Kernel mappings are global and are never changed or removed, so that
//! break-before-make never arises for them; the kernel's image is not in the direct map. Lock level: leaf.

use tessera_hal::PhysicalAddress;

/// Where physical address 0 stands in the direct map.
pub const DIRECT_MAP: usize = 0xffff_0000_0000_0000;
/// The window of kernel stacks.
pub const STACKS: usize = 0xffff_c000_0000_0000;
/// Where physical address 0 stands in the window of device registers.
pub const DEVICES: usize = 0xffff_e000_0000_0000;
/// Where the start of RAM stands in the window of the kernel's image.
pub const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
/// Where RAM starts on the machines that the image is linked for.
pub const RAM_BASE: u64 = 0x4000_0000;
/// How much of RAM, and of the devices below it, the entry code has mapped.
pub const BOOT_WINDOW: u64 = 1 << 30;
/// The physical addresses that the window of devices can show.
pub const DEVICES_END: u64 = 1 << 44;
/// The physical addresses that the direct map can show.
pub const RAM_END: u64 = 1 << 46;
/// The addresses that user mode may have: not the null page.
pub const USER_RANGE: core::ops::Range<usize> = 0x1000..0x8000_0000_0000;

/// Where a physical address of RAM stands in the direct map.
pub const fn direct(address: PhysicalAddress) -> *mut u8 {
    (DIRECT_MAP + address.0 as usize) as *mut u8
}

/// What a kernel address shows: memory or a device, and which.
pub fn physical_of(address: u64) -> Option<(Window, PhysicalAddress)> {
    let windows = [(Window::Devices, DEVICES as u64, DEVICES_END), (Window::Memory, DIRECT_MAP as u64, RAM_END)];
    windows.into_iter().find_map(|(window, start, bytes)| {
        let offset = address.checked_sub(start).filter(|&offset| offset < bytes)?;
        Some((window, PhysicalAddress(offset)))
    })
}

/// The windows in which the kernel sees physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// The direct map.
    Memory,
    /// Device registers.
    Devices,
}

#[cfg(target_os = "none")]
pub use tables::*;

#[cfg(target_os = "none")]
mod tables {
    use super::{DEVICES, DEVICES_END, DIRECT_MAP, direct};
    use crate::asid::{self, Activation, Identifiers};
    use crate::device_tree::MAX_REGIONS;
    use crate::entry;
    use crate::image::Image;
    use crate::memory;
    use crate::page_entry::{Entry, Kind};
    use crate::percpu::{self, MAX_CPUS};
    use aarch64_cpu::asm::barrier;
    use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, ReadWriteable, Readable, SCTLR_EL1, TTBR0_EL1, Writeable};
    use core::arch::asm;
    use core::sync::atomic::{AtomicU64, Ordering};
    use spin::Mutex;
    use tessera_hal::machine::FlushScope;
    use tessera_hal::port::regions::Regions;
    use tessera_hal::port::tables::{self, Level, TableMemory};
    use tessera_hal::{Frame, PAGE_SIZE, PageTableEntry, PhysicalAddress, SpaceTag, VirtualAddress};

    static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);
    /// An empty table: no user half.
    static EMPTY_ROOT: AtomicU64 = AtomicU64::new(0);
    /// Who has which address space identifier.
    static IDENTIFIERS: Identifiers<MAX_CPUS> = Identifiers::new();
    /// Where the identifier stands in TTBR0.
    const IDENTIFIER_SHIFT: u32 = 48;
    /// Held while the kernel's half is changed.
    static CHANGE: Mutex<()> = Mutex::new(());

    /// Tables in the direct map, of frames that nobody else uses.
    struct Tables;

    impl TableMemory for Tables {
        type Entry = Entry;

        fn has_giant_pages(&self) -> bool {
            true
        }

        fn allocate(&mut self) -> Frame {
            memory::allocate_zeroed()
        }

        fn read(&self, table: Frame, index: usize) -> Entry {
            // SAFETY: every table is a frame in the direct map; `index` is below 512.
            Entry::from_raw(unsafe { place(table, index).read_volatile() })
        }

        fn write(&mut self, table: Frame, index: usize, entry: Entry) {
            // Table walkers of all CPUs see a table complete before they see the entry that links it.
            barrier::dsb(barrier::ISHST);
            // SAFETY: as above; the caller owns the tables (boot, or under the CHANGE lock).
            unsafe { place(table, index).write_volatile(entry.to_raw()) };
        }
    }

    fn place(table: Frame, index: usize) -> *mut u64 {
        direct(table.start()).cast::<u64>().wrapping_add(index & 511)
    }

    /// The kernel's root table.
    pub fn kernel_root() -> PhysicalAddress {
        PhysicalAddress(KERNEL_ROOT.load(Ordering::Acquire))
    }

    /// A root table without any user page.
    pub fn empty_root() -> PhysicalAddress {
        PhysicalAddress(EMPTY_ROOT.load(Ordering::Acquire))
    }

    fn map(start: usize, target: PhysicalAddress, bytes: u64, kind: Kind) {
        let _held = CHANGE.lock();
        tables::map(&mut Tables, Frame::containing(kernel_root()), VirtualAddress(start), target, bytes, kind);
        settle();
    }

    /// Makes stores to translation tables visible to this CPU's walks that follow, and to those of all CPUs.
    pub(crate) fn settle() {
        barrier::dsb(barrier::ISHST);
        barrier::isb(barrier::SY);
    }

    /// Maps device registers and answers where. Asking again for the same registers is free. `None` if they stand above
    /// the window of devices.
    pub fn map_device(start: PhysicalAddress, bytes: u64) -> Option<*mut u8> {
        let end = start.0.checked_add(bytes).filter(|&end| end <= DEVICES_END)?;
        let page = PAGE_SIZE as u64;
        let (first, end) = (start.0 / page * page, end.next_multiple_of(page));
        map(DEVICES + first as usize, PhysicalAddress(first), end - first, Kind::Registers);
        Some((DEVICES + start.0 as usize) as *mut u8)
    }

    /// Maps one page of kernel data.
    pub(crate) fn map_kernel_page(page: VirtualAddress, frame: Frame) {
        map(page.0, frame.start(), PAGE_SIZE as u64, Kind::Data);
    }

    /// Builds the kernel's half over all of `ram`. Once, on the boot CPU, on the entry code's tables.
    pub(crate) fn build(ram: &Regions<MAX_REGIONS>, image: &Image) {
        let root = memory::allocate_zeroed();
        KERNEL_ROOT.store(root.start().0, Ordering::Release);
        EMPTY_ROOT.store(memory::allocate_zeroed().start().0, Ordering::Release);
        let whole = image.whole();
        let mut ram = *ram;
        ram.remove_bytes(whole.start, whole.end - whole.start);
        for region in ram.as_slice() {
            let start = region.start.start();
            map(DIRECT_MAP + start.0 as usize, start, region.frames * Level::Page.bytes(), Kind::Data);
        }
        for (part, kind) in image.parts() {
            map(part.start, Image::physical(part.start), part.len() as u64, kind);
        }
    }

    /// Goes over from the entry code's tables to the kernel's, on the boot CPU; nothing of the former is used again by it.
    ///
    /// # Safety
    /// Once, after [`build`], on the boot stack.
    pub(crate) unsafe fn leave_boot_tables() {
        barrier::dsb(barrier::ISH);
        let state: u64;
        // SAFETY: everything is masked for the moment in which the kernel is not mapped.
        unsafe { asm!("mrs {}, daif", "msr daifset, #0xf", out(reg) state, options(nostack)) };
        // SAFETY: `build` has mapped the image, with the boot stack in it, where the entry code had it.
        unsafe { entry::replace_tables(kernel_root(), empty_root()) };
        // SAFETY: goes back to what was masked before.
        unsafe { asm!("msr daif, {}", in(reg) state, options(nostack)) };
        close_low_half();
    }

    /// Takes the entry code's low half away from this CPU. Whatever is writable is from now on never executed, whatever
    /// its entry says.
    pub(crate) fn close_low_half() {
        TTBR0_EL1.set(empty_root().0);
        barrier::isb(barrier::SY);
        SCTLR_EL1.modify(SCTLR_EL1::WXN::Enable);
        barrier::isb(barrier::SY);
        // SAFETY: dropping this CPU's cached translations changes no mapping.
        unsafe { asm!("tlbi vmalle1", "dsb nsh", "isb", options(nostack)) };
    }

    /// Loads a user half on this CPU, under the identifier that its translations are tagged with.
    pub(crate) fn load(root: PhysicalAddress, tag: &SpaceTag) {
        let Activation { identifier, must_flush } = IDENTIFIERS.activate(percpu::this().cpu(), tag.word());
        // Entries that other CPUs have made are visible to walks after this.
        barrier::dsb(barrier::ISH);
        if must_flush {
            // Before the load: afterwards what is cached under a number that was given anew is the new space's.
            load_empty();
            // SAFETY: dropping this CPU's cached translations changes no mapping.
            unsafe { asm!("tlbi vmalle1", "dsb nsh", "isb", options(nostack)) };
        }
        TTBR0_EL1.set(root.0 | u64::from(identifier) << IDENTIFIER_SHIFT);
        barrier::isb(barrier::SY);
    }

    /// Loads no user half on this CPU. Nothing is ever cached of it.
    pub(crate) fn load_empty() {
        TTBR0_EL1.set(empty_root().0);
        barrier::isb(barrier::SY);
    }

    /// Drops cached translations of a space on all CPUs.
    pub(crate) fn flush(tag: &SpaceTag, scope: FlushScope) {
        // A space that was never loaded has none.
        let Some(identifier) = asid::identifier(tag.word()) else { return };
        let identifier = u64::from(identifier) << IDENTIFIER_SHIFT;
        match scope {
            FlushScope::Page(VirtualAddress(address)) => {
                let page = identifier | (address >> 12) as u64 & ((1 << 44) - 1);
                // SAFETY: dropping cached translations changes no mapping.
                unsafe { asm!("dsb ishst", "tlbi vae1is, {0}", "dsb ish", "isb", in(reg) page, options(nostack)) };
            }
            FlushScope::User => {
                // SAFETY: as above.
                unsafe {
                    asm!("dsb ishst", "tlbi aside1is, {0}", "dsb ish", "isb", in(reg) identifier, options(nostack))
                };
            }
        }
    }

    /// How many identifiers this machine has; TCR was set up by the same answer.
    pub(crate) fn size_identifiers() {
        const SIXTEEN_BITS: u64 = 2;
        let bits = if ID_AA64MMFR0_EL1.get() >> 4 & 0xf == SIXTEEN_BITS { 16 } else { 8 };
        IDENTIFIERS.set_bits(bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_addresses_of_memory_and_devices_are_told_apart() {
        let uart = PhysicalAddress(0x900_0000);
        assert_eq!(physical_of((DEVICES as u64) + uart.0), Some((Window::Devices, uart)));
        let ram = PhysicalAddress(RAM_BASE + 5);
        assert_eq!(physical_of(direct(ram) as u64), Some((Window::Memory, ram)));
        assert_eq!(physical_of(KERNEL_BASE as u64), None);
        assert_eq!(physical_of(STACKS as u64), None);
        assert_eq!(physical_of(0x1000), None);
    }

    #[test]
    fn the_windows_do_not_overlap() {
        assert!(DIRECT_MAP as u64 + RAM_END <= STACKS as u64);
        assert!(DEVICES as u64 + DEVICES_END <= KERNEL_BASE as u64);
    }
}
