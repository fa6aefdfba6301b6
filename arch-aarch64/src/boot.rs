//! From the entry code to a machine: the CPU's state, the device tree, memory, page tables, the guarded stack.
//!
//! Order: the per-CPU area and the vectors, so that any fault is reported; the device tree, read; the kernel's own tables;
//! the guarded stack. Then the platform discovers devices on it.

use crate::device_tree::{self, DeviceTree, MAX_REGIONS, TreeError};
use crate::image::Image;
use crate::paging::{self, BOOT_WINDOW, RAM_BASE, direct};
use crate::percpu::{self, PerCpu, Stack};
use crate::{features, interrupts, memory, panic, stubs};
use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::Ordering;
use spin::Once;
use tessera_hal::port::regions::Regions;
use tessera_hal::{BootInfo, CpuId, PAGE_SIZE, PhysicalAddress};

/// The most that a device tree may be long.
const LONGEST_TREE: u32 = 2 << 20;
const MAGIC: u32 = 0xd00d_feed;

static TREE: Once<DeviceTree<'static>> = Once::new();
static MEMORY: Once<Regions<MAX_REGIONS>> = Once::new();

/// Where the boot goes on, on the guarded stack.
pub type Next = extern "C" fn(&'static DeviceTree<'static>) -> !;

/// Brings the boot CPU up and goes on with `next` on its guarded stack, interrupts masked. Called once, by the platform's
/// `platform_start`, with what the entry code passed. `usual_serial` is where the machine's serial port usually stands: what
/// is wrong with the tree itself is said there.
pub fn bring_up(tree: u64, usual_serial: PhysicalAddress, next: Next) -> ! {
    let area = percpu::prepare_boot();
    // The stack for faults is not mapped yet. Nothing comes back from one, so they can have the lower half of this one.
    let boot_stack = crate::entry::boot_stack_range();
    area.fault_stack.store((boot_stack.start + boot_stack.len() / 2) as u64, Ordering::Relaxed);
    stubs::install();
    features::enable();
    interrupts::unmask_fatal();
    show_errors_at(usual_serial);
    let tree = PhysicalAddress(if tree == 0 { RAM_BASE } else { tree });
    let (range, found) = read_tree(tree).unwrap_or_else(|error| panic::fail(&error));
    let found = TREE.call_once(|| found);
    build_tables(found, range);
    percpu::map_stacks(CpuId::BOOT);
    let (_, top) = percpu::stack(CpuId::BOOT, Stack::Fault);
    area.fault_stack.store(top.0 as u64, Ordering::Relaxed);
    on_stack(area.stack_top().0, next, found)
}

/// The entry code has mapped the first GiB of devices.
fn show_errors_at(serial: PhysicalAddress) {
    if serial.0 < BOOT_WINDOW {
        panic::set_serial((paging::DEVICES + serial.0 as usize) as *mut u8);
    }
}

fn build_tables(tree: &DeviceTree<'_>, itself: Range<u64>) {
    let image = Image::this();
    if !holds(&tree.ram, image.whole()) {
        panic::fail(&TreeError::ImageOutsideMemory);
    }
    memory::begin(tree, image.whole(), itself);
    paging::size_identifiers();
    paging::build(&tree.ram, &image);
    let (start, bytes) = tree.serial.registers;
    let serial = paging::map_device(start, bytes);
    // SAFETY: this is the boot stack, once, and the tables are built.
    unsafe { paging::leave_boot_tables() };
    if let Some(serial) = serial {
        panic::set_serial(serial);
    }
    touch(&tree.ram);
}

/// Looks at the end of each region: memory that the tree has made up is found now and not in the middle of a run.
fn touch(memory: &Regions<MAX_REGIONS>) {
    for region in memory.as_slice() {
        let end = region.start.start().0 + region.frames * PAGE_SIZE as u64;
        let last = direct(PhysicalAddress(end - size_of::<u64>() as u64)).cast::<u64>();
        // SAFETY: the direct map shows it; if nothing answers, the exception that this causes says so.
        unsafe { last.read_volatile() };
    }
}

/// Whether one region holds all of the range.
fn holds(memory: &Regions<MAX_REGIONS>, range: Range<u64>) -> bool {
    memory.as_slice().iter().any(|region| {
        let start = region.start.start().0;
        start <= range.start && range.end <= start + region.frames * PAGE_SIZE as u64
    })
}

/// The tree at this address, and the memory that it takes.
fn read_tree(address: PhysicalAddress) -> Result<(Range<u64>, DeviceTree<'static>), TreeError> {
    let end = RAM_BASE + BOOT_WINDOW;
    let room = end.saturating_sub(address.0);
    if address.0 < RAM_BASE || room < 8 || !address.0.is_multiple_of(8) {
        return Err(TreeError::OutOfReach(address));
    }
    let [magic, length] = [0, 1].map(|word| {
        let place = direct(address).cast::<u32>().wrapping_add(word);
        // SAFETY: the entry code has mapped this memory, and the address is a multiple of 8.
        u32::from_be(unsafe { place.read_volatile() })
    });
    if magic != MAGIC {
        return Err(TreeError::Absent(address));
    }
    if length > LONGEST_TREE || u64::from(length) > room {
        return Err(TreeError::TooLong(length));
    }
    // SAFETY: the range is memory that the entry code has mapped; nobody writes it, since it is cut out of free memory, and
    // it stays in the direct map.
    let bytes = unsafe { core::slice::from_raw_parts(direct(address).cast_const(), length as usize) };
    show_errors_at(device_tree::serial(bytes)?.registers.0);
    let tree = device_tree::read(bytes, percpu::own_affinity())?;
    Ok((address.0..address.0 + u64::from(length), tree))
}

/// What a secondary CPU does first, on its own guarded stack with the entry code's low half: after this it is as the boot CPU
/// is.
pub(crate) fn bring_up_secondary(area: &'static PerCpu) {
    percpu::install(area);
    stubs::install();
    paging::close_low_half();
    features::enable();
    interrupts::unmask_fatal();
}

/// Hands the machine's memory over: called once, when the platform has everything that it needs from boot memory.
pub fn finish(tree: &'static DeviceTree<'static>) -> BootInfo<'static> {
    let initrd = tree.initrd.map(|(start, bytes)| initrd(tree, start, bytes));
    let memory = MEMORY.call_once(memory::finish);
    BootInfo { command_line: tree.command_line, initrd, memory: memory.as_slice() }
}

/// The initrd through the direct map, if all of it is RAM.
fn initrd(tree: &DeviceTree<'_>, start: PhysicalAddress, bytes: usize) -> &'static [u8] {
    let end = start.0.saturating_add(bytes as u64);
    if !holds(&tree.ram, start.0..end) {
        panic::fail(&format_args!("the initrd at {start} ({bytes} bytes) is not in usable memory"));
    }
    // SAFETY: the range is RAM in the direct map, was taken out of the free memory, and nobody writes it.
    unsafe { core::slice::from_raw_parts(direct(start), bytes) }
}

/// Leaves the boot stack for the one that ends at `top`.
fn on_stack(top: usize, next: Next, tree: &'static DeviceTree<'static>) -> ! {
    // SAFETY: the stack is mapped, unused and 16-byte aligned; nothing on the old stack is used again.
    unsafe {
        asm!(
            "mov sp, {top}",
            "mov x29, xzr",
            "mov x30, xzr",
            "br {next}",
            top = in(reg) top,
            next = in(reg) next,
            in("x0") tree,
            options(noreturn),
        )
    }
}
