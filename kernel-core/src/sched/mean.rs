//! The virtual time V of a queue: the mean of its members' virtual times, by weight.
//!
//! Kept incrementally and exactly: the sum of `weight * (vruntime - base)` over all members (queued and current).
//! `V = base + sum / weights`, rounded down, so V is never before the earliest member. The base moves to V before the
//! sum grows too large for a register, so the clock may wrap. Guarded by the queue's lock.

use super::vtime::{VirtualSpan, VirtualTime, Weight};
use core::num::NonZeroU64;

/// The sum, either way, beyond which the base moves.
const LARGEST_SUM: i64 = 1 << 60;

/// The weighted mean of a queue's virtual times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WeightedMean {
    base: VirtualTime,
    sum: i64,
    weights: u64,
}

impl WeightedMean {
    /// A mean without members whose clock stands at `virtual_time`.
    pub(crate) fn starting_at(virtual_time: VirtualTime) -> Self {
        Self { base: virtual_time, sum: 0, weights: 0 }
    }

    /// V. With no members, where it stood when the last one left.
    pub(crate) fn virtual_time(&self) -> VirtualTime {
        match NonZeroU64::new(self.weights) {
            Some(weights) => self.base_moved_by(floor_divide(self.sum, weights)),
            None => self.base,
        }
    }

    /// Whether V is at `point` or past it. Asks no division.
    #[inline]
    pub(crate) fn has_reached(&self, point: VirtualTime) -> bool {
        debug_assert!(self.weights != 0, "a queue without members reaches nothing");
        // point - base <= floor(sum / weights), and both sides are whole.
        let distance = point.since(self.base).as_nanos();
        match distance.checked_mul(self.weights.cast_signed()) {
            Some(product) => product <= self.sum,
            // Further than any sum.
            None => distance < 0,
        }
    }

    /// The sum of the members' weights.
    pub(crate) fn weights(&self) -> u64 {
        self.weights
    }

    /// A member joins.
    pub(crate) fn add(&mut self, vruntime: VirtualTime, weight: Weight) {
        self.weights += u64::from(weight.get());
        self.change_sum(Product(vruntime.since(self.base), weight), Product::NONE);
    }

    /// A member leaves. When the last one does, V stays where that one has brought it.
    pub(crate) fn remove(&mut self, vruntime: VirtualTime, weight: Weight) {
        if u64::from(weight.get()) == self.weights {
            *self = Self::starting_at(self.virtual_time());
            return;
        }
        self.weights -= u64::from(weight.get());
        self.change_sum(Product::NONE, Product(vruntime.since(self.base), weight));
    }

    /// A member's virtual time advances by `span`.
    pub(crate) fn advance(&mut self, span: VirtualSpan, weight: Weight) {
        self.change_sum(Product(span, weight), Product::NONE);
    }

    /// A member that had the `old` virtual time and weight has the `new` ones.
    pub(crate) fn replace(&mut self, old: (VirtualTime, Weight), new: (VirtualTime, Weight)) {
        self.weights = self.weights - u64::from(old.1.get()) + u64::from(new.1.get());
        self.change_sum(Product(new.0.since(self.base), new.1), Product(old.0.since(self.base), old.1));
    }

    #[inline(always)]
    fn change_sum(&mut self, more: Product, less: Product) {
        let difference = more.get().zip(less.get()).and_then(|(more, less)| more.checked_sub(less));
        let sum = difference.and_then(|difference| self.sum.checked_add(difference));
        match sum.filter(|sum| (-LARGEST_SUM..LARGEST_SUM).contains(sum)) {
            Some(sum) => self.sum = sum,
            None => self.rebase(i128::from(self.sum) + more.at_length() - less.at_length()),
        }
    }

    #[cold]
    fn rebase(&mut self, sum: i128) {
        let weights = i128::from(self.weights);
        self.base = self.base_moved_by(sum.div_euclid(weights) as i64);
        self.sum = sum.rem_euclid(weights) as i64;
    }

    fn base_moved_by(&self, nanoseconds: i64) -> VirtualTime {
        VirtualTime::from_nanos(self.base.as_nanos().wrapping_add_signed(nanoseconds))
    }
}

/// `span * weight`.
#[derive(Clone, Copy)]
struct Product(VirtualSpan, Weight);

impl Product {
    const NONE: Self = Self(VirtualSpan::ZERO, Weight::REFERENCE);

    /// If it fits a register.
    #[inline(always)]
    fn get(self) -> Option<i64> {
        self.0.as_nanos().checked_mul(i64::from(self.1.get()))
    }

    fn at_length(self) -> i128 {
        i128::from(self.0.as_nanos()) * i128::from(self.1.get())
    }
}

/// Rounded down. The sum is far from the ends of its range.
#[inline]
fn floor_divide(sum: i64, weights: NonZeroU64) -> i64 {
    match u64::try_from(sum) {
        Ok(sum) => (sum / weights).cast_signed(),
        Err(_) => -(sum.unsigned_abs().div_ceil(weights.get()).cast_signed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

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
    fn the_mean_is_exact_however_far_its_members_are_apart() {
        let start = VirtualTime::from_nanos(u64::MAX - 12_345);
        for scale in [1, 1 << 20, 1 << 40, 1 << 58] {
            let (mut mean, mut members) = (WeightedMean::starting_at(start), Vec::new());
            for index in 0..200_i64 {
                let (offset, weight) =
                    ((index * 7_919 % 15 - 7) * scale + index, weight((index * 331 % 10_000) as u16 + 1));
                mean.add(start.wrapping_add(VirtualSpan::from_nanos(offset)), weight);
                members.push((i128::from(offset), weight));
                if index % 3 == 0 {
                    let (offset, weight) = members.swap_remove(index as usize / 5);
                    mean.remove(start.wrapping_add(VirtualSpan::clamped(offset)), weight);
                }
                let sum: i128 = members.iter().map(|&(offset, weight)| offset * i128::from(weight.get())).sum();
                let weights: i128 = members.iter().map(|&(_, weight)| i128::from(weight.get())).sum();
                if weights != 0 {
                    assert_eq!(i128::from(mean.virtual_time().since(start).as_nanos()), sum.div_euclid(weights));
                    assert_eq!(i128::from(mean.weights()), weights);
                    assert!(mean.sum.abs() <= LARGEST_SUM);
                }
            }
        }
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
            // Where the product does not fit a register.
            for far in [1 << 60, i64::MAX / 4] {
                assert!(mean.has_reached(after(-far)) && !mean.has_reached(after(far)), "{far}");
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
