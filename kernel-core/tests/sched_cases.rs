//! Cases in which simpler rules go wrong, each with what goes wrong without the rule (the counterfactual).
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::pace::CATCH_UP;
use kernel_core::sched::placement::{joining_time, lag_after_sleep};
use kernel_core::sched::vtime::{VirtualSpan, VirtualTime};
use kernel_core::sched::{Attributes, Config, LatencyClass, Policy, Terminated, ThreadState};
use sched_driver::*;
use tessera_hal::fake::FakeMachine;
use tessera_hal::{CpuId, Duration};

const SECOND: Duration = Duration::from_secs(1);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_newcomer_among_threads_that_are_100_s_old_gets_its_share_and_not_the_cpu() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        driver.checked = false;
        let old: Vec<_> = (0..2).map(|_| driver.spawn(on(&[0], 64), Program::Hog)).collect();
        driver.run(secs(200));
        let before: Vec<_> = old.iter().map(|&thread| driver.got(thread)).collect();
        let newcomer = driver.spawn(on(&[0], 64), Program::Hog);
        driver.run(SECOND);
        let share_of_newcomer = share(driver.got(newcomer), SECOND);
        assert!(share_of_newcomer.abs_diff(333_333) <= 3_000, "{policy:?}: the newcomer got {share_of_newcomer}");
        for (&thread, before) in old.iter().zip(before) {
            assert!(driver.got(thread).saturating_sub(before) >= ms(329), "{policy:?}: an old one starved");
        }
    }
    // Counterfactual: on the queue's clock a newcomer at zero would be 100 s behind, and own the CPU until it caught up.
    let queue = VirtualTime::from_nanos(100_000_000_000);
    assert_eq!(queue.since(VirtualTime::ZERO).as_nanos(), 100_000_000_000);
    assert_eq!(joining_time(queue, VirtualSpan::ZERO, weight(64), 128), queue);
}

#[test]
fn a_50_s_sleeper_gets_at_most_one_request_of_head_start() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        driver.checked = false;
        let hog = driver.spawn(on(&[0], 64), Program::Hog);
        let sleeper = driver.spawn(on(&[0], 64), Program::Sleeper { run: secs(10), sleep: secs(50) });
        driver.run(secs(20));
        // Both had 10 s by now, so the sleeper sleeps. It wakes at 70 s.
        while driver.dispatcher.snapshot(sleeper).expect("it lives").state != ThreadState::Blocked {
            driver.run(ms(1));
        }
        driver.run(secs(50));
        let (slept, ran) = (driver.got(sleeper), driver.got(hog));
        driver.run(ms(500));
        let (sleeper_got, hog_got) = (driver.got(sleeper).saturating_sub(slept), driver.got(hog).saturating_sub(ran));
        assert!(sleeper_got > ms(200), "{policy:?}: it is awake and runs");
        let ahead = sleeper_got.saturating_sub(hog_got);
        assert!(ahead <= ms(4), "{policy:?}: the sleeper is {ahead} ahead after 500 ms");
    }
    // Counterfactual: keeping its reading of the clock would be worth the whole sleep.
    let asleep = VirtualSpan::from_nanos(50_000_000_000);
    let request = VirtualSpan::from_nanos(2_000_000);
    assert_eq!(lag_after_sleep(asleep, asleep, request), request);
}

#[test]
fn a_short_sleep_erases_no_debt() {
    for policy in POLICIES {
        let got = |program| {
            let mut driver = Driver::new(1, policy);
            driver.checked = false;
            let hog = driver.spawn(on(&[0], 64), Program::Hog);
            let other = driver.spawn(on(&[0], 64), program);
            driver.run(secs(10));
            (share(driver.got(other), secs(10)), driver.got(hog))
        };
        // It sleeps for a moment at the end of each slice, when it is in debt.
        let (dodger, _) = got(Program::Sleeper { run: us(1_900), sleep: us(1) });
        assert!(dodger <= 505_000, "{policy:?}: dodging its debt got it {dodger} of a million");
        let (honest, _) = got(Program::Hog);
        assert!(honest.abs_diff(500_000) <= 1_000, "{policy:?}: a hog got {honest}");
    }
}

#[test]
fn eevdf_never_dispatches_a_weight_of_10_more_than_twice_in_a_row_against_ten_of_1() {
    let longest_row = |policy| {
        let mut driver = Driver::new(1, policy);
        driver.checked = false;
        let heavy = driver.spawn(on(&[0], 10), Program::Hog);
        for _ in 0..10 {
            driver.spawn(on(&[0], 1), Program::Hog);
        }
        driver.run(secs(1));
        driver.log.clear();
        driver.run(secs(20));
        let got = share(driver.got(heavy), secs(21));
        assert!(got.abs_diff(500_000) <= 5_000, "{policy:?}: the heavy one got {got}");
        let (mut longest, mut row) = (0, 0);
        for &(_, thread) in &driver.log {
            row = if thread == heavy { row + 1 } else { 0 };
            longest = longest.max(row);
        }
        longest
    };
    assert!(longest_row(Policy::Eevdf) <= 2);
    // Counterfactual: without eligibility the heavy one goes on until its tag has passed the others'.
    assert!(longest_row(Policy::Wfq) > 2);
}

#[test]
fn two_queues_99_s_of_virtual_time_apart_exchange_threads_and_nobody_starves() {
    for policy in POLICIES {
        let mut driver = Driver::new(2, policy);
        driver.checked = false;
        // CPU 0's clock runs ahead: one thread of the least weight for a second and a half is worth 99 s.
        let fast = driver.spawn(on(&[0], 1), Program::Hog);
        driver.run(ms(1_550));
        let slow = driver.spawn(on(&[1], 64), Program::Hog);
        let visitors: Vec<_> = (0..2).map(|_| driver.spawn(on(&[0, 1], 64), Program::Hog)).collect();
        driver.run(SECOND);
        driver.act(cpu(0), |dispatcher| dispatcher.set_weight(fast, weight(64))).expect("it lives");
        // Each visitor may bring along what a move is worth.
        let worth = CATCH_UP * 2_000;
        for round in 0..6 {
            let before: Vec<_> = visitors.iter().map(|&thread| driver.got(thread)).collect();
            let (fast_before, slow_before) = (driver.got(fast), driver.got(slow));
            for &thread in &visitors {
                let target = on(&[round % 2], 64).affinity;
                driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(thread, target)).expect("it lives");
            }
            driver.run(SECOND);
            for (&thread, &before) in visitors.iter().zip(&before) {
                let got = share(driver.got(thread).saturating_sub(before), SECOND);
                assert!(got.abs_diff(333_333) <= worth, "{policy:?}, round {round}: a visitor got {got}");
            }
            let host = if round % 2 == 0 { (fast, fast_before) } else { (slow, slow_before) };
            let got = share(driver.got(host.0).saturating_sub(host.1), SECOND);
            assert!(got.abs_diff(333_333) <= worth, "{policy:?}, round {round}: the host got {got}");
        }
    }
}

#[test]
fn a_pinned_head_hides_nobody_from_an_idle_cpu() {
    for policy in POLICIES {
        let mut driver = Driver::new(2, policy);
        // Forty pinned ones stand before the one that may move, and CPU 1 has its own until later.
        let busy = driver.spawn(on(&[1], 64), Program::Job(ms(5)));
        for _ in 0..40 {
            driver.spawn(on(&[0], 10_000), Program::Hog);
        }
        let movable = driver.spawn(on(&[0, 1], 1), Program::Hog);
        driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(movable, first(1))).expect("it lives");
        driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(movable, first(2))).expect("it lives");
        driver.run(ms(6));
        assert!(driver.dispatcher.snapshot(busy).is_err(), "the job has ended");
        assert_eq!(driver.running[1], Some(movable), "{policy:?}: CPU 1 takes the only one that may move");
        // Counterfactual: with that one pinned too, CPU 1 has nothing.
        driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(movable, first(1))).expect("it lives");
        assert_eq!(driver.running[1], None);
    }
}

#[test]
fn more_candidates_than_a_search_looks_at_hide_nobody_for_longer_than_a_few_balance_periods() {
    let machine = FakeMachine::new(3);
    let mut driver = Driver::with(machine, Config::new(3));
    driver.checked = false;
    let elsewhere = driver.spawn(on(&[1], 64), Program::Hog);
    let job = driver.spawn(on(&[2], 64), Program::Job(ms(1)));
    for _ in 0..40 {
        driver.spawn(on(&[0, 1], 10_000), Program::Hog);
    }
    let hidden = driver.spawn(on(&[0, 2], 1), Program::Hog);
    driver.run(ms(60));
    assert!(driver.dispatcher.snapshot(job).is_err());
    assert!(driver.dispatcher.snapshot(elsewhere).is_ok());
    assert_eq!(driver.running[2], Some(hidden), "CPU 2 finds the only one of 42 that may run there");
    // The search begins again from the front: one that comes after many vain rounds is found as soon.
    driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(hidden, first(1))).expect("it lives");
    driver.run(ms(500));
    assert_eq!(driver.running[2], None);
    driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(hidden, on(&[0, 2], 1).affinity)).expect("it lives");
    driver.run(ms(60));
    assert_eq!(driver.running[2], Some(hidden));
}

#[test]
fn a_weight_that_no_cpu_can_satisfy_wastes_no_cpu() {
    for policy in POLICIES {
        let mut driver = Driver::new(2, policy);
        let giant = driver.spawn(anywhere(10_000), Program::Hog);
        let others: Vec<_> = (0..2).map(|_| driver.spawn(anywhere(1), Program::Hog)).collect();
        driver.run(SECOND);
        let idle: u64 =
            driver.cpus().map(|cpu| driver.dispatcher.cpu_snapshot(cpu).expect("it exists").ran.idle.as_nanos()).sum();
        assert!(idle <= 1_000_000, "{policy:?}: {idle} ns idle while threads wait");
        assert!(driver.got(giant) >= ms(990), "{policy:?}: the giant got {}", driver.got(giant));
        let rest: u64 = others.iter().map(|&thread| driver.got(thread).as_nanos()).sum();
        assert!(rest >= 980_000_000, "{policy:?}: the others share a CPU");
    }
}

#[test]
fn equal_hogs_spread_evenly_over_all_cpus() {
    for policy in POLICIES {
        let mut driver = Driver::new(4, policy);
        // All are started on CPU 0, pinned there, and let go afterwards: balance has to do the rest.
        let hogs: Vec<_> = (0..8).map(|_| driver.spawn(on(&[0], 64), Program::Hog)).collect();
        driver.run(ms(20));
        for &hog in &hogs {
            driver.act(cpu(0), |dispatcher| dispatcher.set_affinity(hog, first(4))).expect("it lives");
        }
        driver.run(ms(200));
        let before: Vec<_> = hogs.iter().map(|&hog| driver.got(hog)).collect();
        driver.run(SECOND);
        for (&hog, &before) in hogs.iter().zip(&before) {
            let got = share(driver.got(hog).saturating_sub(before), SECOND);
            assert!(got.abs_diff(500_000) <= 5_000, "{policy:?}: one of eight on four CPUs got {got}");
        }
    }
}

#[test]
fn a_new_thread_leaves_its_creators_cpu_only_for_a_strictly_less_loaded_one() {
    let mut driver = Driver::new(2, Policy::Eevdf);
    let creator = driver.spawn(on(&[0], 64), Program::Hog);
    let other = driver.spawn(on(&[1], 64), Program::Hog);
    let stays = driver.spawn_by(Some(cpu(0)), anywhere(64), Program::Hog);
    assert_eq!(driver.dispatcher.snapshot(stays).expect("it lives").cpu, cpu(0), "both CPUs are loaded alike");
    let leaves = driver.spawn_by(Some(cpu(0)), anywhere(64), Program::Hog);
    assert_eq!(driver.dispatcher.snapshot(leaves).expect("it lives").cpu, cpu(1), "CPU 1 is less loaded now");
    assert!(driver.dispatcher.snapshot(creator).is_ok() && driver.dispatcher.snapshot(other).is_ok());
}

#[test]
fn affinity_is_obeyed_at_once_in_every_state() {
    for policy in POLICIES {
        let mut driver = Driver::new(2, policy);
        let running = driver.spawn(on(&[0], 64), Program::Hog);
        let queued = driver.spawn(on(&[0], 64), Program::Hog);
        driver.run(us(100));
        for thread in [running, queued] {
            driver.act(cpu(1), |dispatcher| dispatcher.set_affinity(thread, on(&[1], 1).affinity)).expect("it lives");
        }
        assert_eq!(driver.running[0], None, "{policy:?}: the running one was taken off without a tick");
        driver.run(ms(50));
        for thread in [running, queued] {
            let snapshot = driver.dispatcher.snapshot(thread).expect("it lives");
            assert_eq!((snapshot.cpu, snapshot.dispatches_outside), (cpu(1), 0));
            assert!(snapshot.migrations <= 1);
        }
    }
}

#[test]
fn a_receiver_of_a_handoff_gets_the_rest_of_the_slice_and_not_a_new_one() {
    for policy in POLICIES {
        // No grid point comes before the slices end.
        let config = Config { policy, grid: secs(1), ..Config::new(1) };
        let mut driver = Driver::with(FakeMachine::new(1), config);
        let waiter = driver.spawn(on(&[0], 64), Program::Hog);
        let caller = driver.spawn(on(&[0], 64), Program::Hog);
        let server = driver.spawn(on(&[0], 64), Program::Sleeper { run: us(1), sleep: secs(100) });
        driver.run(ms(40));
        // Up to the beginning of a slice of the caller.
        for thread in [waiter, caller] {
            while driver.running[0] != Some(thread) {
                driver.run(us(50));
            }
        }
        driver.run(us(700));
        assert_eq!(driver.running[0], Some(caller), "its slice is 2 ms");
        let slice_end = driver.machine.armed(cpu(0)).expect("somebody waits, so the slice ends");
        driver.decide(cpu(0), |dispatcher| dispatcher.handoff_to(server));
        assert_eq!(driver.running[0], Some(server), "{policy:?}");
        assert_eq!(driver.machine.armed(cpu(0)), Some(slice_end), "{policy:?}: the slice is not renewed");
        assert_eq!(driver.dispatcher.snapshot(caller).expect("it lives").state, ThreadState::Blocked);
        // Counterfactual: one that is woken while its waker blocks waits for its turn.
        let woken = driver.spawn(on(&[0], 64), Program::Sleeper { run: us(1), sleep: secs(100) });
        let before = driver.machine.armed(cpu(0));
        driver.decide(cpu(0), |dispatcher| {
            let _ = dispatcher.wake(woken);
            dispatcher.block_current()
        });
        assert_ne!(driver.machine.armed(cpu(0)), before, "{policy:?}: the next one has a slice of its own");
    }
}

#[test]
fn a_reused_slot_starts_from_defaults() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    let first_life = driver
        .spawn(kernel_core::sched::Attributes { class: LatencyClass::Batch, ..on(&[0], 9_999) }, Program::Job(ms(30)));
    driver.spawn(on(&[0], 64), Program::Hog);
    driver.run(ms(100));
    assert!(driver.dispatcher.snapshot(first_life).is_err(), "the job has ended");
    let second_life = driver.spawn(anywhere(64), Program::Hog);
    assert_ne!(first_life, second_life);
    assert_eq!(first_life.as_u64() as u32, second_life.as_u64() as u32, "the slot is the same");
    let snapshot = driver.dispatcher.snapshot(second_life).expect("it lives");
    assert_eq!((snapshot.weight.get(), snapshot.class), (64, LatencyClass::Normal));
    assert_eq!((snapshot.runtime, snapshot.longest_wait), (Duration::ZERO, Duration::ZERO));
}

#[test]
fn a_cpu_that_leaves_gives_its_threads_away_and_gets_work_again_when_it_joins() {
    for policy in POLICIES {
        let mut driver = Driver::new(3, policy);
        let hogs: Vec<_> = (0..6).map(|_| driver.spawn(anywhere(64), Program::Hog)).collect();
        let bound = driver.spawn(on(&[2], 64), Program::Hog);
        driver.run(ms(30));
        driver.act(cpu(0), |dispatcher| dispatcher.cpu_leave(cpu(2))).expect("others stay");
        assert_eq!(driver.running[2], None, "{policy:?}");
        let before = driver.got(bound);
        driver.run(ms(100));
        assert_eq!(driver.got(bound), before, "{policy:?}: one that may run nowhere else waits");
        for &hog in &hogs {
            assert_ne!(driver.dispatcher.snapshot(hog).expect("it lives").cpu, cpu(2));
        }
        driver.act(cpu(0), |dispatcher| dispatcher.cpu_join(cpu(2))).expect("it exists");
        driver.run(ms(100));
        assert!(driver.got(bound) > before, "{policy:?}");
    }
    let driver = Driver::new(1, Policy::Eevdf);
    assert!(driver.dispatcher.cpu_leave(CpuId::BOOT).is_err(), "the last CPU stays");
}

#[test]
fn a_cpu_that_leaves_hands_its_timers_over() {
    let mut driver = Driver::new(2, Policy::Eevdf);
    let sleeper = driver.spawn(on(&[0, 1], 64), Program::Sleeper { run: us(100), sleep: ms(7) });
    driver.run(ms(3));
    let slept_on = driver.dispatcher.snapshot(sleeper).expect("it lives").cpu;
    assert!(driver.machine.armed(slept_on).is_some(), "its timer is armed there");
    let stays = cpu(1 - slept_on.get());
    driver.act(stays, |dispatcher| dispatcher.cpu_leave(slept_on)).expect("another one stays");
    assert_eq!(driver.machine.armed(slept_on), None, "nothing will wake the CPU that has left");
    assert!(driver.machine.armed(stays).is_some());
    driver.run(ms(10));
    assert!(driver.dispatcher.snapshot(sleeper).expect("it lives").dispatches >= 2, "it was woken by the other one");
}

#[test]
fn a_thread_that_runs_elsewhere_is_stopped_by_a_kick_and_its_id_is_stale_at_once() {
    let mut driver = Driver::new(2, Policy::Eevdf);
    let victim = driver.spawn(on(&[1], 64), Program::Hog);
    driver.run(ms(1));
    let ended = driver.machine.on(cpu(0), || driver.dispatcher.terminate(victim));
    assert_eq!(ended, Ok(Terminated::RunningOn(cpu(1))));
    assert!(driver.dispatcher.snapshot(victim).is_err() && driver.dispatcher.wake(victim).is_err());
    assert!(driver.machine.has_kick(cpu(1)));
    driver.settle();
    assert_eq!(driver.running[1], None);
}

#[test]
fn a_chain_of_short_threads_gets_what_one_thread_would() {
    for policy in POLICIES {
        for (hog_class, job_class, length) in [
            (LatencyClass::Normal, LatencyClass::Interactive, us(900)),
            (LatencyClass::Batch, LatencyClass::Interactive, us(900)),
            (LatencyClass::Batch, LatencyClass::Normal, us(1_900)),
            (LatencyClass::Normal, LatencyClass::Normal, us(1_900)),
        ] {
            let mut driver = Driver::new(1, policy);
            let hog = driver.spawn(Attributes { class: hog_class, ..on(&[0], 64) }, Program::Hog);
            let (mut job, mut jobs) = (None, 0);
            while jobs < 1_000 {
                if job.is_none_or(|job| driver.dispatcher.snapshot(job).is_err()) {
                    job = Some(driver.spawn(Attributes { class: job_class, ..on(&[0], 64) }, Program::Job(length)));
                    jobs += 1;
                }
                driver.run(us(100));
            }
            let elapsed = driver.dispatcher.cpu_snapshot(CpuId::BOOT).unwrap().elapsed;
            let share = driver.got(hog).as_nanos() * 100 / elapsed.as_nanos();
            // More than half is the jobs' own loss: what one is owed when it ends is owed to nobody.
            assert!((45..=90).contains(&share), "{policy:?} {hog_class:?} beside {job_class:?}: the hog had {share} %");
        }
    }
}
