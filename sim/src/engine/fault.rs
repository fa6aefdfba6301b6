//! What a workload does wrong while it runs.

use super::Engine;
use super::thread::{Index, State};
use crate::json::Position;
use crate::workload::MAX_THREADS;
use std::fmt;
use tessera_hal::{Duration, Instant};

/// Why a run had to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// When.
    pub at: Instant,
    /// Which thread did it.
    pub thread: Option<String>,
    /// Where in the file.
    pub position: Option<Position>,
    /// At which event.
    pub key: Option<String>,
    /// What.
    pub kind: FaultKind,
}

/// What a workload does wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultKind {
    /// It gives back a mutex that it does not hold.
    #[error("gives back the mutex \"{0}\", which it does not hold; expected a \"lock\" before")]
    NotHeld(String),
    /// It takes a mutex that it holds.
    #[error("takes the mutex \"{0}\" twice; expected an \"unlock\" between")]
    LockedTwice(String),
    /// It waits without the mutex that it names.
    #[error("waits without holding the mutex \"{0}\"; expected a \"lock\" before")]
    WaitsWithout(String),
    /// Too many threads are forked.
    #[error("forks more than {MAX_THREADS} threads; expected an end")]
    TooManyThreads,
    /// It goes round and round while no time passes.
    #[error("takes a million steps and more without any time passing; expected a \"run\" or a \"sleep\" in the loop")]
    NoTimePasses,
    /// All wait for each other, and there is no duration.
    #[error("waits for ever: nobody is left who could wake it; expected a duration, or somebody who does")]
    Deadlock,
    /// The dispatcher refused it.
    #[error("the scheduler refuses it: {0}")]
    Refused(String),
}

impl Fault {
    pub(super) fn refused(reason: impl fmt::Display) -> Self {
        let kind = FaultKind::Refused(reason.to_string());
        Self { at: Instant::ORIGIN, thread: None, position: None, key: None, kind }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}:")?;
        }
        f.write_str(" ")?;
        if let Some(thread) = &self.thread {
            write!(f, "task \"{}\", ", thread.escape_debug())?;
        }
        if let Some(key) = &self.key {
            write!(f, "key \"{}\", ", key.escape_debug())?;
        }
        let time = Duration::from_nanos(self.at.as_nanos());
        write!(f, "after {time}: {}", self.kind)
    }
}

impl std::error::Error for Fault {}

impl<const W: usize> Engine<'_, W> {
    /// What the thread does wrong at its present event.
    pub(super) fn fault(&self, thread: Index, kind: FaultKind) -> Fault {
        let thread = &self.threads[thread];
        let task = self.workload.task(thread.task);
        let event = thread.cursor.event(task);
        Fault {
            at: self.now,
            thread: Some(thread.seldom.name.clone()),
            position: Some(event.map_or(task.position, |event| event.position)),
            key: event.map(|event| event.key.clone()),
            kind,
        }
    }

    /// Nobody can go on.
    pub(super) fn deadlock(&self) -> Fault {
        let blocked = |thread: &Index| matches!(self.threads[*thread].state, State::Blocked { .. });
        match (0..self.threads.len()).find(blocked) {
            Some(thread) => self.fault(thread, FaultKind::Deadlock),
            None => Fault { at: self.now, thread: None, position: None, key: None, kind: FaultKind::Deadlock },
        }
    }
}
