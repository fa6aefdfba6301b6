//! Weighted shares against what a fluid server would give, for both policies, with two witnesses: the dispatcher's
//! books and the driver's own clock.
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::{Attributes, LatencyClass, ThreadId};
use sched_driver::*;
use tessera_hal::Duration;

/// Runs hogs of these weights on one CPU and answers what each got, in millionths of the whole.
fn shares(driver: &mut Driver, weights: &[u16], length: Duration) -> Vec<u64> {
    let threads: Vec<_> = weights.iter().map(|&weight| driver.spawn(on(&[0], weight), Program::Hog)).collect();
    driver.run(length);
    threads.iter().map(|&thread| witnessed_share(driver, thread, length)).collect()
}

fn witnessed_share(driver: &Driver, thread: ThreadId, length: Duration) -> u64 {
    let booked = driver.dispatcher.snapshot(thread).expect("it lives").runtime;
    assert_eq!(booked, driver.got(thread), "the books and the clock agree");
    share(booked, length)
}

#[test]
fn hogs_get_what_they_ask_for_within_half_a_percent() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let got = shares(&mut driver, &[128, 64, 64], Duration::from_secs(10));
        for (got, wanted) in got.iter().zip([500_000, 250_000, 250_000_u64]) {
            assert!(got.abs_diff(wanted) <= 5_000, "{policy:?}: {got} of a million, wanted {wanted}");
        }
    }
}

#[test]
fn equal_weights_give_equal_shares() {
    for policy in POLICIES {
        let got = shares(&mut Driver::new(1, policy), &[64, 64, 64], Duration::from_secs(10));
        assert!(got.iter().all(|got| got.abs_diff(333_333) <= 2_000), "{policy:?}: {got:?}");
    }
}

#[test]
fn no_weight_starves_and_none_rounds_to_zero() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        driver.checked = false;
        let got = shares(&mut driver, &[10_000, 1, 1], Duration::from_secs(200));
        for light in &got[1..] {
            assert!(light.abs_diff(100) <= 20, "{policy:?}: weight 1 among 10002 got {light} of a million");
        }
    }
}

#[test]
fn no_thread_is_further_from_the_fluid_share_than_two_requests_at_any_time() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let weights = [300, 64, 17, 64];
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let threads: Vec<_> = weights.iter().map(|&weight| driver.spawn(on(&[0], weight), Program::Hog)).collect();
        for step in 1..=500_u64 {
            driver.run(us(1_700));
            for (&thread, &weight) in threads.iter().zip(&weights) {
                let fluid = step * 1_700_000 * u64::from(weight) / total;
                let error = driver.got(thread).as_nanos().abs_diff(fluid);
                // EEVDF keeps everyone within one request; WFQ may run a heavy one ahead by up to one more.
                let bound = if policy == kernel_core::sched::Policy::Eevdf { 2_100_000 } else { 6_100_000 };
                assert!(error <= bound, "{policy:?}: weight {weight} is {error} ns from its fluid share");
            }
        }
    }
}

#[test]
fn a_weight_change_takes_effect_at_once_and_in_the_right_proportion() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let heavy = driver.spawn(on(&[0], 64), Program::Hog);
        let other = driver.spawn(on(&[0], 64), Program::Hog);
        driver.run(Duration::from_secs(5));
        let (heavy_before, other_before) = (driver.got(heavy), driver.got(other));
        driver.act(cpu(0), |dispatcher| dispatcher.set_weight(heavy, weight(192))).expect("it lives");
        driver.run(Duration::from_secs(4));
        let gained = driver.got(heavy).saturating_sub(heavy_before);
        let lost = driver.got(other).saturating_sub(other_before);
        assert!(gained.as_nanos().abs_diff(3_000_000_000) <= 10_000_000, "{policy:?}: {gained}");
        assert!(lost.as_nanos().abs_diff(1_000_000_000) <= 10_000_000, "{policy:?}: {lost}");
    }
}

#[test]
fn at_most_one_other_is_dispatched_between_an_interactive_wake_up_and_its_dispatch() {
    for policy in POLICIES {
        let sleep_among_hogs = |class, request, program| {
            let mut driver = Driver::new(1, policy);
            for weight in [128, 64, 64] {
                driver.spawn(on(&[0], weight), Program::Hog);
            }
            let attributes = Attributes { class, request, ..on(&[0], 64) };
            let sleeper = driver.spawn(attributes, program);
            driver.run(Duration::from_secs(5));
            assert!(driver.latencies(sleeper).len() > 30, "{policy:?} {class:?}: woke too seldom to tell");
            let counted = driver.dispatcher.snapshot(sleeper).unwrap().most_passed_by;
            (driver.most_passed_by(sleeper), counted)
        };
        let short = Program::Sleeper { run: us(200), sleep: ms(20) };
        let (interactive, counted) = sleep_among_hogs(LatencyClass::Interactive, Some(us(500)), short);
        assert_eq!(counted, interactive as u64, "{policy:?}: the books agree with who was seen to run");
        assert!(interactive <= 1, "{policy:?}: {interactive} others ran first");
        // One that runs longer than its share is in debt when it wakes, and lets others go first.
        let long = Program::Sleeper { run: ms(12), sleep: ms(2) };
        let (batch, counted) = sleep_among_hogs(LatencyClass::Batch, None, long);
        // The books also count each further request of the one that runs.
        assert!(counted >= batch as u64, "{policy:?}: counted {counted}, seen {batch}");
        assert!(batch > 1, "{policy:?}: only {batch} others ran before one in debt");
    }
}
