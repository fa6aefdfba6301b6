//! `cargo xtask mutants`: small faults in the decision core, one at a time, each of which the tests must find.
//!
//! The list is `kernel-core/mutants.toml`: a file below `kernel-core/src`, a text that occurs in it exactly once, and what
//! stands there instead. A mutant that no test finds must say in the list why that is right (`survives`). They are made in
//! a copy of the project's files under `target`, never in the project itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::setup;
use crate::toolchain::Toolchain;
use crate::{process, workspace};

/// The least part of the mutants that must be found, in per cent.
const LEAST_KILLED: usize = 95;

/// How long the tests of one mutant may take, in seconds: many times what they take without one. Then coreutils'
/// `timeout` ends them, with all that they have started, and the mutant counts as found.
const TIME_LIMIT: &str = "900";

/// The status of `timeout` when the time was over.
const TIMED_OUT: i32 = 124;

/// Which mutants.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Only those whose file or text contains one of these words
    only: Vec<String>,
    /// Only see whether every text of the list occurs exactly once
    #[arg(long)]
    check: bool,
}

/// The list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// One fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    /// Below `kernel-core/src`.
    file: PathBuf,
    /// What stands there.
    find: String,
    /// What stands there instead.
    put: String,
    /// Why no test finds it.
    survives: Option<String>,
}

impl Mutant {
    /// The text of the file with the fault.
    fn apply(&self, text: &str) -> Result<String> {
        let count = text.matches(&self.find).count();
        ensure!(count == 1, "{}: `{}` occurs {count} times, not once", self.file.display(), self.find);
        ensure!(self.find != self.put, "{}: `{}` is no fault", self.file.display(), self.find);
        Ok(text.replacen(&self.find, &self.put, 1))
    }
}

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Killed,
    /// By [`TIME_LIMIT`].
    Hung,
    Survived,
    DoesNotBuild,
}

/// Makes every mutant of the list and counts those that are found.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mutants = read_list(&arguments.only)?;
    if arguments.check {
        return Ok(());
    }
    let toolchain = setup::ensure()?;
    let copy = copy_project()?;
    ensure!(test(toolchain, &copy)? == Outcome::Survived, "the tests fail without any mutant");
    let (mut killed, mut silent) = (0, Vec::new());
    for mutant in &mutants {
        let file = copy.join("kernel-core/src").join(&mutant.file);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        fs::write(&file, mutant.apply(&text)?)?;
        let outcome = test(toolchain, &copy);
        fs::write(&file, text)?;
        let what = format!("{}: `{}` -> `{}`", mutant.file.display(), mutant.find, mutant.put);
        match (outcome?, &mutant.survives) {
            (Outcome::DoesNotBuild, _) => bail!("{what} does not build: it is no mutant"),
            (Outcome::Killed | Outcome::Hung, Some(_)) => bail!("{what} is found: the list says that it survives"),
            (Outcome::Killed, None) => {
                killed += 1;
                println!("killed    {what}");
            }
            (Outcome::Hung, None) => {
                killed += 1;
                println!("hung      {what}: its tests were not over after {TIME_LIMIT} s");
            }
            (Outcome::Survived, reason) => {
                println!("SURVIVED  {what}: {}", reason.as_deref().unwrap_or("nobody says why"));
                silent.extend(reason.is_none().then_some(what));
            }
        }
    }
    println!("{killed} of {} mutants killed", mutants.len());
    ensure!(silent.is_empty(), "{} survived without a reason", silent.len());
    ensure!(killed * 100 >= mutants.len() * LEAST_KILLED, "fewer than {LEAST_KILLED} % were killed");
    Ok(())
}

fn read_list(only: &[String]) -> Result<Vec<Mutant>> {
    let file = workspace::root().join("kernel-core/mutants.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut list: List = toml::from_str(&text).with_context(|| format!("{} is no list", file.display()))?;
    for mutant in &list.mutant {
        let source = workspace::root().join("kernel-core/src").join(&mutant.file);
        mutant.apply(&fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?)?;
    }
    let is_chosen = |mutant: &Mutant| {
        let name = format!("{} {}", mutant.file.display(), mutant.find);
        only.is_empty() || only.iter().any(|word| name.contains(word))
    };
    list.mutant.retain(is_chosen);
    Ok(list.mutant)
}

/// The project's files as git knows them, and as they are now. What has not changed keeps its time, for cargo.
fn copy_project() -> Result<PathBuf> {
    let (root, copy) = (workspace::root(), workspace::target_folder().join("mutants/project"));
    let listed = process::capture(Command::new("git").args(["ls-files"]).current_dir(&root))?;
    for name in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| root.join(name).is_file()) {
        let (from, to) = (root.join(name), copy.join(name));
        let text = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        if fs::read(&to).is_ok_and(|copied| copied == text) {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(&copy))?;
        fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(copy)
}

fn test(toolchain: Toolchain, copy: &Path) -> Result<Outcome> {
    let cargo = |arguments: &[&str]| {
        let mut command = toolchain.cargo();
        command.args(["test", "--quiet", "--package", "kernel-core", "--lib", "--tests"]).args(arguments);
        command.current_dir(copy).env("CARGO_TARGET_DIR", workspace::target_folder().join("mutants/build"));
        // Short random traces: what they would find in a million steps is not asked here.
        command.env("TESSERA_TRACE_STEPS", "6000").stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        command
    };
    if !cargo(&["--no-run"]).status()?.success() {
        return Ok(Outcome::DoesNotBuild);
    }
    match limited(&cargo(&[])).status()?.code() {
        Some(0) => Ok(Outcome::Survived),
        Some(TIMED_OUT) => Ok(Outcome::Hung),
        _ => Ok(Outcome::Killed),
    }
}

/// The same command, ended after [`TIME_LIMIT`].
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=10", TIME_LIMIT]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    limited.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    limited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(find: &str, put: &str) -> Mutant {
        Mutant { file: "x.rs".into(), find: find.to_owned(), put: put.to_owned(), survives: None }
    }

    #[test]
    fn a_fault_is_put_in_one_place_and_nowhere_if_that_is_not_clear() {
        assert_eq!(mutant("a < b", "a > b").apply("if a < b {}").unwrap(), "if a > b {}");
        assert!(mutant("a", "b").apply("a a").is_err());
        assert!(mutant("c", "b").apply("a a").is_err());
        assert!(mutant("a", "a").apply("a").is_err());
    }

    #[test]
    fn every_mutant_of_the_list_has_its_place() {
        assert!(read_list(&[]).unwrap().len() >= 40);
    }
}
