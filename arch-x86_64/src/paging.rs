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
use crate::page_entry::{Entry, Flags};
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;
use tessera_hal::port::regions::Regions;
use tessera_hal::{Frame, MemoryRegion, PAGE_SIZE, PageTableEntry, PhysicalAddress, VirtualAddress};

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

/// The levels of a page table, named by what one of their entries maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    /// 4 KiB.
    Page,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Giant,
    /// 512 GiB.
    Root,
}

impl Level {
    const fn shift(self) -> u32 {
        match self {
            Self::Page => 12,
            Self::Large => 21,
            Self::Giant => 30,
            Self::Root => 39,
        }
    }

    const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    const fn index(self, address: usize) -> usize {
        address >> self.shift() & 511
    }
}

static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);
static TRAMPOLINE_ROOT: AtomicU64 = AtomicU64::new(0);
/// Held while the kernel's half is changed.
static CHANGE: Mutex<()> = Mutex::new(());

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
    map_window(DEVICES, start, bytes, Flags::WRITE | Flags::NO_CACHE | Flags::NO_EXECUTE)
}

/// Maps firmware tables, read-only, and answers where.
///
/// # Panics
/// As [`map_device`].
pub fn map_firmware(start: PhysicalAddress, bytes: usize) -> *const u8 {
    map_window(FIRMWARE, start, bytes, Flags::NO_EXECUTE)
}

fn map_window(window: usize, start: PhysicalAddress, bytes: usize, flags: Flags) -> *mut u8 {
    let end = start.0.saturating_add(bytes as u64);
    assert!(end <= WINDOW_BYTES, "cannot map {bytes} bytes of device memory at {start}: above 1 TiB");
    let _held = CHANGE.lock();
    let root = Frame::containing(kernel_root());
    for frame in start.0 / PAGE_SIZE as u64..end.div_ceil(PAGE_SIZE as u64) {
        let frame = Frame::from_number(frame);
        let slot = leaf_slot(root, window + frame.start().0 as usize, Level::Page);
        if !read(slot).is_present() {
            write(slot, Entry::kernel_page(frame, flags | Flags::GLOBAL));
        }
    }
    (window + start.0 as usize) as *mut u8
}

/// Maps one page of kernel data.
pub(crate) fn map_kernel_page(page: VirtualAddress, frame: Frame) {
    let _held = CHANGE.lock();
    let slot = leaf_slot(Frame::containing(kernel_root()), page.0, Level::Page);
    write(slot, Entry::kernel_page(frame, Flags::WRITE | Flags::GLOBAL | Flags::NO_EXECUTE));
}

/// Builds the kernel's half over all of `ram` and loads it. Once, on the boot CPU; the loader's tables, with their
/// low identity, are not used again.
pub(crate) fn build(ram: &Regions<128>, image: &Image) {
    let root = memory::allocate_zeroed();
    for window in
        [STACKS, DEVICES, DEVICES + Level::Root.bytes() as usize, FIRMWARE, FIRMWARE + Level::Root.bytes() as usize]
    {
        next_table(entry_of(root, Level::Root.index(window)));
    }
    map_ram(root, ram, image);
    map_image(root, image);
    KERNEL_ROOT.store(root.start().0, Ordering::Release);
    build_trampoline_root(root);
    load(root.start());
}

/// The direct map. What is read-only in the image is read-only here too.
fn map_ram(root: Frame, ram: &Regions<128>, image: &Image) {
    let mut writable = *ram;
    writable.remove_bytes(image.read_only().start, image.read_only().end - image.read_only().start);
    for region in writable.as_slice() {
        map_direct(root, *region, Flags::WRITE);
    }
    let start = Frame::containing(PhysicalAddress(image.read_only().start));
    let frames = (image.read_only().end - image.read_only().start) / PAGE_SIZE as u64;
    map_direct(root, MemoryRegion { start, frames }, Flags::empty());
}

fn map_direct(root: Frame, region: MemoryRegion, flags: Flags) {
    let mut at = region.start.start().0;
    let end = at + region.frames * PAGE_SIZE as u64;
    while at < end {
        let level = largest_page(at, end);
        let slot = leaf_slot(root, DIRECT_MAP + at as usize, level);
        let page =
            Entry::kernel_page(Frame::containing(PhysicalAddress(at)), flags | Flags::GLOBAL | Flags::NO_EXECUTE);
        write(slot, if level == Level::Page { page } else { page.large() });
        at += level.bytes();
    }
}

/// The largest page that begins at `at`, ends by `end` and exists on this CPU.
fn largest_page(at: u64, end: u64) -> Level {
    let giant = features().contains(Features::GIANT_PAGES).then_some(Level::Giant);
    let fits = |level: &Level| at.is_multiple_of(level.bytes()) && end - at >= level.bytes();
    giant.into_iter().chain([Level::Large]).find(fits).unwrap_or(Level::Page)
}

fn map_image(root: Frame, image: &Image) {
    for (part, flags) in image.parts() {
        for page in part.step_by(PAGE_SIZE) {
            let frame = Frame::containing(Image::physical(page));
            write(leaf_slot(root, page, Level::Page), Entry::kernel_page(frame, flags | Flags::GLOBAL));
        }
    }
}

fn build_trampoline_root(kernel: Frame) {
    let root = memory::allocate_zeroed();
    copy_kernel_half(kernel, root);
    let page = memory::TRAMPOLINE;
    write(leaf_slot(root, page.start().0 as usize, Level::Page), Entry::kernel_page(page, Flags::empty()));
    TRAMPOLINE_ROOT.store(root.start().0, Ordering::Release);
}

/// Fills in the kernel's half of a root table.
pub(crate) fn prepare_root(root: Frame) {
    copy_kernel_half(Frame::containing(kernel_root()), root);
}

fn copy_kernel_half(from: Frame, to: Frame) {
    for index in 256..512 {
        write(entry_of(to, index), read(entry_of(from, index)));
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

/// The entry for `address` at `level`, with all tables above it.
fn leaf_slot(root: Frame, address: usize, level: Level) -> *mut Entry {
    let mut table = root;
    for above in [Level::Root, Level::Giant, Level::Large] {
        if above == level {
            break;
        }
        table = next_table(entry_of(table, above.index(address)));
    }
    entry_of(table, level.index(address))
}

/// The table that an entry points to, made if there is none.
fn next_table(slot: *mut Entry) -> Frame {
    let entry = read(slot);
    if entry.is_present() {
        return entry.frame();
    }
    let frame = memory::allocate_zeroed();
    write(slot, Entry::kernel_table(frame));
    frame
}

fn entry_of(table: Frame, index: usize) -> *mut Entry {
    direct(table.start()).cast::<Entry>().wrapping_add(index & 511)
}

fn read(slot: *mut Entry) -> Entry {
    // SAFETY: `slot` comes from `entry_of`, an entry of a table in the direct map.
    unsafe { slot.read_volatile() }
}

fn write(slot: *mut Entry, entry: Entry) {
    // SAFETY: as in `read`; the caller owns the table (boot, or under the CHANGE lock, or not yet in use).
    unsafe { slot.write_volatile(entry) };
}
