//! Stopping CPUs for good: a claim and an interrupt that the kernel never masks (FIQ), so that even a CPU that loops with
//! interrupts masked stops. Used when the kernel panics.
//!
//! Where the interrupt controller belongs to secure firmware, there is no such interrupt and an ordinary one is sent: a
//! CPU that has interrupts masked is then left alone.

use crate::percpu::{self, MAX_CPUS, PerCpu};
use core::sync::atomic::Ordering;
use tessera_hal::CpuId;
use tessera_hal::port::stopping::{self, StopClaim};

static CLAIM: StopClaim = StopClaim::new();

/// Claims the right to stop the machine for this CPU. Only the first CPU gets it, as often as it asks.
pub(crate) fn claim() -> bool {
    CLAIM.claim(percpu::this().cpu())
}

/// A request to stop arrived: stop if another CPU has claimed the machine, else go on.
pub(crate) fn on_request() {
    if CLAIM.is_anothers(percpu::this().cpu()) {
        percpu::this().stopped.store(true, Ordering::Release);
        forever();
    }
}

/// Waits, within reason, until every other CPU that has started has stopped.
pub(crate) fn wait_for_others() {
    let this = percpu::this().cpu();
    stopping::wait_until(|| {
        let mut others = (0..MAX_CPUS as u16).map(CpuId::new).filter(|&cpu| cpu != this).filter_map(percpu::of);
        others.all(has_ended)
    });
}

fn has_ended(area: &PerCpu) -> bool {
    !area.started.load(Ordering::Acquire) || area.stopped.load(Ordering::Acquire)
}

/// Never runs anything again on this CPU.
pub fn forever() -> ! {
    // SAFETY: masking everything is what stopping means.
    unsafe { core::arch::asm!("msr daifset, #0xf", options(nostack, nomem)) };
    loop {
        aarch64_cpu::asm::wfi();
    }
}
