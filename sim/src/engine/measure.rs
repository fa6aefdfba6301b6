//! What is measured of a thread while it runs.

use crate::workload::TimerId;
use kernel_core::sched::{LatencyClass, Weight};
use tessera_hal::{CpuId, Duration, Instant};

/// Time on the CPU that a thread runs on; that of other CPUs stands with what is looked at seldom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct OnCpu {
    cpu: Option<CpuId>,
    time: Duration,
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

/// What is measured of a thread each time that it runs or stops. In the order of use: what each slice needs comes first.
#[derive(Clone, PartialEq, Debug, Default)]
#[repr(C)]
pub(super) struct Measured {
    pub runtime: Duration,
    pub lag: Lag,
    pub waited: Duration,
    pub max_wait: Duration,
    on_cpu: OnCpu,
    pub max_consecutive: u64,
    /// A wake-up that has not led to a dispatch yet.
    pub woken_at: Option<Instant>,
    has_run: bool,
    pub slept: Duration,
    pub jobs: u64,
}

/// The time from each wake-up to running, of all threads in one list: writing at the end of one is faster than at the ends
/// of thousands.
#[derive(Debug, Default)]
pub(super) struct WakeLog {
    threads: Vec<u32>,
    latencies: Vec<u64>,
}

impl WakeLog {
    pub(super) fn push(&mut self, thread: usize, latency: Duration) {
        self.threads.push(thread as u32);
        self.latencies.push(latency.as_nanos());
    }

    /// By thread.
    pub(super) fn into_lists(self, threads: usize) -> Vec<Vec<u64>> {
        let mut lists = vec![Vec::new(); threads];
        for (thread, latency) in self.threads.into_iter().zip(self.latencies) {
            lists[thread as usize].push(latency);
        }
        lists
    }
}

/// What is looked at less often. It stands apart, so that a thread that runs touches few cache lines.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Seldom {
    pub name: String,
    pub weight: Weight,
    /// rt-app's group, a label.
    pub taskgroup: Option<String>,
    pub arrived: Instant,
    pub first_dispatch: Option<Duration>,
    /// Time on the CPUs that it ran on before the last one.
    other_cpus: Vec<(CpuId, Duration)>,
    /// What its timers fire next, where they are its own.
    pub timers: Vec<(TimerId, Instant)>,
    /// The release that it waits for: a job is done when it comes.
    pub release: Option<Release>,
    pub misses: u64,
    first_release: Option<Instant>,
    last_release: Option<Instant>,
    /// The periods between the first release and the last.
    periods: Duration,
    pub counters: Counters,
}

/// The end of a wait for a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Release {
    pub timer: TimerId,
    pub at: Instant,
    pub period: Duration,
    /// The job that ended with this wait came too late.
    pub was_missed: bool,
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
    /// It waited for so long and runs now; answers whether for the first time.
    pub(super) fn begin_run(&mut self, waited: Duration) -> bool {
        self.waited = self.waited.saturating_add(waited);
        self.max_wait = self.max_wait.max(waited);
        !std::mem::replace(&mut self.has_run, true)
    }

    /// It ran for so long on this CPU.
    pub(super) fn end_run(&mut self, cpu: CpuId, ran: Duration, seldom: &mut Seldom) {
        self.runtime = self.runtime.saturating_add(ran);
        if self.on_cpu.cpu != Some(cpu) {
            self.on_cpu = seldom.turn_to(cpu, self.on_cpu);
        }
        self.on_cpu.time = self.on_cpu.time.saturating_add(ran);
    }

    /// The time that it ran by CPU, zeros included.
    pub(super) fn by_cpu(&self, cpus: usize, seldom: &Seldom) -> Vec<u64> {
        let mut dense = vec![0; cpus];
        let last = self.on_cpu.cpu.map(|cpu| (cpu, self.on_cpu.time));
        seldom.other_cpus.iter().copied().chain(last).for_each(|(cpu, time)| dense[cpu.index()] = time.as_nanos());
        dense
    }
}

impl Seldom {
    pub(super) fn new(name: String, weight: Weight, taskgroup: Option<String>, arrived: Instant) -> Self {
        Self {
            name,
            weight,
            taskgroup,
            arrived,
            first_dispatch: None,
            other_cpus: Vec::new(),
            timers: Vec::new(),
            release: None,
            misses: 0,
            first_release: None,
            last_release: None,
            periods: Duration::ZERO,
            counters: Counters::default(),
        }
    }

    /// Keeps what it had on its last CPU, and answers what it has had on this one.
    #[cold]
    fn turn_to(&mut self, cpu: CpuId, last: OnCpu) -> OnCpu {
        if let Some(before) = last.cpu {
            self.other_cpus.push((before, last.time));
        }
        let known = self.other_cpus.iter().position(|&(other, _)| other == cpu);
        let time = known.map_or(Duration::ZERO, |place| self.other_cpus.swap_remove(place).1);
        OnCpu { cpu: Some(cpu), time }
    }

    /// A timer released it.
    pub(super) fn release(&mut self, release: &Release) {
        self.misses += u64::from(release.was_missed);
        if self.first_release.is_some() {
            self.periods = self.periods.saturating_add(release.period);
        }
        self.first_release.get_or_insert(release.at);
        self.last_release = Some(release.at);
    }

    /// By how much its releases came later than its periods say.
    pub(super) fn period_drift_ns(&self) -> i64 {
        let (Some(first), Some(last)) = (self.first_release, self.last_release) else { return 0 };
        last.saturating_duration_since(first).as_nanos().cast_signed() - self.periods.as_nanos().cast_signed()
    }
}
