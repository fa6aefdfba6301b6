//! What a busy CPU does at a point of its grid, seen from inside.

use super::*;
use crate::sched::vtime::VirtualTime;
use crate::sched::{Attributes, Config};
use alloc::vec;
use tessera_hal::fake::FakeMachine;
use tessera_hal::{CpuSet, Duration, SchedHal};

fn cpu(index: u16) -> CpuId {
    CpuId::new(index)
}

fn at(nanoseconds: u64) -> Pace {
    Pace::at(VirtualTime::from_nanos(nanoseconds))
}

fn on(cpus: &[u16], weight: u16) -> Attributes {
    let affinity = cpus.iter().fold(CpuSet::EMPTY, |set, &index| set.union(&CpuSet::of(cpu(index))));
    Attributes { affinity, weight: Weight::new(weight).unwrap(), ..Attributes::default() }
}

/// A machine of which each CPU has these threads, the first of them running.
struct Scene {
    machine: FakeMachine,
    dispatcher: Dispatcher<FakeMachine>,
}

impl Scene {
    fn new(threads: &[&[Attributes]]) -> Self {
        let machine = FakeMachine::new(threads.len());
        let dispatcher = Dispatcher::new(machine.clone(), Config::new(threads.len())).unwrap();
        let scene = Self { machine, dispatcher };
        for (index, threads) in (0..).zip(threads) {
            for attributes in *threads {
                scene.wait_on(cpu(index), *attributes);
            }
            let _ = scene.decide(index, Dispatcher::begin);
        }
        scene
    }

    /// Puts a new thread on a queue, whoever is idle, and tells nobody.
    fn wait_on(&self, cpu: CpuId, attributes: Attributes) {
        let thread = self.dispatcher.create(attributes, 0).unwrap();
        let (slot, generation) = (thread.entity::<8>().slot(), thread.entity::<8>().generation());
        self.machine.on(cpu, || {
            let mut queue = self.dispatcher.lock(cpu);
            let _ = self.dispatcher.threads[slot].home.claim_wake(generation).unwrap();
            let _ = queue.enqueue(&self.dispatcher.threads, slot, VirtualSpan::ZERO);
            self.dispatcher.publish(&mut queue);
        });
    }

    fn decide<R>(&self, index: u16, decision: impl FnOnce(&Dispatcher<FakeMachine>) -> R) -> R {
        self.machine.on(cpu(index), || {
            let masked = self.machine.mask_interrupts();
            let decided = decision(&self.dispatcher);
            self.machine.restore_interrupts(masked);
            decided
        })
    }

    /// Whether a CPU takes a thread, and from where.
    fn balance(&self, index: u16, occasion: Occasion) -> Option<CpuId> {
        self.decide(index, |dispatcher| {
            let (queue, _) = dispatcher.lock_current();
            let (queue, moved) = dispatcher.balance(queue, occasion);
            drop(queue);
            moved.map(|moved| moved.from)
        })
    }

    fn set_pace(&self, index: u16, pace: Pace) {
        self.decide(index, |dispatcher| {
            let mut queue = dispatcher.lock(cpu(index));
            queue.set_pace(pace);
            dispatcher.publish(&mut queue);
        });
    }

    fn pace(&self, index: u16) -> Pace {
        self.decide(index, |dispatcher| dispatcher.lock(cpu(index)).pace())
    }
}

#[test]
fn a_queue_that_was_asked_evens_out_and_takes_no_turns() {
    // Two of 64 wait on CPU 0 behind a third one, and CPU 1 has one.
    let all = on(&[0, 1], 64);
    for (occasion, others, takes) in
        [(Occasion::Asked, 3, true), (Occasion::Asked, 2, false), (Occasion::Grid, 2, true)]
    {
        let scene = Scene::new(&[&[all; 3][..others], &[all]]);
        scene.set_pace(0, at(1_000_000));
        scene.set_pace(1, at(9_000_000));
        assert_eq!(scene.balance(1, occasion).is_some(), takes, "{occasion:?} with {others}");
    }
    // The same, as it is asked for.
    for (others, takes) in [(3, 1), (2, 0)] {
        let scene = Scene::new(&[&[all; 3][..others], &[all]]);
        scene.set_pace(0, at(1_000_000));
        scene.set_pace(1, at(9_000_000));
        let _ = scene.decide(1, |dispatcher| dispatcher.serve(Requests::BALANCE, &mut |_| ()));
        assert_eq!(scene.dispatcher.cpu_snapshot(cpu(1)).unwrap().steals, takes);
    }
}

#[test]
fn who_gave_a_thread_is_asked_to_look_if_that_one_runs_and_the_displaced_one_fits_there() {
    let (light, heavy) = (on(&[0, 1], 64), on(&[0, 1], 1_024));
    // What is left on CPU 0, whether the moved one runs on CPU 1, and whether CPU 0 is asked.
    for (left, runs, asks) in [(light, true, true), (light, false, false), (heavy, true, false)] {
        let scene = Scene::new(&[&[left], &[heavy, heavy]]);
        let slot = scene.decide(1, |dispatcher| dispatcher.lock(cpu(1)).current.unwrap().slot);
        let moved = Moved { thread: scene.dispatcher.id(slot), from: cpu(0), displaces: 1_024 };
        let next = if runs { Next::Run(moved.thread) } else { Next::Idle };
        scene.decide(1, |dispatcher| dispatcher.exchange(cpu(1), next, &moved));
        let asked = scene.machine.request_word(cpu(0)).take().requests;
        assert_eq!(asked.contains(Requests::BALANCE), asks, "{}, {runs}", left.weight.get());
    }
}

#[test]
fn who_could_run_on_an_idle_cpu_makes_room_for_one_who_could_not() {
    // CPU 2 idles. On CPU 0 two wait who may run on 0 and 1. Paces and weights speak against its move.
    for (mine, takes) in [(on(&[1, 2], 64), true), (on(&[1, 0], 64), false)] {
        let scene = Scene::new(&[&[on(&[0, 1], 1); 3], &[mine], &[]]);
        scene.set_pace(0, at(9_000_000));
        scene.set_pace(1, at(1_000_000));
        assert_eq!(scene.balance(1, Occasion::Grid).is_some(), takes);
        assert_eq!(scene.balance(1, Occasion::Grid), None, "and no second one");
    }
}

#[test]
fn what_a_queue_that_is_left_is_behind_is_forgotten_beyond_twenty_requests_of_the_lighter_ones() {
    let all = |weight, count| vec![on(&[0, 1], weight); count];
    for (theirs, mine, ahead_ms, left_behind_ms) in [
        (all(64, 2), all(64, 1), 15, 15),
        (all(64, 2), all(64, 1), 500, 40),
        (all(640, 2), all(640, 1), 500, 4),
        (all(640, 2), all(64, 10), 500, 40),
        (all(64, 2), all(640, 1), 500, 40),
    ] {
        let scene = Scene::new(&[&theirs, &mine]);
        scene.set_pace(0, at(0));
        scene.set_pace(1, at(ahead_ms * 1_000_000));
        assert_eq!(scene.balance(1, Occasion::Grid), Some(cpu(0)));
        // The one who was taken and who stays had the same place.
        let left = at(ahead_ms * 1_000_000).ahead_of(scene.pace(0)).unwrap().as_nanos();
        assert_eq!(left, left_behind_ms * 1_000_000, "{ahead_ms} ms ahead");
    }
}

#[test]
fn one_that_is_alone_claims_no_more_than_twenty_requests_of_those_where_it_may_run() {
    // The third CPU's queue is far ahead, but the first thread may not run there. Where another one waits, even if it did so
    // all the time, nobody is alone.
    let (two, everywhere) = (on(&[0, 1], 64), on(&[0, 1, 2], 64));
    for (first, expected_ms) in [(&[two][..], 60), (&[everywhere], 260), (&[everywhere, on(&[0], 64)], 0)] {
        let scene = Scene::new(&[first, &[everywhere], &[everywhere]]);
        for (index, pace_ms) in [(0, 0), (1, 100), (2, 500)] {
            scene.set_pace(index, at(pace_ms * 1_000_000));
        }
        // Its own dispatch was not long ago: it may have had to wait.
        let _ = scene.balance(0, Occasion::Grid);
        assert_eq!(scene.pace(0), at(0));
        let _ = scene.balance(0, Occasion::Grid);
        assert_eq!(scene.pace(0), at(expected_ms * 1_000_000));
    }
}

#[test]
fn an_empty_queue_goes_on_where_a_thread_was_that_is_moved_to_it() {
    let scene = Scene::new(&[&[on(&[0], 64)], &[]]);
    scene.set_pace(1, at(5_000_000));
    scene.decide(1, |dispatcher| {
        let slot = dispatcher.lock(cpu(0)).current.unwrap().slot;
        let (entity, mut queue) = (&dispatcher.threads[slot], dispatcher.lock(cpu(1)));
        entity.place.set(at(900_000_000));
        assert_eq!(queue.lag_of_moved(entity, dispatcher.config().base_request), VirtualSpan::ZERO);
        assert_eq!(queue.pace(), at(900_000_000));
    });
}

#[test]
fn a_newcomer_says_nothing_of_where_a_queue_is_that_was_empty_for_more_than_a_grid_period() {
    for (empty_ms, is_known) in [(5, true), (25, false)] {
        let machine = FakeMachine::new(2);
        let dispatcher: Dispatcher<FakeMachine> = Dispatcher::new(machine.clone(), Config::new(2)).unwrap();
        let affinity = CpuSet::of(cpu(1));
        let thread = dispatcher.create(Attributes { affinity, ..Attributes::default() }, 0).unwrap();
        machine.on(cpu(0), || {
            {
                let mut queue = dispatcher.lock(cpu(1));
                queue.set_pace(Pace::at(VirtualTime::from_nanos(5000)));
                queue.empty_at = Some(machine.now());
            }
            machine.advance(Duration::from_millis(empty_ms));
            dispatcher.start(thread, None).unwrap();
            assert_eq!(dispatcher.lock(cpu(1)).pace() != Pace::UNKNOWN, is_known, "{empty_ms} ms");
        });
    }
}
