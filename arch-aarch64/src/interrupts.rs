//! Interrupts: acknowledge them, count them, and tell the kernel when it was the kernel that was interrupted.

use crate::devices::Devices;
use crate::gic::Group;
use crate::percpu::{self, InterruptCounts};
use crate::{halt, vectors};
use aarch64_cpu::asm::barrier;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;
use tessera_hal::{Interrupt, InterruptState};

static HOOK: Once<fn(Interrupt)> = Once::new();
static DEVICES: Once<&'static Devices> = Once::new();

/// Sets what is called for an interrupt of the kernel. The first call counts.
pub(crate) fn set_hook(hook: fn(Interrupt)) {
    HOOK.call_once(|| hook);
}

/// Sets whose interrupt controller acknowledges interrupts, before any is unmasked.
pub(crate) fn set_devices(devices: &'static Devices) {
    DEVICES.call_once(|| devices);
}

/// Takes the interrupt that is due on this CPU and says what it is. The timer's is a level: the timer is stopped before the
/// interrupt is ended.
pub(crate) fn acknowledge() -> Interrupt {
    let interrupt = DEVICES.get().map_or(Interrupt::Spurious, |devices| take(devices));
    counter(&percpu::this().interrupts, interrupt).fetch_add(1, Ordering::Relaxed);
    interrupt
}

fn take(devices: &Devices) -> Interrupt {
    let Some(taken) = devices.gic().acknowledge(Group::Ordinary) else { return Interrupt::Spurious };
    let interrupt = classify(taken.number(), devices.timer_interrupt());
    if interrupt == Interrupt::Timer {
        devices.disarm();
    }
    devices.gic().end(taken, Group::Ordinary);
    if taken.number() == vectors::HALT {
        halt::on_request();
    }
    interrupt
}

/// A request to halt, by FIQ. Comes back only if nobody stops the machine.
pub(crate) fn on_fast() {
    if let Some(devices) = DEVICES.get()
        && let Some(taken) = devices.gic().acknowledge(Group::Fast)
    {
        devices.gic().end(taken, Group::Fast);
        halt::on_request();
    }
}

/// An interrupt arrived in kernel mode.
pub(crate) extern "C" fn in_kernel() {
    let interrupt = acknowledge();
    if let Some(hook) = HOOK.get() {
        hook(interrupt);
    }
}

/// A request to halt arrived in kernel mode.
pub(crate) extern "C" fn fast_in_kernel() {
    on_fast();
}

/// What a number stands for.
fn classify(number: u32, timer: u32) -> Interrupt {
    match number {
        vectors::KICK => Interrupt::Kick,
        number if number == timer => Interrupt::Timer,
        _ => vectors::line_of(number).map_or(Interrupt::Spurious, Interrupt::Device),
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

/// Masks interrupts on this CPU. The request to halt stays deliverable.
pub(crate) fn mask() -> InterruptState {
    const MASKED: u64 = 1 << 7;
    let state: u64;
    // SAFETY: masking is what the caller asked for; memory accesses are not moved over it.
    unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) state, options(nostack)) };
    if state & MASKED != 0 { InterruptState::Masked } else { InterruptState::Unmasked }
}

/// Goes back to `state`.
pub(crate) fn restore(state: InterruptState) {
    if state == InterruptState::Unmasked {
        // SAFETY: the vectors are installed, and the state was unmasked when the caller masked it.
        unsafe { asm!("msr daifclr, #2", options(nostack)) };
    }
}

/// Runs `work` with interrupts masked.
pub(crate) fn without_interrupts<R>(work: impl FnOnce() -> R) -> R {
    let state = mask();
    let result = work();
    restore(state);
    result
}

/// Makes errors of the machine and requests to halt deliverable on this CPU; the vectors must be installed.
pub(crate) fn unmask_fatal() {
    // SAFETY: the vectors are installed, as the caller promises; neither ever comes back to change anything.
    unsafe { asm!("msr daifclr, #5", options(nostack)) };
}

/// Waits for an interrupt. A masked one that is pending ends the wait, so none is missed before it is let in.
pub(crate) fn idle() {
    barrier::dsb(barrier::SY);
    aarch64_cpu::asm::wfi();
    // SAFETY: the vectors are installed; interrupts are let in between the two instructions and masked again.
    unsafe { asm!("msr daifclr, #2", "isb", "msr daifset, #2", options(nostack)) };
}
