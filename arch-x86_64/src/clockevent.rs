//! Each CPU's one-shot: the local APIC's timer, by TSC deadline where the CPU offers it and the clock is the TSC.
//!
//! One value describes the timers of all CPUs; each method programs the one of the CPU that calls it.

use crate::apic::{LocalApic, TimerMode};
use crate::clock::{Clock, NANOSECONDS, Scale};
use crate::topology::Cpuid;
use core::{arch::asm, fmt, num::NonZeroU64};
use tessera_hal::{self as hal, Duration, Instant};
use x86_64::registers::model_specific::Msr;

const TSC_DEADLINE_MSR: u32 = 0x6e0;
/// A TSC deadline reaches further than anybody waits; this keeps the arithmetic far from its ends.
const LONGEST_TSC_DEADLINE: Duration = Duration::from_secs(3600);

/// Whether the CPU has a TSC deadline timer.
pub fn tsc_deadline_offered(cpuid: &impl Cpuid) -> bool {
    cpuid.leaf(1, 0).c & 1 << 24 != 0
}

/// How the timers are programmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A count at this ratio of ticks to nanoseconds.
    Count(Scale),
    /// The TSC value at which to fire.
    TscDeadline,
}

/// The machine's clockevents.
#[derive(Clone, Copy, Debug)]
pub struct LocalTimer {
    kind: Kind,
    can: hal::Clockevent,
}

/// The machine has no usable timer in its local APICs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoTimer;

impl fmt::Display for NoTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the local APIC's timer does not count, so there is no clockevent")
    }
}

impl core::error::Error for NoTimer {}

impl LocalTimer {
    /// Chooses the kind. The clock must be settled: a TSC that cannot be read as time is no deadline either.
    pub fn new(clock: &Clock, deadline_offered: bool) -> Result<Self, NoTimer> {
        if deadline_offered && clock.is_tsc() {
            let resolution = Duration::from_nanos(NANOSECONDS.div_ceil(clock.calibration().tsc_hz.get()));
            let can = hal::Clockevent { resolution, min: resolution, max: LONGEST_TSC_DEADLINE };
            return Ok(Self { kind: Kind::TscDeadline, can });
        }
        let timer = Self::counting(clock.calibration().timer_hz.ok_or(NoTimer)?);
        Ok(match clock.upkeep() {
            Some(upkeep) => Self { can: hal::Clockevent { max: timer.can.max.min(upkeep), ..timer.can }, ..timer },
            None => timer,
        })
    }

    /// A count-down timer of this frequency.
    fn counting(hertz: NonZeroU64) -> Self {
        const SECOND: NonZeroU64 = NonZeroU64::new(NANOSECONDS).unwrap();
        let resolution = Duration::from_nanos(NANOSECONDS.div_ceil(hertz.get()));
        let max = Duration::from_nanos(Scale::new(SECOND, hertz).apply(u64::from(u32::MAX)));
        Self { kind: Kind::Count(Scale::new(hertz, SECOND)), can: hal::Clockevent { resolution, min: resolution, max } }
    }

    /// What the timers can do.
    pub const fn can(&self) -> hal::Clockevent {
        self.can
    }

    /// The kind, for the boot line.
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Count(_) => "LAPIC one-shot",
            Kind::TscDeadline => "TSC-deadline",
        }
    }

    /// Prepares this CPU's timer, stopped.
    pub fn set_up_here(&self, apic: &LocalApic) {
        apic.set_up_timer(match self.kind {
            Kind::Count(_) => TimerMode::OneShot,
            Kind::TscDeadline => TimerMode::TscDeadline,
        });
    }

    /// Programs this CPU's timer for `deadline`, in place of what was programmed before.
    pub fn arm(&self, apic: &LocalApic, clock: &Clock, deadline: Instant) {
        let now = clock.now();
        let distance = deadline.saturating_duration_since(now).clamp(self.can.min, self.can.max);
        match self.kind {
            Kind::Count(scale) => apic.set_timer_count(count_for(scale, distance)),
            Kind::TscDeadline => write_tsc_deadline(clock.tsc_at(now.saturating_add(distance))),
        }
    }

    /// Stops this CPU's timer; a clock that needs upkeep keeps it at its longest distance.
    pub fn disarm(&self, apic: &LocalApic, clock: &Clock) {
        match (self.kind, clock.upkeep()) {
            (Kind::Count(scale), Some(_)) => apic.set_timer_count(count_for(scale, self.can.max)),
            (Kind::Count(_), None) => apic.set_timer_count(0),
            (Kind::TscDeadline, _) => write_tsc_deadline(0),
        }
    }
}

/// The count that takes at least `distance`: zero would stop the timer.
fn count_for(scale: Scale, distance: Duration) -> u32 {
    u32::try_from(scale.apply_rounding_up(distance.as_nanos())).unwrap_or(u32::MAX).max(1)
}

/// Zero stops the timer; a value in the past fires at once.
fn write_tsc_deadline(value: u64) {
    // SAFETY: fences touch nothing. This one keeps the write behind an earlier store to the timer's mode.
    unsafe { asm!("mfence", "lfence", options(nostack, preserves_flags)) };
    // SAFETY: the register exists where `tsc_deadline_offered` said so, and takes any value.
    unsafe { Msr::new(TSC_DEADLINE_MSR).write(value) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_round_up_and_never_stop_the_timer() {
        let timer = LocalTimer::counting(NonZeroU64::new(62_500_000).unwrap());
        let Kind::Count(scale) = timer.kind else { panic!("a counting timer") };
        assert_eq!(count_for(scale, Duration::ZERO), 1);
        assert_eq!(count_for(scale, Duration::from_nanos(16)), 1);
        assert_eq!(count_for(scale, Duration::from_nanos(17)), 2);
        assert_eq!(count_for(scale, Duration::from_secs(1)), 62_500_000);
        assert_eq!(count_for(scale, Duration::from_secs(1_000)), u32::MAX);
    }

    #[test]
    fn the_descriptor_follows_the_frequency() {
        let can = LocalTimer::counting(NonZeroU64::new(NANOSECONDS).unwrap()).can();
        assert_eq!(can.resolution, Duration::from_nanos(1));
        assert_eq!(can.max, Duration::from_nanos(u64::from(u32::MAX)));
        let Kind::Count(scale) = LocalTimer::counting(NonZeroU64::new(24_000_000).unwrap()).kind else {
            panic!("a counting timer")
        };
        let can = LocalTimer::counting(NonZeroU64::new(24_000_000).unwrap()).can();
        assert_eq!(can.resolution, Duration::from_nanos(42));
        assert!(count_for(scale, can.max) > u32::MAX - 42, "the longest distance still fits");
    }
}
