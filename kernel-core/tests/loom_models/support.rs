//! What the model tests share.

use kernel_core::slab::Slot;
use kernel_core::sync::{WakeLink, WakeLinks};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tessera_hal::sync::Fault;
use tessera_hal::{
    ArmError, Clockevent, CpuId, CpuTopology, Duration, Instant, InterruptState, IrqLine, RequestWord, Route,
    RouteError, SchedHal,
};

/// Checks that `model` holds in every interleaving, and that it does not once `fault` is switched on: so the checker
/// really looks at what the fault breaks.
pub fn holds_and_finds(fault: Fault, model: fn()) {
    holds(model);
    let outcome = catch_unwind(AssertUnwindSafe(|| fault.during(|| holds(model))));
    assert!(outcome.is_err(), "the checker has not found {fault:?}");
}

/// Checks that `model` holds in every interleaving.
pub fn holds(model: fn()) {
    loom::model(model);
}

/// Checks that the checker refuses `model`.
pub fn is_refused(model: fn()) {
    let outcome = catch_unwind(AssertUnwindSafe(|| holds(model)));
    assert!(outcome.is_err(), "the checker has not found the fault");
}

/// Links of a few threads.
pub struct Links(pub Vec<WakeLink>);

impl Links {
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| WakeLink::default()).collect())
    }
}

impl WakeLinks for Links {
    fn wake_link(&self, slot: Slot) -> &WakeLink {
        &self.0[slot.index() as usize]
    }
}

/// A machine on which nothing but locks works: all that the protocols need.
pub struct LocksOnly(RequestWord);

impl LocksOnly {
    pub fn new() -> Self {
        Self(RequestWord::new())
    }
}

impl SchedHal for LocksOnly {
    fn now(&self) -> Instant {
        Instant::ORIGIN
    }
    fn cpu_count(&self) -> usize {
        1
    }
    fn this_cpu(&self) -> CpuId {
        CpuId::BOOT
    }
    fn topology(&self, _: CpuId) -> CpuTopology {
        CpuTopology::default()
    }
    fn mask_interrupts(&self) -> InterruptState {
        InterruptState::Masked
    }
    fn restore_interrupts(&self, _: InterruptState) {}
    fn clockevent(&self) -> Clockevent {
        let step = Duration::from_nanos(1);
        Clockevent { resolution: step, min: step, max: step }
    }
    fn arm(&self, _: Instant) -> Result<(), ArmError> {
        Err(ArmError::NoClockevent(CpuId::BOOT))
    }
    fn disarm(&self) {}
    fn request_word(&self, _: CpuId) -> &RequestWord {
        &self.0
    }
    fn send_kick_interrupt(&self, _: CpuId) {}
    fn route_irq(&self, line: IrqLine, _: Route) -> Result<Route, RouteError> {
        Err(RouteError::NoSuchLine(line))
    }
    fn idle(&self) {}
}
