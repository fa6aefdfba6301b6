//! Many runs of one workload: what they came to as CSV, and as a plot.

use crate::plot::{self, Line, Lines, PlotError};
use crate::result::Report;
use std::collections::BTreeSet;

/// The columns of [`csv`].
pub const COLUMNS: &str = "policy,cpus,seed,task,weight,class,share,ideal_share,runnable_ns,max_wait_ns,wake_p50_ns,\
                           wake_p99_ns,wake_max_ns,dispatches,preemptions,migrations,jobs,deadline_misses,\
                           lag_min_ns,lag_max_ns";

/// One line per run and task, below a line with the columns' names.
pub fn csv(reports: &[Report]) -> String {
    let mut text = format!("{COLUMNS}\n");
    for report in reports {
        for task in &report.tasks {
            let run = format!("{},{},{}", report.policy, report.cpus, report.seed);
            let what = format!("{},{},{}", quoted(&task.name), task.weight, task.class);
            let latency = &task.wake_latency_ns;
            let waits =
                format!("{},{},{},{},{}", task.runnable_ns, task.max_wait_ns, latency.p50, latency.p99, latency.max);
            let counts = format!("{},{},{}", task.dispatches, task.preemptions, task.migrations);
            let jobs = format!("{},{},{},{}", task.jobs, task.deadline_misses, task.lag_ns.min, task.lag_ns.max);
            text.push_str(&format!("{run},{what},{},{},{waits},{counts},{jobs}\n", task.share, task.ideal_share));
        }
    }
    text
}

/// A field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// How far the worst task is from its ideal share, and how long wake-ups wait, by CPUs and policy.
pub fn svg(title: &str, reports: &[Report]) -> Result<String, PlotError> {
    let unfairness =
        lines(&format!("{title}: the task furthest from its ideal share"), "distance (%)", reports, worst_share);
    let latency = lines(&format!("{title}: the longest wait after a wake-up"), "wait (ms)", reports, |report| {
        report.tasks.iter().map(|task| task.wake_latency_ns.max as f64 / 1e6).fold(0.0, f64::max)
    });
    plot::lines(&[unfairness, latency])
}

/// The largest distance of a share from the ideal, in percent of the ideal.
fn worst_share(report: &Report) -> f64 {
    let has_ideal = report.tasks.iter().filter(|task| task.ideal_share > 0.0);
    has_ideal.map(|task| 100.0 * (task.share / task.ideal_share - 1.0).abs()).fold(0.0, f64::max)
}

fn lines(title: &str, unit: &str, reports: &[Report], value: impl Fn(&Report) -> f64) -> Lines {
    let cpus: BTreeSet<usize> = reports.iter().map(|report| report.cpus).collect();
    let mut policies: Vec<&str> = Vec::new();
    for report in reports {
        if !policies.contains(&report.policy.as_str()) {
            policies.push(&report.policy);
        }
    }
    let line = |policy: &&str| {
        let at = |cpus: &usize| {
            let runs = reports.iter().filter(|report| report.policy == **policy && report.cpus == *cpus);
            spread(runs.map(&value))
        };
        Line { name: (*policy).to_owned(), values: cpus.iter().map(at).collect() }
    };
    Lines {
        title: title.to_owned(),
        points_are: "CPUs".to_owned(),
        unit: unit.to_owned(),
        points: cpus.iter().map(usize::to_string).collect(),
        lines: policies.iter().map(line).collect(),
    }
}

/// The lowest, the mean and the highest.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    (low.min(high), mean, high)
}
