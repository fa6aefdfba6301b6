//! The steps that boot a machine in QEMU: the HAL suite, and what bad input gets.
//!
//! Kernels are built by the first phase. Boots that check structure run side by side; see [`super::targets`] for those
//! whose verdict is about time.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use qemu_targets::qemu::{Ending, Launch, Limits, Outcome};

use super::runner::{Phase, Step};
use crate::boot;
use crate::build::{self, Artifacts, Noise};
use crate::toolchain::Toolchain;
use crate::workspace::Target;

/// What the first phase has built; a failed build leaves its place empty.
#[derive(Clone, Default)]
pub struct Kernels {
    x86_64: Arc<OnceLock<Artifacts>>,
    aarch64: Arc<OnceLock<Artifacts>>,
}

impl Kernels {
    fn place(&self, target: Target) -> &Arc<OnceLock<Artifacts>> {
        match target {
            Target::X86_64 => &self.x86_64,
            Target::Aarch64 => &self.aarch64,
        }
    }

    /// The artifacts for a target; builds them when the build step was not selected.
    pub fn get(&self, toolchain: Toolchain, target: Target) -> Result<&Artifacts> {
        let place = self.place(target);
        if place.get().is_none() {
            let artifacts = build::build(toolchain, target, Noise::Kept)?;
            // Two steps may build at once; cargo makes them equal.
            let _ = place.set(artifacts);
        }
        place.get().context("the kernel was not built")
    }
}

/// All phases of this kind.
pub fn phases(toolchain: Toolchain, kernels: &Kernels) -> Vec<Phase> {
    let mut steps = Vec::new();
    for target in Target::ALL {
        let kernels = kernels.clone();
        steps.push(Step::new(format!("build for {}", target.triple()), move || {
            kernels.get(toolchain, target).map(drop)
        }));
    }
    let builds = Phase::new(1, steps);
    let boots = Phase::new(2, bad_input(toolchain, kernels));
    vec![builds, boots]
}

/// A run that must be refused with one clear line.
struct Refusal {
    name: &'static str,
    target: Target,
    /// Part of the line that the kernel must print.
    expected: &'static str,
    change: fn(&mut Launch) -> Result<()>,
}

fn bad_input(toolchain: Toolchain, kernels: &Kernels) -> Vec<Step> {
    let refuse = |name, expected, change| Refusal { name, target: Target::X86_64, expected, change };
    let refusals = [
        refuse("no initrd", "manifest", |_| Ok(())),
        refuse("unknown kernel option", "unknown key 'colour'", |launch| {
            launch.options = "colour=red".to_owned();
            Ok(())
        }),
        refuse("zero CPUs asked of the kernel", "cpus=0", |launch| {
            launch.options = "cpus=0".to_owned();
            Ok(())
        }),
        refuse("unknown policy asked of the kernel", "policy=fifo", |launch| {
            launch.options = "policy=fifo".to_owned();
            Ok(())
        }),
        refuse("initrd of noise", "manifest", |launch| {
            launch.initrd = Some(file("noise", &noise(4096))?);
            Ok(())
        }),
        refuse("empty initrd", "manifest", |launch| {
            launch.initrd = Some(file("empty", &[])?);
            Ok(())
        }),
    ];
    refusals.into_iter().map(|refusal| refusal_step(toolchain, kernels.clone(), refusal)).collect()
}

fn refusal_step(toolchain: Toolchain, kernels: Kernels, refusal: Refusal) -> Step {
    Step::new(format!("refused: {}", refusal.name), move || {
        let artifacts = kernels.get(toolchain, refusal.target)?;
        let mut launch = Launch::new(boot::machine(refusal.target), artifacts.kernel.clone());
        launch.cpus = 1;
        (refusal.change)(&mut launch)?;
        let (outcome, lines) = boot::collect(&launch, SHORT)?;
        check_refusal(&outcome, &lines, refusal.expected)
    })
}

/// For boots that should end at once.
const SHORT: Limits = Limits { silence: Duration::from_secs(30), total: Duration::from_secs(60) };

/// One line that names the trouble, no panic, and a failing status.
fn check_refusal(outcome: &Outcome, lines: &[String], expected: &str) -> Result<()> {
    let errors: Vec<&String> = lines.iter().filter(|line| line.starts_with("tessera: error: ")).collect();
    let report = || outcome.report();
    ensure!(outcome.ending == Ending::Failure, "not refused: {}", report());
    ensure!(errors.len() == 1, "{} error lines, expected one: {}", errors.len(), report());
    ensure!(errors[0].contains(expected), "the error does not speak of `{expected}`: {}", report());
    match lines.iter().find(|line| line.contains("panic")) {
        Some(line) => bail!("refused by a panic: {line}"),
        None => Ok(()),
    }
}

/// A file for a boot.
fn file(name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let folder = boot::cache_folder().join("test");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(name);
    std::fs::write(&path, bytes).map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

/// Bytes without structure, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ending: Ending) -> Outcome {
        Outcome { ending, elapsed: Duration::ZERO, tail: Vec::new(), messages: String::new() }
    }

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_refusal_is_one_line_and_a_failing_status() {
        let good = lines(&["tessera 0.1", "tessera: error: manifest: there is none"]);
        assert!(check_refusal(&outcome(Ending::Failure), &good, "manifest").is_ok());
    }

    #[test]
    fn what_is_no_refusal_is_not_taken_for_one() {
        let good = lines(&["tessera: error: manifest: there is none"]);
        assert!(check_refusal(&outcome(Ending::Success), &good, "manifest").is_err());
        assert!(check_refusal(&outcome(Ending::Silent(Duration::ZERO)), &good, "manifest").is_err());
        assert!(check_refusal(&outcome(Ending::Failure), &good, "policy").is_err());
        assert!(check_refusal(&outcome(Ending::Failure), &[], "manifest").is_err());
        let twice = [good.clone(), good.clone()].concat();
        assert!(check_refusal(&outcome(Ending::Failure), &twice, "manifest").is_err());
        let panic = [good, lines(&["panic at kernel/src/lib.rs:1"])].concat();
        assert!(check_refusal(&outcome(Ending::Failure), &panic, "manifest").is_err());
    }

    #[test]
    fn noise_is_the_same_in_every_run() {
        assert_eq!(noise(64), noise(64));
        assert_ne!(noise(64)[..32], noise(64)[32..]);
    }
}
