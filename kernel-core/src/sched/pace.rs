//! Pace: how far a queue, and with it each of its members, has come on a clock that all queues share.
//!
//! Each queue has a clock V of its own, and readings of different ones say nothing about each other. But V advances by
//! the service that a member gets, so a queue whose V advances faster treats its members better. A queue's *pace* is its
//! V plus a shift that is its own; a thread that moves takes its place on the common clock along, as lag. So a queue that
//! falls behind says how far, its threads can be moved to one that is ahead, and there they catch up: three equal
//! threads on two CPUs take turns at having one for themselves, and each gets two thirds.
//!
//! Differences have a meaning only while threads could have moved. Where they could not (pinned threads, a weight that no
//! CPU can satisfy) they grow without end; so a queue that is further than [`FORGIVEN_AFTER`] requests from the others it
//! looks at forgets the difference, and one that filled up after it was empty for longer than a grid period begins with
//! the others' mean. A move is worth [`CATCH_UP`] requests at most, so that nobody waits longer than for these.

use super::vtime::{VirtualSpan, VirtualTime, Weight, request_span, truncating_divide};
use tessera_hal::Duration;

/// Requests by which a thread must be behind, in its own service, before it is moved for that.
pub const ROTATE_AFTER: u64 = 2;
/// Requests that a thread that moves may be owed, or may owe, for the difference between the queues.
pub const CATCH_UP: u64 = 5;
/// Requests, in the service of a queue's average member, beyond which a difference is forgotten.
pub const FORGIVEN_AFTER: u64 = 10;

/// A point on the common clock, to the even nanosecond; or that nothing is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pace(u64);

impl Pace {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self(0);
    const KNOWN: u64 = 1;

    /// A point that is known.
    pub const fn at(time: VirtualTime) -> Self {
        Self(time.as_nanos() | Self::KNOWN)
    }

    /// The point.
    pub const fn time(self) -> Option<VirtualTime> {
        if self.0 & Self::KNOWN == 0 { None } else { Some(VirtualTime::from_nanos(self.0 & !Self::KNOWN)) }
    }

    /// The point `span` earlier.
    pub fn earlier_by(self, span: VirtualSpan) -> Self {
        self.time().map_or(Self::UNKNOWN, |time| Self::at(time.wrapping_sub(span)))
    }

    /// How far this is ahead of `other`, if both are known.
    pub fn ahead_of(self, other: Self) -> Option<VirtualSpan> {
        Some(self.time()?.since(other.time()?))
    }
}

crate::pack_newtype!(Pace(u64));

/// What a queue adds to its V.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shift(Option<u64>);

impl Shift {
    /// The shift with which a queue that stands at `virtual_time` is at `pace`.
    pub fn between(virtual_time: VirtualTime, pace: Pace) -> Self {
        Self(pace.time().map(|time| time.as_nanos().wrapping_sub(virtual_time.as_nanos())))
    }

    /// The pace of a queue that stands at `virtual_time`.
    pub fn pace(self, virtual_time: VirtualTime) -> Pace {
        match self.0 {
            Some(shift) => Pace::at(VirtualTime::from_nanos(virtual_time.as_nanos().wrapping_add(shift))),
            None => Pace::UNKNOWN,
        }
    }
}

/// The lag that a thread joins a queue at `destination` with, whose members weigh `others`. It keeps its `place` on the
/// common clock, within the bound; the queue, which is its members' mean, moves towards it. So the lag that it has as a
/// member is less than the distance. If nothing is known it is the `lag` that it had.
pub fn lag_after_move(
    lag: VirtualSpan,
    place: Pace,
    destination: Pace,
    weight: Weight,
    others: u64,
    base: Duration,
) -> VirtualSpan {
    let Some(owed) = destination.ahead_of(place) else { return lag };
    let bound = request_span(base.saturating_mul(CATCH_UP), weight).as_nanos();
    let difference = owed.as_nanos().saturating_sub(lag.as_nanos()).clamp(-bound, bound);
    let distance = i128::from(lag.saturating_add(VirtualSpan::from_nanos(difference)).as_nanos());
    VirtualSpan::clamped(truncating_divide(distance * i128::from(others), others + u64::from(weight.get())))
}

/// Whether a thread is to be moved because its queue is this far behind.
pub fn is_worth_a_move(behind: VirtualSpan, weight: Weight, base: Duration) -> bool {
    behind >= request_span(base.saturating_mul(ROTATE_AFTER), weight)
}

/// Where a queue with `members` of together `weights` goes on, given the paces of others: where it is, unless it does not
/// know or is too far away from their mean.
pub fn corrected(pace: Pace, members: usize, weights: u64, others: impl Iterator<Item = Pace>, base: Duration) -> Pace {
    let mut reference = pace;
    let (mut sum, mut count) = (0_i128, 0_i128);
    for other in others {
        if reference == Pace::UNKNOWN {
            reference = other;
        }
        if let Some(ahead) = other.ahead_of(reference) {
            sum += i128::from(ahead.as_nanos());
            count += 1;
        }
    }
    let Some(mean) = (count != 0).then(|| VirtualSpan::clamped(sum / count)) else { return pace };
    // As service of the average member: `distance * (weights / members) / 64`.
    let distance = i128::from(mean.as_nanos()).abs() * i128::from(weights);
    let bound = i128::from(base.saturating_mul(FORGIVEN_AFTER).as_nanos()) * 64 * members.max(1) as i128;
    if pace == Pace::UNKNOWN || distance > bound {
        reference.earlier_by(VirtualSpan::from_nanos(-mean.as_nanos()))
    } else {
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(2);

    fn at(milliseconds: u64) -> Pace {
        Pace::at(VirtualTime::from_nanos(milliseconds * 1_000_000))
    }

    fn span(milliseconds: i64) -> VirtualSpan {
        VirtualSpan::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn a_shift_leads_from_the_queues_clock_to_the_common_one_and_along_with_it() {
        let start = VirtualTime::from_nanos(u64::MAX - 9);
        let shift = Shift::between(start, at(7));
        assert_eq!(shift.pace(start), at(7));
        let later = start.wrapping_add(span(5));
        assert_eq!(shift.pace(later).ahead_of(at(7)), Some(span(5)));
        assert_eq!(Shift::default().pace(start), Pace::UNKNOWN);
        assert_eq!(Shift::between(start, Pace::UNKNOWN), Shift::default());
    }

    #[test]
    fn a_move_carries_the_difference_between_the_queues_within_the_bound() {
        // Beside equally heavy others the queue moves by half of the distance.
        let moved = |lag, from, to, number: u16| {
            let weight = Weight::new(number).unwrap();
            lag_after_move(span(lag), at(from), at(to), weight, u64::from(number), BASE)
        };
        assert_eq!(moved(1, 10, 14, 64), span(2), "it was at 10, whatever part of that its old queue owed it");
        assert_eq!(moved(2, 10, 500, 64), span(6), "five requests of 2 ms on top of what it was owed");
        assert_eq!(moved(-2, 500, 10, 64), span(-6));
        assert_eq!(moved(1, 10, 500, 640), span(1), "as service: at ten times the weight it is a tenth of the clock");
        let nothing_known = lag_after_move(span(3), Pace::UNKNOWN, at(9), Weight::DEFAULT, 64, BASE);
        assert_eq!(nothing_known, span(3));
    }

    #[test]
    fn a_thread_is_moved_for_two_requests_of_its_own_service() {
        let worth = |behind, weight| is_worth_a_move(span(behind), Weight::new(weight).unwrap(), BASE);
        assert!(worth(4, 64) && !worth(3, 64));
        assert!(worth(1, 256) && !worth(1, 128), "a heavy one loses more in the same time");
        assert!(!worth(-100, 64));
    }

    #[test]
    fn a_queue_that_is_far_from_the_others_goes_on_at_their_mean() {
        let go_on =
            |pace, members, weights, others: &[Pace]| corrected(pace, members, weights, others.iter().copied(), BASE);
        assert_eq!(go_on(at(50), 2, 128, &[at(60), at(70)]), at(50), "within ten requests");
        assert_eq!(go_on(at(50), 2, 128, &[at(60), at(90)]), at(75));
        assert_eq!(go_on(at(90), 2, 128, &[at(60), at(60)]), at(60));
        assert_eq!(go_on(at(50), 2, 1_280, &[at(60)]), at(60), "its members are ten times as heavy");
        assert_eq!(go_on(at(50), 1, 1, &[at(690)]), at(50), "and a light one gets as much in little time");
        assert_eq!(go_on(Pace::UNKNOWN, 1, 64, &[at(10), Pace::UNKNOWN, at(20)]), at(15));
        assert_eq!(go_on(at(50), 1, 64, &[]), at(50));
        assert_eq!(go_on(Pace::UNKNOWN, 1, 64, &[Pace::UNKNOWN]), Pace::UNKNOWN);
    }
}
