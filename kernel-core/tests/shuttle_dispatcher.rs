//! The real dispatcher under shuttle: 3 CPUs, 4 threads, random schedules of every atomic access and lock.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p kernel-core --test shuttle_dispatcher --release`
#![cfg(shuttle)]

use kernel_core::sched::{Attributes, Config, Dispatcher, Next, Policy, ThreadId, ThreadState, Weight};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use tessera_hal::fake::FakeMachine;
use tessera_hal::{CpuId, CpuSet, Duration, Requests, SchedHal};

const CPUS: u16 = 3;
/// One more CPU, which runs no thread: it sends from outside and changes attributes.
const OUTSIDE: CpuId = CpuId::new(CPUS);
const THREADS: usize = 4;
const ITERATIONS: usize = 3_000;

/// What goes wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seeded {
    Nothing,
    /// A thread looks at its condition, then blocks; the waker sets the condition and skips the wake-up when it
    /// believes that the thread still runs. The token exists to make that belief unnecessary.
    WakeOnlyIfBlocked,
}

struct World {
    machine: FakeMachine,
    dispatcher: Dispatcher<FakeMachine>,
    /// What each thread waits for: how many messages it may take.
    messages: [AtomicUsize; THREADS],
    /// How many it has taken.
    taken: [AtomicUsize; THREADS],
    /// Which CPU runs a thread, to see that it is never two.
    runs: [AtomicBool; THREADS],
    done: AtomicUsize,
    ids: Mutex<Vec<ThreadId>>,
    seeded: Seeded,
}

const MESSAGES: usize = 3;

impl World {
    fn index(&self, thread: ThreadId) -> usize {
        self.dispatcher.payload(thread).expect("a running thread lives") as usize
    }

    fn send(&self, to: usize, id: ThreadId) {
        self.messages[to].fetch_add(1, Ordering::SeqCst);
        let believed_running = self.seeded == Seeded::WakeOnlyIfBlocked
            && self.dispatcher.snapshot(id).is_ok_and(|snapshot| snapshot.state == ThreadState::Current);
        if !believed_running {
            let _ = self.dispatcher.wake(id);
        }
    }

    /// What the thread does in its turn: takes its messages and passes each on, then blocks or ends.
    fn turn(&self, thread: ThreadId, ids: &[ThreadId]) -> Next {
        let me = self.index(thread);
        assert!(!self.runs[me].swap(true, Ordering::SeqCst), "thread {me} runs on two CPUs");
        while self.taken[me].load(Ordering::SeqCst) < self.messages[me].load(Ordering::SeqCst) {
            let taken = self.taken[me].fetch_add(1, Ordering::SeqCst) + 1;
            let next = (me + 1) % THREADS;
            if me + 1 < THREADS {
                self.send(next, ids[next]);
            }
            if taken == MESSAGES {
                self.done.fetch_add(1, Ordering::SeqCst);
                self.runs[me].store(false, Ordering::SeqCst);
                return self.masked(|dispatcher| dispatcher.exit_current());
            }
        }
        self.runs[me].store(false, Ordering::SeqCst);
        match self.taken[me].load(Ordering::SeqCst) % 2 {
            0 => self.masked(|dispatcher| dispatcher.block_current()),
            _ => self.masked(|dispatcher| dispatcher.handoff_to(ids[(me + 1) % THREADS])),
        }
    }

    fn masked(&self, decision: impl FnOnce(&Dispatcher<FakeMachine>) -> Next) -> Next {
        let before = self.machine.mask_interrupts();
        let next = decision(&self.dispatcher);
        self.machine.restore_interrupts(before);
        next
    }

    /// One CPU's loop, until all threads have ended.
    fn cpu(&self, cpu: CpuId) {
        self.machine.become_cpu(cpu);
        let ids = self.ids.lock().expect("no panic before").clone();
        let mut next = self.masked(|dispatcher| dispatcher.begin());
        let mut idle_rounds = 0;
        while self.done.load(Ordering::SeqCst) < THREADS {
            let taken = self.machine.request_word(cpu).take();
            let mut requests = taken.requests;
            self.machine.take_kick(cpu);
            requests.set(Requests::TIMER, self.machine.take_fire(cpu));
            if !requests.is_empty() {
                idle_rounds = 0;
                next = self.masked(|dispatcher| dispatcher.serve(requests, &mut |_| ()));
            }
            self.machine.request_word(cpu).acknowledge(taken);
            if let Next::Run(thread) = next {
                idle_rounds = 0;
                self.machine.advance(Duration::from_micros(300));
                next = self.turn(thread, &ids);
            } else {
                idle_rounds += 1;
                assert!(idle_rounds < 2_000, "CPU {cpu} waits for ever: a wake-up was lost");
                shuttle::thread::yield_now();
            }
        }
    }
}

fn model(policy: Policy, seeded: Seeded) {
    let machine = FakeMachine::new(usize::from(CPUS) + 1);
    let config = Config { policy, ..Config::new(usize::from(CPUS)) };
    let world = Arc::new(World {
        dispatcher: Dispatcher::new(machine.clone(), config).expect("a valid configuration"),
        machine,
        messages: std::array::from_fn(|_| AtomicUsize::new(0)),
        taken: std::array::from_fn(|_| AtomicUsize::new(0)),
        runs: std::array::from_fn(|_| AtomicBool::new(false)),
        done: AtomicUsize::new(0),
        ids: Mutex::new(Vec::new()),
        seeded,
    });
    let ids: Vec<_> = (0..THREADS)
        .map(|index| {
            let weight = Weight::new(64 << index).expect("in range");
            let affinity = if index == 1 { CpuSet::first(2) } else { CpuSet::first(3) };
            let attributes = Attributes { weight, affinity, ..Attributes::default() };
            world.dispatcher.create(attributes, index as u64).expect("room")
        })
        .collect();
    *world.ids.lock().expect("no panic before") = ids.clone();
    let cpus: Vec<_> = (0..CPUS)
        .map(|index| {
            let world = world.clone();
            shuttle::thread::spawn(move || world.cpu(CpuId::new(index)))
        })
        .collect();
    world.machine.become_cpu(OUTSIDE);
    for _ in 0..MESSAGES {
        world.send(0, ids[0]);
        let _ = world.dispatcher.set_weight(ids[2], Weight::REFERENCE);
        let _ = world.dispatcher.set_affinity(ids[3], CpuSet::of(CpuId::new(2)));
        let _ = world.dispatcher.set_affinity(ids[3], CpuSet::first(3));
    }
    for cpu in cpus {
        cpu.join().expect("it ends");
    }
    world.dispatcher.check_invariants().expect("the invariants hold");
}

#[test]
fn no_schedule_loses_a_wake_up_or_runs_a_thread_twice() {
    for policy in [Policy::Wfq, Policy::Eevdf] {
        shuttle::check_random(move || model(policy, Seeded::Nothing), ITERATIONS);
    }
}

#[test]
fn a_wake_up_that_is_skipped_for_a_thread_that_seems_to_run_is_found() {
    let found = std::panic::catch_unwind(|| {
        shuttle::check_random(|| model(Policy::Eevdf, Seeded::WakeOnlyIfBlocked), ITERATIONS);
    });
    let reason = found.expect_err("the checker must find the lost wake-up");
    let reason = reason.downcast_ref::<String>().map_or("", String::as_str);
    assert!(reason.contains("a wake-up was lost"), "it found something else: {reason}");
}

#[test]
fn a_payload_is_never_that_of_a_later_thread_in_the_same_slot() {
    let model = || {
        let machine = FakeMachine::new(2);
        let dispatcher = Arc::new(Dispatcher::new(machine.clone(), Config::new(2)).expect("a valid configuration"));
        let create = |payload| {
            let attributes: Attributes = Attributes::default();
            dispatcher.create(attributes, payload).expect("room")
        };
        let first = create(1);
        let reader = {
            let (machine, dispatcher) = (machine.clone(), dispatcher.clone());
            shuttle::thread::spawn(move || {
                machine.become_cpu(CpuId::new(1));
                match dispatcher.payload(first) {
                    Ok(payload) => assert_eq!(payload, 1, "the payload of another thread"),
                    Err(stale) => assert_eq!(stale.0, first),
                }
            })
        };
        dispatcher.terminate(first).expect("it lives");
        let second = create(2);
        assert_ne!(first, second);
        reader.join().expect("it ends");
    };
    // The reader must stand still for the whole of an end and a creation: few switches, at any place.
    shuttle::check_pct(model, ITERATIONS, 3);
}

/// A thread is woken and finds no idle CPU, and one goes idle before it stands in a queue: it must not wait there while
/// that CPU sleeps.
#[test]
fn a_cpu_that_goes_idle_while_a_thread_is_placed_hears_of_it() {
    let (busy, leaving) = (CpuId::new(0), CpuId::new(1));
    let model = move || {
        let machine = FakeMachine::new(3);
        let dispatcher = Arc::new(Dispatcher::new(machine.clone(), Config::new(2)).expect("a valid configuration"));
        let create = |affinity| {
            let attributes = Attributes { affinity, ..Attributes::default() };
            dispatcher.create(attributes, 0).expect("room")
        };
        // As a CPU: interrupts masked, and its requests taken.
        let decide = move |dispatcher: &Dispatcher<FakeMachine>, machine: &FakeMachine, first: Next| {
            let mut next = first;
            let word = machine.request_word(machine.this_cpu());
            while word.is_pending() {
                let taken = word.take();
                next = dispatcher.serve(taken.requests, &mut |_| ());
                word.acknowledge(taken);
            }
            next
        };
        let start = |cpu: CpuId, thread: ThreadId| {
            machine.become_cpu(cpu);
            let masked = machine.mask_interrupts();
            dispatcher.wake(thread).expect("it lives");
            assert_eq!(decide(&dispatcher, &machine, Next::Idle), Next::Run(thread));
            machine.restore_interrupts(masked);
        };
        for cpu in [busy, leaving] {
            machine.become_cpu(cpu);
            let masked = machine.mask_interrupts();
            assert_eq!(dispatcher.begin(), Next::Idle);
            machine.restore_interrupts(masked);
        }
        let [hog, other] = [busy, leaving].map(|cpu| create(CpuSet::of(cpu)));
        let woken = create(CpuSet::of(busy));
        start(busy, woken);
        let masked = machine.mask_interrupts();
        assert_eq!(dispatcher.block_current(), Next::Idle);
        machine.restore_interrupts(masked);
        start(busy, hog);
        dispatcher.set_affinity(woken, CpuSet::first(2)).expect("it lives");
        start(leaving, other);
        let goes_idle = {
            let (machine, dispatcher) = (machine.clone(), dispatcher.clone());
            shuttle::thread::spawn(move || {
                machine.become_cpu(leaving);
                let masked = machine.mask_interrupts();
                let next = dispatcher.block_current();
                machine.restore_interrupts(masked);
                next
            })
        };
        machine.become_cpu(CpuId::new(2));
        dispatcher.wake(woken).expect("it lives");
        let next = goes_idle.join().expect("it ends");
        let waits = dispatcher.snapshot(woken).expect("it lives").state == ThreadState::Queued;
        let hears = machine.request_word(leaving).is_pending();
        assert!(!waits || next != Next::Idle || hears, "a thread waits while a CPU sleeps");
    };
    shuttle::check_random(model, ITERATIONS);
    shuttle::check_pct(model, ITERATIONS, 2);
}
