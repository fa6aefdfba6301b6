//! A set of CPUs that many CPUs change at once: one atomic bit each.

use core::sync::atomic::{AtomicU64, Ordering};
use hal::{CpuId, CpuSet};

const WORDS: usize = 8;

/// A concurrently changed [`CpuSet`].
pub struct CpuMask {
    words: [AtomicU64; WORDS],
}

impl Default for CpuMask {
    fn default() -> Self {
        Self::new()
    }
}

impl CpuMask {
    /// The empty set.
    pub const fn new() -> Self {
        Self { words: [const { AtomicU64::new(0) }; WORDS] }
    }

    /// Adds `cpu`. Sequentially consistent, so that "I load this space" and "who has it loaded" have one order.
    pub fn insert(&self, cpu: CpuId) {
        self.words[cpu.index() / 64].fetch_or(1 << (cpu.index() % 64), Ordering::SeqCst);
    }

    /// Removes `cpu`.
    pub fn remove(&self, cpu: CpuId) {
        self.words[cpu.index() / 64].fetch_and(!(1 << (cpu.index() % 64)), Ordering::SeqCst);
    }

    /// What the set holds now.
    pub fn snapshot(&self) -> CpuSet {
        let mut words = [0; WORDS];
        for (copy, word) in words.iter_mut().zip(&self.words) {
            *copy = word.load(Ordering::SeqCst);
        }
        CpuSet::from_words(words)
    }
}
