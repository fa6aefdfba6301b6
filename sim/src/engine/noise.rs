//! Interrupts that take time: in each period one, at a random time.

use crate::workload::Noise;
use tessera_hal::{Duration, Instant};

/// The interrupts of one CPU.
#[derive(Debug)]
pub(super) struct Source {
    length: Duration,
    period: Duration,
    /// The state of the generator (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    state: u64,
    /// The period that the next one is in.
    number: u64,
    next: Instant,
}

impl Source {
    pub(super) fn new(noise: &Noise, run_seed: u64, cpu: usize) -> Self {
        let seed = noise.seed.unwrap_or(run_seed);
        let mut source = Self {
            length: noise.length,
            period: noise.period,
            state: mix(seed) ^ mix(cpu as u64 + 1),
            number: 0,
            next: Instant::ORIGIN,
        };
        source.choose();
        source
    }

    /// When the next one comes.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// It has come: chooses the next one and answers how long this one takes.
    pub(super) fn take(&mut self) -> Duration {
        self.number += 1;
        self.choose();
        self.length
    }

    /// A time within the period such that the interrupt is over before the period is.
    fn choose(&mut self) {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let room = u128::from(self.period.saturating_sub(self.length).as_nanos()) + 1;
        let offset = (u128::from(mix(self.state)) * room) >> 64;
        let begin = self.period.saturating_mul(self.number);
        self.next = Instant::ORIGIN.saturating_add(begin).saturating_add(Duration::from_nanos(offset as u64));
    }
}

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
