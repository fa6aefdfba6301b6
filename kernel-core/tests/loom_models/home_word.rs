//! Model tests of the home word: one claimer, no lost wake-up, and the right lock.

use crate::support::{Links, LocksOnly, holds_and_finds};
use kernel_core::slab::Slot;
use kernel_core::sync::level::Queue;
use kernel_core::sync::{
    Blocking, ChangeClaim, DeferredWakes, HomeWord, QueueOwned, SpinLock, ThreadState, Unclaimed, WakeClaim,
};
use loom::sync::Arc;
use loom::thread;
use tessera_hal::CpuId;
use tessera_hal::sync::Fault;

const GENERATION: u32 = 3;

#[derive(Default)]
struct Thread {
    home: HomeWord,
    lag: QueueOwned<i64>,
}

impl Thread {
    fn in_state(state: ThreadState) -> Arc<Self> {
        let thread = Self::default();
        thread.home.reset(GENERATION, CpuId::BOOT);
        thread.home.move_to(state, CpuId::BOOT);
        Arc::new(thread)
    }

    /// Wakes; as the claimer, also writes what only the owner may.
    fn wake(&self) -> bool {
        match self.home.claim_wake(GENERATION).expect("it lives") {
            WakeClaim::Claimed { .. } => {
                self.lag.update(|lag| lag + 1);
                true
            }
            WakeClaim::TokenLeft(_) => false,
        }
    }
}

fn of_two_wakers_one_owns_the_thread() {
    let woken = Thread::in_state(ThreadState::Blocked);
    let other = Arc::clone(&woken);
    let other = thread::spawn(move || other.wake());
    let mine = woken.wake();
    assert!(mine != other.join().expect("the waker ends"));
}

fn a_wake_meets_a_block_and_is_not_lost() {
    let blocking = Thread::in_state(ThreadState::Current);
    let waker = Arc::clone(&blocking);
    let waker = thread::spawn(move || waker.wake());
    let outcome = blocking.home.block();
    let claimed = waker.join().expect("the waker ends");
    match outcome {
        Blocking::TokenConsumed => assert!(!claimed && blocking.home.read().state == ThreadState::Current),
        Blocking::Blocked => assert!(claimed && blocking.home.read().state == ThreadState::Waking),
    }
}

fn a_wake_meets_a_change_and_is_not_lost() {
    let changed = Thread::in_state(ThreadState::Blocked);
    let waker = Arc::clone(&changed);
    let waker = thread::spawn(move || waker.wake());
    let mut must_wake = false;
    if let Ok(ChangeClaim::Claimed { .. }) = changed.home.claim_change(GENERATION) {
        changed.lag.update(|lag| lag + 10);
        must_wake = changed.home.unclaim() == Unclaimed::MustWake;
    }
    let claimed = waker.join().expect("the waker ends");
    assert!(claimed != must_wake, "exactly one of them wakes it");
    assert_eq!(changed.home.read().state, ThreadState::Waking);
}

struct TwoQueues {
    machine: LocksOnly,
    queues: [SpinLock<(), Queue>; 2],
    thread: Thread,
}

fn whoever_locks_a_thread_has_the_lock_of_the_queue_that_it_is_on() {
    let thread = Thread::default();
    thread.home.reset(GENERATION, CpuId::BOOT);
    thread.home.move_to(ThreadState::Queued, CpuId::BOOT);
    let all = Arc::new(TwoQueues {
        machine: LocksOnly::new(),
        queues: [SpinLock::of_cpu(CpuId::BOOT, ()), SpinLock::of_cpu(CpuId::new(1), ())],
        thread,
    });
    let mover = Arc::clone(&all);
    let mover = thread::spawn(move || {
        let from = mover.queues[0].lock(&mover.machine);
        let Some(_to) = mover.queues[1].try_lock(&mover.machine) else { return };
        mover.thread.home.move_to(ThreadState::Queued, CpuId::new(1));
        drop(from);
        mover.thread.lag.update(|lag| lag + 1);
    });
    let locked = all.thread.home.lock_queue(|cpu| all.queues[cpu.index()].lock(&all.machine));
    let (home, guard) = locked.expect("it stays on a queue");
    all.thread.lag.update(|lag| lag + 10);
    assert_eq!(all.thread.home.read().cpu, home.cpu, "it cannot move while its queue is locked");
    drop(guard);
    mover.join().expect("the mover ends");
}

struct TwoCpus {
    thread: Thread,
    links: Links,
    deferred: [DeferredWakes; 2],
}

fn a_thread_is_deferred_by_one_cpu_only() {
    let thread = Thread::default();
    thread.home.reset(GENERATION, CpuId::BOOT);
    let all = Arc::new(TwoCpus { thread, links: Links::new(1), deferred: Default::default() });
    let defer = |all: &TwoCpus, cpu: usize| {
        if all.thread.wake() {
            all.deferred[cpu].push(&all.links, Slot::new(0));
        }
        all.deferred[cpu].pop(&all.links).is_some()
    };
    let other = Arc::clone(&all);
    let other = thread::spawn(move || defer(&other, 1));
    let mine = defer(&all, 0);
    assert!(mine != other.join().expect("the other CPU ends"));
}

#[test]
fn one_waker_wins() {
    holds_and_finds(Fault::ClaimByLoadAndStore, of_two_wakers_one_owns_the_thread);
}

#[test]
fn no_wake_is_lost_at_a_block() {
    holds_and_finds(Fault::BlockIgnoresToken, a_wake_meets_a_block_and_is_not_lost);
}

#[test]
fn no_wake_is_lost_at_a_change() {
    holds_and_finds(Fault::UnclaimIgnoresToken, a_wake_meets_a_change_and_is_not_lost);
}

#[test]
fn a_moving_thread_is_locked_where_it_is() {
    holds_and_finds(Fault::HomeNotReadAgain, whoever_locks_a_thread_has_the_lock_of_the_queue_that_it_is_on);
}

#[test]
fn a_deferred_wake_has_one_owner() {
    holds_and_finds(Fault::ClaimByLoadAndStore, a_thread_is_deferred_by_one_cpu_only);
}
