//! The per-CPU area, reached through `TPIDR_EL1`, which is valid from before the vectors are installed and which user
//! mode cannot change.

use aarch64_cpu::registers::{MPIDR_EL1, Readable, TPIDR_EL1, TPIDRRO_EL0, Writeable};
use tessera_hal::CpuId;

/// What a CPU knows of itself.
#[derive(Debug)]
#[repr(align(64))]
struct PerCpu {
    cpu: CpuId,
}

static BOOT: PerCpu = PerCpu { cpu: CpuId::BOOT };

/// Makes the CPU that executes this the boot CPU. User mode reads its number in `TPIDRRO_EL0`.
pub fn install_boot() {
    TPIDR_EL1.set(&raw const BOOT as u64);
    TPIDRRO_EL0.set(u64::from(BOOT.cpu.get()));
}

/// The CPU that executes this.
pub fn this_cpu() -> CpuId {
    let area = TPIDR_EL1.get() as *const PerCpu;
    // SAFETY: the register holds the address of a static area since before anything else ran on this CPU.
    unsafe { (*area).cpu }
}

/// The affinity by which the interrupt controller knows this CPU.
pub fn affinity() -> u64 {
    MPIDR_EL1.get() & 0xff_00ff_ffff
}
