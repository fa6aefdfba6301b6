//! Workloads: what runs, on what machine, for how long.
//!
//! The grammar is rt-app's JSON, read leniently, plus a `"tessera"` object; `docs/src/simulator.md` describes it. A
//! workload that was read is valid: names are resolved to ids, times and weights are in range, CPUs exist. What is not
//! supported is refused by name, and every refusal says where it stands and what would be right.

mod attributes;
mod error;
mod event;
mod event_name;
mod extension;
mod field;
mod global;
mod names;
mod read;
mod task;

pub use attributes::{Attributes, weight_of_nice};
pub use error::{Notice, Problem, WorkloadError};
pub use event::{Action, Event, TimerMode};
pub use event_name::EventName;
pub use extension::Change;
pub use global::{Machine, Noise, Topology};
pub use names::{BarrierId, ConditionId, MutexId, Names, SemaphoreId, SuspensionId, TimerId};
pub use read::{Options, read};
pub use task::{Phase, Rounds, Task, TaskId};

use tessera_hal::Duration;

/// Words of the largest CPU set: 4096 CPUs.
pub const WORDS: usize = 64;
/// The most CPUs of a simulated machine.
pub const MAX_CPUS: usize = 64 * WORDS;
/// The most threads of a run, forked ones included.
pub const MAX_THREADS: usize = 100_000;

/// The CPUs of a simulated machine.
pub type CpuSet = tessera_hal::CpuSet<WORDS>;

/// A valid workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The machine.
    pub machine: Machine,
    /// How long to simulate; `None`: until every task has ended.
    pub duration: Option<Duration>,
    /// The tasks, in the order of the file.
    pub tasks: Vec<Task>,
    /// What tasks wait for, by kind.
    pub names: Names,
    /// What was accepted and has no effect.
    pub notices: Vec<Notice>,
}

impl Workload {
    /// Every task's id.
    pub fn task_ids(&self) -> impl Iterator<Item = TaskId> + use<> {
        (0..self.tasks.len()).map(TaskId::new)
    }

    /// The task with this id.
    pub fn task(&self, id: TaskId) -> &Task {
        &self.tasks[id.index()]
    }
}
