//! Where each CPU stands, from its affinity (MPIDR): the lowest level numbers CPUs of a cluster, the higher ones clusters.
//!
//! Affinity says nothing of nodes, so there is one.

use tessera_hal::CpuTopology;

/// How many bits a level has.
const LEVEL: u32 = 8;

/// The place of CPU `index`, with each level numbered by the lowest CPU in it: unique over the machine, and small.
pub fn number(affinities: &[u64], index: usize) -> CpuTopology {
    let Some(&mine) = affinities.get(index) else { return CpuTopology::default() };
    let cluster = affinities.iter().position(|other| other >> LEVEL == mine >> LEVEL);
    CpuTopology { core: index as u16, cluster: cluster.unwrap_or(index) as u16, node: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_with_the_same_higher_levels_are_a_cluster() {
        let affinities = [0x0, 0x1, 0x100, 0x101, 0x1_0000_0000];
        let clusters = [0, 1, 2, 3, 4].map(|index| number(&affinities, index).cluster);
        assert_eq!(clusters, [0, 0, 2, 2, 4]);
        assert_eq!(number(&affinities, 3).core, 3);
        assert_eq!(number(&affinities, 9), CpuTopology::default());
    }
}
