//! Progressive filling: raise the rates of all in proportion to their weights; whoever reaches a whole CPU, or shares a
//! bottleneck that is full, stays where it is; go on with the others.

use super::flow::{NOTHING, Network};
use crate::workload::CpuSet;

/// Threads of one weight and one affinity.
#[derive(Clone, PartialEq, Debug)]
pub struct Demand {
    /// The weight of each.
    pub weight: f64,
    /// Where they may run.
    pub cpus: CpuSet,
    /// How many there are.
    pub threads: usize,
}

/// The rate, in CPUs, of each thread of each group, on a machine of `cpus`.
pub fn fill(cpus: usize, demands: &[Demand]) -> Vec<f64> {
    let all = CpuSet::first(cpus);
    let masks: Vec<CpuSet> = demands.iter().map(|demand| demand.cpus.intersection(&all)).collect();
    match masks.first() {
        Some(first) if masks.iter().all(|mask| mask == first) => fill_one_class(first.len(), demands),
        _ => fill_classes(&all, &masks, demands),
    }
}

/// All may run on the same CPUs: the only bottleneck is their number.
fn fill_one_class(cpus: usize, demands: &[Demand]) -> Vec<f64> {
    let groups: Vec<usize> = (0..demands.len()).collect();
    let level = level(cpus as f64, &groups, demands);
    demands.iter().map(|demand| rate(level, demand)).collect()
}

/// What a thread gets at a level: its weight times the level, but no more than a CPU.
fn rate(level: f64, demand: &Demand) -> f64 {
    (demand.weight * level).min(1.0)
}

/// The level at which these groups use `capacity` CPUs; infinite if they never do.
fn level(capacity: f64, groups: &[usize], demands: &[Demand]) -> f64 {
    let mut by_weight: Vec<(f64, usize)> =
        groups.iter().map(|&group| (demands[group].weight, demands[group].threads)).collect();
    by_weight.sort_by(|a, b| b.0.total_cmp(&a.0));
    level_of_sorted(capacity, by_weight.into_iter())
}

/// As `level`, for weights and numbers of threads, heaviest first. Allocates nothing.
pub(super) fn level_of_sorted(capacity: f64, groups: impl Iterator<Item = (f64, usize)> + Clone) -> f64 {
    let mut capacity = capacity;
    let mut weights: f64 = groups.clone().map(|(weight, threads)| weight * threads as f64).sum();
    for (weight, threads) in groups.filter(|&(_, threads)| threads > 0) {
        let level = capacity / weights;
        // The heaviest that is left does not reach a whole CPU: nobody does.
        if weight * level < 1.0 {
            return level.max(0.0);
        }
        capacity -= threads as f64;
        weights -= weight * threads as f64;
    }
    f64::INFINITY
}

/// CPUs fall into classes with equal users; bottlenecks are sets of classes.
fn fill_classes(all: &CpuSet, masks: &[CpuSet], demands: &[Demand]) -> Vec<f64> {
    let (edges, capacities) = classes(all, masks);
    let network = Network { edges: &edges, capacities: &capacities };
    let mut rates: Vec<Option<f64>> = demands.iter().map(|demand| (demand.threads == 0).then_some(0.0)).collect();
    loop {
        let open: Vec<usize> = (0..demands.len()).filter(|&group| rates[group].is_none()).collect();
        if open.is_empty() {
            return rates.into_iter().flatten().collect();
        }
        let (level, full) = highest_level(&network, demands, &rates);
        // Those at the bottleneck stay where they are; without one everybody has a CPU.
        for group in full.unwrap_or(open) {
            rates[group].get_or_insert(rate(level, &demands[group]));
        }
    }
}

/// The highest level that can be served, and the groups at the bottleneck that forbids a higher one.
fn highest_level(network: &Network<'_>, demands: &[Demand], rates: &[Option<f64>]) -> (f64, Option<Vec<usize>>) {
    let mut bound = f64::INFINITY;
    let mut full = None;
    loop {
        let wanted = |(demand, fixed): (&Demand, &Option<f64>)| {
            fixed.unwrap_or_else(|| rate(bound, demand)) * demand.threads as f64
        };
        let totals: Vec<f64> = demands.iter().zip(rates).map(wanted).collect();
        let Some(groups) = network.excess(&totals) else { return (bound, full) };
        let mut capacity = network.capacity_of(&groups);
        for &group in &groups {
            capacity -= rates[group].map_or(0.0, |rate| rate * demands[group].threads as f64);
        }
        let open: Vec<usize> = groups.into_iter().filter(|&group| rates[group].is_none()).collect();
        let lower = level(capacity.max(0.0), &open, demands);
        // Rounding can find the same bottleneck again.
        if open.is_empty() || lower >= bound - NOTHING * bound.min(1.0) {
            return (bound, full);
        }
        (bound, full) = (lower, Some(open));
    }
}

/// Classes of CPUs with the same users: for each group its classes, and the size of each class.
fn classes(all: &CpuSet, masks: &[CpuSet]) -> (Vec<Vec<usize>>, Vec<f64>) {
    let mut classes: Vec<(CpuSet, Vec<bool>)> = vec![(*all, Vec::new())];
    for mask in masks {
        let mut split = Vec::with_capacity(classes.len() + 1);
        for (cpus, users) in classes {
            for (part, used) in [(cpus.intersection(mask), true), (cpus.difference(mask), false)] {
                if !part.is_empty() {
                    let mut users = users.clone();
                    users.push(used);
                    split.push((part, users));
                }
            }
        }
        classes = split;
    }
    let edges = (0..masks.len()).map(|group| (0..classes.len()).filter(|&class| classes[class].1[group]).collect());
    (edges.collect(), classes.iter().map(|(cpus, _)| cpus.len() as f64).collect())
}

impl Network<'_> {
    /// How many CPUs these groups may use together.
    fn capacity_of(&self, groups: &[usize]) -> f64 {
        let used = |class: &usize| groups.iter().any(|&group| self.edges[group].contains(class));
        (0..self.capacities.len()).filter(used).map(|class| self.capacities[class]).sum()
    }
}
