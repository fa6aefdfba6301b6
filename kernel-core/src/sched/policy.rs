//! The policies: who is due first. Plain functions over plain data; both policies order one tree by one key.
//!
//! The key is the *virtual deadline*: virtual run time plus the virtual length of the request.
//! * [`Policy::Wfq`] (weighted fair queueing by finish tags, Parekh and Gallager 1993): the key is the finish tag,
//!   computed anew at each enqueue; everyone is eligible.
//! * [`Policy::Eevdf`] (earliest eligible virtual deadline first, Stoica and Abdel-Wahab 1995): a request keeps its
//!   deadline until it is used up; only entities that are not ahead of the queue (`vruntime <= V`) are eligible.

use super::vtime::VirtualTime;
use tessera_abi::scheduling::LatencyClass;
use tessera_hal::Duration;

/// How a queue is ordered. Chosen at run time; all are always compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Lowest finish tag first.
    #[default]
    Wfq,
    /// Earliest virtual deadline first, among the eligible.
    Eevdf,
}

impl Policy {
    /// The name in manifests, command lines and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wfq => "wfq",
            Self::Eevdf => "eevdf",
        }
    }

    /// The policy with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Wfq, Self::Eevdf].into_iter().find(|policy| policy.name() == name)
    }

    /// Whether a thread that was preempted comes back with the deadline and the rest of the request that it had.
    pub const fn keeps_request_when_preempted(self) -> bool {
        matches!(self, Self::Eevdf)
    }

    /// Whether an entity may be picked in a queue that knows whether it `has_reached` a point.
    #[inline]
    pub fn is_eligible(self, vruntime: VirtualTime, has_reached: impl FnOnce(VirtualTime) -> bool) -> bool {
        match self {
            Self::Wfq => true,
            Self::Eevdf => has_reached(vruntime),
        }
    }

    /// Whether `challenger` should run before `running` does any further, in a queue that knows whether it
    /// `has_reached` a point.
    #[inline]
    pub fn is_due_before(
        self,
        challenger: Claim,
        running: Claim,
        has_reached: impl FnOnce(VirtualTime) -> bool,
    ) -> bool {
        challenger.virtual_deadline.is_before(running.virtual_deadline)
            && self.is_eligible(challenger.vruntime, has_reached)
    }
}

/// What an entity is ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Its virtual run time.
    pub vruntime: VirtualTime,
    /// When its request is due.
    pub virtual_deadline: VirtualTime,
}

/// The request of one who asked for none: the base request, halved for interactive ones, four times for batch.
pub const fn class_request(class: LatencyClass, base: Duration) -> Duration {
    match class {
        LatencyClass::Interactive => Duration::from_nanos(base.as_nanos() / 2),
        LatencyClass::Normal | LatencyClass::IpcServer => base,
        LatencyClass::Batch => base.saturating_mul(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(vruntime: u64, virtual_deadline: u64) -> Claim {
        Claim {
            vruntime: VirtualTime::from_nanos(vruntime),
            virtual_deadline: VirtualTime::from_nanos(virtual_deadline),
        }
    }

    #[test]
    fn only_eevdf_asks_whether_one_is_eligible() {
        let (early_but_ahead, late) = (claim(10, 12), claim(0, 20));
        let [now, later] = [5, 10].map(|now| move |point| !VirtualTime::from_nanos(now).is_before(point));
        assert!(Policy::Wfq.is_due_before(early_but_ahead, late, now));
        assert!(!Policy::Eevdf.is_due_before(early_but_ahead, late, now));
        assert!(Policy::Eevdf.is_due_before(early_but_ahead, late, later));
    }

    #[test]
    fn equal_deadlines_preempt_nobody() {
        for policy in [Policy::Wfq, Policy::Eevdf] {
            assert!(!policy.is_due_before(claim(0, 9), claim(1, 9), |_| true));
        }
    }

    #[test]
    fn only_eevdf_keeps_a_request_over_a_preemption() {
        assert!(Policy::Eevdf.keeps_request_when_preempted());
        assert!(!Policy::Wfq.keeps_request_when_preempted());
    }

    #[test]
    fn classes_differ_by_the_length_of_a_request() {
        let base = Duration::from_nanos(1_000);
        let lengths = LatencyClass::ALL.map(|class| (class, class_request(class, base).as_nanos()));
        for (class, length) in lengths {
            let expected = match class {
                LatencyClass::Interactive => 500,
                LatencyClass::Normal | LatencyClass::IpcServer => 1_000,
                LatencyClass::Batch => 4_000,
            };
            assert_eq!(length, expected, "{class:?}");
        }
    }

    #[test]
    fn names_lead_back_to_the_policy() {
        for policy in [Policy::Wfq, Policy::Eevdf] {
            assert_eq!(Policy::from_name(policy.name()), Some(policy));
        }
        assert_eq!(Policy::from_name("fifo"), None);
    }
}
