//! The virtual time V of a queue: the mean of its members' virtual times, by weight.
//!
//! Kept incrementally and exactly: the sum of `weight * (vruntime - base)` in 128 bits, over all members (queued and
//! current). `V = base + sum / weights`, rounded down, so V is never before the earliest member. The base moves along,
//! so distances stay small and the clock may wrap. Guarded by the queue's lock.

use super::vtime::{VirtualSpan, VirtualTime, Weight, floor_divide};

/// The sum at which the base moves to V: so a sum fits a register but between one operation and the next.
const REBASE_AT: i128 = 1 << 60;

/// The weighted mean of a queue's virtual times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WeightedMean {
    base: VirtualTime,
    sum: i128,
    weights: u64,
}

impl WeightedMean {
    /// A mean without members whose clock stands at `virtual_time`.
    pub(crate) fn starting_at(virtual_time: VirtualTime) -> Self {
        Self { base: virtual_time, sum: 0, weights: 0 }
    }

    /// V. With no members, where it stood when the last one left.
    pub(crate) fn virtual_time(&self) -> VirtualTime {
        self.base.wrapping_add(self.distance())
    }

    /// Whether V is at `point` or past it. Asks no division.
    #[inline]
    pub(crate) fn has_reached(&self, point: VirtualTime) -> bool {
        debug_assert!(self.weights != 0, "a queue without members reaches nothing");
        // point - base <= floor(sum / weights), and both sides are whole.
        i128::from(point.since(self.base).as_nanos()) * i128::from(self.weights.cast_signed()) <= self.sum
    }

    /// The sum of the members' weights.
    pub(crate) fn weights(&self) -> u64 {
        self.weights
    }

    /// A member joins.
    pub(crate) fn add(&mut self, vruntime: VirtualTime, weight: Weight) {
        self.sum += product(vruntime.since(self.base), weight);
        self.weights += u64::from(weight.get());
        self.follow();
    }

    /// A member leaves. When the last one does, V stays where that one has brought it.
    pub(crate) fn remove(&mut self, vruntime: VirtualTime, weight: Weight) {
        if u64::from(weight.get()) == self.weights {
            *self = Self::starting_at(self.virtual_time());
            return;
        }
        self.sum -= product(vruntime.since(self.base), weight);
        self.weights -= u64::from(weight.get());
        self.follow();
    }

    /// A member's virtual time advances by `span`.
    pub(crate) fn advance(&mut self, span: VirtualSpan, weight: Weight) {
        self.sum += product(span, weight);
        self.follow();
    }

    #[inline]
    fn distance(&self) -> VirtualSpan {
        match self.weights {
            0 => VirtualSpan::ZERO,
            weights => floor_divide(self.sum, weights),
        }
    }

    #[inline(always)]
    fn follow(&mut self) {
        if !(-REBASE_AT..REBASE_AT).contains(&self.sum) {
            self.rebase();
        }
    }

    #[cold]
    fn rebase(&mut self) {
        let distance = self.distance();
        self.base = self.base.wrapping_add(distance);
        self.sum -= i128::from(distance.as_nanos()) * i128::from(self.weights);
    }
}

fn product(span: VirtualSpan, weight: Weight) -> i128 {
    i128::from(span.as_nanos()) * i128::from(weight.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(weight: u16) -> Weight {
        Weight::new(weight).unwrap()
    }

    #[test]
    fn the_mean_is_exact_and_survives_the_end_of_the_clock() {
        let start = VirtualTime::from_nanos(u64::MAX - 1_000);
        let mut mean = WeightedMean::default();
        mean.add(start, weight(1));
        mean.add(start.wrapping_add(VirtualSpan::from_nanos(4_000)), weight(3));
        assert_eq!(mean.virtual_time(), start.wrapping_add(VirtualSpan::from_nanos(3_000)));
        mean.remove(start, weight(1));
        assert_eq!(mean.virtual_time(), start.wrapping_add(VirtualSpan::from_nanos(4_000)));
    }

    #[test]
    fn moving_the_base_changes_nothing() {
        let mut mean = WeightedMean::default();
        let mut clock = VirtualTime::ZERO;
        mean.add(clock, weight(7));
        let mut bases = 0;
        for _ in 0..1_000 {
            let step = VirtualSpan::from_nanos((1 << 56) + 7);
            clock = clock.wrapping_add(step);
            let base = mean.base;
            mean.advance(step, weight(7));
            bases += u32::from(mean.base != base);
            assert_eq!(mean.virtual_time(), clock);
        }
        assert!(bases > 100, "the base moved {bases} times");
    }

    #[test]
    fn a_point_is_reached_exactly_when_the_mean_rounded_down_is_not_before_it() {
        for start in [0, u64::MAX - 7] {
            let start = VirtualTime::from_nanos(start);
            let after = |nanoseconds| start.wrapping_add(VirtualSpan::from_nanos(nanoseconds));
            let mut mean = WeightedMean::starting_at(start);
            mean.add(after(-3), weight(2));
            mean.add(after(19), weight(5));
            for point in -30..40 {
                let expected = !mean.virtual_time().is_before(after(point));
                assert_eq!(mean.has_reached(after(point)), expected, "{point} of {:?}", mean.virtual_time());
            }
        }
    }

    #[test]
    fn an_empty_queue_keeps_its_clock() {
        let mut mean = WeightedMean::default();
        let at = VirtualTime::from_nanos(99);
        mean.add(at, weight(64));
        mean.remove(at, weight(64));
        assert_eq!((mean.virtual_time(), mean.weights()), (at, 0));
    }
}
