//! What a check answers.

use super::Must;
use crate::{ArmError, Clockevent, CpuId, CpuTopology, Instant, InterruptState, Requests, Route, RouteError};
use core::fmt;

/// How a promise was broken, with what was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A later reading of the clock was smaller.
    ClockWentBack {
        /// The first reading.
        first: Instant,
        /// The one after it.
        second: Instant,
    },
    /// The clock never moved.
    ClockStoodStill(Instant),
    /// A CPU named itself by another number than it was started with, or by one that is taken.
    NamedItself(CpuId),
    /// Two CPUs of one core, or of one cluster, differ further out; or the answer changed.
    TopologyDiffers(CpuTopology, CpuTopology),
    /// Masking answered a state that was not in force.
    WrongInterruptState(InterruptState),
    /// Interrupts arrived that should not have.
    Unexpected {
        /// The CPU where they arrived.
        cpu: CpuId,
        /// How many.
        count: u64,
    },
    /// An interrupt or answer did not come within the suite's patience.
    NeverCame,
    /// The descriptor contradicts itself or cannot serve a scheduler.
    BadClockevent(Clockevent),
    /// Arming was refused.
    ArmRefused(ArmError),
    /// The timer fired early.
    Early {
        /// What was armed.
        deadline: Instant,
        /// What the clock said in the handler.
        fired_at: Instant,
    },
    /// Two look-ups of one CPU's request word differ, or two CPUs share one.
    RequestWordMoved(CpuId),
    /// The target took other requests than were posted.
    WrongRequests(Requests),
    /// Acknowledged before the target served it.
    AcknowledgedEarly,
    /// A store from before the kick was not visible after it.
    StaleStore {
        /// What was stored.
        stored: u64,
        /// What was read.
        read: u64,
    },
    /// The route read back is not the one written.
    WrongRoute(Route),
    /// A route was refused that should have been accepted, or for the wrong reason.
    RouteRefused(RouteError),
    /// A route was accepted that should have been refused.
    RouteAccepted,
}

/// Why a promise was not checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skip {
    /// It is about two CPUs, and there is one.
    NeedsAnotherCpu,
    /// The check uses a promise that is broken.
    Needs(Must),
    /// The machine has no line that the suite may use.
    NoSpareLine,
    /// The spare line cannot be raised by software.
    CannotRaise,
}

/// What a check found.
#[must_use = "a verdict that nobody reads proves nothing"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The promise was kept.
    Holds,
    /// It was broken.
    Broken(Violation),
    /// It was not checked.
    Skipped(Skip),
}

/// One check on one CPU.
#[must_use = "an outcome that nobody reads proves nothing"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What was checked.
    pub must: Must,
    /// On which CPU, or against which CPU for checks of two.
    pub cpu: CpuId,
    /// What was found.
    pub verdict: Verdict,
}

/// How many checks held, broke and were skipped, over all CPUs.
#[must_use = "the summary decides whether the machine passed"]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Promises kept.
    pub held: u64,
    /// Promises broken.
    pub broken: u64,
    /// Promises not checked.
    pub skipped: u64,
}

impl Summary {
    /// Whether the machine conforms: nothing broke, and something was checked.
    pub const fn passed(&self) -> bool {
        self.broken == 0 && self.held > 0
    }
}

impl Verdict {
    /// `Holds` if `kept`, else broken by `violation`.
    pub(super) fn of(kept: bool, violation: Violation) -> Self {
        if kept { Self::Holds } else { Self::Broken(violation) }
    }

    pub(super) fn holds(&self) -> bool {
        *self == Self::Holds
    }
}

impl From<Result<(), Violation>> for Verdict {
    fn from(result: Result<(), Violation>) -> Self {
        result.map_or_else(Self::Broken, |()| Self::Holds)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockWentBack { first, second } => {
                write!(f, "the clock said {} ns and then {} ns", first.as_nanos(), second.as_nanos())
            }
            Self::ClockStoodStill(at) => write!(f, "the clock stands still at {} ns", at.as_nanos()),
            Self::NamedItself(cpu) => write!(f, "the CPU names itself {cpu}"),
            Self::TopologyDiffers(one, other) => write!(f, "{one:?} contradicts {other:?}"),
            Self::WrongInterruptState(state) => write!(f, "masking answered {state:?}"),
            Self::Unexpected { cpu, count } => write!(f, "{count} unexpected interrupts on CPU {cpu}"),
            Self::NeverCame => write!(f, "it never came"),
            Self::BadClockevent(descriptor) => write!(f, "{descriptor:?} cannot serve a scheduler"),
            Self::ArmRefused(error) => write!(f, "arming was refused: {error}"),
            Self::Early { deadline, fired_at } => {
                write!(f, "armed for {} ns, fired at {} ns", deadline.as_nanos(), fired_at.as_nanos())
            }
            Self::RequestWordMoved(cpu) => write!(f, "the request word of CPU {cpu} is not its own"),
            Self::WrongRequests(requests) => write!(f, "the target took {requests:?}"),
            Self::AcknowledgedEarly => write!(f, "acknowledged before it was served"),
            Self::StaleStore { stored, read } => write!(f, "{stored} was stored before the kick, {read} read after it"),
            Self::WrongRoute(route) => write!(f, "the route reads back as {route:?}"),
            Self::RouteRefused(error) => write!(f, "the route was refused: {error}"),
            Self::RouteAccepted => write!(f, "the route was accepted"),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsAnotherCpu => write!(f, "there is one CPU"),
            Self::Needs(must) => write!(f, "needs S{}, which is broken", must.number()),
            Self::NoSpareLine => write!(f, "the machine has no spare interrupt line"),
            Self::CannotRaise => write!(f, "the spare line cannot be raised by software"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Holds => write!(f, "holds   {} (CPU {})", self.must, self.cpu),
            Verdict::Broken(violation) => write!(f, "BROKEN  {} (CPU {}): {violation}", self.must, self.cpu),
            Verdict::Skipped(skip) => write!(f, "skipped {} (CPU {}): {skip}", self.must, self.cpu),
        }
    }
}
