//! What the policies promise, case by case, through the dispatcher: wake preemption, slices, changes in every state,
//! handoff, balance and the counters that tell of them.
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::next_event::grid_point_after;
use kernel_core::sched::{Attributes, Config, LatencyClass, Policy, ThreadId, ThreadState};
use sched_driver::*;
use tessera_hal::fake::FakeMachine;
use tessera_hal::{CpuId, Duration, Requests, SchedHal};

fn with_request(attributes: Attributes, request: Duration) -> Attributes {
    Attributes { request: Some(request), ..attributes }
}

/// A thread that is created and never started: blocked, to be woken by hand.
fn blocked(driver: &Driver, attributes: Attributes) -> ThreadId {
    driver.dispatcher.create(attributes, 7).expect("room")
}

fn snapshot(driver: &Driver, thread: ThreadId) -> kernel_core::sched::Snapshot {
    driver.dispatcher.snapshot(thread).expect("it lives")
}

#[test]
fn a_woken_thread_that_is_due_first_runs_at_once_and_one_that_is_not_waits() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let hog = driver.spawn(with_request(on(&[0], 64), ms(50)), Program::Hog);
        driver.run(ms(11));
        let (urgent, patient) = (
            blocked(&driver, with_request(on(&[0], 64), ms(1))),
            blocked(&driver, with_request(on(&[0], 64), ms(100))),
        );
        driver.act(cpu(0), |dispatcher| dispatcher.wake(patient)).expect("it lives");
        assert_eq!(driver.running[0], Some(hog), "{policy:?}: due later, it waits");
        driver.act(cpu(0), |dispatcher| dispatcher.wake(urgent)).expect("it lives");
        assert_eq!(driver.running[0], Some(urgent), "{policy:?}: due first, it needs no tick");
        assert_eq!((snapshot(&driver, hog).preemptions, snapshot(&driver, urgent).preemptions), (1, 0));
        assert_eq!(snapshot(&driver, patient).preemptions, 0);
    }
}

#[test]
fn eevdf_gives_a_preempted_thread_the_rest_of_its_request_and_wfq_a_new_one() {
    for (policy, slice) in [(Policy::Eevdf, ms(8)), (Policy::Wfq, ms(10))] {
        let config = Config { policy, grid: ms(1_000), ..Config::new(1) };
        let mut driver = Driver::with(FakeMachine::new(1), config);
        let hog = driver.spawn(with_request(on(&[0], 64), ms(10)), Program::Hog);
        driver.run(ms(20));
        let rival = driver.spawn(with_request(on(&[0], 64), ms(12)), Program::Hog);
        assert_eq!(driver.running[0], Some(hog));
        driver.run(ms(2));
        let urgent = blocked(&driver, with_request(on(&[0], 64), us(100)));
        driver.act(cpu(0), |dispatcher| dispatcher.wake(urgent)).expect("it lives");
        assert_eq!(driver.running[0], Some(urgent), "{policy:?}");
        driver.decide(cpu(0), |dispatcher| dispatcher.block_current());
        // Eevdf lets the rival go first, since the hog is ahead of it.
        while driver.running[0] == Some(rival) {
            driver.run(us(10));
        }
        assert_eq!(driver.running[0], Some(hog), "{policy:?}");
        let rest = driver.machine.armed(cpu(0)).expect("somebody waits").saturating_duration_since(driver.now());
        assert!(rest <= slice && rest > slice.saturating_sub(us(11)), "{policy:?}: {rest}");
    }
}

#[test]
fn classes_have_requests_of_their_own() {
    for (class, request) in [
        (LatencyClass::Interactive, ms(1)),
        (LatencyClass::Normal, ms(2)),
        (LatencyClass::Batch, ms(8)),
        (LatencyClass::IpcServer, ms(2)),
    ] {
        let mut driver = Driver::new(1, Policy::Eevdf);
        let thread = driver.spawn(Attributes { class, ..on(&[0], 64) }, Program::Hog);
        assert_eq!(snapshot(&driver, thread).request, request, "{class:?}");
        driver.act(cpu(0), |dispatcher| dispatcher.set_class(thread, LatencyClass::Batch)).expect("it lives");
        assert_eq!(snapshot(&driver, thread).request, ms(8));
    }
}

#[test]
fn a_thread_that_ran_alone_is_not_overdue_when_a_rival_comes() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let alone = driver.spawn(on(&[0], 64), Program::Hog);
        driver.run(ms(25));
        let rival = driver.spawn(on(&[0], 64), Program::Hog);
        assert_eq!(driver.running[0], Some(alone), "{policy:?}: within its request it goes on");
        driver.run(us(2_100));
        assert_eq!(driver.running[0], Some(rival), "{policy:?}: and no longer than that");
    }
}

#[test]
fn a_changed_request_or_weight_ends_the_running_slice_at_its_new_end() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let runs = driver.spawn(with_request(on(&[0], 64), ms(9)), Program::Hog);
        driver.run(ms(10));
        driver.spawn(with_request(on(&[0], 64), ms(90)), Program::Hog);
        driver.run(us(500));
        assert_eq!(driver.running[0], Some(runs));
        let begun = snapshot(&driver, runs);
        driver.act(cpu(0), |dispatcher| dispatcher.set_request(runs, Some(ms(2)))).expect("it lives");
        let armed = driver.machine.armed(cpu(0)).expect("somebody waits");
        assert!(armed <= driver.now().saturating_add(ms(2)), "{policy:?}: {begun:?}");
    }
}

#[test]
fn one_who_asks_for_a_longer_request_makes_room_for_those_due_before_and_a_queued_one_for_a_shorter_comes_first() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let runs = driver.spawn(with_request(on(&[0], 64), ms(10)), Program::Hog);
        driver.run(ms(1));
        let waits = driver.spawn(with_request(on(&[0], 64), ms(20)), Program::Hog);
        assert_eq!(driver.running[0], Some(runs), "{policy:?}");
        driver.act(cpu(0), |dispatcher| dispatcher.set_request(waits, Some(ms(1)))).expect("it lives");
        let eligible_first = driver.running[0];
        assert_eq!(eligible_first, Some(waits), "{policy:?}: the queued one is due first now");
        driver.act(cpu(0), |dispatcher| dispatcher.set_request(waits, Some(ms(100)))).expect("it lives");
        assert_eq!(driver.running[0], Some(runs), "{policy:?}: and the running one is not any more");
    }
}

#[test]
fn what_a_thread_ran_before_a_weight_change_is_charged_at_the_old_weight() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let thread = driver.spawn(on(&[0], 64), Program::Hog);
        driver.machine.advance(ms(5));
        driver.act(cpu(0), |dispatcher| dispatcher.set_weight(thread, weight(6_400))).expect("it lives");
        assert_eq!(snapshot(&driver, thread).virtual_runtime_ns, 5_000_000, "{policy:?}");
        driver.machine.advance(ms(5));
        assert_eq!(snapshot(&driver, thread).virtual_runtime_ns, 5_050_000, "{policy:?}");
    }
}

#[test]
fn charges_of_a_nanosecond_each_add_up_at_any_weight() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    driver.checked = false;
    let thread = driver.spawn(on(&[0], 10_000), Program::Hog);
    for _ in 0..10_000 {
        driver.machine.advance(Duration::from_nanos(1));
        snapshot(&driver, thread);
    }
    assert_eq!(snapshot(&driver, thread).virtual_runtime_ns, 64);
}

/// A thread in debt, blocked: it got a slice of 40 ms ahead of an equal one.
fn debtor(policy: Policy) -> (Driver, ThreadId, ThreadId) {
    let mut driver = Driver::new(1, policy);
    let debtor = driver.spawn(with_request(on(&[0], 64), ms(40)), Program::Hog);
    driver.run(ms(40));
    let hog = driver.spawn(with_request(on(&[0], 64), ms(40)), Program::Hog);
    driver.run(ms(39));
    assert_eq!(driver.running[0], Some(debtor));
    driver.decide(cpu(0), |dispatcher| dispatcher.block_current());
    assert_eq!(driver.running[0], Some(hog));
    (driver, debtor, hog)
}

/// How long after its wake-up a thread is dispatched.
fn wait_of(driver: &mut Driver, thread: ThreadId) -> Duration {
    let before = driver.now();
    driver.act(cpu(0), |dispatcher| dispatcher.wake(thread)).expect("it lives");
    while driver.running[0] != Some(thread) {
        driver.run(us(500));
    }
    driver.now().saturating_duration_since(before)
}

#[test]
fn a_debt_that_was_slept_off_does_not_come_back_with_a_smaller_weight() {
    let (mut driver, debtor, _) = debtor(Policy::Eevdf);
    driver.run(ms(100));
    driver.act(cpu(0), |dispatcher| dispatcher.set_weight(debtor, weight(1))).expect("it lives");
    let waited = wait_of(&mut driver, debtor);
    assert!(waited <= ms(41), "it owed nothing any more and waited {waited}");
}

#[test]
fn a_debt_that_stands_is_worth_the_same_service_at_another_weight() {
    let (mut driver, debtor, _) = debtor(Policy::Eevdf);
    driver.run(us(100));
    driver.act(cpu(0), |dispatcher| dispatcher.set_weight(debtor, weight(6_400))).expect("it lives");
    driver.run(ms(1));
    // 20 ms of debt at 64 are 200 us at 6,400, and these have passed.
    driver.act(cpu(0), |dispatcher| dispatcher.set_request(debtor, Some(ms(1)))).expect("it lives");
    let waited = wait_of(&mut driver, debtor);
    assert!(waited <= us(500), "it waited {waited}");
}

#[test]
fn a_handoff_does_not_go_before_somebody_who_preempts_the_caller() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let server = blocked(&driver, with_request(on(&[0], 64), ms(100)));
        let caller = driver.spawn(with_request(on(&[0], 64), ms(60)), Program::Hog);
        driver.run(ms(1));
        let urgent = blocked(&driver, with_request(on(&[0], 64), ms(1)));
        driver.decide(cpu(0), |dispatcher| {
            let _ = dispatcher.wake(urgent);
            dispatcher.handoff_to(server)
        });
        assert_eq!(driver.running[0], Some(urgent), "{policy:?}");
        assert_eq!(snapshot(&driver, caller).state, ThreadState::Blocked);
        assert_eq!(snapshot(&driver, server).state, ThreadState::Queued);
        driver.settle();
        assert_eq!(driver.running[0], Some(urgent), "{policy:?}");
    }
}

#[test]
fn a_receiver_of_a_handoff_cannot_renew_the_slice_by_changing_itself() {
    for policy in POLICIES {
        // No grid point comes before the slice ends.
        let config = Config { policy, grid: Duration::from_secs(1), ..Config::new(1) };
        let mut driver = Driver::with(FakeMachine::new(1), config);
        let server = blocked(&driver, with_request(on(&[0], 64), ms(9)));
        let caller = driver.spawn(with_request(on(&[0], 64), ms(9)), Program::Hog);
        driver.run(ms(10));
        driver.spawn(with_request(on(&[0], 64), ms(90)), Program::Hog);
        driver.run(ms(5));
        assert_eq!(driver.running[0], Some(caller));
        let slice_end = driver.machine.armed(cpu(0)).expect("somebody waits");
        driver.decide(cpu(0), |dispatcher| dispatcher.handoff_to(server));
        assert_eq!(driver.running[0], Some(server), "{policy:?}");
        driver.act(cpu(0), |dispatcher| dispatcher.set_weight(server, weight(65))).expect("it lives");
        assert_eq!(driver.machine.armed(cpu(0)), Some(slice_end), "{policy:?}");
    }
}

#[test]
fn a_decision_after_timers_counts_the_time_that_they_took() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    let hog = driver.spawn(with_request(on(&[0], 64), ms(4)), Program::Hog);
    driver.run(ms(8));
    let waits = driver.spawn(with_request(on(&[0], 64), ms(90)), Program::Hog);
    driver.run(ms(1));
    assert_eq!(driver.running[0], Some(hog), "its slice ends 3 ms later");
    let now = driver.now();
    driver.machine.on(cpu(0), || driver.dispatcher.arm_timer(now, 0)).expect("room");
    let machine = driver.machine.clone();
    driver.decide(cpu(0), |dispatcher| {
        dispatcher.serve(Requests::TIMER, &mut |_| {
            machine.advance(ms(5));
        })
    });
    assert_eq!(driver.running[0], Some(waits), "the slice was over when the timers were done");
    assert_eq!(snapshot(&driver, waits).longest_wait, ms(6));
}

#[test]
fn a_full_round_of_timers_is_followed_by_another_at_once() {
    let driver = Driver::new(1, Policy::Eevdf);
    driver.dispatcher.reserve_timers(100).expect("memory");
    for number in 0..100 {
        driver.dispatcher.arm_timer(driver.now(), number).expect("room");
    }
    let mut fired = 0;
    for _ in 0..2 {
        let taken = driver.machine.request_word(cpu(0)).take().requests;
        let before = driver.machine.mask_interrupts();
        let _ = driver.dispatcher.serve(taken | Requests::TIMER, &mut |_| fired += 1);
        driver.machine.restore_interrupts(before);
        assert_eq!(driver.machine.request_word(cpu(0)).is_pending(), fired == 64);
    }
    assert_eq!(fired, 100);
}

#[test]
fn a_woken_thread_goes_to_an_idle_cpu_and_otherwise_to_its_last_one() {
    let machine = FakeMachine::with_domains(1, 2, 2, 1);
    let mut driver = Driver::with(machine, Config::new(4));
    let busy: Vec<_> = [0, 1, 3].map(|index| driver.spawn(on(&[index], 64), Program::Hog)).into();
    let thread = driver.spawn(on(&[3], 64), Program::Hog);
    driver.run(ms(1));
    while driver.running[3] != Some(thread) {
        driver.run(ms(1));
    }
    driver.decide(cpu(3), |dispatcher| dispatcher.block_current());
    driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(thread, first(4))).expect("it lives");
    driver.act(cpu(0), |dispatcher| dispatcher.wake(thread)).expect("it lives");
    assert_eq!(driver.running[2], Some(thread), "CPU 2 was idle, and near");
    assert_eq!(snapshot(&driver, thread).migrations, 1);
    driver.decide(cpu(2), |dispatcher| dispatcher.block_current());
    driver.spawn(on(&[2], 10_000), Program::Hog);
    driver.act(cpu(0), |dispatcher| dispatcher.wake(thread)).expect("it lives");
    assert_eq!(snapshot(&driver, thread).cpu, cpu(2), "nobody is idle, so it stays, though others are less loaded");
    assert_eq!(busy.len(), 3);
}

#[test]
fn a_busy_cpu_evens_out_load_with_a_far_queue_even_if_a_near_one_has_nothing_for_it() {
    let machine = FakeMachine::with_domains(1, 2, 2, 1);
    let mut driver = Driver::with(machine, Config::new(4));
    driver.spawn(on(&[0], 64), Program::Hog);
    // CPU 1 is near and more loaded, but none of its threads may come.
    driver.spawn(on(&[3], 10_000), Program::Hog);
    for _ in 0..3 {
        driver.spawn(on(&[1], 1_000), Program::Hog);
    }
    // Two may go to CPU 3 only: at any time one of them waits.
    for _ in 0..2 {
        let near = driver.spawn(on(&[1, 3], 1_000), Program::Hog);
        assert_eq!(snapshot(&driver, near).cpu, cpu(1));
    }
    let far: Vec<_> = (0..4).map(|_| driver.spawn(on(&[2], 64), Program::Hog)).collect();
    for &thread in &far {
        driver.act(cpu(2), |dispatcher| dispatcher.set_affinity(thread, on(&[0, 2], 64).affinity)).expect("it lives");
    }
    driver.run(ms(100));
    let moved = far.iter().filter(|&&thread| snapshot(&driver, thread).cpu == CpuId::BOOT).count();
    assert!((1..=2).contains(&moved), "{moved} of four came");
    let loads = driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists");
    assert!(loads.steals >= 1 && loads.steals <= 10, "{} steals: at most one per grid period", loads.steals);
}

#[test]
fn an_idle_cpu_comes_for_the_most_delayed_thread() {
    // No grid point at which a busy CPU would take one.
    let mut driver = Driver::with(FakeMachine::new(4), Config { grid: Duration::from_secs(1), ..Config::new(4) });
    driver.checked = false;
    let keeps = driver.spawn(on(&[3], 64), Program::Job(ms(31)));
    for index in [0, 1, 2] {
        driver.spawn(with_request(on(&[index], 64), ms(100)), Program::Hog);
    }
    driver.run(ms(1));
    // The one on CPU 2 has waited longest when CPU 3 becomes idle.
    let mut waiters = Vec::new();
    for index in [2, 1, 0] {
        waiters.push(driver.spawn(with_request(on(&[index, 3], 64), ms(100)), Program::Hog));
        driver.run(ms(5));
    }
    driver.run(ms(14));
    // A decision publishes how late those are who wait.
    for index in [0, 1, 2] {
        driver.decide(cpu(index), |dispatcher| dispatcher.reconsider());
    }
    driver.run(ms(2));
    assert!(driver.dispatcher.snapshot(keeps).is_err(), "the job has ended");
    assert_eq!(driver.running[3], Some(waiters[0]));
}

#[test]
fn the_counters_tell_switches_blocks_and_preemptions_apart() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    let first = driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(ms(10));
    let before = driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists").switches;
    let second = driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(ms(100));
    let switches = driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists").switches - before;
    assert!((45..=55).contains(&switches), "{switches} in 100 ms of slices of 2 ms");
    for thread in [first, second] {
        let snapshot = snapshot(&driver, thread);
        assert_eq!((snapshot.preemptions, snapshot.voluntary_blocks), (0, 0), "slices that end preempt nobody");
    }
    let runs = driver.running[0].expect("one of them");
    driver.act(cpu(0), |dispatcher| dispatcher.wake(runs)).expect("it lives");
    driver.decide(cpu(0), |dispatcher| dispatcher.block_current());
    assert_eq!(snapshot(&driver, runs).voluntary_blocks, 0, "a token was there: it did not block");
    driver.decide(cpu(0), |dispatcher| dispatcher.block_current());
    assert_eq!(snapshot(&driver, runs).voluntary_blocks, 1);
}

#[test]
fn one_that_yields_begins_a_new_request_and_lets_its_equal_run() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let first = driver.spawn(on(&[0], 64), Program::Hog);
        driver.run(ms(10));
        let second = driver.spawn(on(&[0], 64), Program::Hog);
        driver.run(us(500));
        assert_eq!(driver.running[0], Some(first));
        driver.decide(cpu(0), |dispatcher| dispatcher.yield_current());
        assert_eq!(driver.running[0], Some(second), "{policy:?}");
        assert_eq!(snapshot(&driver, first).preemptions, 0);
    }
}

#[test]
fn one_that_yields_lets_the_next_run_even_if_its_own_request_is_shorter() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let yielder = driver.spawn(with_request(on(&[0], 64), us(100)), Program::Hog);
        let others: Vec<_> = (0..2).map(|_| driver.spawn(with_request(on(&[0], 64), ms(10)), Program::Hog)).collect();
        driver.run(ms(50));
        for round in 0..10 {
            while driver.running[0] != Some(yielder) {
                driver.run(us(50));
            }
            driver.decide(cpu(0), |dispatcher| dispatcher.yield_current());
            let runs = driver.running[0].expect("somebody");
            assert!(others.contains(&runs), "{policy:?}, round {round}: it was picked again");
            driver.run(us(200));
        }
    }
}

#[test]
fn a_challenger_that_is_gone_before_the_decision_preempts_nobody() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    let hog = driver.spawn(with_request(on(&[0], 64), ms(50)), Program::Hog);
    driver.run(ms(50));
    driver.spawn(with_request(on(&[0], 64), ms(100)), Program::Hog);
    driver.run(ms(1));
    let urgent = blocked(&driver, with_request(on(&[0], 64), ms(1)));
    driver.decide(cpu(0), |dispatcher| {
        let _ = dispatcher.wake(urgent);
        let _ = dispatcher.terminate(urgent);
        dispatcher.reconsider()
    });
    assert_eq!(driver.running[0], Some(hog));
}

#[test]
fn a_debt_is_repaid_by_the_clock_of_the_queue_that_it_was_made_on() {
    let mut driver = Driver::new(2, Policy::Eevdf);
    // The clock of CPU 1 is 96 s ahead.
    let host = driver.spawn(on(&[1], 1), Program::Hog);
    driver.run(ms(1_500));
    driver.act(cpu(1), |dispatcher| dispatcher.set_weight(host, weight(64))).expect("it lives");
    let debtor = driver.spawn(with_request(on(&[0], 64), ms(40)), Program::Hog);
    driver.run(ms(40));
    driver.spawn(with_request(on(&[0], 64), ms(40)), Program::Hog);
    driver.run(ms(39));
    driver.decide(cpu(0), |dispatcher| dispatcher.block_current());
    assert_eq!(snapshot(&driver, debtor).state, ThreadState::Blocked);
    for change in [Some(ms(1)), Some(us(500))] {
        driver.act(cpu(0), |dispatcher| dispatcher.set_request(debtor, change)).expect("it lives");
    }
    driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(debtor, on(&[1], 64).affinity)).expect("it lives");
    driver.act(cpu(0), |dispatcher| dispatcher.wake(debtor)).expect("it lives");
    driver.run(ms(35));
    assert_eq!(driver.running[1], Some(host), "20 ms of debt are 40 ms of the host's time");
    driver.run(ms(10));
    assert_ne!(snapshot(&driver, debtor).dispatches, 0);
    assert!(snapshot(&driver, debtor).longest_wait >= ms(35));
}

#[test]
fn a_clockevent_of_short_range_is_armed_again_until_the_point_has_come() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    let range = tessera_hal::Clockevent { max: ms(3), ..driver.machine.clockevent() };
    driver.machine.set_clockevent(range);
    driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(ms(100));
    let fires = driver.dispatcher.cpu_snapshot(cpu(0)).expect("it exists");
    assert_eq!(fires.grid_fires, 10);
    // From each point to the next one it takes a fire for each 3 ms between them.
    let points = core::iter::successors(Some(tessera_hal::Instant::ORIGIN), |&point| {
        Some(grid_point_after(point, cpu(0), ms(10)))
    });
    let points: Vec<_> = points.take(11).collect();
    let between = points.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]));
    let cut_short: u64 = between.map(|distance| (distance.as_nanos() - 1) / ms(3).as_nanos()).sum();
    assert!(cut_short > 20);
    assert!(fires.fires.with_exactly(kernel_core::sched::Reasons::empty()) >= cut_short, "it was cut short");
}

#[test]
fn balance_takes_from_the_most_loaded_queue_first() {
    let mut driver = Driver::new(3, Policy::Eevdf);
    driver.spawn(on(&[0], 64), Program::Hog);
    for (index, count) in [(1, 3), (2, 6)] {
        let hogs: Vec<_> = (0..count).map(|_| driver.spawn(on(&[index], 64), Program::Hog)).collect();
        for hog in hogs {
            let either = on(&[0, index], 64).affinity;
            driver.act(cpu(index), |dispatcher| dispatcher.set_affinity(hog, either)).expect("it lives");
        }
    }
    let waiting = |driver: &Driver, index| driver.dispatcher.cpu_snapshot(cpu(index)).expect("it exists").waiting;
    driver.run(ms(10));
    assert_eq!([0, 1, 2].map(|index| waiting(&driver, index)), [1, 2, 4]);
}

#[test]
fn a_new_thread_stays_where_it_was_made_if_no_cpu_has_less_to_do() {
    for policy in POLICIES {
        let mut driver = Driver::new(3, policy);
        for index in 0..3 {
            driver.spawn(on(&[index], 64), Program::Hog);
        }
        let on_cpu = |driver: &Driver, thread| driver.dispatcher.snapshot(thread).expect("it lives").cpu;
        let stays = driver.spawn_by(Some(cpu(1)), anywhere(64), Program::Hog);
        assert_eq!(on_cpu(&driver, stays), cpu(1));
        // Now there is a CPU that has strictly less.
        let leaves = driver.spawn_by(Some(cpu(1)), anywhere(64), Program::Hog);
        assert_eq!(on_cpu(&driver, leaves), cpu(0));
    }
}
