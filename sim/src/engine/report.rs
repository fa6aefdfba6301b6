//! The end of a run: what is open is closed, and all is written down.

use super::Engine;
use super::cpu::Mode;
use super::thread::{Index, State};
use crate::machine::Searches;
use crate::result::{CpuReport, Invariants, Latency, Range, Report, TaskReport, VERSION};
use crate::trace::Trace;
use tessera_hal::{CpuId, Duration, Instant};

/// What came of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The result.
    pub report: Report,
    /// What happened, if it was recorded.
    pub trace: Option<Trace>,
    /// The first violations, in words.
    pub violations: Vec<String>,
    /// Decisions, wake-ups, starts and changes that the dispatcher was asked for.
    pub events: u64,
    /// What CPUs that had nothing to run looked at.
    pub searches: Searches,
}

impl<const W: usize> Engine<'_, W> {
    pub(super) fn finish(mut self) -> Outcome {
        let end = match self.end() {
            Some(end) if self.live > 0 || !self.plan.is_empty() => end,
            _ => self.now,
        };
        self.set_clock(end);
        for cpu in self.cpu_ids() {
            self.stop(cpu);
            self.cpus[cpu.index()].turn(Mode::Idle { since: end }, end);
        }
        for thread in 0..self.threads.len() {
            self.close(thread);
        }
        let cpus: Vec<CpuReport> = self.cpu_ids().map(|cpu| self.cpu_report(cpu)).collect();
        let wakes = std::mem::take(&mut self.wakes).into_lists(self.threads.len());
        let threads = std::mem::take(&mut self.threads).into_iter().zip(wakes);
        let tasks = threads.map(|(thread, wakes)| self.task_report(thread, wakes, end)).collect();
        let mut trace = self.trace.take();
        if let Some(trace) = &mut trace {
            trace.end = end;
        }
        let report = Report {
            version: VERSION,
            policy: self.options.policy.name().to_owned(),
            cpus: self.cpus.len(),
            seed: self.options.seed,
            duration_ns: end.as_nanos(),
            tasks,
            cpus_detail: cpus,
            invariants: Invariants { checked: self.watch.checked, violations: self.watch.violations },
        };
        let searches = self.machine.searches();
        Outcome { report, trace, searches, violations: std::mem::take(&mut self.watch.messages), events: self.events }
    }

    /// Counts what a thread was doing when the run ended.
    fn close(&mut self, index: Index) {
        let now = self.now;
        self.sample_lag(index);
        let thread = &mut self.threads[index];
        let measured = &mut thread.measured;
        match thread.state {
            State::Waiting { since } => {
                let waited = now.saturating_duration_since(since);
                measured.waited = measured.waited.saturating_add(waited);
                measured.max_wait = measured.max_wait.max(waited);
            }
            State::Blocked { since, .. } => {
                measured.slept = measured.slept.saturating_add(now.saturating_duration_since(since));
            }
            State::Absent | State::Running { .. } | State::Ended => {}
        }
        if thread.state != State::Ended {
            self.take_counters(index);
        }
    }

    fn cpu_report(&mut self, id: CpuId) -> CpuReport {
        let snapshot = self.dispatcher.cpu_snapshot(id);
        let cpu = &self.cpus[id.index()];
        if let Ok(snapshot) = &snapshot {
            self.watch.compare_cpu(&self.options, id, cpu, snapshot);
        }
        let count = |of: fn(&kernel_core::sched::CpuSnapshot) -> u64| snapshot.as_ref().map_or(0, of);
        CpuReport {
            id: id.index(),
            busy_ns: cpu.busy.as_nanos(),
            idle_ns: cpu.idle.as_nanos(),
            overhead_ns: cpu.overhead.as_nanos(),
            switches: cpu.switches,
            timer_events: count(|snapshot| snapshot.fires.total()),
            grid_events: count(|snapshot| snapshot.grid_fires),
            kicks_sent: count(|snapshot| snapshot.kicks_sent),
            steals: count(|snapshot| snapshot.steals),
        }
    }

    fn task_report(&self, thread: super::Thread, wakes: Vec<u64>, end: Instant) -> TaskReport {
        let (measured, seldom) = (thread.measured, thread.seldom);
        let share = |nanoseconds: f64| match end.as_nanos() {
            0 => 0.0,
            duration => nanoseconds / duration as f64,
        };
        let runtime_ns = measured.runtime.as_nanos();
        TaskReport {
            weight: seldom.weight.get(),
            class: seldom.counters.class.name().to_owned(),
            runtime_ns,
            runnable_ns: measured.waited.as_nanos(),
            sleep_ns: measured.slept.as_nanos(),
            share: share(runtime_ns as f64),
            ideal_share: share(measured.lag.ideal),
            dispatches: seldom.counters.dispatches,
            preemptions: seldom.counters.preemptions,
            voluntary_blocks: seldom.counters.voluntary_blocks,
            migrations: seldom.counters.migrations,
            first_dispatch_ns: seldom.first_dispatch.map(Duration::as_nanos),
            max_wait_ns: measured.max_wait.as_nanos(),
            max_consecutive_slices: measured.max_consecutive,
            lag_ns: Range { min: measured.lag.min.round() as i64, max: measured.lag.max.round() as i64 },
            period_drift_ns: seldom.period_drift_ns(),
            cpu_runtime_ns: measured.by_cpu(self.cpus.len(), &seldom),
            wake_latency_ns: Latency::of(wakes),
            jobs: measured.jobs,
            deadline_misses: seldom.misses,
            taskgroup: seldom.taskgroup,
            name: seldom.name,
        }
    }
}
