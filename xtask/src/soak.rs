//! `cargo xtask soak`: every target again and again, at several sizes, to find what fails once in a while.

use anyhow::{Result, bail};
use clap::Args;
use qemu_targets::qemu::Accelerator;
use qemu_targets::target;

use crate::boot::Switches;
use crate::build::{self, Noise};
use crate::setup;
use crate::trial::{self, Trial};

/// What to repeat.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The targets; all of them if none is named
    targets: Vec<String>,
    /// How often
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The sizes of the machine
    #[arg(long, value_delimiter = ',', default_value = "1,2,4", value_parser = clap::value_parser!(u16).range(1..=512))]
    cpus: Vec<u16>,
}

/// Runs everything; a failure is printed at once and counted, the rest goes on.
pub fn run(arguments: &Arguments) -> Result<()> {
    let names: Vec<String> = if arguments.targets.is_empty() {
        target::names().map(str::to_owned).collect()
    } else {
        arguments.targets.clone()
    };
    let targets = names.iter().map(|name| trial::read_target(name, None)).collect::<Result<Vec<_>>>()?;
    let toolchain = setup::ensure()?;
    let artifacts = build::build(toolchain, Switches::default().arch.target(), Noise::Kept)?;
    let (mut good, mut bad) = (0_u32, 0_u32);
    for (name, target) in names.iter().zip(&targets) {
        for &cpus in arguments.cpus.iter().filter(|cpus| **cpus >= target.least_cpus) {
            let switches = Switches { cpus: Some(cpus), ..Switches::default() };
            let trial = Trial::prepare(target, &switches, &artifacts, Accelerator::Tcg)?;
            let mut failures = 0;
            for number in 1..=arguments.runs {
                if let Err(error) = trial.run(&mut |_, _, _| ()).and_then(trial::Judged::into_result) {
                    failures += 1;
                    println!("FAILED {name} at {cpus} CPUs, run {number}: {error:#}");
                }
            }
            println!("{name} at {cpus} CPUs: {} of {} runs good", arguments.runs - failures, arguments.runs);
            good += arguments.runs - failures;
            bad += failures;
        }
    }
    println!("{good} passed, {bad} failed");
    if bad > 0 { bail!("{bad} runs failed") } else { Ok(()) }
}
