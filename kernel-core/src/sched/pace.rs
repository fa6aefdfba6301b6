//! Pace: how far a queue, and with it each of its members, has come on a clock that all queues share.
//!
//! Each queue has a clock V of its own, and readings of different ones say nothing about each other. But V advances by
//! the service that a member gets, so a queue whose V advances faster treats its members better. A queue's *pace* is its
//! V plus a shift that is its own; a thread that moves takes its place on the common clock along, as lag. So a queue that
//! falls behind says how far, its threads can be moved to one that is ahead, and there they catch up: three equal
//! threads on two CPUs take turns at having one for themselves, and each gets two thirds.
//!
//! Differences have a meaning only while threads could have moved. Where they could not (pinned threads, a weight that no
//! CPU can satisfy) they grow without end; so more than [`FORGIVEN_AFTER`] requests are forgotten ([`forgiven`]), of the
//! queue that is behind: when somebody leaves it for one that is ahead, and when its only thread had the CPU for itself.
//! A queue that filled up after it was empty for longer than a grid period begins with the others' [`mean`]. A move is
//! worth [`CATCH_UP`] requests at most, so that nobody waits longer than for these.
//!
//! A request of a light thread is long on the clock. So where a heavy thread is owed what a light one had too much, requests
//! are those of the lighter: by its own it would be cut short. Where it owes, they are its own, or it would wait until
//! light ones had caught up with it; it may be a sleeper, of whom its place says little.

use super::vtime::{VirtualSpan, VirtualTime, Weight, request_span, truncating_divide};
use tessera_hal::Duration;

/// Requests by which a thread must be behind, in its own service, before it is moved for that.
pub const ROTATE_AFTER: u64 = 2;
/// Requests that a thread that moves may be owed, or may owe, for the difference between the queues. With five, threads that
/// may not run everywhere lose up to 5 % of what they should get on their many moves; with eight 1 %.
pub const CATCH_UP: u64 = 8;
/// Requests beyond which a difference between queues is forgotten.
pub const FORGIVEN_AFTER: u64 = 20;

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

/// Where a queue stands among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Where it is on the clock that all share.
    pub pace: Pace,
    /// What its members weigh together.
    pub weights: u64,
    /// What one of them weighs on average.
    pub average: Weight,
}

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

/// The lag that a thread joins another queue with. It keeps its `place` on the common clock, within the bound; the queue,
/// which is its members' mean, moves towards it. So the lag that it has as a member is less than the distance. If nothing
/// is known it is the `lag` that it had.
pub fn lag_after_move(
    lag: VirtualSpan,
    place: Pace,
    weight: Weight,
    destination: &Standing,
    base: Duration,
) -> VirtualSpan {
    let Some(owed) = destination.pace.ahead_of(place) else { return lag };
    let worth = |weight| request_span(base.saturating_mul(CATCH_UP), weight).as_nanos();
    let (least, most) = (-worth(weight), worth(weight.min(destination.average)));
    let difference = owed.as_nanos().saturating_sub(lag.as_nanos()).clamp(least, most);
    let distance = i128::from(lag.saturating_add(VirtualSpan::from_nanos(difference)).as_nanos());
    let (others, weight) = (destination.weights, u64::from(weight.get()));
    VirtualSpan::clamped(truncating_divide(distance * i128::from(others), others + weight))
}

/// Whether a thread is to be moved because its queue is this far behind.
pub fn is_worth_a_move(behind: VirtualSpan, weight: Weight, base: Duration) -> bool {
    behind >= request_span(base.saturating_mul(ROTATE_AFTER), weight)
}

/// Where one goes on that is `behind` another one that is `ahead`: where it is, unless that is further than `most`.
pub fn forgiven(behind: Pace, ahead: Pace, most: VirtualSpan) -> Pace {
    match ahead.ahead_of(behind) {
        Some(distance) if distance > most => ahead.earlier_by(most),
        _ => behind,
    }
}

/// The mean of those that are known.
pub fn mean(paces: impl Iterator<Item = Pace>) -> Pace {
    let (mut first, mut sum, mut count) = (Pace::UNKNOWN, 0_i128, 0_i128);
    for pace in paces {
        if first == Pace::UNKNOWN {
            first = pace;
        }
        if let Some(ahead) = pace.ahead_of(first) {
            sum += i128::from(ahead.as_nanos());
            count += 1;
        }
    }
    first.earlier_by(VirtualSpan::clamped(-sum / count.max(1)))
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

    fn standing(pace: Pace, weights: u64, average: u16) -> Standing {
        Standing { pace, weights, average: Weight::new(average).unwrap() }
    }

    #[test]
    fn a_move_carries_the_difference_between_the_queues_within_the_bound() {
        // Beside equally heavy others the queue moves by half of the distance.
        let moved = |lag, from, to, weight: u16| {
            let destination = standing(at(to), u64::from(weight), weight);
            lag_after_move(span(lag), at(from), Weight::new(weight).unwrap(), &destination, BASE)
        };
        assert_eq!(moved(1, 10, 14, 64), span(2), "it was at 10, whatever part of that its old queue owed it");
        assert_eq!(moved(2, 10, 500, 64), span(9), "eight requests of 2 ms on top of what it was owed");
        assert_eq!(moved(-2, 500, 10, 64), span(-9));
        assert_eq!(
            moved(1, 10, 500, 640).as_nanos(),
            1_300_000,
            "as service: at ten times the weight it is a tenth of the clock"
        );
        let nothing_known = lag_after_move(span(3), Pace::UNKNOWN, Weight::DEFAULT, &standing(at(9), 64, 64), BASE);
        assert_eq!(nothing_known, span(3));
    }

    #[test]
    fn a_thread_is_owed_requests_of_the_lighter_and_owes_its_own() {
        let moved = |from, to, weight: u16, average: u16| {
            // Others as heavy as this one together, so half of the distance is left.
            let destination = standing(at(to), u64::from(weight), average);
            lag_after_move(span(0), at(from), Weight::new(weight).unwrap(), &destination, BASE).as_nanos()
        };
        assert_eq!(moved(10, 500, 640, 64), 8_000_000, "a heavy one comes to light ones: eight of theirs are 16 ms");
        assert_eq!(moved(10, 500, 64, 640), 8_000_000, "a light one comes to heavy ones");
        assert_eq!(moved(10, 500, 640, 640), 800_000);
        assert_eq!(moved(500, 10, 640, 64), -800_000);
        assert_eq!(moved(500, 10, 64, 640), -8_000_000);
    }

    #[test]
    fn a_thread_is_moved_for_two_requests_of_its_own_service() {
        let worth = |behind, weight| is_worth_a_move(span(behind), Weight::new(weight).unwrap(), BASE);
        assert!(worth(4, 64) && !worth(3, 64));
        assert!(worth(1, 256) && !worth(1, 128), "a heavy one loses more in the same time");
        assert!(!worth(-100, 64));
    }

    #[test]
    fn a_difference_is_forgotten_beyond_the_bound_and_no_further() {
        assert_eq!(forgiven(at(50), at(60), span(20)), at(50));
        assert_eq!(forgiven(at(50), at(70), span(20)), at(50));
        assert_eq!(forgiven(at(50), at(90), span(20)), at(70));
        assert_eq!(forgiven(at(90), at(50), span(20)), at(90), "who is ahead is not behind");
        assert_eq!(forgiven(at(50), Pace::UNKNOWN, span(20)), at(50));
        assert_eq!(forgiven(Pace::UNKNOWN, at(50), span(20)), Pace::UNKNOWN);
    }

    #[test]
    fn the_mean_is_of_those_that_are_known_and_survives_the_end_of_the_clock() {
        let mean_of = |paces: &[Pace]| mean(paces.iter().copied());
        assert_eq!(mean_of(&[at(10), Pace::UNKNOWN, at(20)]), at(15));
        assert_eq!(mean_of(&[Pace::UNKNOWN, at(7)]), at(7));
        assert_eq!(mean_of(&[]), Pace::UNKNOWN);
        assert_eq!(mean_of(&[Pace::UNKNOWN]), Pace::UNKNOWN);
        let end = Pace::at(VirtualTime::from_nanos(u64::MAX - 999_999));
        assert_eq!(mean_of(&[end, at(1)]).ahead_of(end), Some(span(1)));
    }
}
