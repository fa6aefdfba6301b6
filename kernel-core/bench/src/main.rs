//! `bench-table TARGET-FOLDER ROUNDS`: what the last run of `instructions` and so many runs of `time` found, as one table.
//!
//! Instructions are exact and the same everywhere for one compiler. Times are given only as a ratio to `axsched`'s in the
//! same run, of which the median of all runs is shown: below 1 is faster.

use anyhow::{Context, Result, bail};
use kernel_core_bench::{Case, Operation, SIZES, Subject, cases, prepare_count};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match print(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(arguments: &[String]) -> Result<()> {
    let [folder, rounds] = arguments else { bail!("usage: bench-table TARGET-FOLDER ROUNDS") };
    let (folder, rounds) = (Path::new(folder), rounds.parse().with_context(|| format!("{rounds} is no number"))?);
    let instructions = Instructions::read(folder)?;
    println!(
        "Instructions per operation (Callgrind), and time as a ratio to axsched-cfs in the same run (criterion):\n"
    );
    print!("{:20}{:>8}", "operation", "threads");
    for subject in Subject::ALL {
        print!("{:>13}", subject.name());
    }
    println!("{:>12}{:>12}{:>12}{:>12}", "wfq time", "eevdf time", "map time", "tree time");
    for operation in Operation::ALL {
        for threads in SIZES {
            print!("{:20}{threads:>8}", operation.name());
            for subject in Subject::ALL {
                print!("{:>13}", instructions.per_operation(Case { operation, subject, threads })?);
            }
            for subject in [Subject::Wfq, Subject::Eevdf, Subject::Map, Subject::TreeAlone] {
                match relative_time(folder, rounds, Case { operation, subject, threads })? {
                    Some(ratio) => print!("{ratio:>12.2}"),
                    None => print!("{:>12}", "-"),
                }
            }
            println!();
        }
    }
    println!();
    let growth = |subject| -> Result<f64> {
        let at =
            |threads| instructions.per_operation(Case { operation: Operation::PickRequeueMixed, subject, threads });
        Ok(at(10_000)? as f64 / at(64)? as f64)
    };
    for subject in Subject::ALL {
        println!(
            "{}: pick+requeue-mixed at 10,000 costs {:.2} times what it costs at 64",
            subject.name(),
            growth(subject)?
        );
    }
    Ok(())
}

/// The counts of the last run, in the order of [`cases`].
struct Instructions(Vec<u64>);

impl Instructions {
    fn read(folder: &Path) -> Result<Self> {
        let of = |index| {
            let case =
                format!("gungraun/kernel-core-bench/instructions/ready_queues/operation.case_{index}/summary.json");
            let summary = read(&folder.join(case))?;
            let count = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"];
            count.as_u64().with_context(|| format!("case {index} has no count of instructions"))
        };
        (0..cases().len()).map(of).collect::<Result<_>>().map(Self)
    }

    fn per_operation(&self, case: Case) -> Result<u64> {
        let index = cases().iter().position(|other| *other == case).context("an unknown case")?;
        Ok(self.0[index] / prepare_count(case).operations() as u64)
    }
}

/// The time of a case by that of the first peer: the median of the ratios of all rounds.
fn relative_time(folder: &Path, rounds: usize, case: Case) -> Result<Option<f64>> {
    let peer = Case { subject: Subject::AxschedCfs, ..case };
    let ratio = |round| Ok(time(folder, round, case)? / time(folder, round, peer)?);
    let mut ratios = (0..rounds).map(ratio).collect::<Result<Vec<_>>>()?;
    ratios.sort_by(f64::total_cmp);
    Ok(ratios.get(rounds / 2).copied())
}

/// Nanoseconds per operation in one round.
fn time(folder: &Path, round: usize, case: Case) -> Result<f64> {
    let (group, function) = (case.operation.name(), case.subject.name());
    let of_case = folder.join("criterion").join(group).join(format!("{function}_{}", case.threads));
    let estimates = read(&of_case.join(format!("round-{round}/estimates.json")))?;
    estimates["median"]["point_estimate"].as_f64().with_context(|| format!("{case} has no estimate"))
}

fn read(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}
