//! Page tables: the kernel's half, the direct map, device and firmware windows.
//!
//! Layout of the upper half: direct map of all RAM from [`DIRECT_MAP`], kernel stacks from [`STACKS`] with a guard page
//! under each, device registers from [`DEVICES`] and firmware tables from [`FIRMWARE`] (at their physical address plus
//! the window's), the kernel's image at -2 GiB. All root entries of the upper half exist once `build` has returned, so
//! that every root that copies them sees later mappings too. Kernel mappings are global and are never changed or
//! removed. No page of the kernel's image is writable under one of its addresses and executable under another. A
//! program's code and the trampoline can be written through the direct map, by the kernel alone. Lock level: leaf.

use crate::features::{Features, features};
use crate::image::Image;
use crate::memory;
use crate::page_entry::{Entry, Kind};
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;
use tessera_hal::port::regions::Regions;
use tessera_hal::port::tables::{self, Level, TableMemory};
use tessera_hal::{Frame, PAGE_SIZE, PageTableEntry, PhysicalAddress, VirtualAddress};

/// Where physical address 0 stands in the direct map.
pub const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
/// The window of kernel stacks.
pub const STACKS: usize = 0xffff_c000_0000_0000;
/// The window of device registers: uncached.
pub const DEVICES: usize = 0xffff_d000_0000_0000;
/// The window of firmware tables: cached, read-only.
pub const FIRMWARE: usize = 0xffff_d800_0000_0000;
/// The physical addresses that the device and firmware windows can show.
const WINDOW_BYTES: u64 = 1 << 40;
/// The addresses that user mode may have: not the null page, and not the last page below the hole, so that no
/// instruction ends at a non-canonical address.
pub const USER_RANGE: core::ops::Range<usize> = 0x1000..0x7fff_ffff_f000;

static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);
static TRAMPOLINE_ROOT: AtomicU64 = AtomicU64::new(0);
/// Held while the kernel's half is changed.
static CHANGE: Mutex<()> = Mutex::new(());

/// Tables in the direct map, of frames that nobody else uses.
struct Tables;

impl TableMemory for Tables {
    type Entry = Entry;

    fn has_giant_pages(&self) -> bool {
        features().contains(Features::GIANT_PAGES)
    }

    fn allocate(&mut self) -> Frame {
        memory::allocate_zeroed()
    }

    fn read(&self, table: Frame, index: usize) -> Entry {
        // SAFETY: every table is a frame in the direct map; `index` is below 512.
        Entry::from_raw(unsafe { place(table, index).read_volatile() })
    }

    fn write(&mut self, table: Frame, index: usize, entry: Entry) {
        // SAFETY: as above; the caller owns the tables (boot, under the CHANGE lock, or not yet in use).
        unsafe { place(table, index).write_volatile(entry.to_raw()) };
    }
}

fn place(table: Frame, index: usize) -> *mut u64 {
    direct(table.start()).cast::<u64>().wrapping_add(index & 511)
}

/// Where a physical address of RAM stands in the direct map. Device registers and firmware tables outside RAM are not
/// there.
pub const fn direct(address: PhysicalAddress) -> *mut u8 {
    (DIRECT_MAP + address.0 as usize) as *mut u8
}

/// The kernel's own root table: no user half.
pub fn kernel_root() -> PhysicalAddress {
    PhysicalAddress(KERNEL_ROOT.load(Ordering::Acquire))
}

/// A root table below 4 GiB with the kernel's half and, in the lower half, the trampoline's frame alone at its own
/// address (readable and executable). A starting CPU turns paging on with it.
pub fn trampoline_root() -> PhysicalAddress {
    PhysicalAddress(TRAMPOLINE_ROOT.load(Ordering::Acquire))
}

/// Maps device registers, uncached, and answers where. Asking again for the same registers is free.
///
/// # Panics
/// If the registers stand above 1 TiB: no machine that Tessera runs on has such.
pub fn map_device(start: PhysicalAddress, bytes: usize) -> *mut u8 {
    map_window(DEVICES, start, bytes, Kind::Registers)
}

/// Maps firmware tables, read-only, and answers where.
///
/// # Panics
/// As [`map_device`].
pub fn map_firmware(start: PhysicalAddress, bytes: usize) -> *const u8 {
    map_window(FIRMWARE, start, bytes, Kind::Constants)
}

fn map_window(window: usize, start: PhysicalAddress, bytes: usize, kind: Kind) -> *mut u8 {
    let end = start.0.saturating_add(bytes as u64);
    assert!(end <= WINDOW_BYTES, "cannot map {bytes} bytes of device memory at {start}: above 1 TiB");
    let first = Frame::containing(start).start();
    map(window + first.0 as usize, first, end.next_multiple_of(PAGE_SIZE as u64) - first.0, kind);
    (window + start.0 as usize) as *mut u8
}

fn map(start: usize, target: PhysicalAddress, bytes: u64, kind: Kind) {
    let _held = CHANGE.lock();
    tables::map(&mut Tables, Frame::containing(kernel_root()), VirtualAddress(start), target, bytes, kind);
}

/// Maps one page of kernel data.
pub(crate) fn map_kernel_page(page: VirtualAddress, frame: Frame) {
    map(page.0, frame.start(), PAGE_SIZE as u64, Kind::Data);
}

/// Builds the kernel's half over all of `ram` and loads it. Once, on the boot CPU; the loader's tables, with their
/// low identity, are not used again.
pub(crate) fn build(ram: &Regions<128>, image: &Image) {
    let root = memory::allocate_zeroed();
    KERNEL_ROOT.store(root.start().0, Ordering::Release);
    for window in
        [STACKS, DEVICES, DEVICES + Level::Root.bytes() as usize, FIRMWARE, FIRMWARE + Level::Root.bytes() as usize]
    {
        tables::table_for(&mut Tables, root, VirtualAddress(window), Level::Giant);
    }
    map_ram(ram, image);
    for (part, kind) in image.parts() {
        map(part.start, Image::physical(part.start), part.len() as u64, kind);
    }
    build_trampoline_root(root);
    load(root.start());
}

/// The direct map. What is read-only in the image is read-only here too.
fn map_ram(ram: &Regions<128>, image: &Image) {
    let read_only = image.read_only();
    let bytes = read_only.end - read_only.start;
    let mut writable = *ram;
    writable.remove_bytes(read_only.start, bytes);
    for region in writable.as_slice() {
        map_direct(region.start.start(), region.frames * PAGE_SIZE as u64, Kind::Data);
    }
    map_direct(PhysicalAddress(read_only.start), bytes, Kind::Constants);
}

fn map_direct(start: PhysicalAddress, bytes: u64, kind: Kind) {
    map(DIRECT_MAP + start.0 as usize, start, bytes, kind);
}

fn build_trampoline_root(kernel: Frame) {
    let root = memory::allocate_zeroed();
    copy_kernel_half(kernel, root);
    let page = memory::TRAMPOLINE;
    let identity = VirtualAddress(page.start().0 as usize);
    tables::map_one(&mut Tables, root, identity, page, Kind::Trampoline, Level::Page);
    TRAMPOLINE_ROOT.store(root.start().0, Ordering::Release);
}

/// Fills in the kernel's half of a root table.
pub(crate) fn prepare_root(root: Frame) {
    copy_kernel_half(Frame::containing(kernel_root()), root);
}

fn copy_kernel_half(from: Frame, to: Frame) {
    for index in 256..512 {
        Tables.write(to, index, Tables.read(from, index));
    }
}

/// Loads a root table on this CPU, dropping the translations of the earlier one's user half.
pub(crate) fn load(root: PhysicalAddress) {
    // SAFETY: every root has the kernel's half, so that the code and stack in use stay mapped.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) root.0, options(nostack, preserves_flags)) };
}

/// The root table that this CPU has loaded.
pub(crate) fn loaded_root() -> PhysicalAddress {
    let root: u64;
    // SAFETY: reading CR3 has no effect.
    unsafe { core::arch::asm!("mov {}, cr3", out(reg) root, options(nostack, nomem, preserves_flags)) };
    PhysicalAddress(root & !0xfff)
}

/// Drops this CPU's translation of one page.
pub(crate) fn flush_page(page: VirtualAddress) {
    // SAFETY: dropping a translation is always allowed.
    unsafe { core::arch::asm!("invlpg [{}]", in(reg) page.0, options(nostack, preserves_flags)) };
}
