//! From the entry stub to a machine: the CPU's state, memory, page tables, the guarded stack.
//!
//! Order: GS base and descriptors, so that any fault is reported; the loader's information, copied; the kernel's own
//! tables; the guarded stack. Then the platform discovers devices on it.

use crate::entry::BOOT_STACK_BYTES;
use crate::image::Image;
use crate::percpu::{self, PerCpu};
use crate::start_info::{Physical, StartInfo};
use crate::{features, fpu, memory, paging, panic, segments, stubs};
use core::arch::asm;
use core::ops::Range;
use spin::Once;
use tessera_hal::port::regions::Regions;
use tessera_hal::{BootInfo, CpuId, Frame, PAGE_SIZE, PhysicalAddress};

static START_INFO: Once<StartInfo> = Once::new();
static MEMORY: Once<Regions<128>> = Once::new();
static INITRD: Once<Option<&'static [u8]>> = Once::new();

unsafe extern "C" {
    static boot_stack: u8;
}

/// The stack on which the kernel boots.
pub(crate) fn boot_stack_range() -> Range<usize> {
    let start = &raw const boot_stack as usize;
    start..start + BOOT_STACK_BYTES
}

/// Physical memory below 4 GiB in the loader's direct map.
struct LoaderMemory;

impl Physical for LoaderMemory {
    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        assert!(address < 1 << 32, "the loader's information stands at {address:#x}, above 4 GiB");
        let place = paging::direct(PhysicalAddress(address)).cast::<[u8; N]>();
        // SAFETY: the first 4 GiB are mapped, and any bytes are valid bytes.
        unsafe { place.read_unaligned() }
    }
}

/// Where the boot goes on, on the guarded stack.
pub type Next = extern "C" fn(&'static StartInfo) -> !;

/// Brings the boot CPU up and goes on with `next` on its guarded stack, interrupts masked. Called once, by the platform's
/// `platform_start`, with what the entry stub passed.
pub fn bring_up(start_info: u64, next: Next) -> ! {
    let area = percpu::prepare_boot();
    segments::load(area);
    stubs::fill_table();
    stubs::load_table();
    features::enable();
    mask_legacy_interrupts();
    // Firmware may have left the cursor behind a text of its own.
    panic::start_line();
    let info = START_INFO.call_once(|| match StartInfo::read(&LoaderMemory, start_info) {
        Ok(info) => info,
        Err(error) => panic::fail(&error),
    });
    let image = Image::this();
    memory::begin(info, image.whole());
    paging::build(&info.ram, &image);
    percpu::map_stacks(CpuId::BOOT);
    segments::enable_system_calls(stubs::system_call_entry);
    fpu::enable();
    set_tsc_aux(area);
    INITRD.call_once(|| initrd(info));
    on_stack(area.stack_top().0, next, info)
}

/// What a secondary CPU does first, on its own guarded stack with the trampoline's tables: after this it is as the boot CPU is.
pub fn bring_up_secondary(area: &'static PerCpu) {
    paging::load(paging::kernel_root());
    segments::load(area);
    stubs::load_table();
    features::enable();
    segments::enable_system_calls(stubs::system_call_entry);
    fpu::enable();
    set_tsc_aux(area);
}

/// Hands the machine's memory over: called once, when the platform has everything that it needs from boot memory.
pub fn finish(info: &'static StartInfo) -> BootInfo<'static> {
    let memory = MEMORY.call_once(memory::finish);
    BootInfo { command_line: info.command_line(), initrd: INITRD.get().copied().flatten(), memory: memory.as_slice() }
}

/// The initrd through the direct map, if all of it is RAM.
fn initrd(info: &StartInfo) -> Option<&'static [u8]> {
    let (start, bytes) = info.initrd?;
    let end = start.0.checked_add(bytes as u64)?;
    let inside = info.ram.as_slice().iter().any(|region| {
        let low = region.start.start().0;
        low <= start.0
            && end.div_ceil(PAGE_SIZE as u64) <= Frame::containing(region.start.start()).number() + region.frames
    });
    if !inside {
        panic::fail(&format_args!("the initrd at {start} ({bytes} bytes) is not in usable memory"));
    }
    // SAFETY: the range is RAM in the direct map, was taken out of the free memory, and nobody writes it.
    Some(unsafe { core::slice::from_raw_parts(paging::direct(start), bytes) })
}

/// RDTSCP tells user mode its CPU.
fn set_tsc_aux(area: &PerCpu) {
    const TSC_AUX: u32 = 0xc000_0103;
    if features::features().contains(features::Features::RDTSCP) {
        // SAFETY: the register exists where RDTSCP does; the kernel itself does not read it.
        unsafe { x86_64::registers::model_specific::Msr::new(TSC_AUX).write(u64::from(area.cpu().get())) };
    }
}

/// Firmware leaves the 8259s delivering at vectors of exceptions: mask both for good.
fn mask_legacy_interrupts() {
    for port in [0x21, 0xa1] {
        // SAFETY: writing the mask register of an interrupt controller that is not used.
        unsafe { x86_64::instructions::port::Port::<u8>::new(port).write(0xff) };
    }
}

/// Leaves the boot stack for the one that ends at `top`.
fn on_stack(top: usize, next: Next, info: &'static StartInfo) -> ! {
    // SAFETY: the stack is mapped, unused and 16-byte aligned; nothing on the old stack is used again.
    unsafe {
        asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "push rbp",
            "jmp {next}",
            top = in(reg) top,
            next = in(reg) next,
            in("rdi") info,
            options(noreturn),
        )
    }
}
