//! One target: make its initrd, boot it, hear what it says, judge it.
//!
//! A [`Trial`] is prepared once and may be run; `run`, `test` and `soak` differ only in what they do with its lines.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use qemu_targets::image;
use qemu_targets::log::{Fed, RunLog};
use qemu_targets::qemu::accelerator::{self, ProbeAnswer};
use qemu_targets::qemu::{self, Accelerator, Ending, Launch, Machine, Outcome};
use qemu_targets::target::{Target, USUAL_SEED};
use qemu_targets::verdict::{self, Conditions, Verdict};

use crate::boot::{self, Switches};
use crate::build::Artifacts;

/// How long a target runs that names no length, in seconds; for the watchdog only.
const USUAL_SECONDS: u64 = 60;

/// What a program that checks itself prints before a failed check, and how many of those are shown.
const FOUND_WRONG: &str = "FAILED:";
const MOST_FOUND: usize = 20;

/// A target made ready for a machine.
pub struct Trial<'a> {
    target: &'a Target,
    switches: &'a Switches,
    accelerator: Accelerator,
    cpus: u16,
    kernel: &'a Path,
    initrd: Initrd,
}

/// What became of a trial.
pub struct Judged {
    /// How QEMU ended.
    pub outcome: Outcome,
    /// What the machine said.
    pub log: RunLog,
    /// What to think of it.
    pub verdict: Verdict,
}

impl Judged {
    /// Whether the machine ended by itself with success and everything is as expected.
    pub fn passed(&self) -> bool {
        self.outcome.ending == Ending::Success && self.verdict.passed()
    }

    /// The same as an error that carries the ending, the last lines, what programs found wrong, and the verdict.
    pub fn into_result(self) -> Result<()> {
        let found = self.log.texts.iter().filter(|line| line.contains(FOUND_WRONG)).take(MOST_FOUND);
        let found: String = found.map(|line| format!("{line}\n")).collect();
        ensure!(self.passed(), "{}\n{found}{}", self.outcome.report(), self.verdict);
        Ok(())
    }
}

/// Reads a target: a built-in one by its name, or a file. With the usual seed.
pub fn read_target(name: &str, manifest: Option<&Path>) -> Result<Target> {
    read_seeded(name, manifest, USUAL_SEED)
}

/// Reads a target: a built-in one by its name, or a file.
pub fn read_seeded(name: &str, manifest: Option<&Path>, seed: u64) -> Result<Target> {
    Ok(match manifest {
        Some(file) => Target::load(file, seed)?,
        None => Target::seeded(name, seed)?,
    })
}

/// The number of CPUs for a target, or why it cannot run on so many.
pub fn cpus(target: &Target, switches: &Switches) -> Result<u16> {
    let cpus = switches.cpus.unwrap_or(target.cpus);
    if cpus < target.least_cpus {
        bail!("this target needs at least {} CPUs, not {cpus}", target.least_cpus);
    }
    Ok(cpus)
}

/// The program files that a target names, as far as they were built.
pub fn binaries(target: &Target, artifacts: &Artifacts) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut binaries = BTreeMap::new();
    for name in target.manifest.binaries() {
        if let Some(built) = artifacts.programs.iter().find(|executable| executable.name == name) {
            let bytes = fs::read(&built.path).with_context(|| format!("cannot read {}", built.path.display()))?;
            binaries.insert(name.to_owned(), bytes);
        }
    }
    Ok(binaries)
}

/// The initrd of a target for a machine of so many CPUs.
pub fn initrd(target: &Target, cpus: u16, artifacts: &Artifacts) -> Result<Vec<u8>> {
    Ok(image::build(target, cpus, &binaries(target, artifacts)?)?)
}

/// Whether this kernel brings a program to its end under KVM: the shortest target there is.
pub fn works_under_kvm(machine: Machine, artifacts: &Artifacts) -> ProbeAnswer {
    let initrd = || Initrd::create(&initrd(&read_target("first-program", None)?, 1, artifacts)?);
    let initrd = initrd().map_err(|error| format!("there is no program to probe it with: {error:#}"))?;
    let mut launch = Launch::new(machine, artifacts.kernel.clone());
    launch.initrd = Some(initrd.path().to_owned());
    launch.accelerator = Accelerator::Kvm;
    launch.cpus = 1;
    accelerator::comes_to(&launch, "counter.0 exited with code 0")
}

impl<'a> Trial<'a> {
    /// Puts the programs that the target names into its initrd.
    pub fn prepare(
        target: &'a Target,
        switches: &'a Switches,
        artifacts: &'a Artifacts,
        accelerator: Accelerator,
    ) -> Result<Self> {
        let cpus = cpus(target, switches)?;
        let initrd = Initrd::create(&initrd(target, cpus, artifacts)?)?;
        Ok(Self { target, switches, accelerator, cpus, kernel: &artifacts.kernel, initrd })
    }

    /// The same with an initrd that somebody else has made; the target says what is expected of it.
    pub fn with_initrd(
        target: &'a Target,
        switches: &'a Switches,
        artifacts: &'a Artifacts,
        accelerator: Accelerator,
        file: &Path,
    ) -> Result<Self> {
        let (cpus, initrd) = (cpus(target, switches)?, Initrd::Given(file.to_owned()));
        Ok(Self { target, switches, accelerator, cpus, kernel: &artifacts.kernel, initrd })
    }

    /// CPUs of the machine.
    pub fn cpus(&self) -> u16 {
        self.cpus
    }

    fn launch(&self) -> Launch {
        let initrd = Some(self.initrd.path().to_owned());
        let mut launch = self.switches.launch(self.kernel, initrd, self.cpus, self.accelerator);
        if let (None, Some(memory)) = (self.switches.memory, self.target.memory) {
            launch.memory_mib = memory;
        }
        if self.target.quiet {
            launch.options.push_str(" reports=off");
        }
        launch
    }

    /// Boots and leaves the serial line to the person at this terminal; gives how the run ended.
    pub fn operate(&self) -> Result<Ending> {
        let mut launch = self.launch();
        if !self.target.quiet {
            launch.options.push_str(" reports=off");
        }
        Ok(qemu::operate(&launch)?)
    }

    /// Boots, waits for the end and judges. Every line goes to `on_line` with what it was.
    pub fn run(&self, on_line: &mut dyn FnMut(&str, Fed, &RunLog)) -> Result<Judged> {
        let mut launch = self.launch();
        launch.input = self.target.typed.clone().unwrap_or_default().into_bytes();
        let planned = self.target.manifest.seconds.map_or(USUAL_SECONDS, |seconds| u64::from(seconds.get()));
        let limits = boot::limits(self.switches.seconds.unwrap_or(planned), self.cpus, self.accelerator);
        let mut log = RunLog::default();
        let outcome = qemu::run(&launch, limits, &mut |line| {
            let fed = log.feed(line);
            on_line(line, fed, &log);
            ControlFlow::Continue(())
        })?;
        let exact = self.accelerator == Accelerator::Counted;
        let conditions = Conditions { cpus: self.cpus, exact, waited: outcome.waited };
        let verdict = verdict::judge(&log, self.target, conditions);
        Ok(Judged { outcome, log, verdict })
    }
}

/// The initrd's file.
enum Initrd {
    /// Made for the trial, and removed when it is over.
    Made(PathBuf),
    /// Somebody else's.
    Given(PathBuf),
}

impl Initrd {
    fn path(&self) -> &Path {
        match self {
            Self::Made(path) | Self::Given(path) => path,
        }
    }

    fn create(bytes: &[u8]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = boot::cache_folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let name = format!("initrd-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::Made(path))
    }
}

impl Drop for Initrd {
    fn drop(&mut self) {
        if let Self::Made(path) = self {
            // Left behind it only takes space.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_refused_on_too_few_cpus() {
        let mut target = Target::named("smoke").unwrap();
        target.least_cpus = 2;
        let switches = Switches { cpus: Some(1), ..Switches::default() };
        assert_eq!(cpus(&target, &switches).unwrap_err().to_string(), "this target needs at least 2 CPUs, not 1");
        assert_eq!(cpus(&target, &Switches { cpus: Some(2), ..Switches::default() }).unwrap(), 2);
    }

    #[test]
    fn a_target_file_that_is_not_there_is_named() {
        let error = read_target("default", Some(Path::new("/nonexistent/t.toml"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/t.toml"), "{error}");
    }
}
