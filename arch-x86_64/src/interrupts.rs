//! Interrupts: acknowledge them, count them, and tell the kernel when it was the kernel that was interrupted.

use crate::devices::Devices;
use crate::percpu::{self, InterruptCounts};
use crate::vectors;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;
use tessera_hal::{Interrupt, InterruptState};
use x86_64::instructions::interrupts as flag;

static HOOK: Once<fn(Interrupt)> = Once::new();
static DEVICES: Once<&'static Devices> = Once::new();

/// Sets what is called for an interrupt of the kernel. The first call counts.
pub(crate) fn set_hook(hook: fn(Interrupt)) {
    HOOK.call_once(|| hook);
}

/// Sets whose local APIC acknowledges interrupts, before any is unmasked.
pub(crate) fn set_devices(devices: &'static Devices) {
    DEVICES.call_once(|| devices);
}

/// Acknowledges the interrupt of `vector` on this CPU and says what it is.
pub(crate) fn acknowledge(vector: u8) -> Interrupt {
    let interrupt = classify(vector);
    if vector != vectors::SPURIOUS
        && let Some(devices) = DEVICES.get()
    {
        devices.apic().end_of_interrupt();
    }
    counter(&percpu::this().interrupts, interrupt).fetch_add(1, Ordering::Relaxed);
    interrupt
}

/// An interrupt arrived in kernel mode.
pub(crate) fn in_kernel(vector: u8) {
    let interrupt = acknowledge(vector);
    if let Some(hook) = HOOK.get() {
        hook(interrupt);
    }
}

/// What a vector stands for.
pub fn classify(vector: u8) -> Interrupt {
    match vector {
        vectors::TIMER => Interrupt::Timer,
        vectors::KICK => Interrupt::Kick,
        _ => vectors::line_of(vector).map_or(Interrupt::Spurious, Interrupt::Device),
    }
}

fn counter(counts: &InterruptCounts, interrupt: Interrupt) -> &AtomicU64 {
    match interrupt {
        Interrupt::Timer => &counts.timer,
        Interrupt::Kick => &counts.kick,
        Interrupt::Device(_) => &counts.device,
        Interrupt::Spurious => &counts.spurious,
    }
}

/// Masks interrupts on this CPU.
pub(crate) fn mask() -> InterruptState {
    let state = if flag::are_enabled() { InterruptState::Unmasked } else { InterruptState::Masked };
    flag::disable();
    state
}

/// Goes back to `state`.
pub(crate) fn restore(state: InterruptState) {
    if state == InterruptState::Unmasked {
        flag::enable();
    }
}

/// Waits for an interrupt: `sti` takes effect after the next instruction, so that none can slip in before `hlt`.
pub(crate) fn idle() {
    flag::enable_and_hlt();
    flag::disable();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_hal::IrqLine;

    #[test]
    fn each_vector_has_one_meaning() {
        assert_eq!(classify(vectors::TIMER), Interrupt::Timer);
        assert_eq!(classify(vectors::KICK), Interrupt::Kick);
        assert_eq!(classify(vectors::DEVICE_BASE + 4), Interrupt::Device(IrqLine(4)));
        assert_eq!(classify(vectors::DEVICE_BASE + vectors::DEVICE_COUNT), Interrupt::Spurious);
        assert_eq!(classify(vectors::SPURIOUS), Interrupt::Spurious);
        assert_eq!(classify(vectors::ERROR), Interrupt::Spurious);
    }
}
