//! A set of CPUs that any CPU changes and reads: a word for each 64 CPUs, and a root that says which words are worth
//! reading, so that to find nothing costs one cache line whatever the size of the machine.
//!
//! The root counts the members of each word. A count is raised *before* its bit is set and lowered *after* it is
//! cleared, so it is never below the number of bits: whoever reads zero there has overlooked nobody whose insertion was
//! over. A flag instead of a count could not promise that: who clears the last bit of a word and then the flag may
//! clear it for somebody who came in between.
//!
//! All accesses are sequentially consistent, since users of two sets rely on an order between them: who enters one and
//! then reads the other is either seen or sees. The price is a second shared line that each change writes. (The model
//! checker takes that order for a weaker one, so its models are about one set; random schedules try two.)

use super::Padded;
use super::shim::{AtomicU64, Ordering};
use tessera_hal::sync::Fault;
use tessera_hal::{CpuId, CpuSet, Probe, SchedHal};

/// Counts in one word of the root. A word has 64 members at most, and fewer CPUs than 2^16 - 64 try at once.
const COUNTS_PER_WORD: usize = 4;
const COUNT_BITS: usize = 16;
/// Words that the root needs for the largest machine: 64 words of 64 CPUs.
const ROOT_WORDS: usize = 16;

/// See the module.
pub struct SharedSet<const WORDS: usize> {
    root: Padded<[AtomicU64; ROOT_WORDS]>,
    words: [Padded<AtomicU64>; WORDS],
}

/// Where a CPU stands in a set.
struct Place<'a> {
    word: &'a AtomicU64,
    bit: u64,
    root: &'a AtomicU64,
    /// One in the count of its word.
    one: u64,
}

impl<const WORDS: usize> Default for SharedSet<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> SharedSet<WORDS> {
    /// The empty set.
    pub fn new() -> Self {
        const { assert!(WORDS <= ROOT_WORDS * COUNTS_PER_WORD, "the root has no count for so many words") };
        Self {
            root: Padded::new(core::array::from_fn(|_| AtomicU64::new(0))),
            words: core::array::from_fn(|_| Padded::new(AtomicU64::new(0))),
        }
    }

    /// The members among `mask`.
    pub fn among(&self, mask: &CpuSet<WORDS>) -> CpuSet<WORDS> {
        self.look(mask).0
    }

    /// The members among `mask`, and how many words beside the root were read for that: those with members.
    pub fn look(&self, mask: &CpuSet<WORDS>) -> (CpuSet<WORDS>, usize) {
        let mut read = 0;
        let members = core::array::from_fn(|word| match mask.words()[word] {
            0 => 0,
            _ if self.count(word) == 0 => 0,
            bits => {
                read += 1;
                self.words[word].load(Ordering::SeqCst) & bits
            }
        });
        (CpuSet::from_words(members), read)
    }

    /// Whether `cpu` is a member.
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.place(cpu).is_some_and(|place| place.word.load(Ordering::SeqCst) & place.bit != 0)
    }

    /// Adds `cpu`; answers whether this call did it.
    pub fn insert(&self, hal: &impl SchedHal, cpu: CpuId) -> bool {
        hal.probe(Probe::SharedWrite { owner: None });
        let Some(place) = self.place(cpu) else { return false };
        if Fault::MemberBeforeCount.is_active() {
            let added = place.word.fetch_or(place.bit, Ordering::SeqCst) & place.bit == 0;
            place.root.fetch_add(place.one, Ordering::SeqCst);
            return added;
        }
        place.raise();
        let added = place.word.fetch_or(place.bit, Ordering::SeqCst) & place.bit == 0;
        if !added {
            place.root.fetch_sub(place.one, Ordering::SeqCst);
        }
        added
    }

    /// Removes `cpu`; answers whether this call did it.
    pub fn remove(&self, hal: &impl SchedHal, cpu: CpuId) -> bool {
        hal.probe(Probe::SharedWrite { owner: None });
        let Some(place) = self.place(cpu) else { return false };
        let removed = place.word.fetch_and(!place.bit, Ordering::SeqCst) & place.bit != 0;
        if removed {
            place.root.fetch_sub(place.one, Ordering::SeqCst);
        }
        removed
    }

    fn count(&self, word: usize) -> u64 {
        let counts = self.root[word / COUNTS_PER_WORD].load(Ordering::SeqCst);
        counts >> (word % COUNTS_PER_WORD * COUNT_BITS) & ((1 << COUNT_BITS) - 1)
    }

    fn place(&self, cpu: CpuId) -> Option<Place<'_>> {
        let word = cpu.index() / 64;
        Some(Place {
            word: self.words.get(word)?,
            bit: 1 << (cpu.index() % 64),
            root: &self.root[word / COUNTS_PER_WORD],
            one: 1 << (word % COUNTS_PER_WORD * COUNT_BITS),
        })
    }
}

impl Place<'_> {
    fn raise(&self) {
        if Fault::CountByLoadAndStore.is_active() {
            let count = self.root.load(Ordering::SeqCst);
            self.root.store(count.wrapping_add(self.one), Ordering::SeqCst);
        } else {
            self.root.fetch_add(self.one, Ordering::SeqCst);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use tessera_hal::fake::FakeMachine;

    /// Two words of the root, the second one half used.
    type Set = SharedSet<6>;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn it_is_a_set_and_reads_only_words_with_members(
            steps in proptest::collection::vec((any::<bool>(), 0..384_u16), 1..200),
            mask in proptest::collection::vec(0..384_u16, 0..40),
        ) {
            let (set, hal, mut model) = (Set::new(), FakeMachine::new(1), BTreeSet::new());
            let mask: CpuSet<6> = mask.into_iter().map(CpuId::new).collect();
            for (inserts, cpu) in steps {
                let id = CpuId::new(cpu);
                let changed = if inserts { set.insert(&hal, id) } else { set.remove(&hal, id) };
                prop_assert_eq!(changed, if inserts { model.insert(cpu) } else { model.remove(&cpu) });
                let (members, read) = set.look(&mask);
                let expected: CpuSet<6> =
                    model.iter().map(|&cpu| CpuId::new(cpu)).filter(|&cpu| mask.contains(cpu)).collect();
                prop_assert_eq!(members, expected);
                let words = |cpus: &mut dyn Iterator<Item = u16>| cpus.map(|cpu| cpu / 64).collect::<BTreeSet<u16>>();
                let masked = words(&mut mask.iter().map(|cpu| cpu.index() as u16));
                let with_members = words(&mut model.iter().copied());
                prop_assert_eq!(read, masked.intersection(&with_members).count());
                prop_assert_eq!(set.contains(id), model.contains(&cpu));
            }
        }
    }

    #[test]
    fn a_full_word_and_a_cpu_beyond_the_set_disturb_no_neighbour() {
        let (set, hal) = (Set::new(), FakeMachine::new(1));
        for is_new in [true, false] {
            (64..128).map(CpuId::new).for_each(|cpu| assert_eq!(set.insert(&hal, cpu), is_new));
        }
        assert!(!set.insert(&hal, CpuId::new(384)) && !set.remove(&hal, CpuId::new(384)));
        assert_eq!([0, 1, 2].map(|word| set.count(word)), [0, 64, 0]);
        (64..128).map(CpuId::new).for_each(|cpu| assert!(set.remove(&hal, cpu)));
        assert_eq!(set.look(&CpuSet::ALL), (CpuSet::EMPTY, 0));
    }
}
