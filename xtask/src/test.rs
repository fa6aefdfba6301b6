//! `cargo xtask test`: everything that must hold, in one command, the same for a person and for continuous integration.
//!
//! Steps are grouped in phases; the steps of a phase run on a few workers, phases follow each other. A step that fails
//! stops nothing else: its whole output is printed, the run goes on, and the last line counts.

mod boots;
mod checks;
mod encoded;
pub mod fuzz;
mod hostile;
mod kernels;
mod linked;
mod matrix;
pub mod runner;
pub mod targets;
mod traced;
mod trees;

use std::io::{self, Write};

use anyhow::{Result, bail};

pub use kernels::Kernels;

use crate::setup;
use crate::toolchain::Toolchain;

/// Runs every step whose name contains one of `only` (all of them if it is empty).
pub fn run(only: &[String]) -> Result<()> {
    let mut phases = phases(setup::ensure()?);
    for phase in &mut phases {
        phase.keep(only);
    }
    let total: usize = phases.iter().map(runner::Phase::len).sum();
    if total == 0 {
        bail!("no step's name contains {}; `cargo xtask test --list` prints them", only.join(" or "));
    }
    let summary = runner::run(phases);
    println!("{} passed, {} failed", summary.passed, summary.failed);
    if summary.failed > 0 { bail!("{} of {total} steps failed", summary.failed) } else { Ok(()) }
}

/// Boots once what `run` leaves to code that is tested on the host: the HAL suite on every machine, and all bad input.
pub fn once(kernels: &Kernels) -> runner::Summary {
    runner::run(boots::full(kernels))
}

/// Tries byte-driven properties: all that there are if `inputs` is empty, with `runs` times the cases of [`run`].
pub fn fuzz(toolchain: Toolchain, inputs: &[fuzz::Input], runs: u32) -> runner::Summary {
    runner::run(vec![fuzz::phase(toolchain, inputs, runs)])
}

fn phases(toolchain: Toolchain) -> Vec<runner::Phase> {
    let kernels = kernels::Kernels::new(toolchain);
    let mut phases = checks::phases(toolchain, &kernels);
    phases.extend(boots::phases(&kernels));
    phases.extend(encoded::phases(&kernels));
    phases.extend(traced::phases(&kernels));
    phases.extend(targets::phases(&kernels));
    phases
}

/// Prints the names of all steps in their order, as far as somebody reads them.
pub fn list() -> Result<()> {
    let mut names = String::new();
    for phase in phases(setup::ensure()?) {
        phase.names().for_each(|name| names.extend([name, "\n"]));
    }
    match io::stdout().write_all(names.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
