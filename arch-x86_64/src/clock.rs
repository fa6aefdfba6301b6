//! The monotonic clock: the TSC where it is the same on all CPUs, else the reference clock.
//!
//! The TSC is trusted only after a check over all online CPUs ([`CrossCheck`]) in which none of them saw it go
//! backward; an invariant TSC that was not synchronised fails it too. Until the secondary CPUs are up, the boot CPU
//! uses the TSC: one counter cannot disagree with itself. [`Clock::settle`] decides, once, while nobody else reads.
//!
//! Ticks become nanoseconds by one 128-bit multiplication and a shift ([`Scale`]): no remainder is dropped along the
//! way, so differences of converted instants are exact to a nanosecond.

use crate::calibration::Calibration;
use crate::reference::Reference;
use crate::topology::Cpuid;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::{arch::asm, fmt, num::NonZeroU64};
use tessera_hal::{Duration, Instant};

/// Nanoseconds in a second.
pub const NANOSECONDS: u64 = 1_000_000_000;

/// Multiplies by a fixed ratio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    multiplier: u64,
    shift: u32,
}

impl Scale {
    /// The ratio `numerator / denominator`, with as many fraction bits as fit: at least 62 significant bits.
    pub const fn new(numerator: NonZeroU64, denominator: NonZeroU64) -> Self {
        let mut shift = 64 + denominator.get().ilog2() - numerator.get().ilog2();
        loop {
            // The shift is at most 127, so the numerator is shifted in two steps that do not overflow.
            let numerator = numerator.get() as u128;
            let denominator = denominator.get() as u128;
            let whole = if shift <= 64 {
                (numerator << shift) / denominator
            } else {
                wide_ratio(numerator, denominator, shift)
            };
            if whole <= u64::MAX as u128 && shift < 128 {
                return Self { multiplier: whole as u64, shift };
            }
            shift -= 1;
        }
    }

    /// `value` times the ratio, rounded down.
    pub const fn apply(self, value: u64) -> u64 {
        ((value as u128 * self.multiplier as u128) >> self.shift) as u64
    }

    /// `value` times the ratio, rounded up, or the largest number.
    pub const fn apply_rounding_up(self, value: u64) -> u64 {
        let product = value as u128 * self.multiplier as u128;
        let whole = product >> self.shift;
        let rest = product & ((1_u128 << self.shift) - 1);
        let rounded = if rest == 0 { whole } else { whole + 1 };
        if rounded > u64::MAX as u128 { u64::MAX } else { rounded as u64 }
    }
}

/// `(numerator << shift) / denominator` for shifts above 64, by long division.
const fn wide_ratio(numerator: u128, denominator: u128, shift: u32) -> u128 {
    let high = numerator << 64;
    let quotient = high / denominator;
    let rest = high % denominator;
    let more = shift - 64;
    if quotient.leading_zeros() <= more {
        return u128::MAX;
    }
    (quotient << more) | ((rest << more) / denominator)
}

/// Reads the TSC, after everything that precedes it in the program.
pub fn read_tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading the counter changes nothing; user mode cannot take it away from the kernel.
    unsafe {
        asm!("lfence", "rdtsc", "lfence", out("eax") low, out("edx") high, options(nostack, preserves_flags, nomem));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Whether the TSC counts at one rate in all power states.
pub fn tsc_is_invariant(cpuid: &impl Cpuid) -> bool {
    const POWER: u32 = 0x8000_0007;
    cpuid.has(POWER) && cpuid.leaf(POWER, 0).d & 1 << 8 != 0
}

/// Looks for a backward step of a counter from any CPU to any other. All CPUs call [`CrossCheck::take_part`] at the
/// same time; each reading is compared with the latest of all readings that were finished before it began.
#[derive(Debug, Default)]
pub struct CrossCheck {
    latest: AtomicU64,
    worst_step: AtomicU64,
    participants: AtomicUsize,
}

impl CrossCheck {
    /// How many readings each CPU makes.
    pub const READINGS: usize = 512;

    /// No reading yet.
    pub const fn new() -> Self {
        Self { latest: AtomicU64::new(0), worst_step: AtomicU64::new(0), participants: AtomicUsize::new(0) }
    }

    /// Makes this CPU's readings.
    pub fn take_part(&self, mut read: impl FnMut() -> u64) {
        for _ in 0..Self::READINGS {
            let before = self.latest.load(Ordering::SeqCst);
            let now = read();
            self.worst_step.fetch_max(before.saturating_sub(now), Ordering::Relaxed);
            self.latest.fetch_max(now, Ordering::SeqCst);
        }
        self.participants.fetch_add(1, Ordering::Release);
    }

    /// How many CPUs are done.
    pub fn participants(&self) -> usize {
        self.participants.load(Ordering::Acquire)
    }

    /// The largest backward step in ticks; zero if there was none.
    pub fn worst_step(&self) -> u64 {
        self.worst_step.load(Ordering::Relaxed)
    }
}

/// The clock. Reading it takes no lock.
#[derive(Debug)]
pub struct Clock {
    calibration: Calibration,
    to_nanoseconds: Scale,
    from_nanoseconds: Scale,
    /// The TSC at the origin.
    origin: u64,
    invariant: bool,
    reference: Reference,
    reference_scale: Scale,
    /// Whether the reference clock is read in place of the TSC.
    on_reference: AtomicBool,
    /// What to add to the reference's nanoseconds (wrapping).
    reference_offset: AtomicU64,
    /// How many CPUs took part in the check, and the backward step that it found.
    checked: AtomicUsize,
    worst_step: AtomicU64,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn new(calibration: Calibration, reference: Reference, invariant: bool) -> Self {
        const SECOND: NonZeroU64 = NonZeroU64::new(NANOSECONDS).unwrap();
        let tick = reference.tick();
        // Ticks of a denominator of 10^15 become nanoseconds by 10^6; 64 bits hold neither product.
        let (numerator, denominator) = match tick.denominator {
            1_000_000_000_000_000 => (tick.numerator, 1_000_000),
            hertz => (NANOSECONDS * tick.numerator, hertz),
        };
        let one = NonZeroU64::MIN;
        Self {
            calibration,
            to_nanoseconds: Scale::new(SECOND, calibration.tsc_hz),
            from_nanoseconds: Scale::new(calibration.tsc_hz, SECOND),
            origin: read_tsc(),
            invariant,
            reference_scale: Scale::new(
                NonZeroU64::new(numerator).unwrap_or(one),
                NonZeroU64::new(denominator).unwrap_or(one),
            ),
            reference,
            on_reference: AtomicBool::new(false),
            reference_offset: AtomicU64::new(0),
            checked: AtomicUsize::new(0),
            worst_step: AtomicU64::new(0),
        }
    }

    /// The time. Never goes backward, on whatever CPU it is read.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(if self.on_reference.load(Ordering::Acquire) {
            self.reference_nanoseconds().wrapping_add(self.reference_offset.load(Ordering::Relaxed))
        } else {
            self.to_nanoseconds.apply(read_tsc().saturating_sub(self.origin))
        })
    }

    /// What was measured at boot.
    pub const fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Whether the TSC is what is read.
    pub fn is_tsc(&self) -> bool {
        !self.on_reference.load(Ordering::Acquire)
    }

    /// The TSC value at `instant`, rounded up, for a TSC deadline.
    pub fn tsc_at(&self, instant: Instant) -> u64 {
        self.origin.saturating_add(self.from_nanoseconds.apply_rounding_up(instant.as_nanos()))
    }

    /// How often the clock must be read at least; `None` if that does not matter.
    pub fn upkeep(&self) -> Option<Duration> {
        if self.is_tsc() { None } else { self.reference.upkeep() }
    }

    /// Takes the result of the check: a TSC that went backward, or that not all CPUs could check, is replaced. No other
    /// CPU may read the clock meanwhile.
    pub fn settle(&self, check: &CrossCheck, complete: bool) {
        self.checked.store(check.participants(), Ordering::Relaxed);
        self.worst_step.store(check.worst_step(), Ordering::Relaxed);
        if (check.worst_step() != 0 || !complete) && self.is_tsc() {
            let offset = self.now().as_nanos().wrapping_sub(self.reference_nanoseconds());
            self.reference_offset.store(offset, Ordering::Relaxed);
            self.on_reference.store(true, Ordering::Release);
        }
    }

    fn reference_nanoseconds(&self) -> u64 {
        self.reference_scale.apply(self.reference.ticks())
    }
}

impl fmt::Display for Clock {
    /// For the boot line: what is read, why it is trusted, how it was calibrated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calibration { tsc_hz, uncertainty_ppm, second_ppm, told_ppm, .. } = self.calibration;
        let checked = self.checked.load(Ordering::Relaxed);
        if self.is_tsc() {
            let invariant = if self.invariant { "invariant, " } else { "" };
            write!(f, "TSC {}.{:03} MHz ({invariant}", tsc_hz.get() / 1_000_000, tsc_hz.get() / 1000 % 1000)?;
            match checked {
                0 => write!(f, "not checked yet")?,
                1 => write!(f, "checked on 1 CPU")?,
                count => write!(f, "checked on {count} CPUs")?,
            }
        } else {
            match self.worst_step.load(Ordering::Relaxed) {
                0 => write!(f, "{} (a CPU did not finish the check of the TSC", self.reference)?,
                step => write!(f, "{} (the TSC went backward by {step} ticks between CPUs", self.reference)?,
            }
        }
        write!(f, "; calibrated by {} to {uncertainty_ppm} ppm", self.reference)?;
        if let Some(deviation) = second_ppm {
            write!(f, ", second clock within {deviation} ppm")?;
        }
        if let Some(deviation) = told_ppm {
            write!(f, ", CPUID within {deviation} ppm")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::sync::atomic::AtomicU64 as Shared;

    fn scale(numerator: u64, denominator: u64) -> Scale {
        Scale::new(NonZeroU64::new(numerator).unwrap(), NonZeroU64::new(denominator).unwrap())
    }

    #[test]
    fn conversion_is_exact_to_a_nanosecond_over_years() {
        for hertz in [1, 3_579_545, 24_000_000, 999_999_999, NANOSECONDS, 2_894_562_001, 5_000_000_000] {
            let scale = scale(NANOSECONDS, hertz);
            for ticks in [0, 1, 7, hertz - 1, hertz, hertz * 3 + 1, hertz * 86_400 * 365] {
                let exact = (u128::from(ticks) * u128::from(NANOSECONDS) / u128::from(hertz)) as u64;
                assert!(exact - scale.apply(ticks) <= 1, "{ticks} ticks at {hertz} Hz");
            }
        }
    }

    #[test]
    fn a_deadline_in_ticks_is_never_before_the_instant() {
        for hertz in [24_000_000, NANOSECONDS, 2_894_562_001] {
            let (forward, back) = (scale(hertz, NANOSECONDS), scale(NANOSECONDS, hertz));
            for nanoseconds in [1, 999, 1_000_000, 123_456_789_012] {
                let ticks = forward.apply_rounding_up(nanoseconds);
                assert!(back.apply(ticks + 1) >= nanoseconds, "{nanoseconds} ns at {hertz} Hz");
            }
        }
    }

    #[test]
    fn a_long_ratio_keeps_its_digits() {
        assert_eq!(scale(NANOSECONDS, 1).apply(3), 3_000_000_000);
        assert_eq!(scale(1, 1 << 40).apply(1 << 41), 2);
        assert_eq!(scale(10_000_000, 1_000_000).apply(12_345), 123_450);
        assert_eq!(scale(5_000_000_000, NANOSECONDS).apply_rounding_up(u64::MAX), u64::MAX);
    }

    #[test]
    fn one_clock_for_all_passes_the_check_and_a_late_one_fails_it() {
        let time = Shared::new(0);
        let tick = || time.fetch_add(1, Ordering::SeqCst);
        let same = CrossCheck::new();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| same.take_part(tick));
            }
        });
        assert_eq!((same.participants(), same.worst_step()), (2, 0));

        // The late CPU reads after the early one has: in this order whatever the host's own scheduler does.
        let skewed = CrossCheck::new();
        skewed.take_part(|| tick() + 1_000_000);
        skewed.take_part(tick);
        assert!(skewed.worst_step() > 0);
    }
}
