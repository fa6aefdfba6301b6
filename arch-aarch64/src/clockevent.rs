//! The clockevent: this CPU's virtual timer as a one-shot. It compares with the same counter that the clock reads.

use crate::clock::{Scale, count};
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, Writeable};
use tessera_hal::{Clockevent, Duration, Instant};

/// The comparator is 64 bits wide; an hour is beyond what any caller waits for in one step.
const MAX: Duration = Duration::from_secs(3600);

/// What the timer can do.
pub fn descriptor(scale: Scale) -> Clockevent {
    Clockevent { resolution: scale.resolution(), min: Duration::ZERO, max: MAX }
}

/// Fires at `deadline`, at once if that has passed, and at the longest distance if it is further away.
pub fn arm(scale: Scale, deadline: Instant) {
    let last = scale.instant(count()).saturating_add(MAX);
    CNTV_CVAL_EL0.set(scale.ticks(deadline.min(last)));
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
    barrier::isb(barrier::SY);
}

/// Stops the timer. Its interrupt is a level, so this is also what ends it in the handler.
pub fn disarm() {
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR + CNTV_CTL_EL0::IMASK::SET);
    barrier::isb(barrier::SY);
}
