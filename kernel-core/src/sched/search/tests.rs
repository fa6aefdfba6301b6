//! The bounds of a search, and what a thread takes along that is found.

use super::*;
use crate::sched::vtime::VirtualSpan;
use crate::sched::{Attributes, Config, Next};
use alloc::vec::Vec;
use tessera_hal::fake::FakeMachine;
use tessera_hal::{Duration, Requests};

fn cpu(index: u16) -> CpuId {
    CpuId::new(index)
}

/// Puts a new thread on a queue, whoever is idle, and tells nobody.
fn wait_on(dispatcher: &Dispatcher<FakeMachine>, cpu: CpuId) {
    let thread = dispatcher.create(Attributes::default(), 0).unwrap();
    let (slot, generation) = (thread.entity::<8>().slot(), thread.entity::<8>().generation());
    let mut queue = dispatcher.lock(cpu);
    let _ = dispatcher.threads[slot].home.claim_wake(generation).unwrap();
    let _ = queue.enqueue(&dispatcher.threads, slot, VirtualSpan::ZERO);
    dispatcher.publish(&mut queue);
}

#[test]
fn a_thread_that_is_taken_knows_what_its_queue_owed_it_up_to_now() {
    let machine = FakeMachine::new(2);
    let dispatcher: Dispatcher<FakeMachine> = Dispatcher::new(machine.clone(), Config::new(2)).unwrap();
    machine.on(cpu(0), || {
        let masked = machine.mask_interrupts();
        let _ = dispatcher.begin();
        for _ in 0..2 {
            wait_on(&dispatcher, cpu(0));
        }
        assert!(matches!(dispatcher.reconsider(), Next::Run(_)));
        machine.restore_interrupts(masked);
    });
    // One has run for 1 ms, and nothing has charged it since.
    machine.advance(Duration::from_millis(1));
    machine.on(cpu(1), || {
        let masked = machine.mask_interrupts();
        let Search::Found(slot) = dispatcher.search(cpu(1), 0) else { panic!("one waits") };
        assert_eq!(dispatcher.threads[slot].lag.get(), VirtualSpan::from_nanos(500_000));
        machine.restore_interrupts(masked);
    });
}

#[test]
fn a_search_that_began_further_on_is_begun_again_from_the_front() {
    let machine = FakeMachine::new(2);
    let dispatcher: Dispatcher<FakeMachine> = Dispatcher::new(machine.clone(), Config::new(2)).unwrap();
    assert!(matches!(dispatcher.search(cpu(1), 0), Search::Nothing));
    assert!(matches!(dispatcher.search(cpu(1), 3), Search::GivenUp { next_round: 0 }));
}

#[test]
fn later_rounds_look_at_other_queues() {
    let dispatcher: Dispatcher<FakeMachine> = Dispatcher::new(FakeMachine::new(32), Config::new(32)).unwrap();
    let looked_at = |cpus: usize, round: usize| -> Vec<usize> {
        let victims = dispatcher.victims(&CpuSet::first(cpus), round, |_| ());
        victims.iter().map(CpuId::index).collect()
    };
    assert_eq!(looked_at(20, 0), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(looked_at(20, 1), [8, 9, 10, 11, 12, 13, 14, 15]);
    // It goes round at the end.
    assert_eq!(looked_at(20, 2), [0, 1, 2, 3, 16, 17, 18, 19]);
    assert_eq!(looked_at(3, 5), [0, 1, 2]);
}

#[test]
fn a_cpu_that_was_summoned_for_one_thread_and_found_another_passes_the_summons_on() {
    for summoned in [true, false] {
        let machine = FakeMachine::new(3);
        let dispatcher: Dispatcher<FakeMachine> = Dispatcher::new(machine.clone(), Config::new(3)).unwrap();
        let decide = |index: u16, decision: &dyn Fn()| {
            machine.on(cpu(index), || {
                let masked = machine.mask_interrupts();
                decision();
                machine.restore_interrupts(masked);
            });
        };
        // CPU 2 idles, CPU 0 has one that runs and two that wait, and has told nobody.
        decide(2, &|| assert_eq!(dispatcher.begin(), Next::Idle));
        decide(0, &|| {
            let _ = dispatcher.begin();
            for _ in 0..3 {
                wait_on(&dispatcher, cpu(0));
            }
            dispatcher.lock(cpu(0)).unannounced = 0;
            assert!(matches!(dispatcher.reconsider(), Next::Run(_)));
        });
        if summoned {
            dispatcher.published(cpu(1)).summon();
        }
        decide(1, &|| assert!(matches!(dispatcher.begin(), Next::Run(_))));
        assert_eq!(machine.request_word(cpu(2)).is_pending(), summoned);
    }
}

/// What two CPUs do that find a queue locked which somebody waits in: one that goes idle, and one that was summoned for
/// the waiter and has come by other work.
#[test]
fn a_cpu_that_finds_a_queue_locked_leaves_it_to_the_owner_to_summon_an_idle_one() {
    for found_other_work in [false, true] {
        let machine = FakeMachine::new(3);
        let dispatcher: Dispatcher<FakeMachine> = Dispatcher::new(machine.clone(), Config::new(3)).unwrap();
        let decide = |index: u16, decision: &dyn Fn() -> Next| {
            machine.on(cpu(index), || {
                let masked = machine.mask_interrupts();
                let next = decision();
                machine.restore_interrupts(masked);
                next
            })
        };
        let is_asked = |index: u16| machine.request_word(cpu(index)).is_pending();
        if found_other_work {
            assert_eq!(decide(2, &|| dispatcher.begin()), Next::Idle);
        }
        let first = decide(0, &|| {
            let _ = dispatcher.begin();
            wait_on(&dispatcher, cpu(0));
            wait_on(&dispatcher, cpu(0));
            dispatcher.lock(cpu(0)).unannounced = 0;
            dispatcher.reconsider()
        });
        assert!(matches!(first, Next::Run(_)));
        if found_other_work {
            machine.on(cpu(1), || wait_on(&dispatcher, cpu(1)));
            dispatcher.published(cpu(1)).summon();
        }
        let held = machine.on(cpu(0), || dispatcher.lock(cpu(0)));
        let next = decide(1, &|| dispatcher.begin());
        assert_eq!(matches!(next, Next::Run(_)), found_other_work);
        assert!(!is_asked(1), "it does not ask itself again and again");
        machine.on(cpu(0), || drop(held));
        let idle = if found_other_work { 2 } else { 1 };
        assert!(!is_asked(idle));
        assert!(matches!(decide(0, &|| dispatcher.reconsider()), Next::Run(_)));
        assert!(is_asked(idle), "the owner's next decision summons an idle CPU");
        assert!(matches!(decide(idle, &|| dispatcher.serve(Requests::RESCHEDULE, &mut |_| ())), Next::Run(_)));
    }
}
