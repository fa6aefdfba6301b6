//! Builds the kernels and the user programs for the bare-metal targets.
//!
//! cargo itself reports which executables came out; no path is guessed. Kernel and programs are built by separate calls,
//! because one call would unite the features of the libraries that both use.

mod image;
mod symbols;

use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::process;
use crate::toolchain::Toolchain;
use crate::workspace::{PROGRAM_PACKAGES, Target};

/// An executable that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// The name of the cargo target.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Everything that a machine boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifacts {
    /// The target that this is for.
    pub target: Target,
    /// The kernel.
    pub kernel: PathBuf,
    /// The user programs.
    pub programs: Vec<Executable>,
}

/// What cargo shows while it builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// cargo's own progress on standard error.
    Shown,
    /// Nothing, unless the build fails.
    Kept,
}

/// Builds kernel and programs for one target.
pub fn build(toolchain: Toolchain, target: Target, noise: Noise) -> Result<Artifacts> {
    let platform = target.platform();
    let kernels = build_package(toolchain, target, platform, noise)?;
    let kernel = kernels.into_iter().find(|executable| executable.name == platform);
    let kernel = kernel.with_context(|| format!("the package {platform} has no binary of that name"))?.path;
    let mut programs = Vec::new();
    for package in PROGRAM_PACKAGES {
        programs.extend(build_package(toolchain, target, package, noise)?);
    }
    Ok(Artifacts { target, kernel: bootable(target, kernel)?, programs })
}

/// Builds an example of a package for the host, without optimisation, and answers where it is.
pub fn example(toolchain: Toolchain, package: &str, name: &str) -> Result<PathBuf> {
    let mut command = toolchain.cargo();
    command.args(["build", "--package", package, "--example", name]);
    let built = run(command, Noise::Kept)?.into_iter().find(|executable| executable.name == name);
    built.map(|executable| executable.path).with_context(|| format!("the package {package} has no example {name}"))
}

fn build_package(toolchain: Toolchain, target: Target, package: &str, noise: Noise) -> Result<Vec<Executable>> {
    let mut command = toolchain.cargo();
    command.args(["build", "--release", "--target", target.triple(), "--package", package]);
    run(command, noise)
}

/// Runs a build and answers what executables came out.
fn run(mut command: Command, noise: Noise) -> Result<Vec<Executable>> {
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(if noise == Noise::Shown { Stdio::inherit() } else { Stdio::piped() });
    let output = command.spawn().and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("cannot start `{}`", process::display(&command)))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}\n{}", process::display(&command), output.status, text.trim_end());
    }
    executables(&output.stdout)
}

fn executables(messages: &[u8]) -> Result<Vec<Executable>> {
    let mut found = Vec::new();
    for message in Message::parse_stream(BufReader::new(messages)) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read cargo's build messages")?
            && let Some(path) = artifact.executable
        {
            found.push(Executable { name: artifact.target.name.clone(), path: path.into_std_path_buf() });
        }
    }
    Ok(found)
}

/// The file that the machine's loader accepts, with the names for backtraces. PCs load the ELF file by its PVH note.
fn bootable(target: Target, kernel: PathBuf) -> Result<PathBuf> {
    let mut file = fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    symbols::fill(&mut file).with_context(|| format!("cannot name the functions of {}", kernel.display()))?;
    let (extension, bytes) = match target {
        Target::X86_64 => ("elf", file),
        Target::Aarch64 => {
            let flat = image::flatten(&file);
            ("image", flat.with_context(|| format!("cannot make an image of {}", kernel.display()))?)
        }
    };
    let path = kernel.with_extension(extension);
    replace(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Writes a file that others may be using: each sees the old one or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension(std::process::id().to_string());
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn who_uses_a_file_that_is_replaced_keeps_the_old_one() {
        let path = std::env::temp_dir().join(format!("tessera-replace-{}", std::process::id()));
        replace(&path, b"old").unwrap();
        let mut user = fs::File::open(&path).unwrap();
        replace(&path, b"new").unwrap();
        let mut seen = String::new();
        user.read_to_string(&mut seen).unwrap();
        assert_eq!((seen.as_str(), fs::read(&path).unwrap().as_slice()), ("old", &b"new"[..]));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn executables_are_taken_from_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","package_id":"path+file:///w/demos#0.1.0","manifest_path":"/w/demos/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"hog","src_path":"/w/demos/src/bin/hog.rs","edition":"2024","doc":true,"doctest":false,"test":false},"profile":{"opt_level":"3","debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":false},"features":[],"filenames":["/w/target/hog"],"executable":"/w/target/hog","fresh":true}
{"reason":"build-finished","success":true}
"#;
        let expected = [Executable { name: "hog".into(), path: "/w/target/hog".into() }];
        assert_eq!(executables(messages).unwrap(), expected);
    }
}
