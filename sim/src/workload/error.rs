//! What is wrong with a workload, and where.

use super::{MAX_CPUS, MAX_THREADS};
use crate::json::{self, Position};
use std::fmt;

/// Why a workload was refused.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkloadError {
    /// Where in the file.
    pub position: Position,
    /// In which task.
    pub task: Option<String>,
    /// At which key.
    pub key: Option<String>,
    /// What, and what would be right.
    pub problem: Problem,
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.position)?;
        if let Some(task) = &self.task {
            write!(f, "task \"{}\", ", task.escape_debug())?;
        }
        if let Some(key) = &self.key {
            write!(f, "key \"{}\": ", key.escape_debug())?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for WorkloadError {}

/// What is wrong with a workload.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Problem {
    /// It is no JSON, not even leniently.
    #[error(transparent)]
    Syntax(json::Problem),
    /// It is no text.
    #[error("the file is not UTF-8; expected a JSON text")]
    NotText,
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What may stand here.
        expected: String,
        /// What does.
        found: String,
    },
    /// A number or a name that is not among those that may stand here.
    #[error("{found} is not allowed; expected {expected}")]
    Range {
        /// What may stand here.
        expected: String,
        /// What does.
        found: String,
    },
    /// A key that means nothing here.
    #[error("unknown key; expected {expected}")]
    UnknownKey {
        /// What may stand here.
        expected: String,
    },
    /// A key that must be there and is not.
    #[error("\"{key}\" is missing; expected {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What its value may be.
        expected: &'static str,
    },
    /// An object in which too little stands.
    #[error("{what} is missing; expected {expected}")]
    Empty {
        /// What must be there, one of it at least.
        what: &'static str,
        /// What it may look like.
        expected: &'static str,
    },
    /// All its events are left out, as was asked for.
    #[error("nothing is left of it without memory and I/O events; expected another event, or a file without it")]
    NothingLeft,
    /// Something that is known and cannot be simulated.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What.
        what: String,
        /// Why, and what could be done instead.
        why: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("cannot stand beside {0}; expected one of the two")]
    Beside(&'static str),
    /// A task that is ended before it begins.
    #[error("it would end before it begins; expected a time after arrive_us and delay together")]
    EndsBefore,
    /// A key that can be there once.
    #[error("stands here a second time; expected one")]
    Twice,
    /// No task begins by itself.
    #[error("no task begins by itself; expected one with an \"instance\" of 1 or more, or without that key")]
    NobodyBegins,
    /// A task that never ends, and nobody says how long to simulate.
    #[error(
        "never ends, and there is no duration; expected \"duration\" in \"global\", --duration, or a finite \"loop\""
    )]
    Endless,
    /// A CPU that the machine does not have.
    #[error("CPU {cpu} does not exist on a machine of {cpus}; expected 0 to {}, or --cpus {}", cpus - 1, cpu + 1)]
    NoSuchCpu {
        /// The CPU.
        cpu: usize,
        /// How many there are.
        cpus: usize,
    },
    /// The topology is of another machine.
    #[error("the topology gives {product} CPUs, but {wanted} were asked for; expected equal numbers")]
    Topology {
        /// Its CPUs.
        product: usize,
        /// Those of the machine.
        wanted: usize,
    },
    /// More CPUs than can be simulated.
    #[error("{0} CPUs; expected 1 to {MAX_CPUS}")]
    Cpus(usize),
    /// More threads than can be simulated.
    #[error("{0} threads with those of the tasks before it; expected at most {MAX_THREADS} in all")]
    Threads(u64),
    /// A name that no task has.
    #[error("no task is named \"{name}\"; expected one of {tasks}")]
    NoSuchTask {
        /// The name.
        name: String,
        /// Those that exist.
        tasks: String,
    },
}

impl Problem {
    /// The same, with other words for what would be right.
    pub(super) fn expecting(mut self, words: &str) -> Self {
        if let Self::Type { expected, .. } | Self::Range { expected, .. } = &mut self {
            words.clone_into(expected);
        }
        self
    }
}

/// Something that was accepted and has no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Where in the file.
    pub position: Position,
    /// In which task.
    pub task: Option<String>,
    /// At which key.
    pub key: String,
    /// What it means that it is there.
    pub text: &'static str,
    /// Whether rt-app's own files are full of its kind: such are for those who want to know all.
    pub is_tolerated: bool,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.position)?;
        if let Some(task) = &self.task {
            write!(f, "task \"{}\", ", task.escape_debug())?;
        }
        write!(f, "key \"{}\": {}", self.key.escape_debug(), self.text)
    }
}
