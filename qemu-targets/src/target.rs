//! A run target: a manifest and what is expected of its run.

use crate::target_list::TARGETS;
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};
use tessera_schema::build::{ManifestSource, Origin, Source, SourceError, parse};

/// Stands in a target's text where the seed of a run belongs.
const SEED: &str = "{seed}";
/// The seed of runs for which nobody names one: the same in each.
pub const USUAL_SEED: u64 = 1;

/// A run target.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Target {
    /// What it proves, in one sentence.
    pub description: String,
    /// CPUs, unless the caller says otherwise.
    pub cpus: u16,
    /// How many CPUs it needs at least.
    #[serde(default = "one")]
    pub least_cpus: u16,
    /// What an operator types on the serial line. Without a person at the terminal, it is typed by the harness.
    pub typed: Option<String>,
    /// Memory that it needs, in MiB, unless the caller says otherwise.
    pub memory: Option<u32>,
    /// Whether it takes so long that it is soaked, and not run with the tests.
    #[serde(default)]
    pub long: bool,
    /// Whether accounts are printed at the end only, and not each second: the console is one for all CPUs.
    #[serde(default)]
    pub quiet: bool,
    /// What runs.
    pub manifest: ManifestSource,
    /// What must come of it.
    pub expect: Expect,
}

const fn one() -> u16 {
    1
}

/// What must come of a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// Whose run time must be the weighted max-min fair share.
    #[serde(default)]
    pub fair: Fair,
    /// How run times of these programs relate to each other, and likewise their progress. One CPU.
    #[serde(default)]
    pub ratio: BTreeMap<String, u32>,
    /// What parts of the time that one CPU gives threads some programs must have together.
    #[serde(default)]
    pub share: Vec<ExpectedShare>,
    /// Programs that must not wait longer for a CPU than one base request and the longest charge.
    #[serde(default)]
    pub prompt: Vec<String>,
    /// Programs that always want the CPU, and must not wait longer for it than one base request of each thread, their own
    /// included, and the longest charge. One CPU.
    #[serde(default)]
    pub in_turn: Vec<String>,
    /// Programs that must make progress and not end, whatever happens to others.
    #[serde(default)]
    pub runs_on: Vec<String>,
    /// Programs that end, and how. Every instance must; and nobody else may.
    #[serde(default)]
    pub exit: Vec<ExpectedExit>,
    /// Texts of which each must stand in a line of the console, in this order.
    #[serde(default)]
    pub says: Vec<String>,
    /// How the run ends.
    #[serde(default)]
    pub end: ExpectedEnd,
    /// How many CPUs must have run threads.
    #[serde(default)]
    pub busy_cpus: BusyCpus,
}

/// How many CPUs must have run threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BusyCpus {
    /// It does not matter.
    #[default]
    Any,
    /// At least half of them: those that begin late may find that others have taken their work.
    Half,
}

/// Whose run time is compared with the fair share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fair {
    /// Nobody's: the threads change their attributes while they run.
    #[default]
    Nobody,
    /// Everybody's.
    Everybody,
}

/// The part of a CPU that some programs have together.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectedShare {
    /// The manifest entries.
    pub programs: Vec<String>,
    /// They have at least this part.
    pub least: f64,
    /// And at most this.
    pub most: f64,
    /// Each thread of them makes at least so much progress.
    #[serde(default)]
    pub least_progress: u64,
}

/// How a program must end.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectedExit {
    /// The manifest entry.
    pub name: String,
    /// The exit code, unless it must end by a fault.
    pub code: Option<i64>,
    /// What the kernel's words for the fault begin with: one of these, because machines differ.
    #[serde(default)]
    pub fault: Vec<String>,
}

/// How a run must end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedEnd {
    /// Its time is up.
    #[default]
    Time,
    /// Every program has exited.
    AllExited,
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// No target has this name.
    Unknown(String),
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        finding: String,
    },
    /// The file says something that makes no sense.
    Bad(SourceError),
    /// An expectation names a program that the manifest does not have.
    NoSuchProgram {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
}

impl std::fmt::Display for TargetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) => {
                let names: Vec<&str> = names().collect();
                write!(f, "there is no target {name}; there are {}", names.join(", "))
            }
            Self::Unreadable { file, finding } => write!(f, "{file}: {finding}"),
            Self::Bad(error) => write!(f, "{error}"),
            Self::NoSuchProgram { file, name } => {
                write!(f, "{file}: expect names the program {name}, which the manifest does not have")
            }
        }
    }
}

impl std::error::Error for TargetError {}

/// The names of the built-in targets.
pub fn names() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().map(|(name, _)| *name)
}

/// Whether this built-in target does something by chance.
pub fn takes_seed(name: &str) -> bool {
    built_in(name).is_some_and(|text| text.contains(SEED))
}

fn built_in(name: &str) -> Option<&'static str> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

fn with_seed(text: &str, seed: u64) -> String {
    text.replace(SEED, &seed.to_string())
}

impl Source for Target {
    fn check(&mut self, origin: &Origin) -> Result<(), SourceError> {
        self.manifest.check(origin)
    }
}

impl Target {
    /// The built-in target of this name, with the usual seed.
    pub fn named(name: &str) -> Result<Self, TargetError> {
        Self::seeded(name, USUAL_SEED)
    }

    /// The built-in target of this name, with a seed for what it does by chance.
    pub fn seeded(name: &str, seed: u64) -> Result<Self, TargetError> {
        let text = built_in(name).ok_or_else(|| TargetError::Unknown(name.into()))?;
        Self::parse(&format!("targets/{name}.toml"), &with_seed(text, seed))
    }

    /// The target in a file, with a seed for what it does by chance.
    pub fn load(path: &Path, seed: u64) -> Result<Self, TargetError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| TargetError::Unreadable { file: file.clone(), finding: error.to_string() })?;
        Self::parse(&file, &with_seed(&text, seed))
    }

    /// The target in a text; `file` is for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, TargetError> {
        let target: Self = parse(file, text).map_err(TargetError::Bad)?;
        let expect = &target.expect;
        let named = expect.ratio.keys().chain(&expect.prompt).chain(&expect.in_turn).chain(&expect.runs_on);
        let named = named.chain(expect.share.iter().flat_map(|share| &share.programs));
        let named = named.chain(expect.exit.iter().map(|exit| &exit.name));
        for name in named {
            if !target.manifest.programs.iter().any(|program| program.name() == name) {
                return Err(TargetError::NoSuchProgram { file: file.into(), name: name.clone() });
            }
        }
        Ok(target)
    }

    /// How many instances of a manifest entry run on a machine of `cpus` CPUs.
    pub fn instances(&self, name: &str, cpus: u16) -> usize {
        let entries = self.manifest.programs.iter().filter(|program| program.name() == name);
        entries.map(|program| usize::from(program.count.resolve(cpus))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_target_is_good_and_listed_once() {
        let all: Vec<&str> = names().collect();
        assert!(all.contains(&"default"));
        for name in &all {
            let target = Target::named(name).unwrap();
            assert!(!target.description.is_empty());
            assert_eq!(all.iter().filter(|other| *other == name).count(), 1);
        }
    }

    #[test]
    fn every_target_file_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_string();
            assert!(names().any(|name| name == stem), "{stem} is not in the list");
        }
    }

    #[test]
    fn an_unknown_target_names_the_known_ones() {
        let message = Target::named("nothing").unwrap_err().to_string();
        assert!(message.starts_with("there is no target nothing; there are ") && message.contains("smoke"));
    }

    #[test]
    fn a_seed_reaches_the_programs_that_ask_for_one_and_nobody_else() {
        assert!(takes_seed("hostile") && !takes_seed("smoke") && !takes_seed("nothing"));
        let text = |seed| format!("{:?}", Target::seeded("hostile", seed).unwrap().manifest);
        assert!(text(4711).contains("4711") && !text(4711).contains(SEED));
        assert_ne!(text(4711), text(4712));
        assert_eq!(text(USUAL_SEED), format!("{:?}", Target::named("hostile").unwrap().manifest));
    }

    #[test]
    fn an_expectation_of_nobody_is_refused() {
        let text = "description='d'\ncpus=1\n[[manifest.program]]\nname='hog'\n[expect]\nprompt=['x']\n";
        let message = Target::parse("t.toml", text).unwrap_err().to_string();
        assert_eq!(message, "t.toml: expect names the program x, which the manifest does not have");
    }
}
