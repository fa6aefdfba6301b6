//! Address space identifiers: a number for each space that is in use, so that a switch drops no translations.
//!
//! There are fewer numbers than spaces may come and go. They are given in generations: a space keeps its number as long as
//! its generation lasts. When none is left a new generation begins. Then every number counts as free but those that CPUs
//! run with at that moment, which go on being valid, and each CPU drops all its translations before it loads the next space.
//! The idea is that of Linux's `arch/arm64/mm/context.c`; the code is our own.
//!
//! A tag holds the generation above the number; zero is a space without any. Number 0 belongs to no space. Should the CPUs
//! that run hold all numbers, a space gets number 0 and everything is dropped at each of its loads.
//!
//! Lock level: leaf, taken with interrupts masked. A load within a generation takes no lock.

use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;
use tessera_hal::CpuId;

const NUMBER_BITS: u32 = 16;
const NUMBERS: usize = 1 << NUMBER_BITS;
const NUMBER: u64 = NUMBERS as u64 - 1;
const FIRST_GENERATION: u64 = 1 << NUMBER_BITS;

/// What a load must do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activation {
    /// The number of the space.
    pub identifier: u16,
    /// Drop all translations of this CPU first.
    pub must_flush: bool,
}

/// Who has which number, for up to `CPUS` CPUs.
pub struct Identifiers<const CPUS: usize> {
    generation: AtomicU64,
    /// The tag that each CPU runs with; zero once a new generation has begun.
    active: [AtomicU64; CPUS],
    state: Mutex<State<CPUS>>,
}

struct State<const CPUS: usize> {
    used: [u64; NUMBERS / 64],
    /// How many numbers the machine has.
    numbers: usize,
    /// Where the search goes on.
    next: usize,
    /// The tag that each CPU ran with when the generation began.
    reserved: [u64; CPUS],
    /// CPUs that have not dropped the last generation's translations.
    must_flush: [bool; CPUS],
}

/// The number of the space with this tag.
pub fn identifier(tag: &AtomicU64) -> Option<u16> {
    match tag.load(Ordering::Relaxed) {
        0 => None,
        tag => Some((tag & NUMBER) as u16),
    }
}

const fn generation(tag: u64) -> u64 {
    tag & !NUMBER
}

impl<const CPUS: usize> Identifiers<CPUS> {
    /// All free, eight bits each.
    pub const fn new() -> Self {
        let state =
            State { used: [0; NUMBERS / 64], numbers: 1 << 8, next: 1, reserved: [0; CPUS], must_flush: [false; CPUS] };
        let active = [const { AtomicU64::new(0) }; CPUS];
        Self { generation: AtomicU64::new(FIRST_GENERATION), active, state: Mutex::new(state) }
    }

    /// How many bits a number has on this machine. Before the first use.
    pub fn set_bits(&self, bits: u32) {
        self.state.lock().numbers = 1 << bits.min(NUMBER_BITS);
    }

    /// The space with this tag is about to be loaded on `cpu`, which is the one that calls.
    pub fn activate(&self, cpu: CpuId, tag: &AtomicU64) -> Activation {
        let active = &self.active[cpu.index()];
        let (own, old) = (tag.load(Ordering::Relaxed), active.load(Ordering::Relaxed));
        let is_current = generation(own) == self.generation.load(Ordering::Acquire);
        // The exchange fails if a new generation has begun meanwhile, which has put zero there.
        if is_current && old != 0 && active.compare_exchange(old, own, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Activation { identifier: (own & NUMBER) as u16, must_flush: false };
        }
        self.activate_slowly(cpu, tag)
    }

    fn activate_slowly(&self, cpu: CpuId, tag: &AtomicU64) -> Activation {
        let mut state = self.state.lock();
        let mut own = tag.load(Ordering::Relaxed);
        if own == 0 || generation(own) != self.generation.load(Ordering::Relaxed) {
            own = self.renew(&mut state, own);
            tag.store(own, Ordering::Relaxed);
        }
        let must_flush = core::mem::take(&mut state.must_flush[cpu.index()]) || own == 0;
        self.active[cpu.index()].store(own, Ordering::Release);
        Activation { identifier: (own & NUMBER) as u16, must_flush }
    }

    /// A tag of the current generation; zero if all numbers are in use at this moment.
    fn renew(&self, state: &mut State<CPUS>, old: u64) -> u64 {
        let current = self.generation.load(Ordering::Relaxed);
        if old != 0 {
            let renewed = current | old & NUMBER;
            if state.keep_reserved(old, renewed) || state.claim((old & NUMBER) as usize) {
                return renewed;
            }
        }
        if let Some(number) = state.find() {
            return current | number as u64;
        }
        self.begin_generation(state);
        state.find().map_or(0, |number| self.generation.load(Ordering::Relaxed) | number as u64)
    }

    fn begin_generation(&self, state: &mut State<CPUS>) {
        let current = self.generation.load(Ordering::Relaxed);
        self.generation.store(current + FIRST_GENERATION, Ordering::Release);
        state.used.fill(0);
        for (index, active) in self.active.iter().enumerate() {
            // Zero: it has loaded nothing since the generation before, and may still run with that.
            match active.swap(0, Ordering::AcqRel) {
                0 => {}
                tag => state.reserved[index] = tag,
            }
            state.claim((state.reserved[index] & NUMBER) as usize);
            state.must_flush[index] = true;
        }
        state.next = 1;
    }
}

impl<const CPUS: usize> Default for Identifiers<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const CPUS: usize> State<CPUS> {
    /// Marks a number as used; answers whether it was free. Zero belongs to no space.
    fn claim(&mut self, number: usize) -> bool {
        let (word, bit) = (&mut self.used[number / 64], 1 << (number % 64));
        let was_free = number != 0 && *word & bit == 0;
        *word |= bit;
        was_free
    }

    /// Claims any free number.
    fn find(&mut self) -> Option<usize> {
        let found = (self.next..self.numbers).find(|&number| self.used[number / 64] & 1 << (number % 64) == 0)?;
        self.next = found + 1;
        self.claim(found);
        Some(found)
    }

    /// A space that CPUs ran with when the generation began keeps its number.
    fn keep_reserved(&mut self, old: u64, renewed: u64) -> bool {
        let mut found = false;
        for reserved in self.reserved.iter_mut().filter(|reserved| **reserved == old) {
            *reserved = renewed;
            found = true;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    /// A machine that remembers whose translations each CPU may have under each number.
    struct Model {
        identifiers: Identifiers<4>,
        tags: Vec<AtomicU64>,
        cached: [BTreeMap<u16, usize>; 4],
        loaded: [Option<(u16, usize)>; 4],
    }

    impl Model {
        fn new(spaces: usize, bits: u32) -> Self {
            let identifiers = Identifiers::new();
            identifiers.set_bits(bits);
            let tags = (0..spaces).map(|_| AtomicU64::new(0)).collect();
            Self { identifiers, tags, cached: Default::default(), loaded: [None; 4] }
        }

        fn load(&mut self, cpu: usize, space: usize) -> Activation {
            let activation = self.identifiers.activate(CpuId::new(cpu as u16), &self.tags[space]);
            if activation.must_flush {
                self.cached[cpu].clear();
            }
            let stale = self.cached[cpu].insert(activation.identifier, space);
            assert!(stale.is_none_or(|other| other == space), "CPU {cpu} would use translations of {stale:?}");
            self.loaded[cpu] = Some((activation.identifier, space));
            activation
        }

        /// Broadcasts reach a space by its number, so no two spaces may run with one.
        fn check(&self) {
            for (index, one) in self.loaded.iter().flatten().enumerate() {
                for other in self.loaded.iter().flatten().skip(index + 1) {
                    assert!(one.0 == 0 || one.0 != other.0 || one.1 == other.1, "{one:?} and {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_space_keeps_its_number_and_no_switch_drops_anything_within_a_generation() {
        let mut model = Model::new(3, 8);
        let first = [0, 1, 2].map(|space| model.load(0, space));
        assert_eq!(first.map(|activation| activation.identifier), [1, 2, 3]);
        assert!(first.iter().all(|activation| !activation.must_flush));
        assert_eq!(model.load(1, 1), Activation { identifier: 2, must_flush: false });
        assert_eq!(model.load(0, 0), Activation { identifier: 1, must_flush: false });
    }

    #[test]
    fn a_new_generation_makes_each_cpu_drop_everything_once_and_keeps_what_runs() {
        let mut model = Model::new(8, 2);
        let _ = model.load(1, 7);
        let running = identifier(&model.tags[7]);
        let _ = model.load(0, 0);
        let _ = model.load(0, 1);
        assert!(model.load(0, 2).must_flush, "three numbers were taken");
        assert!(!model.load(0, 2).must_flush, "once");
        assert!(model.load(1, 7).must_flush);
        assert_eq!(identifier(&model.tags[7]), running);
    }

    #[test]
    fn without_a_number_everything_is_dropped_each_time() {
        let mut model = Model::new(4, 2);
        for cpu in 0..3 {
            let _ = model.load(cpu, cpu);
        }
        for _ in 0..2 {
            assert_eq!(model.load(3, 3), Activation { identifier: 0, must_flush: true });
            model.check();
        }
    }

    proptest! {
        #[test]
        fn no_cpu_ever_uses_translations_of_another_space(
            loads in proptest::collection::vec((0_usize..4, 0_usize..12), 1..400),
            bits in 2_u32..5,
        ) {
            let mut model = Model::new(12, bits);
            for (cpu, space) in loads {
                let _ = model.load(cpu, space);
                model.check();
            }
        }
    }
}
