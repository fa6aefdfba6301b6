//! What is measured of a thread while it runs.

use kernel_core::sched::LatencyClass;
use tessera_hal::{CpuId, Duration, Instant};

/// Time per CPU, of the CPUs that have any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct PerCpu {
    times: Vec<(CpuId, Duration)>,
    last: usize,
}

impl PerCpu {
    pub(super) fn add(&mut self, cpu: CpuId, time: Duration) {
        if self.times.get(self.last).is_none_or(|&(last, _)| last != cpu) {
            self.last = self.times.iter().position(|&(known, _)| known == cpu).unwrap_or_else(|| {
                self.times.push((cpu, Duration::ZERO));
                self.times.len() - 1
            });
        }
        let sum = &mut self.times[self.last].1;
        *sum = sum.saturating_add(time);
    }

    /// By CPU, zeros included.
    pub(super) fn dense(&self, cpus: usize) -> Vec<u64> {
        let mut dense = vec![0; cpus];
        self.times.iter().for_each(|&(cpu, time)| dense[cpu.index()] = time.as_nanos());
        dense
    }
}

/// How far a thread is behind its ideal, and was at most.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Lag {
    /// What it should have had, in ns.
    pub ideal: f64,
    /// Its group's service when `ideal` was last brought up to date; absent while it is not runnable.
    pub counted_to: Option<f64>,
    pub min: f64,
    pub max: f64,
}

impl Lag {
    /// Its group has had `service` by now, it has had `runtime`.
    pub(super) fn sample(&mut self, service: f64, runtime: Duration) {
        if let Some(before) = self.counted_to {
            self.ideal += service - before;
            self.counted_to = Some(service);
            let lag = self.ideal - runtime.as_nanos() as f64;
            self.min = self.min.min(lag);
            self.max = self.max.max(lag);
        }
    }
}

/// What is measured of a thread.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Measured {
    pub arrived: Option<Instant>,
    pub runtime: Duration,
    pub waited: Duration,
    pub slept: Duration,
    pub per_cpu: PerCpu,
    pub first_dispatch: Option<Duration>,
    pub max_wait: Duration,
    pub max_consecutive: u64,
    pub wake_latencies: Vec<u64>,
    pub jobs: u64,
    pub misses: u64,
    pub first_release: Option<Instant>,
    pub last_release: Option<Instant>,
    /// The periods between the first release and the last.
    pub periods: Duration,
    pub lag: Lag,
    pub counters: Counters,
}

/// What the dispatcher knew of it last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counters {
    pub class: LatencyClass,
    pub dispatches: u64,
    pub preemptions: u64,
    pub voluntary_blocks: u64,
    pub migrations: u64,
}

impl Measured {
    /// It waited for so long and runs now.
    pub(super) fn begin_run(&mut self, waited: Duration, now: Instant) {
        self.waited = self.waited.saturating_add(waited);
        self.max_wait = self.max_wait.max(waited);
        let arrived = self.arrived.unwrap_or(now);
        self.first_dispatch.get_or_insert(now.saturating_duration_since(arrived));
    }

    /// It ran for so long on this CPU.
    pub(super) fn end_run(&mut self, cpu: CpuId, ran: Duration) {
        self.runtime = self.runtime.saturating_add(ran);
        self.per_cpu.add(cpu, ran);
    }

    /// A timer released it, `period` after the release before.
    pub(super) fn release(&mut self, at: Instant, period: Duration) {
        if self.first_release.is_some() {
            self.periods = self.periods.saturating_add(period);
        }
        self.first_release.get_or_insert(at);
        self.last_release = Some(at);
    }

    /// By how much its releases came later than its periods say.
    pub(super) fn period_drift_ns(&self) -> i64 {
        let (Some(first), Some(last)) = (self.first_release, self.last_release) else { return 0 };
        last.saturating_duration_since(first).as_nanos().cast_signed() - self.periods.as_nanos().cast_signed()
    }
}
