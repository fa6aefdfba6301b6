//! What only the caller of the suite can see or do.

use crate::{CpuId, Instant, Interrupt, IrqLine};
use core::sync::atomic::{AtomicU64, Ordering};

/// The caller's side of the suite. All counts only grow, and are counted by the interrupt handler itself.
pub trait Probe: Sync {
    /// Timer interrupts that `cpu` has taken.
    fn timer_fires(&self, cpu: CpuId) -> u64;

    /// What the clock said in the handler of the latest timer interrupt on `cpu`.
    fn timer_fired_at(&self, cpu: CpuId) -> Instant;

    /// Kick interrupts that `cpu` has taken.
    fn kicks(&self, cpu: CpuId) -> u64;

    /// Device interrupts that `cpu` has taken.
    fn device_interrupts(&self, cpu: CpuId) -> u64;

    /// A line that exists and that nobody uses, for the suite to route.
    fn spare_line(&self) -> Option<IrqLine>;

    /// A line that no controller has.
    fn absent_line(&self) -> IrqLine;

    /// Raises the spare line once, as an edge; answers `false` if software cannot.
    fn raise_spare_line(&self) -> bool {
        false
    }

    /// Waits a moment. A model advances its time here.
    fn relax(&self) {
        core::hint::spin_loop();
    }

    /// A plain store without ordering. A model of a store buffer overrides it.
    fn store(&self, word: &AtomicU64, value: u64) {
        word.store(value, Ordering::Relaxed);
    }
}

#[derive(Debug)]
#[repr(align(64))]
struct CpuCounters {
    timer_fires: AtomicU64,
    timer_fired_at: AtomicU64,
    kicks: AtomicU64,
    devices: AtomicU64,
}

/// Interrupt counts for up to `CPUS` CPUs, for an implementation of [`Probe`]. Others are not counted and read as zero.
#[derive(Debug)]
pub struct Counters<const CPUS: usize> {
    cpus: [CpuCounters; CPUS],
}

impl<const CPUS: usize> Counters<CPUS> {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self {
            cpus: [const {
                CpuCounters {
                    timer_fires: AtomicU64::new(0),
                    timer_fired_at: AtomicU64::new(0),
                    kicks: AtomicU64::new(0),
                    devices: AtomicU64::new(0),
                }
            }; CPUS],
        }
    }

    /// Counts an interrupt. Called by the handler on `cpu` itself, with the clock's reading.
    pub fn record(&self, cpu: CpuId, interrupt: Interrupt, now: Instant) {
        let Some(counters) = self.cpus.get(cpu.index()) else { return };
        match interrupt {
            Interrupt::Timer => {
                counters.timer_fired_at.store(now.as_nanos(), Ordering::Relaxed);
                counters.timer_fires.fetch_add(1, Ordering::Release);
            }
            Interrupt::Kick => drop(counters.kicks.fetch_add(1, Ordering::Relaxed)),
            Interrupt::Device(_) => drop(counters.devices.fetch_add(1, Ordering::Relaxed)),
            Interrupt::Spurious => {}
        }
    }

    /// See [`Probe::timer_fires`].
    pub fn timer_fires(&self, cpu: CpuId) -> u64 {
        self.read(cpu, |counters| counters.timer_fires.load(Ordering::Acquire))
    }

    /// See [`Probe::timer_fired_at`].
    pub fn timer_fired_at(&self, cpu: CpuId) -> Instant {
        Instant::from_nanos(self.read(cpu, |counters| counters.timer_fired_at.load(Ordering::Relaxed)))
    }

    /// See [`Probe::kicks`].
    pub fn kicks(&self, cpu: CpuId) -> u64 {
        self.read(cpu, |counters| counters.kicks.load(Ordering::Relaxed))
    }

    /// See [`Probe::device_interrupts`].
    pub fn device_interrupts(&self, cpu: CpuId) -> u64 {
        self.read(cpu, |counters| counters.devices.load(Ordering::Relaxed))
    }

    fn read(&self, cpu: CpuId, field: impl Fn(&CpuCounters) -> u64) -> u64 {
        self.cpus.get(cpu.index()).map_or(0, field)
    }
}

impl<const CPUS: usize> Default for Counters<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}
