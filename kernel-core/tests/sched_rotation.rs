//! Fair shares over several CPUs where load cannot be evened out, against a fluid server that serves any thread anywhere:
//! threads take turns, nobody waits for long, and no more threads move than is stated.
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::pace::CATCH_UP;
use kernel_core::sched::{Attributes, Config, LatencyClass, ThreadId};
use sched_driver::*;
use tessera_hal::Duration;
use tessera_hal::fake::FakeMachine;

/// The rates of a fluid server of `cpus` CPUs: in proportion to weight, but nobody gets more than one CPU. What a heavy
/// one cannot take is shared by the others.
fn fluid_rates(weights: &[u64], cpus: usize) -> Vec<f64> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| core::cmp::Reverse(weights[index]));
    let (mut left, mut total) = (cpus as f64, weights.iter().sum::<u64>() as f64);
    let mut rates = vec![0.0; weights.len()];
    for index in order {
        let weight = weights[index] as f64;
        rates[index] = (left * weight / total).min(1.0);
        left -= rates[index];
        total -= weight;
    }
    rates
}

/// One thread as a fluid server sees it.
struct Fluid {
    weight: u64,
    program: Program,
    /// Until it blocks, or until it wakes.
    rest: f64,
    sleeps: bool,
    got: f64,
}

/// What a fluid server would give threads with these weights and programs in `length`, in nanoseconds.
fn fluid_service(threads: &[(u16, Program)], cpus: usize, length: Duration) -> Vec<f64> {
    let start = |&(weight, program): &(u16, Program)| {
        let rest = match program {
            Program::Sleeper { run, .. } => run.as_nanos() as f64,
            _ => f64::INFINITY,
        };
        Fluid { weight: u64::from(weight), program, rest, sleeps: false, got: 0.0 }
    };
    let mut threads: Vec<Fluid> = threads.iter().map(start).collect();
    let mut left = length.as_nanos() as f64;
    while left > 0.0 {
        let awake: Vec<usize> = (0..threads.len()).filter(|&index| !threads[index].sleeps).collect();
        let weights: Vec<u64> = awake.iter().map(|&index| threads[index].weight).collect();
        let mut rates = vec![1.0; threads.len()];
        for (&index, rate) in awake.iter().zip(fluid_rates(&weights, cpus)) {
            rates[index] = rate;
        }
        let until = |(thread, rate): (&Fluid, &f64)| thread.rest / rate;
        let step = threads.iter().zip(&rates).map(until).fold(left, f64::min).max(1.0);
        for (thread, rate) in threads.iter_mut().zip(&rates) {
            thread.rest -= rate * step;
            thread.got += if thread.sleeps { 0.0 } else { rate * step };
            if let (true, Program::Sleeper { run, sleep }) = (thread.rest < 0.5, thread.program) {
                thread.sleeps = !thread.sleeps;
                thread.rest = if thread.sleeps { sleep } else { run }.as_nanos() as f64;
            }
        }
        left -= step;
    }
    threads.iter().map(|thread| thread.got).collect()
}

/// Runs these from the start on, and answers by how much of its fluid share each is away from it, in per cent.
fn distances(driver: &mut Driver, what: &[(u16, Program)], length: Duration) -> (Vec<ThreadId>, Vec<f64>) {
    driver.checked = false;
    let cpus = driver.running.len();
    let threads: Vec<_> = what.iter().map(|&(weight, program)| driver.spawn(anywhere(weight), program)).collect();
    driver.run(length);
    let ideal = fluid_service(what, cpus, length);
    let got = threads.iter().map(|&thread| driver.got(thread).as_nanos() as f64);
    let distances = got.zip(ideal).map(|(got, ideal)| (got / ideal - 1.0) * 100.0).collect();
    (threads, distances)
}

fn worst(distances: &[f64]) -> f64 {
    distances.iter().fold(0.0, |worst, distance| f64::max(worst, distance.abs()))
}

fn hogs(weights: &[u16]) -> Vec<(u16, Program)> {
    weights.iter().map(|&weight| (weight, Program::Hog)).collect()
}

fn migrations(driver: &Driver, threads: &[ThreadId]) -> u64 {
    threads.iter().map(|&thread| driver.dispatcher.snapshot(thread).expect("it lives").migrations).sum()
}

/// What the documents promise for equal weights: each CPU takes at most one thread per grid period of 10 ms. Where weights
/// differ another one may go back in exchange.
fn migration_bound(cpus: usize, length: Duration) -> u64 {
    cpus as u64 * (length.as_nanos() / 10_000_000)
}

/// What the documents promise among equal weights. Those who divide among the CPUs do not move, so only those on the same CPU go
/// first. Others move, which ends no wait: those on two CPUs may go first, and those who catch up.
fn wait_bound(threads: usize, cpus: usize, longest_request: Duration) -> Duration {
    let round = threads.div_ceil(cpus) as u64;
    longest_request.saturating_mul(if threads.is_multiple_of(cpus) { round } else { 2 * round + CATCH_UP })
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn equal_threads_that_do_not_divide_among_the_cpus_take_turns() {
    for policy in POLICIES {
        let few = [(2, 3), (4, 5), (4, 7), (3, 7), (8, 9), (8, 15), (3, 10), (16, 29)];
        let many = [(4, 17), (6, 26), (12, 63), (16, 58), (16, 86)];
        for (cpus, count) in few.into_iter().chain(many) {
            let mut driver = Driver::new(cpus, policy);
            let (threads, distances) = distances(&mut driver, &hogs(&vec![64; count]), SECOND);
            let case = format!("{policy:?}: {count} on {cpus}");
            assert!(worst(&distances) <= 5.0, "{case}: {distances:.1?}");
            let moved = migrations(&driver, &threads);
            assert!(moved > 0 && moved <= migration_bound(cpus, SECOND), "{case}: {moved} migrations");
            for thread in threads {
                let waited = driver.dispatcher.snapshot(thread).expect("it lives").longest_wait;
                assert!(waited <= wait_bound(count, cpus, ms(2)), "{case}: one waited {waited}");
            }
        }
        // Counterfactual: without grid points nothing moves, and the pair gets half of what the lonely one gets.
        let config = Config { policy, grid: SECOND, ..Config::new(2) };
        let mut driver = Driver::with(FakeMachine::new(2), config);
        let (_, distances) = distances(&mut driver, &hogs(&[64; 3]), ms(990));
        assert!(worst(&distances) >= 20.0, "{policy:?}: {distances:.1?}");
    }
}

#[test]
fn unequal_weights_get_their_shares_of_all_cpus() {
    let cases: [(usize, &[u16]); 12] = [
        (2, &[128, 64, 64, 64]),
        (2, &[5, 3, 3]),
        (2, &[3, 3, 2]),
        (2, &[100, 64, 64]),
        (3, &[1_000, 64, 64, 64]),
        (4, &[10, 20, 30, 40, 50, 60, 70]),
        (2, &[10_000, 1, 1]),
        (3, &[640, 64, 64, 64, 64, 6]),
        // One light one and as many heavy ones as CPUs.
        (2, &[64, 1_024, 1_024]),
        (3, &[16, 256, 256, 256]),
        (4, &[32, 256, 256, 256, 256]),
        // Five that can have no more than a CPU each, and two that take turns with the lightest of these.
        (6, &[94, 31, 59, 236, 20, 39, 104]),
    ];
    for policy in POLICIES {
        for (cpus, weights) in cases {
            let mut driver = Driver::new(cpus, policy);
            let length = Duration::from_secs(10);
            let (threads, distances) = distances(&mut driver, &hogs(weights), length);
            assert!(worst(&distances) <= 10.0, "{policy:?}: {weights:?} on {cpus}: {distances:.1?}");
            let moved = migrations(&driver, &threads);
            let bound = 2 * migration_bound(cpus, length);
            assert!(moved <= bound, "{policy:?}: {weights:?} on {cpus}: {moved} migrations");
        }
    }
}

#[test]
fn hogs_beside_sleepers_get_their_shares_of_all_cpus() {
    // CPUs, hogs, and the sleepers: how many ms they run and sleep.
    type Case = (usize, usize, &'static [(u64, u64)]);
    let cases: [Case; 8] = [
        (2, 2, &[(1, 4)]),
        (4, 4, &[(1, 4)]),
        (2, 2, &[(2, 8)]),
        (2, 2, &[(5, 5)]),
        (2, 3, &[(2, 8)]),
        (4, 4, &[(1, 4), (2, 8), (3, 7)]),
        (4, 6, &[(1, 4), (2, 8), (3, 7)]),
        (4, 5, &[(10, 10), (1, 99)]),
    ];
    for policy in POLICIES {
        for (cpus, count, sleepers) in cases {
            let mut driver = Driver::new(cpus, policy);
            let mut what = hogs(&vec![64; count]);
            what.extend(sleepers.iter().map(|&(run, sleep)| (64, Program::Sleeper { run: ms(run), sleep: ms(sleep) })));
            let (_, distances) = distances(&mut driver, &what, SECOND);
            // A sleeper waits for a slice to end, which a fluid server does not know; so its share is not judged here.
            let distances = &distances[..count];
            assert!(worst(distances) <= 5.0, "{policy:?}: {count} hogs, {sleepers:?} on {cpus}: {distances:.1?}");
        }
    }
}

#[test]
fn threads_that_are_spread_evenly_stay_where_they_are() {
    for policy in POLICIES {
        for (cpus, count) in [(2, 4), (4, 4), (4, 12)] {
            let mut driver = Driver::new(cpus, policy);
            driver.checked = false;
            let threads: Vec<_> = (0..count).map(|_| driver.spawn(anywhere(64), Program::Hog)).collect();
            driver.run(ms(200));
            let before = migrations(&driver, &threads);
            driver.run(SECOND);
            assert_eq!(migrations(&driver, &threads), before, "{policy:?}: {count} on {cpus}");
        }
    }
}

#[test]
fn pinned_threads_get_what_their_cpu_has_and_let_the_others_take_turns() {
    for policy in POLICIES {
        let mut driver = Driver::new(2, policy);
        driver.checked = false;
        // Two are bound to CPU 0, so the two that may go anywhere have CPU 1 and a fifth of CPU 0 for them: all four and
        // the one bound to CPU 1 get two fifths.
        let mut threads: Vec<_> = [0, 0, 1].map(|index| driver.spawn(on(&[index], 64), Program::Hog)).into();
        threads.extend((0..2).map(|_| driver.spawn(anywhere(64), Program::Hog)));
        driver.run(SECOND);
        let before: Vec<_> = threads.iter().map(|&thread| driver.got(thread)).collect();
        driver.run(SECOND);
        for (&thread, &before) in threads.iter().zip(&before) {
            let got = share(driver.got(thread).saturating_sub(before), SECOND);
            assert!(got.abs_diff(400_000) <= 20_000, "{policy:?}: one of five got {got}");
        }
    }
}

#[test]
fn threads_that_may_run_on_all_cpus_but_one_take_turns_with_those_that_may_run_there_too() {
    for policy in POLICIES {
        let mut driver = Driver::new(3, policy);
        driver.checked = false;
        let threads: Vec<_> =
            [&[0, 1, 2][..], &[0, 2], &[0, 1, 2], &[0, 2]].map(|cpus| driver.spawn(on(cpus, 64), Program::Hog)).into();
        driver.run(SECOND);
        for &thread in &threads {
            let got = share(driver.got(thread), SECOND);
            assert!(got.abs_diff(750_000) <= 37_500, "{policy:?}: one of four on three got {got}");
        }
    }
}

#[test]
fn one_that_could_run_on_an_idle_cpu_makes_room_for_two_that_could_not() {
    for policy in POLICIES {
        let mut driver = Driver::new(3, policy);
        driver.checked = false;
        let threads = [&[1, 2][..], &[0, 1], &[0, 1]].map(|cpus| driver.spawn(on(cpus, 64), Program::Hog));
        driver.run(SECOND);
        for thread in threads {
            let got = share(driver.got(thread), SECOND);
            assert!(got >= 950_000, "{policy:?}: there are three CPUs for three, and one got {got}");
        }
    }
}

#[test]
fn what_queues_differ_by_while_nobody_could_move_is_no_claim_once_they_can() {
    for policy in POLICIES {
        for (alone, together) in [(1, 4), (1, 2), (2, 5)] {
            let mut driver = Driver::new(2, policy);
            driver.checked = false;
            let bound = [vec![1; alone], vec![0; together]].concat();
            let threads: Vec<_> = bound.iter().map(|&cpu| driver.spawn(on(&[cpu], 64), Program::Hog)).collect();
            driver.run(Duration::from_secs(3));
            for &thread in &threads {
                driver
                    .act(cpu(0), |dispatcher| dispatcher.set_affinity(thread, on(&[0, 1], 64).affinity))
                    .expect("it lives");
            }
            driver.run(ms(200));
            let before: Vec<_> = threads.iter().map(|&thread| driver.got(thread)).collect();
            driver.run(SECOND);
            let ideal = 2_000_000 / threads.len() as u64;
            for (&thread, &before) in threads.iter().zip(&before) {
                let got = share(driver.got(thread).saturating_sub(before), SECOND);
                assert!(got.abs_diff(ideal) <= ideal / 20, "{policy:?}: {alone} and {together}: {got}, not {ideal}");
            }
        }
    }
}

#[test]
fn a_difference_that_pinned_threads_have_made_is_no_claim_of_those_who_come_later() {
    for policy in POLICIES {
        let mut driver = Driver::new(2, policy);
        driver.checked = false;
        // CPU 1 gives its lonely thread three times what CPU 0 can give its own, for five seconds.
        for index in [0, 0, 0, 1] {
            driver.spawn(on(&[index], 64), Program::Hog);
        }
        driver.run(Duration::from_secs(5));
        let newcomer = driver.spawn(on(&[0, 1], 64), Program::Hog);
        let host = driver.spawn(on(&[1], 64), Program::Hog);
        driver.run(ms(100));
        let (before, of_host) = (driver.got(newcomer), driver.got(host));
        driver.run(SECOND);
        for got in [driver.got(newcomer).saturating_sub(before), driver.got(host).saturating_sub(of_host)] {
            assert!(share(got, SECOND).abs_diff(333_333) <= 20_000, "{policy:?}: {got} of a second");
        }
    }
}

#[test]
fn classes_of_equal_weight_get_equal_shares_in_the_long_run() {
    for policy in POLICIES {
        for (cpus, of_each) in [(1, 1), (2, 1), (3, 2)] {
            let mut driver = Driver::new(cpus, policy);
            driver.checked = false;
            let classes = LatencyClass::ALL.iter().cycle().take(4 * of_each);
            let threads: Vec<_> =
                classes.map(|&class| driver.spawn(Attributes { class, ..anywhere(64) }, Program::Hog)).collect();
            let length = Duration::from_secs(10);
            driver.run(length);
            let ideal = 1_000_000 * cpus as u64 / threads.len() as u64;
            for &thread in &threads {
                let got = share(driver.got(thread), length);
                let class = driver.dispatcher.snapshot(thread).expect("it lives").class;
                assert!(got.abs_diff(ideal) <= ideal / 100, "{policy:?} {class:?} on {cpus}: {got}, not {ideal}");
            }
        }
    }
}

#[test]
fn those_who_start_together_are_dispatched_in_the_order_of_their_classes() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let of = |class| Attributes { class, ..on(&[0], 64) };
        use LatencyClass::{Batch, Interactive, IpcServer, Normal};
        let classes = [Batch, IpcServer, Interactive, Normal];
        let threads = classes.map(|class| driver.dispatcher.create(of(class), 7).expect("room"));
        // All are ready before the CPU decides.
        driver.machine.on(cpu(0), || {
            for thread in threads {
                driver.dispatcher.start(thread, None).expect("it is new");
            }
        });
        driver.run(ms(20));
        let mut order = Vec::new();
        for &(_, thread) in &driver.log {
            if !order.contains(&thread) {
                order.push(thread);
            }
        }
        let [batch, server, interactive, normal] = threads;
        assert_eq!(order, [interactive, server, normal, batch], "{policy:?}: server and normal as they came");
    }
}

#[test]
fn nobody_among_k_times_the_cpus_waits_longer_than_their_requests() {
    for policy in POLICIES {
        for (cpus, per_cpu) in [(1, 8), (2, 6), (4, 4)] {
            let mut driver = Driver::new(cpus, policy);
            driver.checked = false;
            let batch = Attributes { class: LatencyClass::Batch, ..anywhere(64) };
            let mut threads = vec![driver.spawn(batch, Program::Hog)];
            threads.extend((1..cpus * per_cpu).map(|_| driver.spawn(anywhere(64), Program::Hog)));
            driver.run(Duration::from_secs(2));
            for (index, &thread) in threads.iter().enumerate() {
                let waited = driver.dispatcher.snapshot(thread).expect("it lives").longest_wait;
                let bound = wait_bound(threads.len(), cpus, ms(8));
                assert!(waited <= bound, "{policy:?}: thread {index} of {per_cpu} x {cpus} waited {waited} of {bound}");
            }
        }
    }
}
