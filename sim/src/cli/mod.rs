//! The command line.

mod compare;
mod files;
mod plots;
mod progress;
mod run;
mod sweep;
mod values;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Run workloads against Tessera's scheduler in simulated time.
#[derive(Parser)]
#[command(name = "sim", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a workload: rt-app's JSON, and ours
    Run(run::Arguments),
    /// Compare two results of `sim run --json`, task by task
    Compare(compare::Arguments),
    /// Run a workload under several policies, numbers of CPUs and seeds
    Sweep(sweep::Arguments),
    /// Draw the plots of the documentation into a folder
    Plots(plots::Arguments),
}

/// How it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As it should.
    Done,
    /// `--check` found a violation.
    Violated,
}

/// Does what was asked for.
pub fn perform(arguments: &Arguments) -> Result<Verdict> {
    match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Sweep(arguments) => sweep::run(arguments),
        Command::Plots(arguments) => plots::run(arguments),
    }
}
