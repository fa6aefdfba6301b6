//! The clock: the generic timer's virtual count, which all CPUs share, in nanoseconds.
//!
//! [`Scale`] is a 32-bit binary fraction of nanoseconds per tick, so that a reading is one multiplication. Both
//! directions use the same fraction: the tick for a deadline is the first one whose reading is not before it.

use core::fmt;
use tessera_hal::{Duration, Instant};

const FRACTION_BITS: u32 = 32;

/// Nanoseconds per tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    nanoseconds: u64,
}

/// The counter's frequency register holds what no machine can mean: zero, or more than 2^32 GHz.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadFrequency(pub u64);

impl fmt::Display for BadFrequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the generic timer says that it counts at {} Hz", self.0)
    }
}

impl core::error::Error for BadFrequency {}

impl Scale {
    /// The scale of a counter of `frequency` Hz.
    pub fn new(frequency: u64) -> Result<Self, BadFrequency> {
        match (1_000_000_000_u64 << FRACTION_BITS).checked_div(frequency) {
            Some(nanoseconds) if nanoseconds > 0 => Ok(Self { nanoseconds }),
            _ => Err(BadFrequency(frequency)),
        }
    }

    /// The time at this count.
    pub fn instant(self, ticks: u64) -> Instant {
        let nanoseconds = (u128::from(ticks) * u128::from(self.nanoseconds)) >> FRACTION_BITS;
        Instant::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// The first count at which the time is not before `instant`; saturates at the counter's end.
    pub fn ticks(self, instant: Instant) -> u64 {
        let ticks = (u128::from(instant.as_nanos()) << FRACTION_BITS).div_ceil(u128::from(self.nanoseconds));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// One tick, rounded up to a nanosecond.
    pub fn resolution(self) -> Duration {
        Duration::from_nanos(self.nanoseconds.div_ceil(1 << FRACTION_BITS))
    }
}

/// The count, in program order with what stands before it.
#[cfg(target_os = "none")]
pub fn count() -> u64 {
    use aarch64_cpu::asm::barrier;
    use aarch64_cpu::registers::{CNTVCT_EL0, Readable};
    barrier::isb(barrier::SY);
    CNTVCT_EL0.get()
}

/// The frequency that the firmware wrote, in Hz. It differs between CPU models and is never assumed.
#[cfg(target_os = "none")]
pub fn frequency() -> u64 {
    use aarch64_cpu::registers::{CNTFRQ_EL0, Readable};
    CNTFRQ_EL0.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_maps_to_the_first_tick_that_is_not_before_it() {
        for frequency in [24_000_000, 62_500_000, 54_000_000, 1_000_000_000, 2_400_000_000] {
            let scale = Scale::new(frequency).unwrap();
            for nanoseconds in [0, 1, 15, 16, 17, 999_999_999, 86_400_000_000_000, 31_536_000_000_000_001] {
                let deadline = Instant::from_nanos(nanoseconds);
                let ticks = scale.ticks(deadline);
                assert!(scale.instant(ticks) >= deadline, "{nanoseconds} ns at {frequency} Hz");
                assert!(ticks == 0 || scale.instant(ticks - 1) < deadline, "{nanoseconds} ns at {frequency} Hz");
            }
        }
    }

    #[test]
    fn a_day_of_ticks_is_a_day_to_a_millionth() {
        let scale = Scale::new(24_000_000).unwrap();
        let day = scale.instant(24_000_000 * 86_400).as_nanos();
        assert!(day.abs_diff(86_400_000_000_000) < 86_400_000);
    }

    #[test]
    fn the_ends_saturate() {
        let scale = Scale::new(62_500_000).unwrap();
        assert_eq!(scale.instant(u64::MAX).as_nanos(), u64::MAX);
        assert_eq!(Scale::new(2_000_000_000).unwrap().ticks(Instant::from_nanos(u64::MAX)), u64::MAX);
        assert_eq!(scale.resolution().as_nanos(), 16);
    }

    #[test]
    fn a_frequency_of_zero_is_refused() {
        assert_eq!(Scale::new(0), Err(BadFrequency(0)));
    }
}
