//! `cargo xtask initrd`: a target's initrd as a file, to be looked at, changed and booted.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::boot::Architecture;
use crate::build::{self, Noise};
use crate::{setup, trial};

/// What to write, and where to.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The file to write
    file: PathBuf,
    /// The target's name
    #[arg(default_value = "default")]
    target: String,
    /// A target file of your own instead of a built-in target
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// CPUs of the machine; what the target says without it
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    cpus: Option<u16>,
    /// The machine's architecture
    #[arg(long, default_value = "x86_64")]
    arch: Architecture,
}

/// Builds the programs and writes the initrd.
pub fn write(arguments: &Arguments) -> Result<()> {
    let Arguments { file, target, manifest, cpus, arch } = arguments;
    let target = trial::read_target(target, manifest.as_deref())?;
    let artifacts = build::build(setup::ensure()?, arch.target(), Noise::Kept)?;
    let bytes = trial::initrd(&target, cpus.unwrap_or(target.cpus), &artifacts)?;
    fs::write(file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
    println!("initrd: {} bytes in {}.", bytes.len(), file.display());
    Ok(())
}
