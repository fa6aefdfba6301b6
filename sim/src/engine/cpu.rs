//! What a CPU of the simulated machine is doing.

use super::noise;
use super::thread::Index;
use tessera_hal::{Duration, Instant};

/// Whom the CPU's time belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// Nobody.
    Idle { since: Instant },
    /// The current thread.
    Thread { since: Instant },
    /// An interrupt or a switch.
    Overhead { since: Instant, until: Instant },
}

/// A CPU.
#[derive(Debug)]
pub(super) struct Cpu {
    pub mode: Mode,
    /// Who is to run, as the dispatcher decided.
    pub current: Option<Index>,
    /// Up to when the current thread's step has been brought.
    pub stepped_to: Instant,
    /// When the current thread's step ends.
    pub step_end: Option<Instant>,
    pub noise: Option<noise::Source>,
    pub busy: Duration,
    pub idle: Duration,
    pub overhead: Duration,
    pub switches: u64,
    /// Requests that the current thread was served in a row while somebody waited.
    pub in_a_row: u64,
    /// The queue's count of dispatches at the last decision.
    pub dispatches: u64,
}

impl Cpu {
    pub(super) const fn new(noise: Option<noise::Source>) -> Self {
        Self {
            mode: Mode::Idle { since: Instant::ORIGIN },
            current: None,
            stepped_to: Instant::ORIGIN,
            step_end: None,
            noise,
            busy: Duration::ZERO,
            idle: Duration::ZERO,
            overhead: Duration::ZERO,
            switches: 0,
            in_a_row: 0,
            dispatches: 0,
        }
    }

    /// The CPU does something else from now on; the time that it did the old thing is counted.
    pub(super) fn turn(&mut self, mode: Mode, now: Instant) -> Duration {
        let (sum, since) = match self.mode {
            Mode::Idle { since } => (&mut self.idle, since),
            Mode::Thread { since } => (&mut self.busy, since),
            Mode::Overhead { since, .. } => (&mut self.overhead, since),
        };
        let passed = now.saturating_duration_since(since);
        *sum = sum.saturating_add(passed);
        self.mode = mode;
        passed
    }
}
