//! Two results beside each other, task by task.

use crate::result::{Report, TaskReport};
use serde::Serialize;
use std::collections::HashMap;

/// Two results beside each other.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// What the first is.
    pub a: String,
    /// What the second is.
    pub b: String,
    /// The tasks of the first, then those that only the second has.
    pub tasks: Vec<TaskComparison>,
}

/// A task in two results. What a result does not have is absent.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TaskComparison {
    /// Its name.
    pub name: String,
    /// Its share.
    pub share: Pair<f64>,
    /// Its share in the ideal.
    pub ideal_share: Pair<f64>,
    /// How long it waited in all.
    pub runnable_ns: Pair<i64>,
    /// The longest that it waited at once.
    pub max_wait_ns: Pair<i64>,
    /// Half of its wake-ups waited at most this long.
    pub wake_p50_ns: Pair<i64>,
    /// 99 of 100 wake-ups waited at most this long.
    pub wake_p99_ns: Pair<i64>,
    /// The longest wait after a wake-up.
    pub wake_max_ns: Pair<i64>,
    /// How often it moved.
    pub migrations: Pair<i64>,
    /// Jobs that came too late.
    pub deadline_misses: Pair<i64>,
}

/// A value in two results.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Pair<T> {
    /// In the first.
    pub a: Option<T>,
    /// In the second.
    pub b: Option<T>,
    /// The second less the first.
    pub difference: Option<T>,
}

impl<T: Copy + std::ops::Sub<Output = T>> Pair<T> {
    fn of(a: Option<&TaskReport>, b: Option<&TaskReport>, value: impl Fn(&TaskReport) -> T) -> Self {
        let (a, b) = (a.map(&value), b.map(&value));
        Self { a, b, difference: a.zip(b).map(|(a, b)| b - a) }
    }
}

/// Compares two results.
pub fn compare(a: &Report, b: &Report) -> Comparison {
    let (of_a, of_b) = (by_name(a), by_name(b));
    let both = a.tasks.iter().map(|task| compare_task(Some(task), of_b.get(task.name.as_str()).copied()));
    let only_b = b.tasks.iter().filter(|task| !of_a.contains_key(task.name.as_str()));
    Comparison {
        a: describe(a),
        b: describe(b),
        tasks: both.chain(only_b.map(|task| compare_task(None, Some(task)))).collect(),
    }
}

/// The tasks by name, the first of each.
fn by_name(report: &Report) -> HashMap<&str, &TaskReport> {
    let mut tasks = HashMap::with_capacity(report.tasks.len());
    for task in &report.tasks {
        tasks.entry(task.name.as_str()).or_insert(task);
    }
    tasks
}

fn describe(report: &Report) -> String {
    let seconds = report.duration_ns as f64 / 1e9;
    let cpus = if report.cpus == 1 { "CPU" } else { "CPUs" };
    format!("{}, {} {cpus}, seed {}, {seconds} s", report.policy, report.cpus, report.seed)
}

fn compare_task(a: Option<&TaskReport>, b: Option<&TaskReport>) -> TaskComparison {
    let signed = |number: u64| number.cast_signed();
    TaskComparison {
        name: a.or(b).map(|task| task.name.clone()).unwrap_or_default(),
        share: Pair::of(a, b, |task| task.share),
        ideal_share: Pair::of(a, b, |task| task.ideal_share),
        runnable_ns: Pair::of(a, b, |task| signed(task.runnable_ns)),
        max_wait_ns: Pair::of(a, b, |task| signed(task.max_wait_ns)),
        wake_p50_ns: Pair::of(a, b, |task| signed(task.wake_latency_ns.p50)),
        wake_p99_ns: Pair::of(a, b, |task| signed(task.wake_latency_ns.p99)),
        wake_max_ns: Pair::of(a, b, |task| signed(task.wake_latency_ns.max)),
        migrations: Pair::of(a, b, |task| signed(task.migrations)),
        deadline_misses: Pair::of(a, b, |task| signed(task.deadline_misses)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Invariants, VERSION};

    /// A result with these tasks and nothing else.
    fn report(tasks: impl Iterator<Item = String>) -> Report {
        let task = |name| {
            let text = r#"{"name": "", "weight": 64, "class": "normal", "runtime_ns": 0, "runnable_ns": 0, "sleep_ns": 0,
                "share": 0.5, "ideal_share": 0.5, "dispatches": 0, "preemptions": 0, "voluntary_blocks": 0,
                "migrations": 0, "first_dispatch_ns": null, "max_wait_ns": 0, "max_consecutive_slices": 0,
                "lag_ns": {"min": 0, "max": 0}, "wake_latency_ns": {"p50": 0, "p99": 0, "max": 0}, "jobs": 0,
                "deadline_misses": 0, "period_drift_ns": 0, "cpu_runtime_ns": []}"#;
            TaskReport { name, ..serde_json::from_str(text).expect("a task's result") }
        };
        Report {
            version: VERSION,
            policy: "wfq".to_owned(),
            cpus: 1,
            seed: 1,
            duration_ns: 1,
            tasks: tasks.map(task).collect(),
            cpus_detail: Vec::new(),
            invariants: Invariants { checked: 0, violations: 0 },
        }
    }

    /// So many that a search through all of them for each would not come to an end in time.
    #[test]
    fn a_hundred_thousand_tasks_are_compared_those_of_the_second_alone_last() {
        const TASKS: usize = 100_000;
        let a = report((0..TASKS).map(|number| format!("task-{number}")));
        let b = report((10..TASKS + 10).rev().map(|number| format!("task-{number}")));
        let tasks = compare(&a, &b).tasks;
        assert_eq!(tasks.len(), TASKS + 10);
        for (place, task) in tasks.iter().enumerate() {
            let number = if place < TASKS { place } else { TASKS + 9 - (place - TASKS) };
            assert_eq!(task.name, format!("task-{number}"));
            assert_eq!((task.share.a.is_some(), task.share.b.is_some()), (number < TASKS, number >= 10));
        }
    }
}
