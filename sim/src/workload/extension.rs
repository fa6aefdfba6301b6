//! The `"tessera"` object of a task: what we have beyond rt-app.

use super::CpuSet;
use super::attributes::{Attributes, class, request, weight};
use super::error::{Problem, WorkloadError};
use super::field::{Field, Once};
use super::global::CpuLimit;
use crate::json::Position;
use kernel_core::sched::{LatencyClass, Weight};
use tessera_hal::{Duration, Instant};

/// A change of a task's attributes while it lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// To this weight.
    pub weight: Option<Weight>,
    /// To this class.
    pub class: Option<LatencyClass>,
    /// To this request.
    pub request: Option<Duration>,
    /// To these CPUs.
    pub cpus: Option<CpuSet>,
}

/// What the object says.
#[derive(Clone, Default)]
pub(super) struct Extension {
    pub weight: Option<Weight>,
    pub class: Option<LatencyClass>,
    pub request: Option<Duration>,
    pub arrive: Option<Duration>,
    pub exit: Option<(Instant, Position)>,
    pub changes: Vec<Change>,
}

impl Extension {
    /// The attributes, with what the object says in place of what rt-app's keys do.
    pub(super) fn override_in(&self, attributes: Attributes) -> Attributes {
        Attributes {
            weight: self.weight.unwrap_or(attributes.weight),
            class: self.class.unwrap_or(attributes.class),
            request: self.request.or(attributes.request),
        }
    }
}

const TASK_KEYS: &str = "weight, class, request_us, arrive_us, exit_us or changes";
const CHANGE_KEYS: &str = "at_us, weight, class, request_us or cpus";

const AT_MISSING: Problem =
    Problem::Missing { key: "at_us", expected: "microseconds since the start, an integer from 0 to 1000000000000" };
const NOTHING_CHANGES: Problem = Problem::Empty {
    what: "what changes",
    expected: "weight (1 to 10000), class (a class's name), request_us (100 to 100000) or cpus (a list)",
};

/// Reads the object of a task.
pub(super) fn read(field: &Field<'_>, cpus: &mut CpuLimit) -> Result<Extension, WorkloadError> {
    let mut extension = Extension::default();
    let mut once = Once::default();
    for member in field.object()? {
        let inner = field.inner(member);
        once.take(&inner)?;
        match inner.key() {
            "weight" => extension.weight = Some(weight(&inner)?),
            "class" => extension.class = Some(class(&inner)?),
            "request_us" => extension.request = Some(request(&inner)?),
            "arrive_us" => extension.arrive = Some(inner.microseconds(0)?),
            "exit_us" => extension.exit = Some((point(inner.microseconds(1)?), inner.position())),
            "changes" => extension.changes = changes(&inner, cpus)?,
            "budget_us" | "period_us" => {
                return Err(inner.unsupported("there are no scheduling contexts yet; leave it out"));
            }
            _ => return Err(inner.unknown(TASK_KEYS)),
        }
    }
    Ok(extension)
}

fn point(after_start: Duration) -> Instant {
    Instant::ORIGIN.saturating_add(after_start)
}

fn changes(field: &Field<'_>, cpus: &mut CpuLimit) -> Result<Vec<Change>, WorkloadError> {
    const EXPECTED: &str = "objects with at_us and what changes";
    let mut changes = Vec::new();
    for value in field.array(EXPECTED)? {
        let crate::json::Kind::Object(members) = &value.kind else {
            let problem = Problem::Type { expected: "an object".to_owned(), found: value.kind.name().to_owned() };
            return Err(field.wrong_at(value.position, problem));
        };
        let (mut at, mut once) = (None, Once::default());
        let mut change = Change { at: Instant::ORIGIN, weight: None, class: None, request: None, cpus: None };
        for member in members {
            let inner = field.inner(member);
            once.take(&inner)?;
            match inner.key() {
                "at_us" => at = Some(point(inner.microseconds(0)?)),
                "weight" => change.weight = Some(weight(&inner)?),
                "class" => change.class = Some(class(&inner)?),
                "request_us" => change.request = Some(request(&inner)?),
                "cpus" => change.cpus = Some(cpus.set(&inner)?),
                _ => return Err(inner.unknown(CHANGE_KEYS)),
            }
        }
        change.at = at.ok_or_else(|| field.wrong_at(value.position, AT_MISSING))?;
        if (change.weight, change.class, change.request, change.cpus) == (None, None, None, None) {
            return Err(field.wrong_at(value.position, NOTHING_CHANGES));
        }
        changes.push(change);
    }
    changes.sort_by_key(|change| change.at);
    Ok(changes)
}
