//! `sim sweep`.

use super::{Verdict, files, values};
use anyhow::{Result, anyhow};
use indicatif::ProgressBar;
use kernel_core::sched::Policy;
use sim::engine;
use sim::result::Report;
use sim::sweep;
use sim::workload;
use std::io::IsTerminal;
use std::path::PathBuf;
use tessera_hal::Duration;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The workload
    #[arg(value_name = "WORKLOAD.json")]
    file: PathBuf,
    /// Policies, such as wfq,eevdf
    #[arg(long, value_delimiter = ',', value_parser = values::policy, default_value = "wfq,eevdf")]
    policies: Vec<Policy>,
    /// Numbers of CPUs, such as 1,2,4; the workload's if absent
    #[arg(long, value_delimiter = ',', value_parser = values::cpus)]
    cpus: Vec<usize>,
    /// Seeds, such as 1..5 or 1,7; they matter to workloads with noise
    #[arg(long, value_delimiter = ',', value_parser = values::seeds, default_value = "1")]
    seeds: Vec<values::Seeds>,
    /// How long to simulate, in place of the workload's
    #[arg(long, value_parser = values::duration)]
    duration: Option<Duration>,
    /// Where to write the results
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// Draw them, too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Leave out memory and I/O events instead of refusing them
    #[arg(long)]
    ignore_unsupported: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict> {
    let machines: Vec<Option<usize>> = match arguments.cpus.as_slice() {
        [] => vec![None],
        cpus => cpus.iter().copied().map(Some).collect(),
    };
    files::check_outputs([("--csv", Some(&arguments.csv)), ("--svg", arguments.svg.as_ref())])?;
    let seeds: Vec<u64> = arguments.seeds.iter().flat_map(|seeds| seeds.iter()).collect();
    let runs = (machines.len() * arguments.policies.len() * seeds.len()) as u64;
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(runs) } else { ProgressBar::hidden() };
    let mut reports: Vec<Report> = Vec::new();
    for cpus in machines {
        let options =
            workload::Options { cpus, duration: arguments.duration, ignore_unsupported: arguments.ignore_unsupported };
        let workload = files::read_workload(&arguments.file, &options)?;
        // They are the same on every machine.
        if reports.is_empty() {
            files::tell_notices(&arguments.file, &workload, false);
        }
        for &policy in &arguments.policies {
            for &seed in &seeds {
                let options = engine::Options { policy, seed, check: false, trace: false };
                let outcome = engine::run(&workload, &options, &mut |_| ());
                let outcome = outcome.map_err(|fault| anyhow!("{}:{fault}", arguments.file.display()))?;
                reports.push(outcome.report);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    files::write(&arguments.csv, sweep::csv(&reports).as_bytes())?;
    if let Some(path) = &arguments.svg {
        files::write(path, sweep::svg(&files::short_name(&arguments.file), &reports)?.as_bytes())?;
    }
    files::print(&format!("{runs} runs written to {}\n", arguments.csv.display()))?;
    Ok(Verdict::Done)
}
