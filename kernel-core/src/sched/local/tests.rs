//! What a queue keeps from one step to the next: each of these was a fault that nothing else found.

use super::*;
use crate::sched::pace::Pace;
use crate::sched::vtime::{Fraction, VirtualSpan, VirtualTime};
use alloc::vec::Vec;

fn at(microseconds: u64) -> Instant {
    Instant::ORIGIN.saturating_add(Duration::from_micros(microseconds))
}

/// A queue with so many ready threads of this weight.
fn ready(count: usize, weight: u16) -> (LocalQueue, Vec<ThreadId>) {
    let mut local = LocalQueue::new(Policy::Eevdf, 8, at(0)).unwrap();
    let attributes = Attributes { weight: Weight::new(weight).unwrap(), ..Attributes::default() };
    let threads = (0..count).map(|_| local.add(&attributes, at(0)).unwrap()).collect();
    (local, threads)
}

fn entity(local: &LocalQueue, thread: ThreadId) -> &Entity<1> {
    find(&local.threads, thread).unwrap().0
}

#[test]
fn a_queue_that_was_empty_for_long_does_not_know_any_more_where_it_was() {
    let (mut local, _) = ready(0, 64);
    let pace = Pace::at(VirtualTime::from_nanos(5000));
    local.queue.set_pace(pace);
    local.queue.empty_at = Some(at(0));
    local.queue.forget_pace_if_empty(at(5), Duration::from_micros(10));
    assert_eq!(local.queue.pace(), pace, "it was empty for a moment only");
    local.queue.forget_pace_if_empty(at(20), Duration::from_micros(10));
    assert_eq!(local.queue.pace(), Pace::UNKNOWN);
    let (mut local, _) = ready(1, 64);
    local.queue.set_pace(pace);
    local.queue.forget_pace_if_empty(at(20), Duration::from_micros(10));
    assert_eq!(local.queue.pace(), pace, "it is not empty");
}

#[test]
fn of_those_who_arrive_where_nobody_runs_all_but_one_will_wait() {
    for count in 0..4 {
        assert_eq!(ready(count, 64).0.queue.unannounced as usize, count.saturating_sub(1));
    }
}

#[test]
fn what_an_ended_thread_had_taken_ahead_is_forgotten_once_nobody_is_left_whom_it_was_taken_from() {
    let (mut local, threads) = ready(3, 64);
    // One of the three sleeps meanwhile.
    assert_eq!(local.pick(at(0)), Some(threads[0]));
    assert!(local.block(at(0)));
    let ahead = local.pick(at(0)).unwrap();
    let last = if ahead == threads[1] { threads[2] } else { threads[1] };
    local.remove(ahead, at(1000)).unwrap();
    let kept = |local: &mut LocalQueue| {
        let virtual_time = local.queue.mean.virtual_time();
        local.queue.ended_debt.take(Weight::DEFAULT, virtual_time)
    };
    let mut copy = local.queue.ended_debt;
    assert!(copy.take(Weight::DEFAULT, local.queue.mean.virtual_time()) < VirtualSpan::ZERO, "it was ahead");
    local.remove(last, at(1000)).unwrap();
    assert!(local.wake(threads[0], at(1000)).unwrap());
    assert_eq!(kept(&mut local), VirtualSpan::ZERO);
}

#[test]
fn one_who_gives_up_the_rest_of_a_request_begins_another_one() {
    let (mut local, _) = ready(2, 64);
    let first = local.pick(at(0)).unwrap();
    let request = entity(&local, first).request.get();
    local.put_back(at(700));
    assert_eq!(entity(&local, first).rest_of_request(), request);
    assert_ne!(local.pick(at(700)), Some(first));
}

#[test]
fn a_change_of_weight_keeps_the_fraction_that_was_not_charged_yet() {
    let (mut local, threads) = ready(1, 7);
    assert_eq!(local.pick(at(0)), Some(threads[0]));
    let later = at(0).saturating_add(Duration::from_nanos(1));
    // 64 / 7 of a reference nanosecond: one seventh is left over.
    let (seven, seventy) = (Weight::new(7).unwrap(), Weight::new(70).unwrap());
    local.queue.bring_up_to_date(&local.threads, later);
    let before = entity(&local, threads[0]).fraction.get();
    assert_ne!(before, Fraction::default());
    local.set_weight(threads[0], seventy, later).unwrap();
    let after = entity(&local, threads[0]).fraction.get();
    assert_eq!(after, before.rescale(seven, seventy));
    assert_ne!(after, before);
}

#[test]
fn one_that_is_taken_off_runs_only_after_a_wake_up_and_keeps_what_it_is_owed() {
    let (mut local, threads) = ready(3, 64);
    let first = local.pick(at(0)).unwrap();
    let [taken, other] = [1, 2].map(|index| threads[index]);
    assert_eq!(first, threads[0]);
    let owed = |local: &LocalQueue| local.queue.lag(entity(local, taken).vruntime.get());
    assert_eq!(local.take_off(first, at(0)), Ok(false), "it runs");
    local.queue.bring_up_to_date(&local.threads, at(900));
    let before = owed(&local);
    assert!(before > VirtualSpan::ZERO);
    assert_eq!(local.take_off(taken, at(900)), Ok(true));
    assert_eq!(local.take_off(taken, at(900)), Ok(false), "it is not ready any more");
    assert_eq!(entity(&local, taken).lag.get(), before);
    for round in 1..4 {
        local.put_back(at(900 + round * 3000));
        assert_ne!(local.pick(at(900 + round * 3000)), Some(taken));
    }
    assert_eq!(local.wake(taken, at(20_000)), Ok(true));
    assert_eq!(local.wake(taken, at(20_000)), Ok(false));
    assert_eq!(local.take_off(taken, at(20_000)), Ok(false), "another wake-up had come");
    assert_eq!(local.take_off(taken, at(20_000)), Ok(true), "it was used up");
    assert_eq!(local.take_off(other, at(20_000)).and(local.remove(taken, at(20_000))), Ok(()));
    assert_eq!(local.take_off(taken, at(20_000)), Err(StaleThread(taken)));
}

#[test]
fn a_requeue_is_a_put_back_and_a_pick() {
    for policy in [Policy::Wfq, Policy::Eevdf] {
        let queues = [(), ()].map(|()| {
            let mut local = LocalQueue::new(policy, 8, at(0)).unwrap();
            for weight in [64, 128, 10] {
                let attributes = Attributes { weight: Weight::new(weight).unwrap(), ..Attributes::default() };
                local.add(&attributes, at(0)).unwrap();
            }
            local
        });
        let [mut at_once, mut in_two] = queues;
        assert_eq!(at_once.requeue(at(0)), in_two.pick(at(0)), "nobody ran");
        for round in 1..50 {
            let now = at(round * 1700);
            in_two.put_back(now);
            assert_eq!(at_once.requeue(now), in_two.pick(now), "round {round}");
            assert_eq!(at_once.slice_end(), in_two.slice_end());
            assert_eq!(at_once.queue.ledger.ran(), in_two.queue.ledger.ran());
        }
        let mut empty = LocalQueue::new(policy, 0, at(0)).unwrap();
        assert_eq!(empty.requeue(at(5)), None);
        assert_eq!(empty.queue.ledger.ran().idle, Duration::from_micros(5));
    }
}
