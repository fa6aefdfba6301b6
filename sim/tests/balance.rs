//! Balance, on random mixes of threads that are always ready, against the ideal: any number of threads on any number of
//! CPUs, of equal and of unequal weights, free to run anywhere and not.
//!
//! `cargo test -p sim --release --test balance -- --ignored --nocapture` tries many more and prints the table that
//! `docs/src/scheduling.md` has.

mod common;

use common::{POLICIES, workload};
use kernel_core::sched::Policy;
use sim::engine;
use sim::result::{Report, TaskReport};
use std::fmt::Write;

/// The base request and the grid's period, in nanoseconds.
const REQUEST: f64 = 2e6;
const GRID: u64 = 10_000_000;

/// What one does that is always ready.
const HOG: &str = r#""run": 1000000"#;

/// Numbers as if drawn by lot (SplitMix64), the same ones on every machine.
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn among(&mut self, range: std::ops::RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    /// As many weights between two powers of two as between any other two.
    fn weight(&mut self, lightest: u32, heaviest: u32) -> u64 {
        let part = self.next() as f64 / u64::MAX as f64;
        2_f64.powf(f64::from(lightest) + part * f64::from(heaviest - lightest)).round() as u64
    }
}

/// What the threads of a mix differ in.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// Their weights are between two to the power of these.
    weights: (u32, u32),
    /// Seven of ten may not run everywhere, but on two CPUs at least.
    masked: bool,
    /// Three of ten sleep now and then.
    sleepers: bool,
    seconds: u64,
    /// The distance from the ideal, as a part of it, that is promised.
    promised: f64,
}

const EQUAL: Kind = Kind { weights: (6, 6), masked: false, sleepers: false, seconds: 1, promised: 0.05 };
const EQUAL_MASKED: Kind = Kind { masked: true, ..EQUAL };
const BESIDE_SLEEPERS: Kind = Kind { sleepers: true, ..EQUAL };
const UNEQUAL: Kind = Kind { weights: (0, 10), seconds: 10, promised: 0.1, ..EQUAL };
const MILD: Kind = Kind { weights: (4, 8), ..UNEQUAL };
const MILD_MASKED: Kind = Kind { masked: true, ..MILD };
const UNEQUAL_MASKED: Kind = Kind { masked: true, ..UNEQUAL };

impl Kind {
    fn mix(self, seed: u64) -> String {
        let mut lots = Lots(seed);
        let cpus = [2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 8, 12, 16][lots.among(0..=12) as usize];
        let count = if lots.among(0..=9) < 7 { lots.among(cpus + 1..=4 * cpus) } else { lots.among(2..=cpus + 3) };
        let mut text =
            format!(r#"{{"global": {{"duration": {}, "tessera": {{"cpus": {cpus}}}}}, "tasks": {{"#, self.seconds);
        for index in 0..count {
            let weight = lots.weight(self.weights.0, self.weights.1);
            let mut mask = String::new();
            if self.masked && cpus > 2 && lots.among(0..=9) < 7 {
                let allowed = lots.among(2..=cpus - 1);
                let mut all: Vec<u64> = (0..cpus).collect();
                let chosen: Vec<u64> =
                    (0..allowed).map(|_| all.remove(lots.among(0..=all.len() as u64 - 1) as usize)).collect();
                mask = format!(r#", "cpus": {chosen:?}"#);
            }
            let program = if self.sleepers && index > 0 && lots.among(0..=9) < 3 {
                let run = lots.among(300..=4_000);
                format!(r#""run": {run}, "sleep": {}"#, lots.among(run / 2..=8_000))
            } else {
                HOG.to_owned()
            };
            let comma = if index == 0 { "" } else { ", " };
            write!(text, r#"{comma}"t{index}": {{{program}{mask}, "tessera": {{"weight": {weight}}}}}"#)
                .expect("a string takes everything");
        }
        text + "}}"
    }

    /// By how much of its ideal each thread that is always ready is away from it, unless that is less than four requests, as
    /// it may be for one that should get ten in all. Beside sleepers, who wait for slices to end and cannot take all that
    /// they should get, the ideal is the mean of those who are always ready.
    fn distances(self, report: &Report) -> Vec<f64> {
        let hogs: Vec<&TaskReport> = report.tasks.iter().filter(|task| task.voluntary_blocks == 0).collect();
        let mean = hogs.iter().map(|hog| hog.share).sum::<f64>() / hogs.len() as f64;
        let distance = |hog: &&TaskReport| {
            let ideal = if self.sleepers { mean } else { hog.ideal_share };
            let (got, ideal) = (hog.runtime_ns as f64, ideal * self.seconds as f64 * 1e9);
            if (got - ideal).abs() <= 4.0 * REQUEST { 0.0 } else { (got / ideal - 1.0).abs() }
        };
        hogs.iter().map(distance).collect()
    }
}

fn run(text: &str, policy: Policy) -> Report {
    let options = engine::Options { policy, seed: 1, check: false, trace: false };
    engine::run(&workload(text), &options, &mut |_| ()).expect("hogs do nothing wrong").report
}

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

#[test]
#[ignore = "minutes; prints a table for the documents"]
fn many_mixes() {
    const MIXES: u64 = 1_000;
    println!("| threads | within | policy | threads further off | mixes | furthest off |\n|---|---|---|---|---|---|");
    for (what, kind) in [
        ("equal weights", EQUAL),
        ("weights of 16 to 256", MILD),
        ("weights of 1 to 1,024", UNEQUAL),
        ("equal weights, beside sleepers", BESIDE_SLEEPERS),
        ("equal weights, masks", EQUAL_MASKED),
        ("weights of 16 to 256, masks", MILD_MASKED),
        ("weights of 1 to 1,024, masks", UNEQUAL_MASKED),
    ] {
        for policy in POLICIES {
            let (mut off, mut all, mut mixes, mut furthest) = (0, 0, 0, 0.0);
            for seed in 0..MIXES {
                let report = run(&kind.mix(seed), policy);
                let distances = kind.distances(&report);
                let here = distances.iter().filter(|&&distance| distance > kind.promised).count();
                (off, all, mixes) = (off + here, all + distances.len(), mixes + u64::from(here != 0));
                furthest = distances.iter().copied().fold(furthest, f64::max);
            }
            let promised = kind.promised * 100.0;
            let seconds = kind.seconds;
            println!(
                "| {what} | {promised} % in {seconds} s | {policy:?} | {off} of {all} | {mixes} of {MIXES} | {:.1} % |",
                furthest * 100.0
            );
        }
    }
}
