//! How fast the TSC and the local APIC's timer count, measured against a reference clock.
//!
//! A value is read between two TSC reads; of [`READS`] such brackets the tightest is kept, so a host that stops us in
//! the middle of one spoils nothing. Two brackets some milliseconds apart give a frequency whose error is the sum of
//! their widths over the distance. A second reference clock, and what CPUID says, are compared, and the deviation is
//! reported on the boot line.

use crate::reference::{Reference, Tick};
use crate::topology::Cpuid;
use core::{fmt, num::NonZeroU64};

/// How many brackets are tried for one reading.
pub const READS: usize = 24;
/// How long the brackets lie apart, at least.
const DISTANCE_MS: u64 = 20;
/// How often the reference is read without moving before it counts as stuck.
const STUCK_READS: u32 = 1_000_000;
/// Two clocks that differ by more are measured again.
const ACCEPTED_PPM: u64 = 500;
const ATTEMPTS: usize = 3;

/// A value, and the TSC at the moment when it was read, give or take half the width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bracket {
    /// The TSC in the middle.
    pub tsc: u64,
    /// The value.
    pub value: u64,
    /// The distance between the TSC reads around it.
    pub width: u64,
}

/// The tightest of [`READS`] brackets.
pub fn tightest(mut tsc: impl FnMut() -> u64, mut value: impl FnMut() -> u64) -> Bracket {
    let mut once = || {
        let before = tsc();
        let value = value();
        let width = tsc().wrapping_sub(before);
        Bracket { tsc: before.wrapping_add(width / 2), value, width }
    };
    let first = once();
    (1..READS).map(|_| once()).fold(first, |best, next| if next.width < best.width { next } else { best })
}

/// The frequency of the TSC from two brackets of a clock with this tick.
fn frequency(from: Bracket, to: Bracket, tick: Tick) -> Option<u64> {
    let ticks = to.value.checked_sub(from.value)?;
    let numerator = u128::from(to.tsc.checked_sub(from.tsc)?) * u128::from(tick.denominator);
    numerator.checked_div(u128::from(ticks) * u128::from(tick.numerator)).map(|hertz| hertz as u64)
}

/// How far `other` is from `hertz`, in parts per million.
fn deviation_ppm(hertz: u64, other: u64) -> u64 {
    (u128::from(hertz.abs_diff(other)) * 1_000_000 / u128::from(hertz.max(1))) as u64
}

/// What was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calibration {
    /// TSC ticks in a second.
    pub tsc_hz: NonZeroU64,
    /// Ticks of the local APIC's timer in a second, if it counts.
    pub timer_hz: Option<NonZeroU64>,
    /// How uncertain the TSC's frequency is, from the brackets' widths, in parts per million.
    pub uncertainty_ppm: u64,
    /// How far the second reference clock deviates, in parts per million.
    pub second_ppm: Option<u64>,
    /// How far the frequency that CPUID gives deviates, in parts per million.
    pub told_ppm: Option<u64>,
}

/// Why nothing could be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CalibrationError {
    /// The machine has neither HPET nor power-management timer.
    NoReference,
    /// The reference clock does not count.
    Stuck(&'static str),
}

impl fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReference => write!(f, "the clock cannot be calibrated: there is neither HPET nor PM timer"),
            Self::Stuck(name) => write!(f, "the clock cannot be calibrated: the {name} does not count"),
        }
    }
}

impl core::error::Error for CalibrationError {}

/// The counters that take part. Interrupts should be masked.
pub struct Counters<'a> {
    /// Reads the TSC, in order with what is before and after.
    pub tsc: &'a dyn Fn() -> u64,
    /// Reads how far the local APIC's timer has counted, upward; less than before when it has stopped.
    pub timer: &'a dyn Fn() -> u64,
    /// What is trusted.
    pub reference: &'a Reference,
    /// What it is compared with.
    pub second: Option<&'a Reference>,
    /// The TSC frequency that CPUID gives.
    pub told_hz: Option<u64>,
}

/// Measures; up to three times if the two reference clocks disagree or the timer has stopped meanwhile, and then keeps
/// the best agreement.
pub fn calibrate(counters: &Counters<'_>) -> Result<Calibration, CalibrationError> {
    let mut best = measure(counters)?;
    for _ in 1..ATTEMPTS {
        if best.timer_hz.is_some() && best.second_ppm.is_none_or(|deviation| deviation <= ACCEPTED_PPM) {
            break;
        }
        let again = measure(counters)?;
        if (again.timer_hz.is_none(), again.second_ppm) < (best.timer_hz.is_none(), best.second_ppm) {
            best = again;
        }
    }
    Ok(best)
}

fn measure(counters: &Counters<'_>) -> Result<Calibration, CalibrationError> {
    let stuck = CalibrationError::Stuck(counters.reference.name());
    let read = || {
        (
            tightest(counters.tsc, || counters.reference.ticks()),
            counters.second.map(|second| tightest(counters.tsc, || second.ticks())),
            tightest(counters.tsc, counters.timer),
        )
    };
    let (reference, second, timer) = read();
    wait(counters.reference, reference.value).ok_or(stuck)?;
    let (reference_end, second_end, timer_end) = read();
    let hertz =
        frequency(reference, reference_end, counters.reference.tick()).and_then(NonZeroU64::new).ok_or(stuck)?;
    let second_hz = (|| frequency(second?, second_end?, counters.second?.tick()))();
    let distance = reference_end.tsc - reference.tsc;
    Ok(Calibration {
        tsc_hz: hertz,
        timer_hz: timer_frequency(timer, timer_end, hertz),
        uncertainty_ppm: (reference.width + reference_end.width) * 1_000_000 / distance.max(1),
        second_ppm: second_hz.map(|other| deviation_ppm(hertz.get(), other)),
        told_ppm: counters.told_hz.map(|told| deviation_ppm(hertz.get(), told)),
    })
}

fn timer_frequency(from: Bracket, to: Bracket, tsc_hz: NonZeroU64) -> Option<NonZeroU64> {
    let counted = u128::from(to.value.checked_sub(from.value)?) * u128::from(tsc_hz.get());
    NonZeroU64::new(counted.checked_div(u128::from(to.tsc.checked_sub(from.tsc)?))? as u64)
}

/// Waits until the reference is `DISTANCE_MS` past `start`; `None` if it stands still.
fn wait(reference: &Reference, start: u64) -> Option<()> {
    let tick = reference.tick();
    let distance = DISTANCE_MS * (tick.denominator / 1000) / tick.numerator;
    let mut last = start;
    let mut same = 0;
    while last - start < distance {
        let now = reference.ticks();
        same = if now == last { same + 1 } else { 0 };
        if same > STUCK_READS {
            return None;
        }
        last = now.max(last);
    }
    Some(())
}

/// The TSC frequency that CPUID or the hypervisor gives, where one does.
pub fn told_hz(cpuid: &impl Cpuid) -> Option<u64> {
    const HYPERVISOR: u32 = 1 << 31;
    const HYPERVISOR_TIMING: u32 = 0x4000_0010;
    if cpuid.leaf(1, 0).c & HYPERVISOR != 0 && cpuid.has(HYPERVISOR_TIMING) {
        let kilohertz = cpuid.leaf(HYPERVISOR_TIMING, 0).a;
        if kilohertz != 0 {
            return Some(u64::from(kilohertz) * 1000);
        }
    }
    if !cpuid.has(0x15) {
        return None;
    }
    let ratio = cpuid.leaf(0x15, 0);
    if ratio.a == 0 || ratio.b == 0 || ratio.c == 0 {
        return None;
    }
    Some(u64::from(ratio.c) * u64::from(ratio.b) / u64::from(ratio.a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Leaf;
    use core::cell::Cell;

    #[test]
    fn the_tightest_bracket_wins_and_interruptions_spoil_nothing() {
        let time = Cell::new(0_u64);
        let reads = Cell::new(0_u64);
        let tsc = || {
            time.set(time.get() + 10);
            time.get()
        };
        let value = || {
            reads.set(reads.get() + 1);
            // All brackets but the fifth are interrupted.
            time.set(time.get() + if reads.get() == 5 { 30 } else { 1_000_000 });
            reads.get()
        };
        let bracket = tightest(tsc, value);
        assert_eq!((bracket.value, bracket.width), (5, 40));
        assert_eq!(reads.get(), READS as u64);
    }

    #[test]
    fn frequencies_come_out_in_hertz() {
        let at = |tsc, value| Bracket { tsc, value, width: 0 };
        // 20 ms at 3 GHz against a 100 MHz HPET (10 ns period) and against the PM timer.
        let hpet = Tick { numerator: 10_000_000, denominator: FS };
        const FS: u64 = 1_000_000_000_000_000;
        assert_eq!(frequency(at(0, 0), at(60_000_000, 2_000_000), hpet), Some(3_000_000_000));
        let pm_timer = Tick { numerator: 1, denominator: 3_579_545 };
        assert_eq!(frequency(at(5, 100), at(3_000_000_005, 3_579_645), pm_timer), Some(3_000_000_000));
        assert_eq!(frequency(at(0, 7), at(60, 7), hpet), None, "a clock that stands still");
        let hertz = NonZeroU64::new(3_000_000_000).unwrap();
        assert_eq!(timer_frequency(at(0, 0), at(3_000_000, 1_000_000), hertz).unwrap().get(), 1_000_000_000);
        assert_eq!(timer_frequency(at(0, 4), at(3_000_000, 4), hertz), None);
        assert_eq!(timer_frequency(at(0, 4), at(3_000_000, 0), hertz), None, "its count was over");
        assert_eq!(deviation_ppm(1_000_000_000, 1_000_050_000), 50);
    }

    #[test]
    fn told_frequencies_are_used_only_where_they_are_complete() {
        struct Told(u32, [u32; 3]);
        impl Cpuid for Told {
            fn leaf(&self, leaf: u32, _: u32) -> Leaf {
                let [a, b, c] = self.1;
                match leaf {
                    0 => Leaf { a: self.0, ..Leaf::default() },
                    0x15 => Leaf { a, b, c, d: 0 },
                    _ => Leaf::default(),
                }
            }
        }
        assert_eq!(told_hz(&Told(0x16, [2, 250, 24_000_000])), Some(3_000_000_000));
        assert_eq!(told_hz(&Told(0x16, [2, 250, 0])), None);
        assert_eq!(told_hz(&Told(0x0d, [2, 250, 24_000_000])), None);
    }
}
