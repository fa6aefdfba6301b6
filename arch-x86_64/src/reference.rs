//! Reference clocks: counters of known frequency that calibrate the TSC, and replace it where it cannot be trusted.
//! The HPET (IA-PC HPET specification 1.0a) or the ACPI power-management timer (ACPI 6.5, section 4.8.3.3).
//!
//! Invariant: [`Reference::ticks`] never goes backward, on whatever CPU it is read, as long as it is read at least
//! once in [`Reference::upkeep`] where there is one.

use crate::acpi::PmTimerPort;
use core::sync::atomic::{AtomicU64, Ordering};
use core::{fmt, ptr};
use tessera_hal::Duration;
use x86_64::instructions::port::PortReadOnly;

/// What one tick is: `numerator / denominator` seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tick {
    /// Seconds times the denominator.
    pub numerator: u64,
    /// Ticks of a numerator of one in a second.
    pub denominator: u64,
}

/// A counter narrower than 64 bits, made wider by remembering its last value.
#[derive(Debug)]
struct Widened {
    last: AtomicU64,
    mask: u64,
}

impl Widened {
    /// `first` is what the counter reads now: from zero, the upper half of its range would look like the past.
    const fn new(mask: u64, first: u64) -> Self {
        Self { last: AtomicU64::new(first & mask), mask }
    }

    /// The wide value for a raw one. A raw value from before the last one (read by another CPU meanwhile) counts as
    /// the last one.
    fn extend(&self, raw: u64) -> u64 {
        let mut last = self.last.load(Ordering::Acquire);
        loop {
            let ahead = raw.wrapping_sub(last) & self.mask;
            if ahead == 0 || ahead > self.mask / 2 {
                return last;
            }
            match self.last.compare_exchange_weak(last, last + ahead, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return last + ahead,
                Err(current) => last = current,
            }
        }
    }
}

/// A reference clock.
#[derive(Debug)]
pub struct Reference {
    counter: Counter,
    tick: Tick,
    /// `None` where the counter has 64 bits.
    widened: Option<Widened>,
}

#[derive(Clone, Copy, Debug)]
enum Counter {
    /// The HPET's main counter, and whether all 64 bits of it are there.
    Hpet {
        registers: usize,
        wide: bool,
    },
    PmTimer(u16),
}

const HPET_CAPABILITIES: usize = 0x00;
const HPET_CONFIGURATION: usize = 0x10;
const HPET_COUNTER: usize = 0xf0;
const HPET_ENABLE: u64 = 1 << 0;
/// Redirects the timers of the PC to the HPET; we want its counter only.
const HPET_LEGACY_REPLACEMENT: u64 = 1 << 1;
const HPET_WIDE: u64 = 1 << 13;
/// 100 ns: the slowest counter that the specification allows.
const HPET_LONGEST_PERIOD_FS: u64 = 100_000_000;
const FEMTOSECONDS: u64 = 1_000_000_000_000_000;
/// The frequency that ACPI fixes.
const PM_TIMER_HZ: u64 = 3_579_545;

impl Reference {
    /// Starts the HPET, or answers `None` if its registers say an impossible period.
    ///
    /// # Safety
    /// `registers` must be an HPET's registers, mapped uncached on every CPU for good.
    pub unsafe fn hpet(registers: *mut u8) -> Option<Self> {
        let registers = registers.expose_provenance();
        let capabilities = hpet_read(registers, HPET_CAPABILITIES);
        let period = capabilities >> 32;
        if !(1..=HPET_LONGEST_PERIOD_FS).contains(&period) {
            return None;
        }
        let configuration = hpet_read(registers, HPET_CONFIGURATION) & !HPET_LEGACY_REPLACEMENT | HPET_ENABLE;
        let address = ptr::with_exposed_provenance_mut::<u64>(registers + HPET_CONFIGURATION);
        // SAFETY: the caller vouches for the registers; enabling the counter raises no interrupt.
        unsafe { ptr::write_volatile(address, configuration) };
        let wide = capabilities & HPET_WIDE != 0;
        Some(Self {
            counter: Counter::Hpet { registers, wide },
            tick: Tick { numerator: period, denominator: FEMTOSECONDS },
            widened: (!wide).then(|| Widened::new(u64::from(u32::MAX), hpet_read_low(registers, HPET_COUNTER))),
        })
    }

    /// The power-management timer that the tables name.
    pub fn pm_timer(timer: PmTimerPort) -> Self {
        let mask = if timer.wide { u64::from(u32::MAX) } else { 0xff_ffff };
        Self {
            counter: Counter::PmTimer(timer.port),
            tick: Tick { numerator: 1, denominator: PM_TIMER_HZ },
            widened: Some(Widened::new(mask, read_port(timer.port))),
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self.counter {
            Counter::Hpet { .. } => "HPET",
            Counter::PmTimer(_) => "PM timer",
        }
    }

    /// What one tick is.
    pub const fn tick(&self) -> Tick {
        self.tick
    }

    /// Ticks since some moment. Never goes backward.
    pub fn ticks(&self) -> u64 {
        let raw = match self.counter {
            Counter::Hpet { registers, wide: true } => hpet_read(registers, HPET_COUNTER),
            Counter::Hpet { registers, wide: false } => hpet_read_low(registers, HPET_COUNTER),
            Counter::PmTimer(port) => read_port(port),
        };
        match &self.widened {
            Some(widened) => widened.extend(raw & widened.mask),
            None => raw,
        }
    }

    /// How often it must be read at least, so that no wrap is missed.
    pub fn upkeep(&self) -> Option<Duration> {
        self.widened.as_ref().map(|widened| {
            let quarter = u128::from(widened.mask / 4) * u128::from(self.tick.numerator) * 1_000_000_000;
            Duration::from_nanos((quarter / u128::from(self.tick.denominator)) as u64)
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn hpet_read(registers: usize, offset: usize) -> u64 {
    // SAFETY: whoever made the `Reference` vouched for the registers; reading has no side effect.
    unsafe { ptr::read_volatile(ptr::with_exposed_provenance::<u64>(registers + offset)) }
}

fn hpet_read_low(registers: usize, offset: usize) -> u64 {
    // SAFETY: as above. A counter of 32 bits is read with one access of that width.
    u64::from(unsafe { ptr::read_volatile(ptr::with_exposed_provenance::<u32>(registers + offset)) })
}

fn read_port(port: u16) -> u64 {
    // SAFETY: the firmware's tables name this port as the timer's; reading it has no side effect.
    u64::from(unsafe { PortReadOnly::<u32>::new(port).read() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_counter_goes_on_past_its_wraps() {
        let counter = Widened::new(0xff, 0);
        assert_eq!(counter.extend(0x10), 0x10);
        assert_eq!(counter.extend(0x80), 0x80);
        assert_eq!(counter.extend(0xf0), 0xf0);
        assert_eq!(counter.extend(0x05), 0x105);
        assert_eq!(counter.extend(0x60), 0x160);
    }

    #[test]
    fn a_value_read_before_the_last_one_never_jumps_a_whole_wrap() {
        let counter = Widened::new(0xff, 0xf0);
        assert_eq!(counter.extend(0x02), 0x102);
        assert_eq!(counter.extend(0xf8), 0x102, "another CPU's older value");
        assert_eq!(counter.extend(0x03), 0x103);
    }
}
