//! The ideal over time.

use super::fill::{Demand, fill, level_of_sorted};
use crate::workload::CpuSet;
use kernel_core::sched::Weight;
use std::collections::HashMap;
use tessera_hal::Instant;

/// A group of threads of one weight and one affinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupId(u32);

#[derive(Debug)]
struct Group {
    demand: Demand,
    component: usize,
    rate: f64,
    /// What one thread that has always been here would have got, in ns.
    service: f64,
}

/// Groups whose CPUs touch each other's. What happens in one component is nothing to another.
#[derive(Debug, Default)]
struct Component {
    /// Heaviest first.
    groups: Vec<usize>,
    /// How many CPUs there are, if all groups may use all of them.
    one_class: Option<usize>,
    /// The services are those of this time.
    at: Instant,
    /// The members have changed since the rates were computed.
    is_stale: bool,
}

/// What threads would get of a machine whose CPU time is a fluid. See [`super`].
#[derive(Debug)]
pub struct Fluid {
    cpus: usize,
    groups: Vec<Group>,
    known: HashMap<(Weight, CpuSet), GroupId>,
    components: Vec<Component>,
}

impl Fluid {
    /// A machine of `cpus`, with nobody on it.
    pub fn new(cpus: usize) -> Self {
        Self { cpus, groups: Vec::new(), known: HashMap::new(), components: Vec::new() }
    }

    /// The group of threads of this weight on these CPUs.
    pub fn group(&mut self, weight: Weight, cpus: &CpuSet, now: Instant) -> GroupId {
        if let Some(&known) = self.known.get(&(weight, *cpus)) {
            return known;
        }
        let id = GroupId(self.groups.len() as u32);
        let demand =
            Demand { weight: f64::from(weight.get()), cpus: cpus.intersection(&CpuSet::first(self.cpus)), threads: 0 };
        (0..self.components.len()).for_each(|component| self.settle(component, now));
        self.groups.push(Group { demand, component: 0, rate: 0.0, service: 0.0 });
        self.known.insert((weight, *cpus), id);
        self.connect(now);
        id
    }

    /// Where threads of this group may run.
    pub fn cpus(&self, group: GroupId) -> CpuSet {
        self.groups[group.0 as usize].demand.cpus
    }

    /// A thread of this group is runnable from now on.
    pub fn add(&mut self, group: GroupId, now: Instant) {
        self.change(group, now).threads += 1;
    }

    /// A thread of this group is not runnable any more.
    pub fn remove(&mut self, group: GroupId, now: Instant) {
        let demand = self.change(group, now);
        demand.threads = demand.threads.saturating_sub(1);
    }

    /// What a thread that was always in this group would have got by now, in ns. Differences are what counts.
    pub fn service(&mut self, group: GroupId, now: Instant) -> f64 {
        let index = group.0 as usize;
        self.settle(self.groups[index].component, now);
        self.groups[index].service
    }

    fn change(&mut self, group: GroupId, now: Instant) -> &mut Demand {
        let component = self.groups[group.0 as usize].component;
        self.settle(component, now);
        self.components[component].is_stale = true;
        &mut self.groups[group.0 as usize].demand
    }

    /// Brings a component's services up to `now`.
    fn settle(&mut self, component: usize, now: Instant) {
        let component = &mut self.components[component];
        let passed = now.saturating_duration_since(component.at);
        if passed.is_zero() {
            return;
        }
        component.at = now;
        if std::mem::take(&mut component.is_stale) {
            refresh(self.cpus, &mut self.groups, component);
        }
        let passed = passed.as_nanos() as f64;
        for &group in &component.groups {
            let group = &mut self.groups[group];
            group.service += group.rate * passed;
        }
    }

    /// Finds the components anew: a group joins all those whose CPUs it touches.
    fn connect(&mut self, now: Instant) {
        let mut components: Vec<(CpuSet, Vec<usize>)> = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            let (mut cpus, mut members) = (group.demand.cpus, vec![index]);
            components.retain_mut(|(others, groups)| {
                let touches = !others.intersection(&group.demand.cpus).is_empty();
                if touches {
                    cpus = cpus.union(others);
                    members.append(groups);
                }
                !touches
            });
            components.push((cpus, members));
        }
        for (number, (_, members)) in components.iter_mut().enumerate() {
            members.sort_by(|&a, &b| self.groups[b].demand.weight.total_cmp(&self.groups[a].demand.weight));
            members.iter().for_each(|&group| self.groups[group].component = number);
        }
        let component = |(cpus, groups): (CpuSet, Vec<usize>)| {
            let is_one_class = groups.iter().all(|&group| self.groups[group].demand.cpus == cpus);
            Component { groups, one_class: is_one_class.then(|| cpus.len()), at: now, is_stale: true }
        };
        self.components = components.into_iter().map(component).collect();
    }
}

/// Computes the rates of a component's groups.
fn refresh(cpus: usize, groups: &mut [Group], component: &Component) {
    if let Some(capacity) = component.one_class {
        let members = component.groups.iter().map(|&group| &groups[group].demand);
        let level = level_of_sorted(capacity as f64, members.map(|demand| (demand.weight, demand.threads)));
        for &group in &component.groups {
            groups[group].rate = (groups[group].demand.weight * level).min(1.0);
        }
        return;
    }
    let demands: Vec<Demand> = component.groups.iter().map(|&group| groups[group].demand.clone()).collect();
    for (&group, rate) in component.groups.iter().zip(fill(cpus, &demands)) {
        groups[group].rate = rate;
    }
}
