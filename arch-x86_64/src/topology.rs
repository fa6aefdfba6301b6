//! Where each CPU stands, from CPUID (Intel SDM volume 3, section 10.9; AMD APM volume 3, appendix E).
//!
//! CPUID answers for the CPU that executes it, so [`RawTopology::read`] runs on each. A level is named by the APIC id
//! without the bits that number the CPUs inside it; [`number`] turns these into small numbers that are unique over
//! the machine.

use crate::madt::ApicId;
use core::arch::x86_64::__cpuid_count;
use tessera_hal::CpuTopology;

/// The four registers that one CPUID leaf fills in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leaf {
    /// EAX.
    pub a: u32,
    /// EBX.
    pub b: u32,
    /// ECX.
    pub c: u32,
    /// EDX.
    pub d: u32,
}

/// Where CPUID answers come from: the CPU, or a table in tests.
pub trait Cpuid {
    /// The answer for a leaf and a sub-leaf; the caller has checked that the leaf exists.
    fn leaf(&self, leaf: u32, sub: u32) -> Leaf;

    /// Whether a leaf of the basic or the extended range exists.
    fn has(&self, leaf: u32) -> bool {
        self.leaf(leaf & 0xc000_0000, 0).a >= leaf
    }
}

/// The CPU that executes the call.
#[derive(Clone, Copy, Debug)]
pub struct ThisCpu;

impl Cpuid for ThisCpu {
    fn leaf(&self, leaf: u32, sub: u32) -> Leaf {
        let answer = __cpuid_count(leaf, sub);
        Leaf { a: answer.eax, b: answer.ebx, c: answer.ecx, d: answer.edx }
    }
}

/// A CPU's place, each level as the part of the APIC id that names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RawTopology {
    /// Names the core.
    pub core: u32,
    /// Names the set of cores that share the last-level cache.
    pub cluster: u32,
    /// Names the package.
    pub package: u32,
}

/// How many low bits of the APIC id number the CPUs inside each level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shifts {
    core: u32,
    package: u32,
}

impl RawTopology {
    /// The place of the CPU that `cpuid` speaks for.
    pub fn read(cpuid: &impl Cpuid) -> Self {
        Self::of(apic_id(cpuid), cpuid)
    }

    /// The place of the CPU with this id, if it is built like the one that `cpuid` speaks for.
    pub fn of(id: ApicId, cpuid: &impl Cpuid) -> Self {
        let shifts = extended(cpuid, 0x1f).or_else(|| extended(cpuid, 0x0b)).map(|(_, shifts)| shifts);
        let shifts = shifts.unwrap_or_else(|| legacy(cpuid));
        let cluster = last_level_cache(cpuid).map_or(shifts.package, |cache| cache.clamp(shifts.core, shifts.package));
        let above = |shift: u32| id.0.checked_shr(shift).unwrap_or(0);
        Self { core: above(shifts.core), cluster: above(cluster), package: above(shifts.package) }
    }
}

/// The APIC id of the CPU that `cpuid` speaks for, as wide as the CPU can say it.
pub fn apic_id(cpuid: &impl Cpuid) -> ApicId {
    extended(cpuid, 0x1f).or_else(|| extended(cpuid, 0x0b)).map_or_else(|| initial_id(cpuid), |(id, _)| id)
}

/// Leaves 0x1F and 0x0B: one sub-leaf for each level, ended by a level of type 0.
fn extended(cpuid: &impl Cpuid, leaf: u32) -> Option<(ApicId, Shifts)> {
    const SMT: u32 = 1;
    if !cpuid.has(leaf) || cpuid.leaf(leaf, 0).b == 0 {
        return None;
    }
    let mut shifts = Shifts { core: 0, package: 0 };
    for sub in 0..8 {
        let level = cpuid.leaf(leaf, sub);
        match level.c >> 8 & 0xff {
            0 => break,
            SMT => shifts.core = level.a & 0x1f,
            // Modules, tiles and dies are inside the package: the last level gives its shift.
            _ => {}
        }
        shifts.package = level.a & 0x1f;
    }
    Some((ApicId(cpuid.leaf(leaf, 0).d), shifts))
}

/// The 8-bit id of leaf 1.
fn initial_id(cpuid: &impl Cpuid) -> ApicId {
    ApicId(cpuid.leaf(1, 0).b >> 24)
}

/// Old CPUs: how many ids the package reserves (leaf 1), and how many cores it has (leaf 4, or AMD's 0x8000_0008).
fn legacy(cpuid: &impl Cpuid) -> Shifts {
    const MULTI_THREADED: u32 = 1 << 28;
    let basic = cpuid.leaf(1, 0);
    if basic.d & MULTI_THREADED == 0 {
        return Shifts { core: 0, package: 0 };
    }
    let package = bits_for(basic.b >> 16 & 0xff);
    let cores = if cpuid.has(4) && cpuid.leaf(4, 0).a & 0x1f != 0 {
        (cpuid.leaf(4, 0).a >> 26) + 1
    } else if cpuid.has(0x8000_0008) {
        (cpuid.leaf(0x8000_0008, 0).c & 0xff) + 1
    } else {
        1
    };
    Shifts { core: package.saturating_sub(bits_for(cores)), package }
}

/// How many low bits number the CPUs that share the outermost cache: leaf 4, or AMD's 0x8000_001D.
fn last_level_cache(cpuid: &impl Cpuid) -> Option<u32> {
    let leaf = [4, 0x8000_001d].into_iter().find(|&leaf| cpuid.has(leaf) && cpuid.leaf(leaf, 0).a & 0x1f != 0)?;
    (0..16)
        .map(|sub| cpuid.leaf(leaf, sub).a)
        .take_while(|cache| cache & 0x1f != 0)
        .max_by_key(|cache| cache >> 5 & 7)
        .map(|cache| bits_for((cache >> 14 & 0xfff) + 1))
}

/// How many bits number `count` things.
fn bits_for(count: u32) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}

/// The place of CPU `index`, with each level numbered by the lowest CPU in it: unique over the machine, and small.
pub fn number(raw: &[RawTopology], index: usize) -> CpuTopology {
    let mine = raw[index];
    let lowest = |same: &dyn Fn(&RawTopology) -> bool| raw.iter().position(same).unwrap_or(index) as u16;
    CpuTopology {
        core: lowest(&|other| other.core == mine.core && other.package == mine.package),
        cluster: lowest(&|other| other.cluster == mine.cluster && other.package == mine.package),
        node: lowest(&|other| other.package == mine.package),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::{collections::BTreeMap, vec::Vec};

    /// Leaves by number and sub-leaf; all others are zero.
    struct Table(BTreeMap<(u32, u32), Leaf>);

    impl Cpuid for Table {
        fn leaf(&self, leaf: u32, sub: u32) -> Leaf {
            self.0.get(&(leaf, sub)).copied().unwrap_or_default()
        }
    }

    fn table(leaves: &[(u32, u32, [u32; 4])]) -> Table {
        Table(leaves.iter().map(|&(leaf, sub, [a, b, c, d])| ((leaf, sub), Leaf { a, b, c, d })).collect())
    }

    /// Two threads a core, four cores a package, as leaf 0x0B says it.
    fn modern(id: u32) -> Table {
        table(&[
            (0, 0, [0x0d, 0, 0, 0]),
            (0x0b, 0, [1, 2, 0x100, id]),
            (0x0b, 1, [3, 8, 0x201, id]),
            (4, 0, [0x21 | 1 << 14, 0, 0, 0]),
            (4, 1, [0x63 | 3 << 14, 0, 0, 0]),
        ])
    }

    #[test]
    fn threads_cores_and_packages_come_from_the_extended_leaf() {
        let raw: Vec<_> = [0, 1, 2, 7, 8, 9].map(|id| RawTopology::read(&modern(id))).into();
        assert_eq!(apic_id(&modern(0x1234)), ApicId(0x1234));
        let places: Vec<_> = (0..raw.len()).map(|index| number(&raw, index)).collect();
        let cores: Vec<_> = places.iter().map(|place| place.core).collect();
        assert_eq!(cores, [0, 0, 2, 3, 4, 4]);
        assert_eq!(places.iter().map(|place| place.node).collect::<Vec<_>>(), [0, 0, 0, 0, 4, 4]);
        // The outermost cache serves four threads: ids 0-3, 4-7, 8-11.
        assert_eq!(places.iter().map(|place| place.cluster).collect::<Vec<_>>(), [0, 0, 0, 3, 4, 4]);
    }

    #[test]
    fn levels_between_core_and_package_belong_to_the_package() {
        let with_dies = |id| {
            table(&[
                (0, 0, [0x1f, 0, 0, 0]),
                (0x1f, 0, [1, 2, 0x100, id]),
                (0x1f, 1, [3, 8, 0x201, id]),
                (0x1f, 2, [5, 32, 0x502, id]),
            ])
        };
        assert_eq!(RawTopology::read(&with_dies(31)), RawTopology { core: 15, cluster: 0, package: 0 });
        assert_eq!(RawTopology::read(&with_dies(32)).package, 1);
    }

    #[test]
    fn old_cpus_are_read_from_leaves_one_and_four() {
        let old = |id: u32| {
            table(&[
                (0, 0, [4, 0, 0, 0]),
                (1, 0, [0, id << 24 | 8 << 16, 0, 1 << 28]),
                (4, 0, [0x21 | 3 << 26, 0, 0, 0]),
            ])
        };
        assert_eq!(RawTopology::read(&old(5)), RawTopology { core: 2, cluster: 2, package: 0 });
        assert_eq!(RawTopology::read(&old(8)).package, 1);
    }

    #[test]
    fn a_cpu_that_says_nothing_is_a_package_of_its_own() {
        let bare = |id: u32| table(&[(0, 0, [1, 0, 0, 0]), (1, 0, [0, id << 24, 0, 0])]);
        let raw = [RawTopology::read(&bare(0)), RawTopology::read(&bare(6))];
        assert_eq!(number(&raw, 1), CpuTopology { core: 1, cluster: 1, node: 1 });
    }
}
