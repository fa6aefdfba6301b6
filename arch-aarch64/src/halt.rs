//! Stopping CPUs for good: a claim and an interrupt that the kernel never masks (FIQ), so that even a CPU that loops with
//! interrupts masked stops. Used when the kernel panics.
//!
//! Where the interrupt controller belongs to secure firmware, there is no such interrupt and an ordinary one is sent: a
//! CPU that has interrupts masked is then left alone.

use crate::percpu::{self, MAX_CPUS, PerCpu};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};
use tessera_hal::CpuId;

/// Nobody stops the machine; else the number of the CPU that does, plus one.
const NOBODY: u32 = 0;
static CLAIMED_BY: AtomicU32 = AtomicU32::new(NOBODY);
/// How often the others are looked at before a CPU that does not answer is left alone.
const PATIENCE: u32 = 2_000_000;

/// Claims the right to stop the machine for this CPU. Only the first CPU gets it, as often as it asks.
pub(crate) fn claim() -> bool {
    let mine = u32::from(percpu::this().cpu().get()) + 1;
    match CLAIMED_BY.compare_exchange(NOBODY, mine, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => true,
        Err(holder) => holder == mine,
    }
}

/// A request to stop arrived: stop if another CPU has claimed the machine, else go on.
pub(crate) fn on_request() {
    if CLAIMED_BY.load(Ordering::Acquire) != NOBODY && !claim() {
        percpu::this().stopped.store(true, Ordering::Release);
        forever();
    }
}

/// Waits, within reason, until every other CPU that has started has stopped.
pub(crate) fn wait_for_others() {
    let this = percpu::this().cpu();
    for _ in 0..PATIENCE {
        let mut others = (0..MAX_CPUS as u16).map(CpuId::new).filter(|&cpu| cpu != this).filter_map(percpu::of);
        if others.all(has_ended) {
            break;
        }
        spin_loop();
    }
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
