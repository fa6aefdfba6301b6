//! When each CPU has something to do next, and which is first: a tournament tree with one leaf per CPU.
//!
//! A machine has few CPUs and each has one next point, so this needs no memory per event and no removal. Among equal
//! times the lower CPU comes first.

use tessera_hal::{CpuId, Instant};

/// The key of a CPU that has nothing to do: after every time that a simulation can reach.
const NEVER: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Agenda {
    /// The root is at 1, the leaves in the second half; each node is the first of its two children.
    nodes: Box<[(u64, u16)]>,
}

impl Agenda {
    pub(super) fn new(cpus: usize) -> Self {
        let leaves = cpus.next_power_of_two();
        let nodes = (0..2 * leaves).map(|index| (NEVER, index.saturating_sub(leaves) as u16));
        Self { nodes: nodes.collect() }
    }

    /// Says when `cpu` has something to do.
    pub(super) fn set(&mut self, cpu: CpuId, at: Option<Instant>) {
        let mut index = self.nodes.len() / 2 + cpu.index();
        let mut first = (at.map_or(NEVER, Instant::as_nanos), cpu.get());
        while self.nodes[index] != first {
            self.nodes[index] = first;
            if index == 1 {
                return;
            }
            first = first.min(self.nodes[index ^ 1]);
            index /= 2;
        }
    }

    /// The first point and its CPU.
    pub(super) fn first(&self) -> Option<(Instant, CpuId)> {
        let (at, cpu) = self.nodes[1];
        (at != NEVER).then(|| (Instant::from_nanos(at), CpuId::new(cpu)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_is_the_earliest_and_then_the_lowest(
            cpus in 1_usize..20,
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0_u64..8)), 0..60),
        ) {
            let mut agenda = Agenda::new(cpus);
            let mut model = vec![None; cpus];
            for (index, at) in changes {
                let cpu = index.index(cpus);
                model[cpu] = at;
                agenda.set(CpuId::new(cpu as u16), at.map(Instant::from_nanos));
                let first = model.iter().enumerate().filter_map(|(cpu, at)| Some(((*at)?, cpu))).min();
                let found = agenda.first().map(|(at, cpu)| (at.as_nanos(), cpu.index()));
                prop_assert_eq!(found, first);
            }
        }
    }
}
