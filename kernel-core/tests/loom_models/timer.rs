//! Model tests of the timer cell, alone and in its queue.

use crate::support::{LocksOnly, holds_and_finds};
use kernel_core::sync::level::Queue;
use kernel_core::sync::{QueueOwned, SpinLock, TimerCell};
use kernel_core::timer::{TimerQueue, Timers};
use loom::sync::Arc;
use loom::thread;
use tessera_hal::sync::Fault;
use tessera_hal::{CpuId, Instant};

#[derive(Default)]
struct Alone {
    cell: TimerCell,
    payload: QueueOwned<u64>,
}

fn a_timer_is_fired_or_cancelled_and_the_winner_owns_its_payload() {
    let timer = Arc::new(Alone::default());
    timer.cell.arm(1, CpuId::BOOT);
    let canceller = Arc::clone(&timer);
    let attempt = |timer: &Alone| {
        let won = timer.cell.claim(1).is_some();
        if won {
            timer.payload.update(|payload| payload + 1);
        }
        won
    };
    let canceller = thread::spawn(move || attempt(&canceller));
    let fired = attempt(&timer);
    assert!(fired != canceller.join().expect("the canceller ends"));
}

struct Machine {
    locks: LocksOnly,
    timers: Timers,
    queue: SpinLock<TimerQueue, Queue>,
}

fn a_fire_and_a_cancel_at_once_leave_nothing_behind() {
    let machine =
        Machine { locks: LocksOnly::new(), timers: Timers::new(2), queue: SpinLock::new(TimerQueue::new(CpuId::BOOT)) };
    machine.timers.reserve(2).expect("memory");
    let id = machine.queue.lock(&machine.locks).arm(&machine.timers, Instant::ORIGIN, 5).expect("room");
    let machine = Arc::new(machine);
    let canceller = Arc::clone(&machine);
    let canceller = thread::spawn(move || match canceller.timers.cancel(id) {
        Some(cancelled) => {
            canceller.queue.lock(&canceller.locks).unlink(&canceller.timers, cancelled);
            true
        }
        None => false,
    });
    let fired = machine.queue.lock(&machine.locks).fire(&machine.timers, Instant::ORIGIN);
    let cancelled = canceller.join().expect("the canceller ends");
    assert_eq!(fired, (!cancelled).then_some(5));
    assert!(machine.queue.lock(&machine.locks).is_empty());
    assert_eq!(machine.timers.count(), 0);
}

#[test]
fn one_of_fire_and_cancel_wins() {
    holds_and_finds(Fault::TimerByLoadAndStore, a_timer_is_fired_or_cancelled_and_the_winner_owns_its_payload);
}

#[test]
fn the_queue_is_in_order_whoever_wins() {
    holds_and_finds(Fault::TimerByLoadAndStore, a_fire_and_a_cancel_at_once_leave_nothing_behind);
}
