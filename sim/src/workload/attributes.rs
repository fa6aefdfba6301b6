//! How a task is scheduled: rt-app's policies and niceness, and ours, in one.

use super::error::{Notice, Problem, WorkloadError};
use super::field::Field;
use kernel_core::sched::{LatencyClass, Weight};
use tessera_hal::Duration;

/// Scheduling attributes, all of them given. Where a thread may run stands beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// The share.
    pub weight: Weight,
    /// What is wanted of the latency.
    pub class: LatencyClass,
    /// How long to run at a time; `None`: what the class gets.
    pub request: Option<Duration>,
}

/// rt-app's scheduling policies that a fair scheduler has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum FairPolicy {
    #[default]
    Other,
    Batch,
    Idle,
}

/// What keys of a task or of a phase say about its scheduling.
#[derive(Clone, Default)]
pub(super) struct Wishes<'a> {
    policy: Option<FairPolicy>,
    nice: Option<(i32, Option<Field<'a>>)>,
    request: Option<Duration>,
}

/// The weight of a niceness: 64 at 0, a quarter more for each step down, within the range of weights.
pub fn weight_of_nice(nice: i32) -> Weight {
    let weight = (64.0 * 1.25_f64.powi(-nice)).round().clamp(1.0, 10_000.0);
    Weight::new(weight as u16).unwrap_or(Weight::DEFAULT)
}

/// The policy that a field names.
pub(super) fn policy(field: &Field<'_>) -> Result<FairPolicy, WorkloadError> {
    let name = field.string()?;
    let refuse = |why| field.wrong(Problem::Unsupported { what: format!("the policy {}", name.escape_debug()), why });
    match name.strip_prefix("SCHED_").unwrap_or(name) {
        "OTHER" | "NORMAL" => Ok(FairPolicy::Other),
        "BATCH" => Ok(FairPolicy::Batch),
        "IDLE" => Ok(FairPolicy::Idle),
        "DEADLINE" => Err(refuse("there are no scheduling contexts yet; use SCHED_OTHER")),
        "FIFO" | "RR" => Err(refuse("there is no realtime band; use SCHED_OTHER")),
        _ => Err(field.wrong(Problem::Range {
            expected: "SCHED_OTHER, SCHED_BATCH or SCHED_IDLE".to_owned(),
            found: format!("\"{}\"", name.escape_debug()),
        })),
    }
}

/// The class that a field names.
pub(super) fn class(field: &Field<'_>) -> Result<LatencyClass, WorkloadError> {
    let name = field.string()?;
    LatencyClass::ALL.into_iter().find(|class| class.name() == name).ok_or_else(|| {
        field.wrong(Problem::Range {
            expected: LatencyClass::ALL.map(LatencyClass::name).join(", "),
            found: format!("\"{}\"", name.escape_debug()),
        })
    })
}

/// A weight.
pub(super) fn weight(field: &Field<'_>) -> Result<Weight, WorkloadError> {
    let number = field.integer(1..=10_000)?;
    Weight::new(number as u16).map_err(|_| field.wrong_type("a weight"))
}

/// A request: 100 us to 100 ms.
pub(super) fn request(field: &Field<'_>) -> Result<Duration, WorkloadError> {
    field.integer(100..=100_000).map(|number| Duration::from_micros(number as u64))
}

impl<'a> Wishes<'a> {
    /// Wishes of somebody whose file has this default policy.
    pub(super) fn with_policy(policy: FairPolicy) -> Self {
        Self { policy: Some(policy), ..Self::default() }
    }

    /// Takes a key that is about scheduling; answers whether it was one.
    pub(super) fn take(&mut self, field: &Field<'a>) -> Result<bool, WorkloadError> {
        match field.key() {
            "policy" => self.policy = Some(policy(field)?),
            "priority" => self.nice = Some((field.integer(-20..=19)? as i32, Some(*field))),
            "dl-runtime" => self.request = Some(request(field)?),
            "dl-period" | "dl-deadline" => {
                return Err(field.unsupported("there are no scheduling contexts yet; only \"dl-runtime\", the request"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether there is any wish but the default policy.
    pub(super) fn is_some(&self) -> bool {
        self.policy.is_some() || self.nice.is_some() || self.request.is_some()
    }

    /// These wishes, and those of `outer` where there are none.
    pub(super) fn or(&self, outer: &Self) -> Self {
        Self {
            policy: self.policy.or(outer.policy),
            nice: self.nice.or(outer.nice.map(|(nice, _)| (nice, None))),
            request: self.request.or(outer.request),
        }
    }

    /// The attributes that they amount to.
    pub(super) fn attributes(&self, notices: &mut Vec<Notice>) -> Attributes {
        let policy = self.policy.unwrap_or_default();
        if let (FairPolicy::Idle, Some((_, Some(field)))) = (policy, &self.nice) {
            notices.push(field.notice("has no effect under SCHED_IDLE, whose weight is 1"));
        }
        let weight = match policy {
            FairPolicy::Idle => Weight::new(1).unwrap_or(Weight::DEFAULT),
            FairPolicy::Other | FairPolicy::Batch => weight_of_nice(self.nice.map_or(0, |(nice, _)| nice)),
        };
        let class = if policy == FairPolicy::Other { LatencyClass::Normal } else { LatencyClass::Batch };
        Attributes { weight, class, request: self.request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn niceness_is_a_quarter_per_step_around_the_reference_weight() {
        let weights = [(0, 64), (-1, 80), (1, 51), (5, 21), (-20, 5551), (19, 1), (10, 7)];
        for (nice, weight) in weights {
            assert_eq!(weight_of_nice(nice).get(), weight, "nice {nice}");
        }
    }
}
