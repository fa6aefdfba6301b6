//! The books close exactly, fires are counted by their reasons, and work that is not needed is not done.
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::{Policy, Reasons};
use proptest::prelude::*;
use sched_driver::*;
use tessera_hal::{Duration, Requests, SchedHal};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn both_partitions_of_each_cpus_time_close_at_random_times(
        steps in proptest::collection::vec((0..2_u16, 1..5_000_000_u64, any::<bool>(), 0..300_000_u64), 1..80),
    ) {
        let mut driver = Driver::new(2, Policy::Eevdf);
        driver.checked = false;
        for index in 0..3 {
            driver.spawn(on(&[index % 2], 64 + index), Program::Hog);
        }
        driver.spawn(anywhere(7), Program::Sleeper { run: us(30), sleep: us(900) });
        for (index, length, interrupted, interrupt) in steps {
            driver.run(Duration::from_nanos(length));
            if interrupted {
                driver.machine.on(cpu(index), || driver.dispatcher.interrupt_entered());
                driver.machine.advance(Duration::from_nanos(interrupt));
                driver.machine.on(cpu(index), || driver.dispatcher.interrupt_left());
            }
            for cpu in driver.cpus() {
                let snapshot = driver.dispatcher.cpu_snapshot(cpu).expect("it exists");
                prop_assert_eq!(snapshot.elapsed.as_nanos(), driver.now().as_nanos(), "counted since the origin");
                prop_assert_eq!(snapshot.ran.total(), snapshot.elapsed);
                prop_assert_eq!(snapshot.paid.total(), snapshot.elapsed);
                prop_assert_eq!(snapshot.ran.thread, snapshot.paid.fair_share);
                prop_assert_eq!(snapshot.ran.interrupt_and_switch, snapshot.paid.unattributed);
            }
        }
    }
}

#[test]
fn interrupt_time_belongs_to_no_thread() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    let hog = driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(ms(5));
    let runtime = |driver: &Driver| driver.dispatcher.snapshot(hog).expect("it lives").runtime;
    let before = runtime(&driver);
    driver.machine.on(cpu(0), || driver.dispatcher.interrupt_entered());
    driver.machine.advance(us(300));
    driver.machine.on(cpu(0), || driver.dispatcher.interrupt_left());
    assert_eq!(runtime(&driver), before);
    // Counterfactual: without the marks the same time is the thread's.
    driver.machine.advance(us(300));
    assert_eq!(runtime(&driver), before.saturating_add(us(300)));
}

#[test]
fn a_wait_is_counted_while_it_lasts_and_a_move_to_another_queue_does_not_end_it() {
    let mut driver = Driver::new(2, Policy::Eevdf);
    for index in [0, 1] {
        let request = Some(ms(100));
        driver.spawn(kernel_core::sched::Attributes { request, ..on(&[index], 10_000) }, Program::Hog);
    }
    driver.run(ms(1));
    let waiter = driver.spawn(on(&[0], 1), Program::Hog);
    let snapshot = |driver: &Driver| driver.dispatcher.snapshot(waiter).expect("it lives");
    driver.run(ms(30));
    let first = snapshot(&driver);
    assert_eq!((first.dispatches, first.longest_wait, first.runnable), (0, ms(30), ms(30)), "it still waits");
    driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(waiter, on(&[1], 1).affinity)).expect("it lives");
    driver.run(ms(40));
    let second = snapshot(&driver);
    assert_eq!((second.cpu, second.dispatches), (cpu(1), 0));
    assert_eq!((second.longest_wait, second.runnable), (ms(70), ms(70)));
    driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(waiter, on(&[0], 1).affinity)).expect("it lives");
    while snapshot(&driver).dispatches == 0 {
        driver.run(ms(1));
    }
    let third = snapshot(&driver);
    assert_eq!(third.longest_wait, third.runnable, "it was one wait");
    assert!(third.longest_wait >= ms(70));
}

#[test]
fn a_busy_cpu_keeps_the_grid_and_an_idle_one_has_no_timer_at_all() {
    let mut driver = Driver::new(2, Policy::Eevdf);
    driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(Duration::from_secs(1));
    let busy = driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists");
    let idle = driver.dispatcher.cpu_snapshot(cpu(1)).expect("it exists");
    assert_eq!(busy.grid_fires, 100);
    assert_eq!(busy.fires.with(Reasons::SLICE), 0, "nobody waits, so there is no slice to end");
    assert_eq!((idle.fires.total(), driver.machine.armed(cpu(1))), (0, None));
    // Counterfactual: with a second thread slices end.
    driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(Duration::from_secs(1));
    assert!(driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists").fires.with(Reasons::SLICE) >= 400);
}

#[test]
fn a_decision_between_a_grid_point_and_its_fire_does_not_skip_the_points_jobs() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    driver.spawn(on(&[0], 64), Program::Hog);
    for _ in 0..10 {
        let point = driver.machine.armed(cpu(0)).expect("a busy CPU has a grid");
        driver.machine.set_now(point.saturating_add(us(3)));
        driver.decide(cpu(0), |dispatcher| dispatcher.reconsider());
        driver.run(us(1));
    }
    assert_eq!(driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists").grid_fires, 10);
}

#[test]
fn a_clockevent_that_could_not_be_armed_is_tried_again_at_the_next_decision() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    driver.machine.break_clockevent(cpu(0), true);
    driver.spawn(on(&[0], 64), Program::Hog);
    assert_eq!(driver.machine.armed(cpu(0)), None);
    let failures = driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists").arm_failures;
    assert!(failures > 0);
    driver.machine.break_clockevent(cpu(0), false);
    driver.decide(cpu(0), |dispatcher| dispatcher.reconsider());
    assert!(driver.machine.armed(cpu(0)).is_some(), "a busy CPU has a timer as soon as it can have one");
    assert_eq!(driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists").arm_failures, failures);
}

#[test]
fn a_fire_that_comes_for_nothing_is_counted_as_such() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(ms(3));
    driver.decide(cpu(0), |dispatcher| dispatcher.serve(Requests::TIMER, &mut |_| ()));
    let snapshot = driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists");
    assert_eq!((snapshot.fires.with_exactly(Reasons::empty()), snapshot.grid_fires), (1, 0));
    assert!(driver.machine.armed(cpu(0)).is_some(), "the clockevent is programmed again");
}

#[test]
fn timers_fire_at_their_deadline_on_the_cpu_that_armed_them_and_not_when_cancelled() {
    let driver = Driver::new(2, Policy::Eevdf);
    let deadline = driver.now().saturating_add(us(70));
    let kept = driver.machine.on(cpu(1), || driver.dispatcher.arm_timer(deadline, 11)).expect("room");
    let cancelled = driver.machine.on(cpu(1), || driver.dispatcher.arm_timer(deadline, 22)).expect("room");
    assert!(driver.machine.on(cpu(0), || driver.dispatcher.cancel_timer(cancelled)));
    assert_eq!((driver.machine.armed(cpu(0)), driver.machine.armed(cpu(1))), (None, Some(deadline)));
    let mut fired = Vec::new();
    driver.machine.set_now(deadline);
    driver.machine.on(cpu(1), || {
        let before = driver.machine.mask_interrupts();
        let _ = driver.dispatcher.serve(Requests::TIMER, &mut |payload| fired.push(payload));
        driver.machine.restore_interrupts(before);
    });
    assert_eq!(fired, [11]);
    assert!(!driver.dispatcher.cancel_timer(kept));
}

#[test]
fn a_local_tick_pick_or_requeue_takes_one_lock_and_writes_on_no_other_cpus_line() {
    for policy in POLICIES {
        let mut driver = Driver::new(2, policy);
        driver.checked = false;
        for index in [0, 0, 0, 1, 1, 1] {
            driver.spawn(on(&[index], 64), Program::Hog);
        }
        driver.run(ms(31));
        let local = |what: &str, decision: &mut dyn FnMut(&kernel_core::sched::Dispatcher<_>)| {
            driver.machine.advance(us(2_300));
            let before = driver.machine.on(cpu(0), || driver.machine.mask_interrupts());
            let ((), counts) = driver.machine.clone().count_on(cpu(0), || decision(&driver.dispatcher));
            driver.machine.on(cpu(0), || driver.machine.restore_interrupts(before));
            assert_eq!((counts.locks, counts.remote_locks, counts.remote_writes), (1, 0, 0), "{policy:?}: {what}");
            assert_eq!(counts.kicks, 0, "{policy:?}: {what}");
        };
        local("slice end", &mut |dispatcher| {
            let _ = dispatcher.serve(Requests::TIMER, &mut |_| ());
        });
        local("yield", &mut |dispatcher| {
            let _ = dispatcher.yield_current();
        });
        local("reconsider", &mut |dispatcher| {
            let _ = dispatcher.reconsider();
        });
        local("block", &mut |dispatcher| {
            let _ = dispatcher.block_current();
        });
        local("exit", &mut |dispatcher| {
            let _ = dispatcher.exit_current();
        });
    }
}
