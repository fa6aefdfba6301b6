//! Random mixes, and how near to the ideal they come.
#![allow(dead_code)] // The test and the example use other parts.

use kernel_core::sched::Policy;
use sim::engine;
use sim::result::{Report, TaskReport};
use sim::workload::{Options, read};
use std::fmt::Write;

/// The base request in nanoseconds.
const REQUEST: f64 = 2e6;

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
pub struct Kind {
    /// Their weights are between two to the power of these.
    pub weights: (u32, u32),
    /// Seven of ten may not run everywhere, but on two CPUs at least.
    pub masked: bool,
    /// Three of ten sleep now and then.
    pub sleepers: bool,
    pub seconds: u64,
    /// The distance from the ideal, as a part of it, that is promised.
    pub promised: f64,
}

pub const EQUAL: Kind = Kind { weights: (6, 6), masked: false, sleepers: false, seconds: 1, promised: 0.05 };
pub const EQUAL_MASKED: Kind = Kind { masked: true, ..EQUAL };
pub const BESIDE_SLEEPERS: Kind = Kind { sleepers: true, ..EQUAL };
pub const UNEQUAL: Kind = Kind { weights: (0, 10), seconds: 10, promised: 0.1, ..EQUAL };
pub const MILD: Kind = Kind { weights: (4, 8), ..UNEQUAL };
pub const MILD_MASKED: Kind = Kind { masked: true, ..MILD };
pub const UNEQUAL_MASKED: Kind = Kind { masked: true, ..UNEQUAL };

impl Kind {
    pub fn mix(self, seed: u64) -> String {
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
    pub fn distances(self, report: &Report) -> Vec<f64> {
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

pub fn run(text: &str, policy: Policy) -> Report {
    let workload = read(text.as_bytes(), &Options::default()).expect("a mix is a workload");
    let options = engine::Options { policy, seed: 1, check: false, trace: false };
    engine::run(&workload, &options, &mut |_| ()).expect("hogs do nothing wrong").report
}
