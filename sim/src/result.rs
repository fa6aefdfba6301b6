//! The result of a run: what `--json` writes, version 1. `docs/src/simulator.md` describes each field.

use serde::{Deserialize, Serialize};

/// The version of the format.
pub const VERSION: u32 = 1;

/// What a run came to. All times in nanoseconds of simulated time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The policy's name.
    pub policy: String,
    /// How many CPUs there were.
    pub cpus: usize,
    /// The seed.
    pub seed: u64,
    /// The requested end, or when the last task ended if that was earlier.
    pub duration_ns: u64,
    /// The threads, in the order in which they began.
    pub tasks: Vec<TaskReport>,
    /// The CPUs.
    pub cpus_detail: Vec<CpuReport>,
    /// What was checked.
    pub invariants: Invariants,
}

/// A thread.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskReport {
    /// Its task's name, with a number if there are several instances.
    pub name: String,
    /// Its weight at the end.
    pub weight: u16,
    /// Its latency class at the end.
    pub class: String,
    /// rt-app's group at the end, a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taskgroup: Option<String>,
    /// How long it ran.
    pub runtime_ns: u64,
    /// How long it could have run and did not.
    pub runnable_ns: u64,
    /// How long it was blocked.
    pub sleep_ns: u64,
    /// `runtime_ns / duration_ns`.
    pub share: f64,
    /// What its share would be if CPU time were a fluid.
    pub ideal_share: f64,
    /// How often it was put on a CPU, or left there for another request.
    pub dispatches: u64,
    /// How often another one took its CPU within its request.
    pub preemptions: u64,
    /// How often it blocked.
    pub voluntary_blocks: u64,
    /// How often it was dispatched on another CPU than the last time.
    pub migrations: u64,
    /// From its beginning to its first dispatch; absent if there was none.
    pub first_dispatch_ns: Option<u64>,
    /// The longest that it waited at once.
    pub max_wait_ns: u64,
    /// The most requests that it was served in a row while another one waited on that CPU.
    pub max_consecutive_slices: u64,
    /// By how much it was behind its ideal.
    pub lag_ns: Range,
    /// From wake-up to running.
    pub wake_latency_ns: Latency,
    /// Completed jobs.
    pub jobs: u64,
    /// Jobs that ended after the next release.
    pub deadline_misses: u64,
    /// By how much its releases came later than its periods say.
    pub period_drift_ns: i64,
    /// How long it ran, by CPU.
    pub cpu_runtime_ns: Vec<u64>,
}

/// The least and the most of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Range {
    /// The least.
    pub min: i64,
    /// The most.
    pub max: i64,
}

/// Latencies; zero if there were none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them are at most this.
    pub p50: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// A CPU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CpuReport {
    /// Its number.
    pub id: usize,
    /// How long threads ran.
    pub busy_ns: u64,
    /// How long nobody ran.
    pub idle_ns: u64,
    /// How long switches and interrupts took.
    pub overhead_ns: u64,
    /// Changes of the running thread, also from idle.
    pub switches: u64,
    /// Fires of the clockevent.
    pub timer_events: u64,
    /// Those of them with a point of the grid among their reasons.
    pub grid_events: u64,
    /// Kicks that it sent to others.
    pub kicks_sent: u64,
    /// Threads that it took from other CPUs.
    pub steals: u64,
}

/// What `--check` checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invariants {
    /// How many checks there were.
    pub checked: u64,
    /// How many failed.
    pub violations: u64,
}

impl Latency {
    /// The percentiles of these latencies (the nearest rank).
    pub fn of(mut latencies: Vec<u64>) -> Self {
        latencies.sort_unstable();
        let rank = |percent: usize| (latencies.len() * percent).div_ceil(100).saturating_sub(1);
        let at = |percent| latencies.get(rank(percent)).copied().unwrap_or(0);
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl Report {
    /// The result as one line of JSON per thread and CPU, and an end of line.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = format!(
            "{{\"version\":{},\"policy\":{},\"cpus\":{},\"seed\":{},\"duration_ns\":{},\n",
            self.version,
            serde_json::to_string(&self.policy)?,
            self.cpus,
            self.seed,
            self.duration_ns,
        );
        let tasks = self.tasks.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let cpus = self.cpus_detail.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        text.push_str(&format!(
            "\"tasks\":[\n{}\n],\n\"cpus_detail\":[\n{}\n],\n",
            tasks.join(",\n"),
            cpus.join(",\n")
        ));
        text.push_str(&format!("\"invariants\":{}}}\n", serde_json::to_string(&self.invariants)?));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(Latency::of(Vec::new()), Latency::default());
        assert_eq!(Latency::of(vec![7]), Latency { p50: 7, p99: 7, max: 7 });
        assert_eq!(Latency::of((1..=200).rev().collect()), Latency { p50: 100, p99: 198, max: 200 });
    }
}
