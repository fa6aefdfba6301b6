//! Balance, on random mixes of threads that are always ready, against the ideal: any number of threads on any number of
//! CPUs, of equal and of unequal weights, free to run anywhere and not. `sim/examples/mixes.rs` tries many more.

mod common;
mod mixes;

use common::POLICIES;
use mixes::{BESIDE_SLEEPERS, EQUAL, EQUAL_MASKED, Kind, MILD, UNEQUAL, run};
use sim::result::{Report, TaskReport};

/// The grid's period in nanoseconds.
const GRID: u64 = 10_000_000;

fn migrations(report: &Report) -> u64 {
    report.tasks.iter().map(|task| task.migrations).sum()
}

/// What the documents promise: in each grid period each CPU takes one thread, for which one may go back in exchange.
fn migration_bound(report: &Report, exchanges: bool) -> u64 {
    report.cpus as u64 * (report.duration_ns / GRID) * if exchanges { 2 } else { 1 }
}

fn check(kind: Kind, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let text = kind.mix(seed);
        for policy in POLICIES {
            let report = run(&text, policy);
            let furthest = kind.distances(&report).into_iter().fold(0.0, f64::max);
            assert!(furthest <= kind.promised, "{policy:?}: one is {furthest:.3} of its share off: {text}");
            let bound = migration_bound(&report, kind.weights.0 != kind.weights.1 || kind.sleepers);
            assert!(migrations(&report) <= bound, "{policy:?}: {} migrations: {text}", migrations(&report));
        }
    }
}

#[test]
fn threads_of_equal_weight_get_their_shares_within_5_per_cent_in_a_second() {
    check(EQUAL, 0..40);
}

#[test]
fn so_do_those_that_may_not_run_everywhere() {
    check(EQUAL_MASKED, 0..40);
}

#[test]
fn those_that_are_always_ready_get_equal_shares_beside_sleepers() {
    check(BESIDE_SLEEPERS, 0..40);
}

#[test]
fn threads_of_unequal_weight_get_their_shares_within_10_per_cent_in_ten_seconds() {
    check(UNEQUAL, 0..6);
    check(MILD, 0..6);
}

#[test]
fn a_few_mixes_that_were_far_off_once_are_near() {
    for (what, tasks, promised) in [
        (
            "one light and as many heavy ones as CPUs",
            r#""cpus": 2}}, "tasks": {
            "light": {"run": 1000000, "tessera": {"weight": 64}},
            "heavy": {"instance": 2, "run": 1000000, "tessera": {"weight": 1024}}}"#,
            0.02,
        ),
        (
            "two anywhere and two on all CPUs but one",
            r#""cpus": 3}}, "tasks": {
            "free": {"instance": 2, "run": 1000000}, "masked": {"instance": 2, "run": 1000000, "cpus": [0, 2]}}"#,
            0.02,
        ),
        (
            "a chain over one that has all that it can have",
            r#""cpus": 3}}, "tasks": {
            "a": {"run": 1000000, "cpus": [1, 2], "tessera": {"weight": 100}},
            "b": {"run": 1000000, "cpus": [0, 2], "tessera": {"weight": 33}},
            "c": {"run": 1000000, "cpus": [1, 2], "tessera": {"weight": 18}},
            "d": {"run": 1000000, "cpus": [0, 2], "tessera": {"weight": 151}},
            "e": {"run": 1000000, "cpus": [0, 2], "tessera": {"weight": 17}}}"#,
            0.05,
        ),
        (
            "a fast group that says nothing to the others",
            r#""cpus": 3}}, "tasks": {
            "a": {"run": 1000000, "cpus": [0, 2], "tessera": {"weight": 73}},
            "b": {"run": 1000000, "cpus": [0, 2], "tessera": {"weight": 215}},
            "c": {"run": 1000000, "cpus": [0, 1], "tessera": {"weight": 22}},
            "d": {"run": 1000000, "cpus": [1, 2], "tessera": {"weight": 47}},
            "e": {"run": 1000000, "cpus": [0, 2], "tessera": {"weight": 124}},
            "f": {"run": 1000000, "cpus": [1, 2], "tessera": {"weight": 18}}}"#,
            0.05,
        ),
        (
            "an idle CPU where only those may run who need none",
            r#""cpus": 3}}, "tasks": {
            "a": {"run": 1000000, "cpus": [1, 2]}, "b": {"instance": 2, "run": 1000000, "cpus": [0, 1]}}"#,
            0.02,
        ),
    ] {
        for policy in POLICIES {
            let report = run(&format!(r#"{{"global": {{"duration": 10, "tessera": {{{tasks}}}"#), policy);
            for TaskReport { name, share, ideal_share, .. } in &report.tasks {
                assert!(
                    (share / ideal_share - 1.0).abs() <= promised,
                    "{policy:?}, {what}: {name}: {share}, not {ideal_share}"
                );
            }
        }
    }
}

#[test]
fn a_sleeper_disturbs_all_hogs_alike() {
    for (cpus, sleepers) in [
        (2, r#""s": {"run": 1000, "sleep": 4000}"#),
        (4, r#""s": {"run": 1000, "sleep": 4000}"#),
        (2, r#""s": {"run": 997, "sleep": 7071}, "r": {"run": 1800, "sleep": 6344}"#),
        (2, r#""s": {"run": 812, "sleep": 7014}"#),
    ] {
        for policy in POLICIES {
            let text = format!(
                r#"{{"global": {{"duration": 1, "tessera": {{"cpus": {cpus}}}}},
                "tasks": {{"hog": {{"instance": {cpus}, "run": 1000000}}, {sleepers}}}}}"#
            );
            let report = run(&text, policy);
            let shares: Vec<f64> = report.tasks[..cpus].iter().map(|task| task.share).collect();
            let mean = shares.iter().sum::<f64>() / cpus as f64;
            assert!(shares.iter().all(|share| (share / mean - 1.0).abs() <= 0.05), "{policy:?}: {shares:?}: {text}");
        }
    }
}
