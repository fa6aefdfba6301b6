//! Stopping CPUs for good: a flag and a non-maskable interrupt, so that even a CPU that loops with interrupts masked
//! stops. Used when the kernel panics.

use crate::percpu;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::{hlt, interrupts};

static STOPPING: AtomicBool = AtomicBool::new(false);

/// Claims the right to stop the machine. Only the first CPU gets it.
pub(crate) fn claim() -> bool {
    !STOPPING.swap(true, Ordering::AcqRel)
}

/// A non-maskable interrupt: stop if a CPU has claimed the machine, else go on.
pub(crate) fn on_non_maskable() {
    if STOPPING.load(Ordering::Acquire) {
        percpu::this().stop.store(true, Ordering::Release);
        forever();
    }
}

/// Never runs anything again on this CPU.
pub fn forever() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}
