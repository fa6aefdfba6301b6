//! The per-CPU area, reached through `TPIDR_EL1`, which is valid from before the vectors are installed and which user
//! mode cannot change.
//!
//! All fields are atomics: most are written by their own CPU only. The request word stands on its own cache line, since
//! other CPUs write it. Areas are made at boot and never freed.

use crate::paging;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU64, Ordering};
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
    /// Interrupts that went away or that nobody asked for.
    pub spurious: AtomicU64,
}

/// One CPU's area.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct PerCpu {
    /// The end of the stack on which the kernel's own faults are reported.
    pub(crate) fault_stack: AtomicU64,
    cpu: AtomicU16,
    /// Its affinity, by which the firmware and the interrupt controller know it.
    affinity: AtomicU64,
    /// How the interrupt controller names it as a target.
    pub(crate) interrupt_target: AtomicU64,
    /// The context (by its number) whose FPU state is in the registers; 0 is nobody.
    pub(crate) fpu_owner: AtomicU64,
    /// Whether FPU instructions trap.
    pub(crate) fpu_disabled: AtomicBool,
    /// Whether it is printing a panic.
    pub(crate) reporting: AtomicBool,
    /// Whether it has begun to run the kernel's code.
    pub(crate) started: AtomicBool,
    /// Whether it has stopped for good.
    pub(crate) stopped: AtomicBool,
    /// The registers of the kernel fault that is being reported.
    pub(crate) fault: AtomicPtr<crate::user::Registers>,
    /// Interrupts taken.
    pub interrupts: InterruptCounts,
    /// What other CPUs want of this one.
    pub requests: RequestWord,
}

static AREAS: [AtomicPtr<PerCpu>; MAX_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

impl PerCpu {
    fn new(cpu: CpuId, affinity: u64) -> Self {
        Self {
            fault_stack: AtomicU64::new(stack(cpu, Stack::Fault).1.0 as u64),
            cpu: AtomicU16::new(cpu.get()),
            affinity: AtomicU64::new(affinity),
            interrupt_target: AtomicU64::new(0),
            fpu_owner: AtomicU64::new(0),
            fpu_disabled: AtomicBool::new(true),
            reporting: AtomicBool::new(false),
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            fault: AtomicPtr::new(core::ptr::null_mut()),
            interrupts: InterruptCounts::default(),
            requests: RequestWord::new(),
        }
    }

    /// Which CPU this is.
    pub fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Relaxed))
    }

    /// Its affinity.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
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
    /// For the kernel's own faults, the overflow of the other stack among them.
    Fault,
}

impl Stack {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Kernel, Self::Fault];

    const fn offset_and_bytes(self) -> (usize, usize) {
        match self {
            Self::Kernel => (0x1000, 0x10000),
            Self::Fault => (0x12000, 0x4000),
        }
    }
}

/// Bytes of address space for the stacks of one CPU; what is not a stack is never mapped.
pub(crate) const STACK_SLOT: usize = 0x2_0000;
/// Where in its slot a CPU's kernel stack ends, for the entry code.
pub(crate) const KERNEL_STACK_END: usize = Stack::Kernel.offset_and_bytes().0 + Stack::Kernel.offset_and_bytes().1;

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

/// The area of `cpu`, if it was prepared.
pub fn of(cpu: CpuId) -> Option<&'static PerCpu> {
    let area = AREAS.get(cpu.index())?.load(Ordering::Acquire);
    // SAFETY: a pointer in the table is null or names an area that is never freed, all of atomics.
    unsafe { area.as_ref() }
}

#[cfg(target_os = "none")]
pub use own::*;

#[cfg(target_os = "none")]
mod own {
    use super::{AREAS, PerCpu, Stack, stack};
    use crate::{memory, paging};
    use aarch64_cpu::registers::{MPIDR_EL1, Readable, TPIDR_EL1, TPIDRRO_EL0, Writeable};
    use core::sync::atomic::Ordering;
    use tessera_hal::{CpuId, PAGE_SIZE, VirtualAddress};

    /// The fields of MPIDR that name a CPU.
    pub const AFFINITY: u64 = 0xff_00ff_ffff;

    /// The boot CPU's area: there before any memory is known.
    static mut BOOT_AREA: core::mem::MaybeUninit<PerCpu> = core::mem::MaybeUninit::uninit();

    /// This CPU's area. Valid in the kernel at any time after the CPU's own start.
    pub fn this() -> &'static PerCpu {
        let area = TPIDR_EL1.get() as *const PerCpu;
        // SAFETY: the register holds the address of this CPU's area, which is never freed and all of atomics.
        unsafe { &*area }
    }

    /// Makes `area` the one of the CPU that executes this. User mode reads its number in `TPIDRRO_EL0`.
    pub(crate) fn install(area: &'static PerCpu) {
        TPIDR_EL1.set(core::ptr::from_ref(area) as u64);
        TPIDRRO_EL0.set(u64::from(area.cpu().get()));
        area.started.store(true, Ordering::Release);
    }

    /// The affinity of the CPU that executes this.
    pub fn own_affinity() -> u64 {
        MPIDR_EL1.get() & AFFINITY
    }

    /// Makes and installs the boot CPU's area. Once, before anything else.
    pub(crate) fn prepare_boot() -> &'static PerCpu {
        let place: *mut PerCpu = (&raw mut BOOT_AREA).cast();
        // SAFETY: this runs once, on the only CPU, before anyone can see the area.
        unsafe { place.write(PerCpu::new(CpuId::BOOT, own_affinity())) };
        let area = publish(place);
        install(area);
        area
    }

    /// Makes the area and maps the stacks of a secondary CPU. At boot, while boot frames are to be had.
    pub(crate) fn prepare(cpu: CpuId, affinity: u64) {
        const FRAMES: usize = size_of::<PerCpu>().div_ceil(PAGE_SIZE);
        const { assert!(FRAMES == 1) };
        let place: *mut PerCpu = paging::direct(memory::allocate_zeroed().start()).cast();
        // SAFETY: the frame is fresh, mapped in the direct map and large enough.
        unsafe { place.write(PerCpu::new(cpu, affinity)) };
        map_stacks(cpu);
        publish(place);
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
        AREAS[area.cpu().index()].store(place, Ordering::Release);
        area
    }
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
    fn stacks_of_one_cpu_never_touch_each_other_or_those_of_the_next() {
        let (_, kernel) = stack(CpuId::BOOT, Stack::Kernel);
        let (fault, end) = stack(CpuId::BOOT, Stack::Fault);
        assert!(fault.0 >= kernel.0 + PAGE_SIZE);
        assert!(end.0 <= stack(CpuId::new(1), Stack::Kernel).0.0 - PAGE_SIZE);
        assert_eq!(kernel.0, paging::STACKS + KERNEL_STACK_END, "the entry code computes it so");
    }
}
