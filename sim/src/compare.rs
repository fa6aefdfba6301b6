//! Two results beside each other, task by task.

use crate::result::{Report, TaskReport};
use serde::Serialize;

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
    let find = |name: &str| b.tasks.iter().find(|task| task.name == name);
    let both = a.tasks.iter().map(|task| compare_task(Some(task), find(&task.name)));
    let only_b = b.tasks.iter().filter(|task| a.tasks.iter().all(|known| known.name != task.name));
    Comparison {
        a: describe(a),
        b: describe(b),
        tasks: both.chain(only_b.map(|task| compare_task(None, Some(task)))).collect(),
    }
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
