//! At the ends of what numbers can be: the least and the greatest weight in turns, a million changes of weight (in a release
//! build), the end of `u64` time. The least beside the greatest weight is in `sched_shares`.
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::{Config, ThreadState};
use sched_driver::*;
use tessera_hal::fake::FakeMachine;
use tessera_hal::{Duration, Instant};

/// For each of two policies.
const ROUNDS: u64 = if cfg!(debug_assertions) { 20_000 } else { 500_000 };

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_total_weight_is_the_sum_whatever_changes_of_running_queued_and_blocked_threads_were_before() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        driver.checked = false;
        let hogs = [0, 1].map(|_| driver.spawn(on(&[0], 64), Program::Hog));
        let blocked = driver.dispatcher.create(on(&[0], 64), 7).expect("room");
        driver.run(ms(1));
        for round in 0..ROUNDS {
            let thread = [hogs[0], hogs[1], blocked][(round % 3) as usize];
            let number = match round % 5 {
                0 => 1,
                1 => 10_000,
                _ => (round * 7_919 % 10_000 + 1) as u16,
            };
            driver.machine.on(cpu(0), || driver.dispatcher.set_weight(thread, weight(number))).expect("it lives");
            driver.machine.advance(Duration::from_nanos(round % 1_000));
            if round % 1_000 == 0 {
                driver.settle();
                // The kept mean and total are compared with the members' own.
                driver.dispatcher.check_invariants().expect("the invariants hold");
            }
        }
        assert_eq!(driver.dispatcher.snapshot(blocked).expect("it lives").state, ThreadState::Blocked);
        for thread in hogs {
            driver.act(cpu(0), |dispatcher| dispatcher.set_weight(thread, weight(64))).expect("it lives");
        }
        driver.run(SECOND);
        let before = hogs.map(|thread| driver.got(thread));
        driver.run(SECOND);
        for (thread, before) in hogs.into_iter().zip(before) {
            let got = share(driver.got(thread).saturating_sub(before), SECOND);
            assert!(got.abs_diff(500_000) <= 5_000, "{policy:?}: {got} after all these changes");
        }
    }
}

#[test]
fn shares_hold_up_to_the_end_of_time() {
    for policy in POLICIES {
        let machine = FakeMachine::new(2);
        machine.set_now(Instant::from_nanos(u64::MAX - 3_000_000_000));
        let mut driver = Driver::with(machine, Config { policy, ..Config::new(2) });
        let threads: Vec<_> = [128, 64, 64].map(|weight| driver.spawn(on(&[0], weight), Program::Hog)).into();
        let sleeper = driver.spawn(on(&[1], 64), Program::Sleeper { run: ms(1), sleep: ms(4) });
        driver.run(Duration::from_millis(2_900));
        for (&thread, wanted) in threads.iter().zip([500_000, 250_000, 250_000_u64]) {
            let got = share(driver.got(thread), Duration::from_millis(2_900));
            assert!(got.abs_diff(wanted) <= 5_000, "{policy:?}: {got}, not {wanted}");
        }
        assert!(driver.got(sleeper) >= ms(570), "{policy:?}: timers fire");
    }
}
