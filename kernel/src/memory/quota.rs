//! What one process may have of one thing, and what it has.

use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// The process would have more than its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exceeded {
    /// The most that it may have.
    pub limit: u64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit of {} is reached", self.limit)
    }
}

/// A limit and what is charged against it.
pub struct Quota {
    limit: u64,
    used: AtomicU64,
}

impl Quota {
    /// Nothing is charged yet.
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Charges `count`, all or nothing.
    pub fn charge(&self, count: u64) -> Result<(), Exceeded> {
        let more = |used: u64| used.checked_add(count).filter(|&used| used <= self.limit);
        let charged = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        charged.map(drop).map_err(|_| Exceeded { limit: self.limit })
    }

    /// Takes `count` back.
    pub fn release(&self, count: u64) {
        let before = self.used.fetch_sub(count, Ordering::Relaxed);
        debug_assert!(before >= count, "only what was charged is released");
    }

    /// What is charged.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}
