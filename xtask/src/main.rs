//! The only entry point a person types: set-up, build, run, test, soak, bench and the layer check.
//!
//! `cargo xtask help` lists the commands. Each one brings the machine into order first (see [`setup`]), so a fresh clone
//! needs no preparation.

mod bench;
mod boot;
mod build;
mod initrd;
mod layers;
mod mutants;
mod process;
mod run;
mod setup;
mod soak;
mod test;
mod toolchain;
mod trace;
mod trial;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Target;

/// Everything that is done with Tessera from a shell.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the project needs and is not there yet
    Setup,
    /// Build the kernels and the user programs for both machines
    Build {
        /// Show nothing unless the build fails
        #[arg(long)]
        quiet: bool,
    },
    /// Boot a target in QEMU, show what happens and judge it
    Run(run::Arguments),
    /// Write a target's initrd into a file, for `capnp decode schema/manifest.capnp Manifest` and `run --initrd`
    Initrd(initrd::Arguments),
    /// Run targets many times at several sizes, or byte-driven tests with many more cases
    Soak(soak::Arguments),
    /// Check everything: format, lints, documents, layers, tests on the host and in QEMU
    Test {
        /// Only the steps whose name contains one of these words
        only: Vec<String>,
        /// Print the names of the steps and do nothing
        #[arg(long)]
        list: bool,
    },
    /// Draw the plots of the documentation again
    Plots,
    /// Measure what scheduling decisions cost, beside other ready queues, and print a table
    Bench(bench::Arguments),
    /// Put small faults into the decision core, one at a time, and see that its tests find them
    Mutants(mutants::Arguments),
    /// Check that no crate or module depends on one that it must not know
    CheckLayers,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::explain(),
        Task::Build { quiet } => build_all(if quiet { build::Noise::Kept } else { build::Noise::Shown }),
        Task::Run(arguments) => run::run(&arguments),
        Task::Initrd(arguments) => initrd::write(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Test { list: true, .. } => test::list(),
        Task::Test { only, list: false } => test::run(&only),
        Task::Plots => plots(),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Mutants(arguments) => mutants::run(&arguments),
        Task::CheckLayers => {
            layers::check()?;
            println!("check-layers: every dependency is an allowed one.");
            Ok(())
        }
    }
}

/// The simulator draws them from workloads that are part of its sources.
fn plots() -> Result<()> {
    let folder = workspace::root().join("docs/src/plots");
    let mut command = setup::ensure()?.cargo();
    command.args(["run", "--quiet", "--release", "--package", "sim", "--", "plots"]).arg(folder);
    print!("{}", String::from_utf8_lossy(&process::capture(&mut command)?.stdout));
    Ok(())
}

fn build_all(noise: build::Noise) -> Result<()> {
    let toolchain = setup::ensure()?;
    for target in Target::ALL {
        let artifacts = build::build(toolchain, target, noise)?;
        println!("{}: kernel {}", target.triple(), artifacts.kernel.display());
        for program in artifacts.programs {
            println!("{}: program {}", target.triple(), program.path.display());
        }
    }
    Ok(())
}
