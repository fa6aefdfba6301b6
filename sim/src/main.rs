//! `sim`: run workloads against the scheduler in simulated time, compare results, sweep over machines.
//!
//! Exit status: 0 done, 1 `--check` found a violation, 2 bad input or options.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::perform(&cli::Arguments::parse()) {
        Ok(cli::Verdict::Done) => ExitCode::SUCCESS,
        Ok(cli::Verdict::Violated) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
