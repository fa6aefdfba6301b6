//! The ideal against a maximum flow of another make: over single threads and single CPUs, in whole numbers.

use super::{Demand, Fluid, fill};
use crate::workload::CpuSet;
use kernel_core::sched::Weight;
use proptest::prelude::*;
use tessera_hal::{CpuId, Instant};

/// One CPU, in the whole numbers of the reference.
const CPU: u64 = 1_000_000_000_000;
/// Rates are rounded down to whole numbers, and computed in floating point.
const SLACK: u64 = 10_000;

/// The largest flow from threads with these demands to CPUs of one unit each (Ford and Fulkerson, depth first).
fn max_flow(demands: &[u64], masks: &[Vec<usize>], cpus: usize) -> u64 {
    let mut sent = vec![vec![0_u64; cpus]; demands.len()];
    let mut total = 0;
    for (thread, &demand) in demands.iter().enumerate() {
        let mut left = demand;
        while left > 0 {
            let amount = push(thread, left, masks, &mut sent, &mut vec![false; cpus]);
            if amount == 0 {
                break;
            }
            left -= amount;
            total += amount;
        }
    }
    total
}

fn push(thread: usize, left: u64, masks: &[Vec<usize>], sent: &mut [Vec<u64>], seen: &mut [bool]) -> u64 {
    for &cpu in &masks[thread] {
        if std::mem::replace(&mut seen[cpu], true) {
            continue;
        }
        let free = CPU - sent.iter().map(|sent| sent[cpu]).sum::<u64>();
        if free > 0 {
            let amount = free.min(left);
            sent[thread][cpu] += amount;
            return amount;
        }
        for other in 0..sent.len() {
            if other == thread || sent[other][cpu] == 0 {
                continue;
            }
            let movable = left.min(sent[other][cpu]);
            let amount = push(other, movable, masks, sent, seen);
            if amount > 0 {
                sent[other][cpu] -= amount;
                sent[thread][cpu] += amount;
                return amount;
            }
        }
    }
    0
}

/// Threads of a small machine: weight and mask.
fn threads(cpus: usize) -> impl Strategy<Value = Vec<(u64, Vec<usize>)>> {
    let mask = prop::collection::btree_set(0..cpus, 1..=cpus).prop_map(|set| set.into_iter().collect());
    prop::collection::vec((prop::sample::select(vec![1_u64, 3, 64, 100, 640, 10_000]), mask), 1..8)
}

fn demand(weight: u64, mask: &[usize], threads: usize) -> Demand {
    let cpus: CpuSet = mask.iter().map(|&cpu| CpuId::new(cpu as u16)).collect();
    Demand { weight: weight as f64, cpus, threads }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rates_can_be_served_and_nobody_could_get_more_but_from_those_who_have_no_more(
        (cpus, threads) in (1_usize..5).prop_flat_map(|cpus| (Just(cpus), threads(cpus))),
    ) {
        let demands: Vec<Demand> = threads.iter().map(|(weight, mask)| demand(*weight, mask, 1)).collect();
        let rates = fill(cpus, &demands);
        let masks: Vec<Vec<usize>> = threads.iter().map(|(_, mask)| mask.clone()).collect();
        let whole: Vec<u64> = rates.iter().map(|rate| (rate * CPU as f64) as u64).collect();
        let sum: u64 = whole.iter().sum();
        prop_assert!(max_flow(&whole, &masks, cpus) + SLACK >= sum, "{rates:?} cannot be served");
        for thread in (0..threads.len()).filter(|&thread| whole[thread] + SLACK < CPU) {
            // All who have no more per weight keep what they have, the others give up all of theirs.
            let level = |thread: usize| rates[thread] / threads[thread].0 as f64;
            let mut wanted: Vec<u64> = (0..threads.len())
                .map(|other| if level(other) <= level(thread) * (1.0 + 1e-9) { whole[other] } else { 0 })
                .collect();
            wanted[thread] += CPU / 10_000;
            let sum: u64 = wanted.iter().sum();
            prop_assert!(
                max_flow(&wanted, &masks, cpus) + SLACK < sum,
                "thread {thread} of {threads:?} could get more than {rates:?}"
            );
        }
    }

    #[test]
    fn groups_get_what_their_threads_would_get_one_by_one(
        cpus in 1_usize..5,
        groups in prop::collection::vec((1_u64..200, 1_usize..4), 1..4),
    ) {
        let everywhere: Vec<usize> = (0..cpus).collect();
        let grouped: Vec<Demand> = groups.iter().map(|&(weight, threads)| demand(weight, &everywhere, threads)).collect();
        let single: Vec<Demand> = groups
            .iter()
            .flat_map(|&(weight, threads)| std::iter::repeat_n(demand(weight, &everywhere, 1), threads))
            .collect();
        let expected = fill(cpus, &single);
        let found = fill(cpus, &grouped);
        let spread = groups.iter().zip(found).flat_map(|(&(_, threads), rate)| std::iter::repeat_n(rate, threads));
        for (rate, expected) in spread.zip(expected) {
            prop_assert!((rate - expected).abs() < 1e-9);
        }
    }
}

#[test]
fn a_heavy_thread_gets_one_cpu_and_no_more() {
    let rates = fill(2, &[demand(10_000, &[0, 1], 1), demand(1, &[0, 1], 2)]);
    assert_eq!(rates, [1.0, 0.5]);
}

#[test]
fn threads_that_are_bound_leave_the_rest_to_those_who_are_not() {
    // Three on CPU 0, one anywhere: it takes CPU 1.
    let rates = fill(2, &[demand(64, &[0], 3), demand(64, &[0, 1], 1)]);
    assert!((rates[0] - 1.0 / 3.0).abs() < 1e-12 && rates[1] == 1.0, "{rates:?}");
}

#[test]
fn a_fluid_counts_only_while_somebody_is_there() {
    let mut fluid = Fluid::new(1);
    let weight = |number| Weight::new(number).expect("a weight");
    let at = Instant::from_nanos;
    let heavy = fluid.group(weight(128), &CpuSet::ALL, at(0));
    let light = fluid.group(weight(64), &CpuSet::ALL, at(0));
    fluid.add(heavy, at(0));
    fluid.add(light, at(300));
    fluid.remove(heavy, at(600));
    assert_eq!(fluid.service(heavy, at(900)), 300.0 + 200.0 + 300.0, "what one of them would have got");
    assert_eq!(fluid.service(light, at(900)) - fluid.service(light, at(900)), 0.0);
    let bound = fluid.group(weight(64), &CpuSet::of(CpuId::BOOT), at(900));
    let (before, bound_before) = (fluid.service(light, at(900)), fluid.service(bound, at(900)));
    fluid.add(bound, at(900));
    assert_eq!(fluid.service(light, at(1000)) - before, 50.0);
    assert_eq!(fluid.service(bound, at(1000)) - bound_before, 50.0);
}
