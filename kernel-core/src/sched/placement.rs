//! Placement: at which virtual time an entity joins a queue.
//!
//! *Lag* is what the queue owes an entity: `V - vruntime`, positive when it had less than its share. It is stored when
//! the entity leaves a queue and given back when it joins one, so that a clock reading never travels between queues:
//! a newcomer has lag 0 and owns nothing, a short sleep erases no debt, a long one earns at most one request.

use super::vtime::{VirtualSpan, VirtualTime, Weight, truncating_divide};

/// The lag to join with after a sleep: debt is repaid by what the left queue has advanced since, never above zero;
/// credit is kept up to one request.
pub fn lag_after_sleep(lag: VirtualSpan, advanced: VirtualSpan, request: VirtualSpan) -> VirtualSpan {
    if lag < VirtualSpan::ZERO {
        lag.saturating_add(advanced.max(VirtualSpan::ZERO)).min(VirtualSpan::ZERO)
    } else {
        lag.min(request)
    }
}

/// The virtual time at which an entity of `weight` joins a queue at `virtual_time` whose members weigh `others`, so
/// that its lag is `lag` *once it is a member*. Joining moves V itself (by `lag * weight / total`), which would eat
/// the lag at each join if it were not counted in.
pub fn joining_time(virtual_time: VirtualTime, lag: VirtualSpan, weight: Weight, others: u64) -> VirtualTime {
    let distance = match others {
        // Alone, an entity is V: nobody owes it and it owes nobody.
        0 => return virtual_time,
        others => {
            let service = i128::from(lag.as_nanos()) * (i128::from(others) + i128::from(weight.get()));
            truncating_divide(service, others)
        }
    };
    virtual_time.wrapping_sub(VirtualSpan::clamped(distance))
}

/// What those who ended on a queue had taken ahead of the rest. Nobody can ask it back from them, and forgetting it would
/// let a chain of short threads, each new and owing nothing, keep an old one from running for good. So the next newcomer
/// begins with it, as if the chain were one thread. Repaid, as all debt, by what the queue advances.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EndedDebt {
    /// As distances on the queue's clock, summed.
    distance: i128,
    /// The same, each times the weight of who ended.
    service: i128,
    /// Up to where the queue's advance was counted.
    counted_at: VirtualTime,
}

impl EndedDebt {
    /// Somebody of `weight` has ended with this lag; the queue stands at `virtual_time` without it.
    pub fn add(&mut self, lag: VirtualSpan, weight: Weight, virtual_time: VirtualTime) {
        self.repay(virtual_time);
        let debt = -i128::from(lag.as_nanos()).min(0);
        self.distance += debt;
        self.service += debt * i128::from(weight.get());
    }

    /// The lag that a newcomer of `weight` begins with; the debt is its own from then on. Never more of the clock than
    /// those who ended were ahead, and never more service: a light one pays no heavy one's time, nor the other way round.
    #[must_use = "the debt is gone from the queue"]
    pub fn take(&mut self, weight: Weight, virtual_time: VirtualTime) -> VirtualSpan {
        self.repay(virtual_time);
        let debt = self.distance.min(self.service / i128::from(weight.get()));
        *self = Self::default();
        VirtualSpan::clamped(-debt)
    }

    fn repay(&mut self, virtual_time: VirtualTime) {
        let advanced = i128::from(virtual_time.since(self.counted_at).as_nanos()).max(0);
        self.counted_at = virtual_time;
        let rest = (self.distance - advanced).max(0);
        if rest < self.distance {
            self.service = self.service * rest / self.distance;
            self.distance = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mean::WeightedMean;
    use super::*;

    fn span(nanoseconds: i64) -> VirtualSpan {
        VirtualSpan::from_nanos(nanoseconds)
    }

    #[test]
    fn debt_is_repaid_only_by_the_advance_of_the_left_queue() {
        let request = span(100);
        assert_eq!(lag_after_sleep(span(-70), span(0), request), span(-70));
        assert_eq!(lag_after_sleep(span(-70), span(30), request), span(-40));
        assert_eq!(lag_after_sleep(span(-70), span(500), request), span(0));
        assert_eq!(lag_after_sleep(span(-70), span(-5), request), span(-70), "a clock that fell back repays nothing");
    }

    #[test]
    fn credit_is_kept_up_to_one_request_and_sleep_earns_nothing() {
        let request = span(100);
        assert_eq!(lag_after_sleep(span(40), span(1_000_000), request), span(40));
        assert_eq!(lag_after_sleep(span(4_000), span(1_000_000), request), span(100));
        assert_eq!(lag_after_sleep(span(0), span(50_000_000_000), request), span(0));
    }

    #[test]
    fn a_member_has_the_lag_that_it_joined_with() {
        let mut mean = WeightedMean::default();
        let start = VirtualTime::from_nanos(1 << 50);
        mean.add(start, Weight::new(64).unwrap());
        for (lag, weight) in [(5_000, 10_000), (-5_000, 10_000), (123_456, 1), (-123_456, 64), (0, 3)] {
            let weight = Weight::new(weight).unwrap();
            let vruntime = joining_time(mean.virtual_time(), span(lag), weight, mean.weights());
            let mut joined = mean;
            joined.add(vruntime, weight);
            let got = joined.virtual_time().since(vruntime).as_nanos();
            assert!((got - lag).abs() <= 1, "joined with lag {lag}, has {got}");
        }
    }

    #[test]
    fn the_next_newcomer_takes_the_debt_of_those_who_ended_once() {
        let (at, weight) = (VirtualTime::from_nanos, Weight::REFERENCE);
        let mut debt = EndedDebt::default();
        debt.add(span(30), weight, at(1_000));
        assert_eq!(debt.take(weight, at(1_000)), span(0), "who was owed leaves no debt");
        debt.add(span(-70), weight, at(1_000));
        debt.add(span(-30), weight, at(990));
        assert_eq!(debt.take(weight, at(1_010)), span(-80), "twenty were repaid");
        assert_eq!(debt.take(weight, at(1_010)), span(0));
    }

    #[test]
    fn a_newcomer_takes_neither_more_clock_nor_more_service_than_was_taken_ahead() {
        let (light, heavy) = (Weight::new(1).unwrap(), Weight::new(100).unwrap());
        let mut debt = EndedDebt::default();
        debt.add(span(-5_000), light, VirtualTime::ZERO);
        assert_eq!(debt.take(heavy, VirtualTime::ZERO), span(-50));
        debt.add(span(-50), heavy, VirtualTime::ZERO);
        assert_eq!(debt.take(light, VirtualTime::ZERO), span(-50));
    }

    #[test]
    fn a_lonely_entity_is_its_queue() {
        let now = VirtualTime::from_nanos(77);
        assert_eq!(joining_time(now, span(-1_000_000), Weight::DEFAULT, 0), now);
    }
}
