//! `cargo xtask run`: boot a target and judge it.

use std::ops::ControlFlow;

use anyhow::{Result, bail};
use qemu_targets::qemu::{self, Ending};

use crate::boot::{self, Switches};
use crate::build::{self, Noise};
use crate::setup;

/// CPUs of a machine when neither the person nor the target names a number.
const DEFAULT_CPUS: u32 = 4;

/// Boots one target.
pub fn run(target: &str, switches: &Switches) -> Result<()> {
    switches.check()?;
    let toolchain = setup::ensure()?;
    let artifacts = build::build(toolchain, switches.arch.target(), Noise::Shown)?;
    let choice = switches.choose_accelerator(&artifacts.kernel)?;
    println!("run: {target} under {} ({}).", choice.accelerator, choice.reason);
    let cpus = switches.cpus.unwrap_or(DEFAULT_CPUS);
    match target {
        CONFORMANCE => conformance(switches, &artifacts.kernel, cpus, choice.accelerator),
        other => bail!("there is no target {other}"),
    }
}

/// The target that checks the machine against the HAL contract.
const CONFORMANCE: &str = "conformance";

fn conformance(switches: &Switches, kernel: &std::path::Path, cpus: u32, accelerator: qemu::Accelerator) -> Result<()> {
    let mut launch = switches.launch(kernel, None, cpus, accelerator);
    launch.options.push_str(" mode=conformance");
    let outcome = qemu::run(&launch, boot::limits(20, cpus, accelerator), &mut |line| {
        println!("{line}");
        ControlFlow::Continue(())
    })?;
    if outcome.ending == Ending::Success { Ok(()) } else { bail!("{}", outcome.report()) }
}
