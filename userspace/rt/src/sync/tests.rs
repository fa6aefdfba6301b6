//! The synchronization types under threads of the host, with a stand-in for the kernel's PARK and UNPARK that has the
//! same promise and counts. A lost wake-up would leave a thread asleep, and the test with it; each such test has a
//! deadline by which it must have ended.

use super::*;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar as HostCondvar, Mutex as HostMutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
    vec::Vec,
};

/// Sleepers by the address of their word, each with the ticket that wakes it.
#[derive(Default)]
struct Sleepers {
    by_word: BTreeMap<usize, Vec<u64>>,
    next_ticket: u64,
}

static SLEEPERS: HostMutex<Sleepers> = HostMutex::new(Sleepers { by_word: BTreeMap::new(), next_ticket: 0 });
static WOKEN: HostCondvar = HostCondvar::new();
static CALLS: AtomicU64 = AtomicU64::new(0);

std::thread_local! {
    /// Calls of this thread, so that tests that run side by side do not count each other's.
    static OWN_CALLS: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

enum HostParking {}

fn count_call() {
    CALLS.fetch_add(1, Ordering::Relaxed);
    OWN_CALLS.set(OWN_CALLS.get() + 1);
}

impl Parking for HostParking {
    fn park(word: &AtomicU32, expected: u32, deadline_ns: Option<u64>) {
        count_call();
        let address = (&raw const *word).addr();
        let mut sleepers = SLEEPERS.lock().unwrap();
        if word.load(Ordering::SeqCst) != expected || deadline_ns.is_some_and(Self::is_over) {
            return;
        }
        let ticket = sleepers.next_ticket;
        sleepers.next_ticket += 1;
        sleepers.by_word.entry(address).or_default().push(ticket);
        let asleep =
            |sleepers: &mut Sleepers| sleepers.by_word.get(&address).is_some_and(|tickets| tickets.contains(&ticket));
        match deadline_ns {
            None => drop(WOKEN.wait_while(sleepers, asleep).unwrap()),
            Some(_) => {
                // The tests' deadlines are all over at once or never.
                let (mut sleepers, _) = WOKEN.wait_timeout_while(sleepers, Duration::from_secs(60), asleep).unwrap();
                sleepers.by_word.entry(address).or_default().retain(|other| *other != ticket);
            }
        }
    }

    fn unpark(word: *const AtomicU32, most: u32) {
        count_call();
        let mut sleepers = SLEEPERS.lock().unwrap();
        if let Some(tickets) = sleepers.by_word.get_mut(&word.addr()) {
            tickets.drain(..tickets.len().min(most as usize));
        }
        WOKEN.notify_all();
    }

    fn is_over(deadline_ns: u64) -> bool {
        deadline_ns == 0
    }
}

/// Runs `work` on a thread of its own; fails if it has not ended after a time that only a sleeper for ever needs.
fn must_end(work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || {
        work();
        let _ = sender.send(());
    });
    let ended = receiver.recv_timeout(Duration::from_secs(300));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "a wake-up was lost");
    worker.join().unwrap();
}

fn on_threads(count: usize, work: impl Fn(usize) + Send + Sync) {
    thread::scope(|scope| {
        let work = &work;
        (0..count).for_each(|number| drop(scope.spawn(move || work(number))));
    });
}

#[test]
fn a_mutex_lets_one_thread_at_a_time_through_and_wakes_the_others() {
    must_end(|| {
        let counter = Mutex::<u64, HostParking>::new(0);
        on_threads(4, |_| {
            for _ in 0..20_000 {
                let mut counter = counter.lock();
                let seen = *counter;
                if seen.is_multiple_of(64) {
                    thread::yield_now();
                }
                *counter = seen + 1;
            }
        });
        assert_eq!(counter.into_inner(), 80_000);
    });
}

#[test]
fn an_uncontended_mutex_makes_no_call() {
    let mutex = Mutex::<(), HostParking>::new(());
    (0..1000).for_each(|_| drop(mutex.lock()));
    let held = mutex.lock();
    assert!(mutex.try_lock().is_none());
    drop(held);
    let condvar = Condvar::<HostParking>::new();
    condvar.notify_all();
    let semaphore = Semaphore::<HostParking>::new(1);
    semaphore.acquire();
    semaphore.release();
    assert_eq!(OWN_CALLS.get(), 0);
}

#[test]
fn every_message_of_a_channel_arrives_once_and_in_the_senders_order() {
    must_end(|| {
        let channel = Channel::<(usize, u32), 3, HostParking>::new();
        let received = HostMutex::new(Vec::new());
        let senders_left = AtomicU32::new(3);
        on_threads(5, |number| {
            if number < 3 {
                (0..5000).for_each(|message| channel.send((number, message)).unwrap());
                if senders_left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    channel.close();
                }
            } else {
                let mut own = Vec::new();
                while let Some(message) = channel.receive() {
                    own.push(message);
                }
                for number in 0..3 {
                    assert!(own.iter().filter(|(sender, _)| *sender == number).is_sorted());
                }
                received.lock().unwrap().extend(own);
            }
        });
        let mut received = received.into_inner().unwrap();
        received.sort_unstable();
        let expected: Vec<_> = (0..3).flat_map(|number| (0..5000).map(move |message| (number, message))).collect();
        assert_eq!(received, expected);
        assert_eq!(channel.send((0, 0)), Err(Closed((0, 0))));
    });
}

#[test]
fn a_channel_says_when_it_is_full_empty_or_closed() {
    let channel = Channel::<u32, 2, HostParking>::new();
    assert_eq!(channel.try_receive(), Err(TryReceiveError::Empty));
    assert_eq!((channel.try_send(1), channel.try_send(2)), (Ok(()), Ok(())));
    assert_eq!(channel.try_send(3), Err(TrySendError::Full(3)));
    channel.close();
    assert_eq!(channel.try_send(4), Err(TrySendError::Closed(4)));
    assert_eq!((channel.receive(), channel.receive(), channel.receive()), (Some(1), Some(2), None));
    assert_eq!(channel.try_receive(), Err(TryReceiveError::Closed));
}

#[test]
fn a_semaphore_never_lets_more_through_than_it_has_permits() {
    must_end(|| {
        let semaphore = Semaphore::<HostParking>::new(2);
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        on_threads(5, |_| {
            for round in 0..4000 {
                semaphore.acquire();
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if round % 16 == 0 {
                    thread::yield_now();
                }
                inside.fetch_sub(1, Ordering::SeqCst);
                semaphore.release();
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert_eq!(semaphore.permits(), 2);
    });
}

#[test]
fn a_value_is_made_once_and_seen_by_all() {
    must_end(|| {
        for _ in 0..200 {
            let (once, made) = (Once::<u64, HostParking>::new(), AtomicU32::new(0));
            on_threads(4, |_| {
                let value = once.call_once(|| {
                    thread::yield_now();
                    made.fetch_add(1, Ordering::Relaxed);
                    42
                });
                assert_eq!(*value, 42);
            });
            assert_eq!((made.into_inner(), once.get()), (1, Some(&42)));
        }
    });
}

#[test]
fn a_once_drops_the_value_that_it_has() {
    let value = Arc::new(());
    let once = Once::<Arc<()>, HostParking>::new();
    once.call_once(|| value.clone());
    assert_eq!(Arc::strong_count(&value), 2);
    drop(once);
    assert_eq!(Arc::strong_count(&value), 1);
    drop(Once::<Arc<()>, HostParking>::new());
}

#[test]
fn turns_taken_by_a_condition_variable_all_come() {
    must_end(|| {
        let (turn, changed) = (Mutex::<usize, HostParking>::new(0), Condvar::<HostParking>::new());
        on_threads(3, |number| {
            for _ in 0..3000 {
                let mut turn = changed.wait_while(turn.lock(), |turn| *turn % 3 != number);
                *turn += 1;
                drop(turn);
                changed.notify_all();
            }
        });
        assert_eq!(turn.into_inner(), 9000);
    });
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let (mutex, condvar) = (Mutex::<(), HostParking>::new(()), Condvar::<HostParking>::new());
    let (_guard, outcome) = condvar.wait_until(mutex.lock(), 0);
    assert_eq!(outcome, WaitOutcome::TimedOut);
}

/// The counterfactual: a parking that does not compare the word loses wake-ups, and the tests above would see it.
#[test]
fn a_wake_between_the_look_and_the_sleep_is_not_lost() {
    let word = AtomicU32::new(1);
    // The waker has changed the word and found nobody asleep; the sleeper looks only now.
    word.store(0, Ordering::SeqCst);
    HostParking::unpark(&word, 1);
    HostParking::park(&word, 1, None);
}
