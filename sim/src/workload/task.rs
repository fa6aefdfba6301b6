//! Tasks and their phases.

use super::attributes::{Attributes, FairPolicy, Wishes};
use super::error::{Notice, Problem, WorkloadError};
use super::event::{self, Event, Surroundings};
use super::event_name::EventName;
use super::extension::{self, Change, Extension};
use super::field::{Field, Once};
use super::global::CpuLimit;
use super::names::Names;
use super::{CpuSet, MAX_THREADS};
use crate::json::Position;
use std::collections::HashSet;
use tessera_hal::{Duration, Instant};

/// A task of a workload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(u32);

impl TaskId {
    pub(super) fn new(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its place in the workload's list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How often something is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounds {
    /// For ever.
    Endless,
    /// So often, at least once.
    Times(u64),
}

/// What runs, once or as several instances.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Where it stands in the file.
    pub position: Position,
    /// How many begin by themselves; forks add to them.
    pub instances: usize,
    /// When they begin.
    pub arrive: Duration,
    /// When they are ended, if they have not ended before.
    pub exit: Option<Instant>,
    /// How they are scheduled at first.
    pub attributes: Attributes,
    /// Where they may run at first; `None`: anywhere.
    pub cpus: Option<CpuSet>,
    /// How often the phases are done.
    pub rounds: Rounds,
    /// What is done.
    pub phases: Vec<Phase>,
    /// What changes while they live, by time.
    pub changes: Vec<Change>,
    /// rt-app's group at first, a label.
    pub taskgroup: Option<String>,
}

/// Where a file says of a task what can be judged only when all of them are known: at the key, or at the task if it
/// leaves it out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// How many instances there are.
    pub instance: Position,
    /// That it goes on until somebody ends it, if it does.
    pub endless: Option<Position>,
}

/// A sequence of events that is done some times over.
#[derive(Clone, PartialEq, Debug)]
pub struct Phase {
    /// Its name; that of the task if it is the only one.
    pub name: String,
    /// How often.
    pub rounds: Rounds,
    /// How the thread is scheduled from its beginning on, if that changes.
    pub attributes: Option<Attributes>,
    /// Where it may run from its beginning on, if that changes. The inner `None` is anywhere.
    pub cpus: Option<Option<CpuSet>>,
    /// The group from its beginning on; `None`: as before.
    pub taskgroup: Option<String>,
    /// What is done.
    pub events: Vec<Event>,
}

impl Phase {
    /// What a task does that has events and no phases.
    fn only(name: String, events: Vec<Event>) -> Self {
        Self { name, rounds: Rounds::Times(1), attributes: None, cpus: None, taskgroup: None, events }
    }
}

impl Task {
    /// Its events, in the order of the file.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.phases.iter().flat_map(|phase| &phase.events)
    }
}

/// What is needed to read tasks.
pub(super) struct TaskReader<'a> {
    pub tasks: &'a [&'a str],
    pub policy: FairPolicy,
    pub ignore_unsupported: bool,
    pub cpus: &'a mut CpuLimit,
    pub names: &'a mut Names,
    pub notices: &'a mut Vec<Notice>,
}

/// What both tasks and phases say.
#[derive(Default)]
struct Common<'a> {
    /// How often, and where that stands.
    rounds: Option<(Rounds, Position)>,
    cpus: Option<CpuSet>,
    wishes: Wishes<'a>,
    events: Vec<Event>,
    /// Whether memory or I/O events were left out.
    left_out: bool,
    taskgroup: Option<String>,
    once: Once<'a>,
}

impl<'a> Common<'a> {
    /// Events may come again under the same key, everything else is said once.
    fn once(&mut self, field: &Field<'a>) -> Result<(), WorkloadError> {
        if EventName::of_key(field.key()).is_some() { Ok(()) } else { self.once.take(field) }
    }

    /// Why there can be none without `what`.
    fn no_event(&self, what: &'static str) -> Problem {
        const EVENT: &str = "a key such as \"run\": 1000, or \"sleep\": 1000";
        if self.left_out { Problem::NothingLeft } else { Problem::Empty { what, expected: EVENT } }
    }

    /// Where these rounds, or `otherwise`, have no end.
    fn endless(&self, otherwise: (Rounds, Position)) -> Option<Position> {
        let (rounds, position) = self.rounds.unwrap_or(otherwise);
        (rounds == Rounds::Endless).then_some(position)
    }
}

impl TaskReader<'_> {
    /// Reads the task that `field` is.
    pub(super) fn task(&mut self, field: &Field<'_>) -> Result<(Task, Places), WorkloadError> {
        let known = self.notices.len();
        let task = self.read(field)?;
        // A key is noticed once, however many phases have it.
        let mut noticed = HashSet::new();
        let new = self.notices.split_off(known);
        self.notices.extend(new.into_iter().filter(|notice| noticed.insert((notice.key.clone(), notice.text))));
        Ok(task)
    }

    fn read(&mut self, field: &Field<'_>) -> Result<(Task, Places), WorkloadError> {
        let mut common = Common::default();
        let (mut instances, mut instance_at) = (1, field.member.position);
        let (mut delay, mut phases) = (Duration::ZERO, None);
        let mut extension = Extension::default();
        check_name(field)?;
        for member in field.object()? {
            let inner = field.inner(member);
            common.once(&inner)?;
            match inner.key() {
                "instance" => {
                    instances = inner.integer(0..=MAX_THREADS as i128)? as usize;
                    instance_at = inner.position();
                }
                "delay" => delay = inner.microseconds(0)?,
                "phases" => phases = Some(inner),
                "tessera" => extension = extension::read(&inner, self.cpus)?,
                _ => self.common(&inner, &mut common, "instance, delay, phases, tessera, ")?,
            }
        }
        self.check_fork_only(field, instances, &common.events)?;
        let arrive = delay.saturating_add(extension.arrive.unwrap_or(Duration::ZERO));
        let begins = Instant::ORIGIN.saturating_add(arrive);
        if let Some((_, position)) = extension.exit.filter(|&(exit, _)| instances > 0 && exit <= begins) {
            let key = Some("exit_us".to_owned());
            return Err(WorkloadError { key, ..field.wrong_at(position, Problem::EndsBefore) });
        }
        let wishes = common.wishes.or(&Wishes::with_policy(self.policy));
        let attributes = extension.override_in(wishes.attributes(self.notices));
        let name = field.key().to_owned();
        let mut endless = common.endless((Rounds::Endless, field.member.position));
        let rounds = common.rounds.map_or(Rounds::Endless, |(rounds, _)| rounds);
        let phases = match phases {
            Some(inner) if !common.events.is_empty() => return Err(inner.wrong_key(Problem::Beside("events"))),
            Some(inner) => {
                let (phases, without_end) = self.phases(&inner, instances, &wishes, common.cpus, &extension)?;
                endless = endless.or(without_end);
                phases
            }
            None if common.events.is_empty() => return Err(field.wrong(common.no_event("phases or an event"))),
            None => vec![Phase::only(name.clone(), common.events)],
        };
        let exit = extension.exit.map(|(exit, _)| exit);
        let places = Places { instance: instance_at, endless: endless.filter(|_| exit.is_none()) };
        let task = Task {
            name,
            position: field.member.position,
            instances,
            arrive,
            exit,
            attributes,
            cpus: common.cpus,
            rounds,
            phases,
            changes: extension.changes,
            taskgroup: common.taskgroup,
        };
        Ok((task, places))
    }

    /// How many wait at a barrier must be known from the start.
    fn check_fork_only(&self, field: &Field<'_>, instances: usize, events: &[Event]) -> Result<(), WorkloadError> {
        let barrier = events.iter().find(|event| matches!(event.action, event::Action::Barrier(_)));
        match barrier {
            Some(event) if instances == 0 => Err(WorkloadError {
                position: event.position,
                task: field.task.map(str::to_owned),
                key: Some(event.key.clone()),
                problem: Problem::Unsupported {
                    what: "a barrier in a task that is only forked".to_owned(),
                    why: "nobody knows how many will come; use an \"instance\" of 1 or more, or a semaphore",
                },
            }),
            _ => Ok(()),
        }
    }

    /// The phases, and where the first of them that has no end says so.
    fn phases(
        &mut self,
        field: &Field<'_>,
        instances: usize,
        outer: &Wishes<'_>,
        outer_cpus: Option<CpuSet>,
        extension: &Extension,
    ) -> Result<(Vec<Phase>, Option<Position>), WorkloadError> {
        let members = field.object()?;
        // A phase without CPUs has those of its task again, if another phase had its own.
        let any_has_cpus = members.iter().any(|member| {
            field.inner(member).object().is_ok_and(|inner| inner.iter().any(|member| member.key == "cpus"))
        });
        let (mut phases, mut endless) = (Vec::new(), None);
        for member in members {
            let inner = field.inner(member);
            let mut common = Common::default();
            for member in inner.object()? {
                let inner = inner.inner(member);
                common.once(&inner)?;
                self.common(&inner, &mut common, "")?;
            }
            if common.events.is_empty() {
                return Err(inner.wrong(common.no_event("an event")));
            }
            self.check_fork_only(&inner, instances, &common.events)?;
            let attributes = common
                .wishes
                .is_some()
                .then(|| extension.override_in(common.wishes.or(outer).attributes(self.notices)));
            endless = endless.or(common.endless((Rounds::Times(1), inner.position())));
            phases.push(Phase {
                name: inner.key().to_owned(),
                rounds: common.rounds.map_or(Rounds::Times(1), |(rounds, _)| rounds),
                attributes,
                cpus: any_has_cpus.then(|| common.cpus.or(outer_cpus)),
                taskgroup: common.taskgroup,
                events: common.events,
            });
        }
        match phases.is_empty() {
            true => {
                let expected = "an object by name, such as {\"one\": {\"run\": 1000}}";
                Err(field.wrong(Problem::Empty { what: "a phase", expected }))
            }
            false => Ok((phases, endless)),
        }
    }

    /// Takes a key that tasks and phases have alike. `others`: what may stand here besides, each with a comma.
    fn common<'a>(&mut self, field: &Field<'a>, common: &mut Common<'a>, others: &str) -> Result<(), WorkloadError> {
        match field.key() {
            "loop" => common.rounds = Some((rounds(field)?, field.position())),
            "cpus" => common.cpus = Some(self.cpus.set(field)?),
            "util_min" | "util_max" => self.notices.push(field.notice("has no effect: the CPUs have no frequencies")),
            "nodes_membind" | "membind_nodes" => self.notices.push(field.notice("has no effect: there is no memory")),
            "taskgroup" => {
                common.taskgroup = Some(field.string()?.to_owned());
                self.notices.push(field.notice("is a label; it is not scheduled by"));
            }
            _ if common.wishes.take(field)? => {}
            key => match EventName::of_key(key) {
                Some(name) => self.event(field, name, common)?,
                None => return Err(field.unknown(expected_keys(others))),
            },
        }
        Ok(())
    }

    fn event(&mut self, field: &Field<'_>, name: EventName, common: &mut Common<'_>) -> Result<(), WorkloadError> {
        let surroundings = Surroundings {
            tasks: self.tasks,
            task: field.task.unwrap_or_default(),
            ignore_unsupported: self.ignore_unsupported,
        };
        match event::read(field, name, &surroundings, self.names)? {
            event::Read::Event(event) => common.events.push(event),
            event::Read::Ignored => {
                common.left_out = true;
                self.notices.push(field.notice("is left out: there is no memory and no device"));
            }
        }
        Ok(())
    }
}

/// A name is printed, drawn and written into traces.
fn check_name(field: &Field<'_>) -> Result<(), WorkloadError> {
    if field.key().is_empty() || field.key().contains(char::is_control) {
        let expected = "a name with something in it and no control characters".to_owned();
        let found = format!("\"{}\"", field.key().escape_debug());
        return Err(field.wrong_key(Problem::Range { expected, found }));
    }
    Ok(())
}

fn expected_keys(others: &str) -> String {
    let events: Vec<&str> = EventName::supported().collect();
    format!("{others}loop, cpus, policy, priority, dl-runtime, or an event: {}", events.join(", "))
}

fn rounds(field: &Field<'_>) -> Result<Rounds, WorkloadError> {
    const ROUNDS: &str = "-1 (for ever) or 1 and more";
    let refuse = |found: String| field.wrong(Problem::Range { expected: ROUNDS.to_owned(), found });
    let all = i128::from(i64::MIN)..=i128::from(i64::MAX);
    match field.integer(all).map_err(|error| WorkloadError { problem: error.problem.expecting(ROUNDS), ..error })? {
        -1 => Ok(Rounds::Endless),
        times @ 1.. => Ok(Rounds::Times(times as u64)),
        other => Err(refuse(other.to_string())),
    }
}
