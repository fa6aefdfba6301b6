//! CPUs: identity, sets and topology.

use core::fmt;

/// A logical CPU, numbered densely from 0 in discovery order. Never an APIC id or MPIDR.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct CpuId(u16);

impl CpuId {
    /// The CPU that booted the machine.
    pub const BOOT: Self = Self(0);

    /// The CPU with this index.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The index, for tables that are sized by the number of CPUs.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The raw number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A set of CPUs, `64 * WORDS` at most: 8 words (512 CPUs) in the kernel, 64 (4096) in the simulator.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CpuSet<const WORDS: usize = 8> {
    words: [u64; WORDS],
}

impl<const WORDS: usize> CpuSet<WORDS> {
    /// How many CPUs the type can hold.
    pub const CAPACITY: usize = 64 * WORDS;
    /// No CPU.
    pub const EMPTY: Self = Self { words: [0; WORDS] };
    /// Every CPU that the type can name.
    pub const ALL: Self = Self { words: [u64::MAX; WORDS] };

    /// The CPUs `0..count`; counts above the capacity give all.
    pub fn first(count: usize) -> Self {
        let mut set = Self::EMPTY;
        for (index, word) in set.words.iter_mut().enumerate() {
            *word = match count.saturating_sub(index * 64) {
                0 => 0,
                bits @ 1..64 => (1 << bits) - 1,
                _ => u64::MAX,
            };
        }
        set
    }

    /// The set that holds just `cpu` (nothing if it is beyond the capacity).
    pub fn of(cpu: CpuId) -> Self {
        let mut set = Self::EMPTY;
        set.insert(cpu);
        set
    }

    /// The set with these words, lowest CPUs first.
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Self { words }
    }

    /// The words, lowest CPUs first.
    pub const fn words(&self) -> &[u64; WORDS] {
        &self.words
    }

    /// Adds `cpu`; answers whether the set changed. A CPU beyond the capacity is never held.
    pub fn insert(&mut self, cpu: CpuId) -> bool {
        match self.words.get_mut(cpu.index() / 64) {
            Some(word) => {
                let before = *word;
                *word |= 1 << (cpu.index() % 64);
                before != *word
            }
            None => false,
        }
    }

    /// Removes `cpu`; answers whether the set changed.
    pub fn remove(&mut self, cpu: CpuId) -> bool {
        match self.words.get_mut(cpu.index() / 64) {
            Some(word) => {
                let before = *word;
                *word &= !(1 << (cpu.index() % 64));
                before != *word
            }
            None => false,
        }
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.words.get(cpu.index() / 64).is_some_and(|word| word & (1 << (cpu.index() % 64)) != 0)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// How many CPUs it holds.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether every CPU of `self` is in `other`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// The CPUs in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip_with(other, |mine, theirs| mine & theirs)
    }

    /// The CPUs in either set.
    pub fn union(&self, other: &Self) -> Self {
        self.zip_with(other, |mine, theirs| mine | theirs)
    }

    /// The CPUs of `self` that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        self.zip_with(other, |mine, theirs| mine & !theirs)
    }

    /// The lowest CPU.
    pub fn lowest(&self) -> Option<CpuId> {
        self.iter().next()
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            core::iter::successors((word != 0).then_some(word), |rest| {
                let rest = rest & (rest - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |rest| CpuId((index * 64) as u16 + rest.trailing_zeros() as u16))
        })
    }

    fn zip_with(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = [0; WORDS];
        for (word, (&mine, &theirs)) in words.iter_mut().zip(self.words.iter().zip(&other.words)) {
            *word = combine(mine, theirs);
        }
        Self { words }
    }
}

impl<const WORDS: usize> FromIterator<CpuId> for CpuSet<WORDS> {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        let mut set = Self::EMPTY;
        for cpu in cpus {
            set.insert(cpu);
        }
        set
    }
}

impl<const WORDS: usize> fmt::Display for CpuSet<WORDS> {
    /// Ranges, as Linux prints them: `0-3,8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().map(CpuId::get).peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if_eq(&(last + 1)) {
                last = next;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl<const WORDS: usize> fmt::Debug for CpuSet<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

/// Where one CPU stands. Two CPUs share a domain of a level when their numbers for that level are equal; the numbers
/// are unique over the whole machine (two packages never reuse a core number).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTopology {
    /// The physical core: CPUs that share it are SMT siblings.
    pub core: u16,
    /// The cluster of cores that share a last-level cache.
    pub cluster: u16,
    /// The package or NUMA node.
    pub node: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_print_as_ranges_and_iterate_in_order() {
        let set: CpuSet = [0, 1, 2, 63, 64, 65, 200].map(CpuId::new).into_iter().collect();
        assert_eq!(alloc::format!("{set}"), "0-2,63-65,200");
        assert_eq!(set.len(), 7);
        assert_eq!(set.iter().map(CpuId::get).collect::<alloc::vec::Vec<_>>(), [0, 1, 2, 63, 64, 65, 200]);
    }

    #[test]
    fn the_first_n_cpus_are_n_cpus() {
        for count in [0, 1, 63, 64, 65, 511, 512] {
            let set = CpuSet::<8>::first(count);
            assert_eq!(set.len(), count);
            assert!(set.iter().all(|cpu| cpu.index() < count));
        }
        assert_eq!(CpuSet::<8>::first(9999), CpuSet::ALL);
    }

    #[test]
    fn a_cpu_beyond_the_capacity_is_never_held() {
        let mut set = CpuSet::<1>::EMPTY;
        assert!(!set.insert(CpuId::new(64)));
        assert!(!set.contains(CpuId::new(64)));
        assert!(CpuSet::<1>::of(CpuId::new(64)).is_empty());
    }
}
