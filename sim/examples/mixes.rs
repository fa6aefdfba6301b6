//! Prints how near a thousand random mixes of each kind come to the ideal: the table of `docs/src/scheduling.md`.

#[path = "../tests/mixes/mod.rs"]
mod mixes;

use kernel_core::sched::Policy;
use mixes::{BESIDE_SLEEPERS, EQUAL, EQUAL_MASKED, MILD, MILD_MASKED, UNEQUAL, UNEQUAL_MASKED, run};

fn main() {
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
        for policy in [Policy::Wfq, Policy::Eevdf] {
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
