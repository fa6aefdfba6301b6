//! [`SchedHal`]: all that `kernel-core` needs of a machine.

use crate::{CpuId, CpuTopology, Duration, Instant, IrqLine, Probe, RequestWord, Requests, Route, RouteError, Ticket};
use core::fmt;

/// What a CPU's one-shot clockevent can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clockevent {
    /// The step of the counter, rounded up to a nanosecond.
    pub resolution: Duration,
    /// The shortest distance that can be armed; nearer deadlines fire after this long.
    pub min: Duration,
    /// The longest distance that can be armed. Later deadlines are armed at this distance; the handler arms again.
    pub max: Duration,
}

/// Why the clockevent could not be armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArmError {
    /// This CPU has no working one-shot timer.
    NoClockevent(CpuId),
}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClockevent(cpu) => write!(f, "CPU {cpu} has no working one-shot timer"),
        }
    }
}

impl core::error::Error for ArmError {}

/// Whether interrupts were deliverable before they were masked; to be given back to `restore_interrupts`.
#[must_use = "interrupts stay masked until the state is restored"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterruptState {
    /// They were masked already.
    Masked,
    /// They were deliverable.
    Unmasked,
}

/// What a scheduler needs of the machine. Every method may be called with interrupts masked and under a spin lock,
/// allocates nothing, and never calls back into the dispatcher.
pub trait SchedHal: Send + Sync {
    /// The monotonic time. Never goes backward, not even from one CPU to another.
    fn now(&self) -> Instant;

    /// How many CPUs there are. They are numbered `0..cpu_count()`; fixed after boot.
    fn cpu_count(&self) -> usize;

    /// The CPU that executes this call.
    fn this_cpu(&self) -> CpuId;

    /// Where `cpu` stands.
    fn topology(&self, cpu: CpuId) -> CpuTopology;

    /// Masks interrupts on this CPU.
    fn mask_interrupts(&self) -> InterruptState;

    /// Goes back to the state that `mask_interrupts` returned.
    fn restore_interrupts(&self, state: InterruptState);

    /// What this CPU's clockevent can do.
    fn clockevent(&self) -> Clockevent;

    /// Programs this CPU's one-shot for `deadline`, in place of any earlier programming. A deadline in the past fires
    /// at once; one further away than `Clockevent::max` fires early, at that distance.
    fn arm(&self, deadline: Instant) -> Result<(), ArmError>;

    /// Stops this CPU's one-shot. A fire that was already on its way may still arrive.
    fn disarm(&self);

    /// The request word of `cpu`.
    fn request_word(&self, cpu: CpuId) -> &RequestWord;

    /// Sends the kick interrupt to `cpu`, after all earlier stores of this CPU are visible to it. May be sent to
    /// oneself. Use [`SchedHal::kick`].
    fn send_kick_interrupt(&self, cpu: CpuId);

    /// Posts `requests` to `cpu` and interrupts it unless an earlier post already has.
    fn kick(&self, cpu: CpuId, requests: Requests) -> Ticket {
        let posted = self.request_word(cpu).post(requests);
        if posted.must_interrupt {
            self.send_kick_interrupt(cpu);
        }
        posted.ticket
    }

    /// Routes a device interrupt and answers the previous route, as read back from the controller.
    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError>;

    /// Waits for an interrupt. Called with interrupts masked; makes them deliverable and waits in one step, so that
    /// none is missed; lets those that are pending in; returns with interrupts masked. May return early.
    fn idle(&self);

    /// Told of each lock and each shared write of the scheduler. A machine has no use for it; a fake counts.
    #[inline(always)]
    fn probe(&self, probe: Probe) {
        let _ = probe;
    }
}

/// A HAL behind a shared reference is a HAL.
impl<H: SchedHal> SchedHal for &'static H {
    fn now(&self) -> Instant {
        (**self).now()
    }
    fn cpu_count(&self) -> usize {
        (**self).cpu_count()
    }
    fn this_cpu(&self) -> CpuId {
        (**self).this_cpu()
    }
    fn topology(&self, cpu: CpuId) -> CpuTopology {
        (**self).topology(cpu)
    }
    fn mask_interrupts(&self) -> InterruptState {
        (**self).mask_interrupts()
    }
    fn restore_interrupts(&self, state: InterruptState) {
        (**self).restore_interrupts(state);
    }
    fn clockevent(&self) -> Clockevent {
        (**self).clockevent()
    }
    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        (**self).arm(deadline)
    }
    fn disarm(&self) {
        (**self).disarm();
    }
    fn request_word(&self, cpu: CpuId) -> &RequestWord {
        (**self).request_word(cpu)
    }
    fn send_kick_interrupt(&self, cpu: CpuId) {
        (**self).send_kick_interrupt(cpu);
    }
    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        (**self).route_irq(line, route)
    }
    fn idle(&self) {
        (**self).idle();
    }
    fn probe(&self, probe: Probe) {
        (**self).probe(probe);
    }
}
