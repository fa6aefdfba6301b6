//! The per-CPU area, reached through the GS base, which is valid on every kernel entry.
//!
//! All fields are atomics: most are written by their own CPU only and read by its entry code, which knows their offsets.
//! The request word stands on its own cache line, since other CPUs write it. Areas are made at boot and never freed.

use crate::memory;
use crate::paging;
use crate::segments::{Descriptors, TaskState};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering};
use tessera_hal::{CpuId, PAGE_SIZE, RequestWord, VirtualAddress};

/// The most CPUs that the kernel can name.
pub const MAX_CPUS: usize = 512;

/// How many interrupts of each kind a CPU has taken, in user and kernel mode.
#[derive(Debug, Default)]
pub struct InterruptCounts {
    /// Clockevent fires.
    pub timer: AtomicU64,
    /// Kicks.
    pub kick: AtomicU64,
    /// Device interrupts.
    pub device: AtomicU64,
    /// Spurious and error interrupts.
    pub spurious: AtomicU64,
}

/// One CPU's area.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct PerCpu {
    /// The area's own address, so that `this` is one load.
    this: AtomicPtr<PerCpu>,
    /// The stack pointer to go back to when user mode traps.
    pub(crate) kernel_stack: AtomicU64,
    /// Where a trap from user mode starts to push: the end of the running context's registers.
    pub(crate) frame_end: AtomicU64,
    /// The user's stack pointer for the first instructions of a system call.
    pub(crate) scratch: AtomicU64,
    /// The context (by its number) whose FPU state is in the registers; 0 is nobody.
    pub(crate) fpu_owner: AtomicU64,
    /// Whether CR0.TS is set.
    pub(crate) fpu_disabled: AtomicBool,
    cpu: AtomicU16,
    hardware_id: AtomicU32,
    /// Whether it is printing a panic.
    pub(crate) reporting: AtomicBool,
    /// Whether it has begun to run the kernel's code.
    pub(crate) started: AtomicBool,
    /// Whether it has stopped for good.
    pub(crate) stopped: AtomicBool,
    /// The registers of the kernel fault that is being reported.
    pub(crate) fault: AtomicPtr<crate::trap::Registers>,
    /// Interrupts taken.
    pub interrupts: InterruptCounts,
    pub(crate) descriptors: Descriptors,
    pub(crate) task_state: TaskState,
    /// The number of the thread pointer that it holds.
    pub(crate) thread_pointer: AtomicU64,
    /// What other CPUs want of this one.
    pub requests: RequestWord,
}

/// The boot CPU's area: there before any memory is known.
static mut BOOT_AREA: core::mem::MaybeUninit<PerCpu> = core::mem::MaybeUninit::uninit();
static AREAS: [AtomicPtr<PerCpu>; MAX_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

impl PerCpu {
    fn new(cpu: CpuId, hardware_id: u32) -> Self {
        Self {
            this: AtomicPtr::new(core::ptr::null_mut()),
            kernel_stack: AtomicU64::new(0),
            frame_end: AtomicU64::new(0),
            scratch: AtomicU64::new(0),
            fpu_owner: AtomicU64::new(0),
            fpu_disabled: AtomicBool::new(true),
            cpu: AtomicU16::new(cpu.get()),
            hardware_id: AtomicU32::new(hardware_id),
            reporting: AtomicBool::new(false),
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            fault: AtomicPtr::new(core::ptr::null_mut()),
            interrupts: InterruptCounts::default(),
            descriptors: Descriptors::new(),
            task_state: TaskState::new(),
            thread_pointer: AtomicU64::new(0),
            requests: RequestWord::new(),
        }
    }

    /// Which CPU this is.
    pub fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Relaxed))
    }

    /// Its local APIC id.
    pub fn hardware_id(&self) -> u32 {
        self.hardware_id.load(Ordering::Relaxed)
    }

    /// The end of its kernel stack, on which it starts.
    pub fn stack_top(&self) -> VirtualAddress {
        stack(self.cpu(), Stack::Kernel).1
    }
}

/// The stacks of one CPU, each above an unmapped guard page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    /// Where the kernel runs.
    Kernel,
    /// For double faults.
    DoubleFault,
    /// For non-maskable interrupts.
    NonMaskable,
    /// For machine checks.
    MachineCheck,
}

impl Stack {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kernel, Self::DoubleFault, Self::NonMaskable, Self::MachineCheck];

    const fn offset_and_bytes(self) -> (usize, usize) {
        match self {
            Self::Kernel => (0x1000, 0x10000),
            Self::DoubleFault => (0x12000, 0x4000),
            Self::NonMaskable => (0x17000, 0x4000),
            Self::MachineCheck => (0x1c000, 0x4000),
        }
    }
}

/// Bytes of address space for the stacks of one CPU; what is not a stack is never mapped.
const STACK_SLOT: usize = 0x2_0000;

/// The lowest address and the end of a CPU's stack.
pub fn stack(cpu: CpuId, which: Stack) -> (VirtualAddress, VirtualAddress) {
    let (offset, bytes) = which.offset_and_bytes();
    let start = paging::STACKS + cpu.index() * STACK_SLOT + offset;
    (VirtualAddress(start), VirtualAddress(start + bytes))
}

/// The stack that holds `address`, or whose guard page (just below it) does.
pub fn stack_around(address: usize) -> Option<(CpuId, Stack, bool)> {
    let offset = address.checked_sub(paging::STACKS)?;
    let cpu = u16::try_from(offset / STACK_SLOT).ok().filter(|&cpu| usize::from(cpu) < MAX_CPUS)?;
    let cpu = CpuId::new(cpu);
    Stack::ALL.into_iter().find_map(|which| {
        let (start, end) = stack(cpu, which);
        (start.0 - PAGE_SIZE..end.0).contains(&address).then_some((cpu, which, address < start.0))
    })
}

/// This CPU's area. Valid in the kernel at any time after the CPU's own start.
pub fn this() -> &'static PerCpu {
    let area: *const PerCpu;
    // SAFETY: the GS base points to this CPU's area in kernel mode, and its first word is its own address.
    unsafe { asm!("mov {}, gs:[0]", out(reg) area, options(nostack, preserves_flags, readonly)) };
    // SAFETY: areas are never freed and all their fields are atomics.
    unsafe { &*area }
}

/// The area of `cpu`, if it was prepared.
pub fn of(cpu: CpuId) -> Option<&'static PerCpu> {
    let area = AREAS.get(cpu.index())?.load(Ordering::Acquire);
    // SAFETY: a pointer in the table is null or names an area that is never freed, all of atomics.
    unsafe { area.as_ref() }
}

/// Makes the boot CPU's area. Once, before anything else; the hardware id is set later.
pub(crate) fn prepare_boot() -> &'static PerCpu {
    let place: *mut PerCpu = (&raw mut BOOT_AREA).cast();
    // SAFETY: this runs once, on the only CPU, before anyone can see the area.
    unsafe { place.write(PerCpu::new(CpuId::BOOT, 0)) };
    publish(place)
}

/// Sets the boot CPU's hardware id, once discovery knows it.
pub fn set_hardware_id(area: &PerCpu, hardware_id: u32) {
    area.hardware_id.store(hardware_id, Ordering::Relaxed);
}

/// Makes the area and maps the stacks of a secondary CPU. At boot, while boot frames are to be had.
///
/// # Panics
/// If `cpu` is beyond [`MAX_CPUS`] or memory runs out: both mean that the machine cannot be started.
pub fn prepare(cpu: CpuId, hardware_id: u32) -> &'static PerCpu {
    const FRAMES: usize = size_of::<PerCpu>().div_ceil(PAGE_SIZE);
    const { assert!(FRAMES == 1) };
    let place: *mut PerCpu = paging::direct(memory::allocate_zeroed().start()).cast();
    // SAFETY: the frame is fresh, mapped in the direct map and large enough.
    unsafe { place.write(PerCpu::new(cpu, hardware_id)) };
    map_stacks(cpu);
    publish(place)
}

/// Maps the stacks of `cpu`.
pub(crate) fn map_stacks(cpu: CpuId) {
    for which in Stack::ALL {
        let (start, end) = stack(cpu, which);
        for page in (start.0..end.0).step_by(PAGE_SIZE) {
            paging::map_kernel_page(VirtualAddress(page), memory::allocate_zeroed());
        }
    }
}

fn publish(place: *mut PerCpu) -> &'static PerCpu {
    // SAFETY: the caller has just initialised the area, which is never freed.
    let area = unsafe { &*place };
    area.this.store(place, Ordering::Relaxed);
    AREAS[area.cpu().index()].store(place, Ordering::Release);
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_its_stack_and_a_guard_page_belongs_to_the_stack_above() {
        for cpu in [CpuId::BOOT, CpuId::new(511)] {
            for which in Stack::ALL {
                let (start, end) = stack(cpu, which);
                assert_eq!(stack_around(start.0), Some((cpu, which, false)));
                assert_eq!(stack_around(end.0 - 1), Some((cpu, which, false)));
                assert_eq!(stack_around(start.0 - 1), Some((cpu, which, true)));
            }
        }
        assert_eq!(stack_around(paging::STACKS - 1), None);
        assert_eq!(stack_around(paging::STACKS + STACK_SLOT * MAX_CPUS), None);
    }

    #[test]
    fn stacks_of_one_cpu_never_touch() {
        for pair in Stack::ALL.windows(2) {
            let (_, end) = stack(CpuId::BOOT, pair[0]);
            let (start, _) = stack(CpuId::BOOT, pair[1]);
            assert!(start.0 >= end.0 + PAGE_SIZE);
        }
        let (_, last) = stack(CpuId::BOOT, Stack::MachineCheck);
        assert!(last.0 <= stack(CpuId::new(1), Stack::Kernel).0.0 - PAGE_SIZE);
    }
}
