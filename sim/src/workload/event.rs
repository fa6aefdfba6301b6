//! What a task does, step by step.

use super::error::{Problem, WorkloadError};
use super::event_name::EventName;
use super::field::{Field, Once};
use super::names::{BarrierId, ConditionId, MutexId, Names, SemaphoreId, SuspensionId, TimerId, intern};
use super::task::TaskId;
use crate::json::Position;
use tessera_hal::Duration;

/// One step of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Where it stands in the file.
    pub position: Position,
    /// Its key there.
    pub key: String,
    /// What is done.
    pub action: Action,
}

/// Where a timer counts from when its owner came too late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimerMode {
    /// From the moment at which the owner came.
    #[default]
    Relative,
    /// From where it should have fired.
    Absolute,
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Runs for this long, however often it is interrupted.
    Run(Duration),
    /// Runs until this long after its beginning has passed, running or not.
    RunFor(Duration),
    /// Sleeps for this long.
    Sleep(Duration),
    /// Sleeps until the timer's next point.
    Timer {
        /// The timer.
        timer: TimerId,
        /// From one point to the next.
        period: Duration,
        /// What happens to those who come late.
        mode: TimerMode,
    },
    /// Takes a mutex.
    Lock(MutexId),
    /// Gives a mutex back.
    Unlock(MutexId),
    /// Waits for a signal, without the mutex meanwhile.
    Wait {
        /// For what.
        condition: ConditionId,
        /// The mutex.
        mutex: MutexId,
    },
    /// Wakes the first who waits.
    Signal(ConditionId),
    /// Wakes all who wait.
    Broad(ConditionId),
    /// Wakes the first who waits, and waits itself.
    Sync {
        /// For what.
        condition: ConditionId,
        /// The mutex.
        mutex: MutexId,
    },
    /// Waits until all others have come.
    Barrier(BarrierId),
    /// Waits until it is resumed.
    Suspend(SuspensionId),
    /// Resumes all who wait there.
    Resume(SuspensionId),
    /// Takes one from a semaphore, which begins at none.
    SemWait(SemaphoreId),
    /// Gives one to a semaphore.
    SemPost(SemaphoreId),
    /// Gives up the rest of its slice.
    Yield,
    /// Starts another instance of a task.
    Fork(TaskId),
}

/// What an event needs to know to be read.
pub(super) struct Surroundings<'a> {
    /// The names of all tasks, in order.
    pub tasks: &'a [&'a str],
    /// The task that it belongs to.
    pub task: &'a str,
    /// Whether memory and I/O events are left out instead of refused.
    pub ignore_unsupported: bool,
}

/// What was read.
pub(super) enum Read {
    Event(Event),
    /// It is left out, on demand.
    Ignored,
}

/// Reads the event that `field` is.
pub(super) fn read(
    field: &Field<'_>,
    name: EventName,
    surroundings: &Surroundings<'_>,
    names: &mut Names,
) -> Result<Read, WorkloadError> {
    if name.is_memory_or_io() {
        if surroundings.ignore_unsupported {
            return Ok(Read::Ignored);
        }
        let why = "there is no memory and no device; leave it out, or pass --ignore-unsupported";
        return Err(field.unsupported(why));
    }
    let action = action(field, name, surroundings, names)?;
    Ok(Read::Event(Event { position: field.member.position, key: field.key().to_owned(), action }))
}

fn action(
    field: &Field<'_>,
    name: EventName,
    surroundings: &Surroundings<'_>,
    names: &mut Names,
) -> Result<Action, WorkloadError> {
    Ok(match name {
        EventName::Run => Action::Run(field.microseconds(0)?),
        EventName::Runtime => Action::RunFor(field.microseconds(0)?),
        EventName::Sleep => Action::Sleep(field.microseconds(0)?),
        EventName::Timer => timer(field, names)?,
        EventName::Lock => Action::Lock(intern(&mut names.mutexes, field.name()?)),
        EventName::Unlock => Action::Unlock(intern(&mut names.mutexes, field.name()?)),
        EventName::Wait => {
            let (condition, mutex) = condition_and_mutex(field, names)?;
            Action::Wait { condition, mutex }
        }
        EventName::Sync => {
            let (condition, mutex) = condition_and_mutex(field, names)?;
            Action::Sync { condition, mutex }
        }
        EventName::Signal => Action::Signal(intern(&mut names.conditions, field.name()?)),
        EventName::Broad => Action::Broad(intern(&mut names.conditions, field.name()?)),
        EventName::Barrier => Action::Barrier(intern(&mut names.barriers, field.name()?)),
        EventName::Suspend => {
            let given = field.value().map(|_| field.string()).transpose()?.filter(|name| !name.is_empty());
            Action::Suspend(intern(&mut names.suspensions, given.unwrap_or(surroundings.task)))
        }
        EventName::Resume => Action::Resume(intern(&mut names.suspensions, field.name()?)),
        EventName::SemWait => Action::SemWait(intern(&mut names.semaphores, field.name()?)),
        EventName::SemPost => Action::SemPost(intern(&mut names.semaphores, field.name()?)),
        EventName::Yield => {
            field.value().map(|_| field.string()).transpose()?;
            Action::Yield
        }
        EventName::Fork => Action::Fork(forked(field, surroundings)?),
        EventName::Mem | EventName::MemRun | EventName::IoRun => return Err(field.unsupported("there is no memory")),
    })
}

fn forked(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Result<TaskId, WorkloadError> {
    let name = field.name()?;
    let index = surroundings.tasks.iter().position(|&task| task == name).ok_or_else(|| {
        let tasks = surroundings.tasks.join(", ");
        field.wrong(Problem::NoSuchTask { name: name.to_owned(), tasks })
    })?;
    Ok(TaskId::new(index))
}

/// The times that [`Field::microseconds`] takes here.
const PERIOD: &str = "microseconds, an integer from 1 to 1000000000000";

fn timer(field: &Field<'_>, names: &mut Names) -> Result<Action, WorkloadError> {
    let (mut timer, mut period, mut mode) = (None, None, TimerMode::default());
    let mut once = Once::default();
    for member in field.object()? {
        let inner = field.inner(member);
        once.take(&inner)?;
        match inner.key() {
            "ref" => timer = Some(intern(&mut names.timers, inner.name()?)),
            "period" => period = Some(inner.microseconds(1)?),
            "mode" => mode = timer_mode(&inner)?,
            _ => return Err(inner.unknown("ref, period or mode")),
        }
    }
    Ok(Action::Timer {
        timer: timer.ok_or_else(|| field.missing("ref", "a timer's name, such as \"unique\""))?,
        period: period.ok_or_else(|| field.missing("period", PERIOD))?,
        mode,
    })
}

fn timer_mode(field: &Field<'_>) -> Result<TimerMode, WorkloadError> {
    match field.string()? {
        "relative" => Ok(TimerMode::Relative),
        "absolute" => Ok(TimerMode::Absolute),
        other => Err(field.wrong(Problem::Range {
            expected: "relative or absolute".to_owned(),
            found: format!("\"{}\"", other.escape_debug()),
        })),
    }
}

fn condition_and_mutex(field: &Field<'_>, names: &mut Names) -> Result<(ConditionId, MutexId), WorkloadError> {
    let (mut condition, mut mutex) = (None, None);
    let mut once = Once::default();
    for member in field.object()? {
        let inner = field.inner(member);
        once.take(&inner)?;
        match inner.key() {
            "ref" => condition = Some(intern(&mut names.conditions, inner.name()?)),
            "mutex" => mutex = Some(intern(&mut names.mutexes, inner.name()?)),
            _ => return Err(inner.unknown("ref or mutex")),
        }
    }
    let condition = condition.ok_or_else(|| field.missing("ref", "a condition's name"))?;
    Ok((condition, mutex.ok_or_else(|| field.missing("mutex", "a mutex's name"))?))
}
