//! The shares that threads should get: the weighted max-min fair allocation of CPU time over affinity masks.
//!
//! Progressive filling: the level (run time per weight) of all threads rises together; a thread stops when it has what
//! it can use, or when the CPUs that it could still move to are full. Whether a level is feasible is a flow problem from
//! groups of threads with the same mask to groups of CPUs that the same masks permit (Hall's condition). A thread runs on
//! one CPU at a time, so it never gets more than one CPU has.

use crate::records::CpuList;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A thread that wants CPU time.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// Its weight.
    pub weight: u32,
    /// The CPUs that it may use.
    pub affinity: &'a CpuList,
    /// What it can use at most, in nanoseconds; `None`: all that it gets.
    pub limit_ns: Option<u64>,
}

/// With more distinct masks than this the allocation is not computed: it is drawn each second.
pub const MOST_MASKS: usize = 24;

/// Nanoseconds of CPU time that each claim should get, in the order of the claims; `None` if there are more than
/// [`MOST_MASKS`] distinct masks.
pub fn fair_shares(claims: &[Claim<'_>], capacity_ns: &BTreeMap<u32, u64>) -> Option<Vec<f64>> {
    let filling = Filling::new(claims, capacity_ns);
    (filling.groups <= MOST_MASKS).then(|| filling.fill())
}

/// Relative precision of levels and flows.
const PRECISION: f64 = 1e-9;

struct Member {
    weight: f64,
    limit: f64,
    group: usize,
    /// What it got, once it has stopped.
    stopped: Option<f64>,
}

struct Filling {
    members: Vec<Member>,
    groups: usize,
    network: Network,
    total: f64,
}

impl Filling {
    fn new(claims: &[Claim<'_>], capacity_ns: &BTreeMap<u32, u64>) -> Self {
        let masks: BTreeSet<&CpuList> = claims.iter().map(|claim| claim.affinity).collect();
        let masks: Vec<&CpuList> = masks.into_iter().collect();
        let capacity = |cpu: &u32| capacity_ns.get(cpu).copied().unwrap_or(0);
        let members = claims.iter().map(|claim| {
            let largest = claim.affinity.0.iter().map(capacity).max().unwrap_or(0);
            Member {
                weight: f64::from(claim.weight.max(1)),
                limit: claim.limit_ns.unwrap_or(u64::MAX).min(largest) as f64,
                group: masks.binary_search(&claim.affinity).unwrap_or(0),
                stopped: None,
            }
        });
        // CPUs that the same masks permit are one sink with the sum of their capacities.
        let mut sinks: BTreeMap<Vec<bool>, u64> = BTreeMap::new();
        for (cpu, capacity) in capacity_ns {
            let permitting = masks.iter().map(|mask| mask.0.contains(cpu)).collect();
            *sinks.entry(permitting).or_default() += capacity;
        }
        Self {
            members: members.collect(),
            groups: masks.len(),
            total: capacity_ns.values().sum::<u64>() as f64,
            network: Network {
                permitted: sinks.keys().cloned().collect(),
                capacity: sinks.values().map(|capacity| *capacity as f64).collect(),
            },
        }
    }

    fn fill(mut self) -> Vec<f64> {
        let mut level = 0.0;
        // Each round may leave the demand over the capacity by its slack, so the next one needs more.
        let mut slack = self.total * PRECISION;
        while self.members.iter().any(|member| member.stopped.is_none()) {
            level = self.highest_feasible(level, slack);
            self.stop_at(level, slack * 16.0);
            slack += self.total * PRECISION * 2.0;
        }
        self.members.into_iter().map(|member| member.stopped.unwrap_or(0.0)).collect()
    }

    /// What each group takes at a level.
    fn demand(&self, level: f64) -> Vec<f64> {
        let mut demand = vec![0.0; self.groups];
        for member in &self.members {
            demand[member.group] += member.at(level);
        }
        demand
    }

    fn highest_feasible(&self, from: f64, slack: f64) -> f64 {
        let (mut low, mut high) = (from, self.total.max(1.0) * 2.0);
        for _ in 0..100 {
            let middle = low.midpoint(high);
            if self.network.carries(&self.demand(middle), slack) { low = middle } else { high = middle }
        }
        low
    }

    /// Stops the members that cannot rise above `level`: all that have enough, and those whose group is hemmed in.
    fn stop_at(&mut self, level: f64, slack: f64) {
        let demand = self.demand(level);
        let free = self.network.groups_with_room(&demand, slack);
        let mut any = false;
        for member in self.members.iter_mut().filter(|member| member.stopped.is_none()) {
            let satisfied = member.weight * level >= member.limit * (1.0 - PRECISION);
            if satisfied || !free[member.group] {
                member.stopped = Some(member.at(level));
                any = true;
            }
        }
        if !any {
            // Rounding left every group a crumb of room: the level is the highest all the same.
            for member in self.members.iter_mut().filter(|member| member.stopped.is_none()) {
                member.stopped = Some(member.at(level));
            }
        }
    }
}

impl Member {
    fn at(&self, level: f64) -> f64 {
        self.stopped.unwrap_or_else(|| (self.weight * level).min(self.limit))
    }
}

/// Groups of threads on one side, groups of CPUs on the other.
struct Network {
    /// By sink, by group: whether the group may use the sink.
    permitted: Vec<Vec<bool>>,
    capacity: Vec<f64>,
}

impl Network {
    /// Whether the sinks can carry the demand, but for `slack`.
    fn carries(&self, demand: &[f64], slack: f64) -> bool {
        let carried: f64 = self.flow(demand, slack).iter().flatten().sum();
        carried + slack >= demand.iter().sum()
    }

    /// Which groups could take more than they demand.
    fn groups_with_room(&self, demand: &[f64], slack: f64) -> Vec<bool> {
        let flow = self.flow(demand, slack / 16.0);
        (0..demand.len()).map(|group| self.path_to_room(group, &flow, slack).is_some()).collect()
    }

    /// A maximum flow, by sink, by group: shortest augmenting paths.
    fn flow(&self, demand: &[f64], slack: f64) -> Vec<Vec<f64>> {
        let mut flow = vec![vec![0.0; demand.len()]; self.capacity.len()];
        let smallest = slack / (demand.len() * self.capacity.len()).max(1) as f64 / 4.0;
        for (group, wanted) in demand.iter().enumerate() {
            let mut missing = *wanted;
            while missing > smallest {
                let Some(path) = self.path_to_room(group, &flow, smallest) else { break };
                missing -= self.push(&path, missing, &mut flow);
            }
        }
        flow
    }

    fn room(&self, sink: usize, flow: &[Vec<f64>]) -> f64 {
        self.capacity[sink] - flow[sink].iter().sum::<f64>()
    }

    /// A path from a group to a sink with room: the group takes `sink 0`, whose user `group 1` moves to `sink 1`, ...
    fn path_to_room(&self, group: usize, flow: &[Vec<f64>], smallest: f64) -> Option<Vec<(usize, usize)>> {
        let mut came_from: Vec<Option<(usize, Option<usize>)>> = vec![None; self.capacity.len()];
        let mut queue = VecDeque::from([(group, None)]);
        let mut seen = BTreeSet::from([group]);
        while let Some((group, through)) = queue.pop_front() {
            for sink in 0..self.capacity.len() {
                if !self.permitted[sink][group] || came_from[sink].is_some() {
                    continue;
                }
                came_from[sink] = Some((group, through));
                if self.room(sink, flow) > smallest {
                    return Some(trace(sink, &came_from));
                }
                let users = (0..flow[sink].len()).filter(|user| flow[sink][*user] > smallest);
                queue.extend(users.filter(|user| seen.insert(*user)).map(|user| (user, Some(sink))));
            }
        }
        None
    }

    /// Moves as much as the path takes, at most `most`; gives how much.
    fn push(&self, path: &[(usize, usize)], most: f64, flow: &mut [Vec<f64>]) -> f64 {
        let Some((_, last)) = path.last() else { return most };
        let mut amount = most.min(self.room(*last, flow));
        for pair in path.windows(2) {
            // The second group of the pair leaves the first sink.
            amount = amount.min(flow[pair[0].1][pair[1].0]);
        }
        for pair in path.windows(2) {
            flow[pair[0].1][pair[1].0] -= amount;
        }
        for (group, sink) in path {
            flow[*sink][*group] += amount;
        }
        amount
    }
}

fn trace(mut sink: usize, came_from: &[Option<(usize, Option<usize>)>]) -> Vec<(usize, usize)> {
    let mut path = Vec::new();
    while let Some((group, through)) = came_from[sink] {
        path.push((group, sink));
        match through {
            Some(before) => sink = before,
            None => break,
        }
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(cpus: u32, claims: &[(u32, &str, Option<u64>)]) -> Vec<u64> {
        let masks: Vec<CpuList> = claims.iter().map(|claim| CpuList::parse(claim.1).unwrap()).collect();
        let claims: Vec<Claim<'_>> = claims
            .iter()
            .zip(&masks)
            .map(|(claim, affinity)| Claim { weight: claim.0, affinity, limit_ns: claim.2 })
            .collect();
        let capacity = (0..cpus).map(|cpu| (cpu, 1_000_000)).collect();
        fair_shares(&claims, &capacity).unwrap().into_iter().map(|share| share.round() as u64).collect()
    }

    #[test]
    fn one_cpu_is_shared_by_weight() {
        assert_eq!(shares(1, &[(128, "0", None), (64, "0", None), (64, "0", None)]), [500_000, 250_000, 250_000]);
    }

    #[test]
    fn what_a_sleeper_leaves_is_shared_by_weight() {
        let got = shares(1, &[(128, "0", None), (64, "0", None), (1000, "0", Some(40_000))]);
        assert_eq!(got, [640_000, 320_000, 40_000]);
    }

    #[test]
    fn a_thread_heavier_than_a_cpu_gets_one_cpu_and_wastes_none() {
        assert_eq!(
            shares(2, &[(10_000, "0-1", None), (1, "0-1", None), (1, "0-1", None)]),
            [1_000_000, 500_000, 500_000]
        );
    }

    #[test]
    fn pinned_threads_push_free_ones_aside() {
        // Two pinned on CPU 0; the free one lives on CPU 1 alone.
        assert_eq!(shares(2, &[(64, "0", None), (64, "0", None), (64, "0-1", None)]), [500_000, 500_000, 1_000_000]);
        // Three free ones beside one that is pinned: everybody gets the same.
        let got = shares(2, &[(64, "0", None), (64, "0-1", None), (64, "0-1", None), (64, "0-1", None)]);
        assert_eq!(got, [500_000; 4]);
    }

    #[test]
    fn overlapping_masks_need_a_path_of_moves() {
        let got = shares(3, &[(64, "0-1", None), (64, "1-2", None), (64, "0", None), (64, "2", None)]);
        assert_eq!(got, [750_000; 4]);
    }

    #[test]
    fn many_distinct_masks_are_computed_and_too_many_are_refused() {
        let texts: Vec<String> = (0..MOST_MASKS).map(|cpu| format!("{cpu},{}", (cpu + 1) % MOST_MASKS)).collect();
        let claims: Vec<(u32, &str, Option<u64>)> = texts.iter().map(|text| (64, text.as_str(), None)).collect();
        assert_eq!(shares(MOST_MASKS as u32, &claims), vec![1_000_000; MOST_MASKS]);
        let masks: Vec<CpuList> = (0..=MOST_MASKS as u32).map(|cpu| CpuList([cpu].into())).collect();
        let claims: Vec<Claim<'_>> =
            masks.iter().map(|affinity| Claim { weight: 1, affinity, limit_ns: None }).collect();
        assert_eq!(fair_shares(&claims, &BTreeMap::new()), None);
    }

    #[test]
    fn a_mask_without_cpus_gets_nothing_and_many_cpus_are_no_trouble() {
        assert_eq!(shares(1, &[(64, "", None), (64, "0", None)]), [0, 1_000_000]);
        let claims = vec![(64, "0-287", None); 576];
        assert_eq!(shares(288, &claims), vec![500_000; 576]);
    }
}
