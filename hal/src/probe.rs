//! What the scheduler tells the HAL about itself: the locks that it takes and the words of other CPUs that it writes.
//!
//! On a machine the hook does nothing and costs nothing. A fake counts, so that a test can say "one lock and no write
//! to another CPU's cache line"; with a [`LockLedger`] per CPU it also checks the order of the locks.

use crate::CpuId;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

/// Something that the scheduler does on the CPU that executes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// It is about to wait for a lock.
    Locking {
        /// The lock's place in the order: only locks of a higher rank may be waited for while it is held.
        rank: u8,
        /// The CPU whose state the lock guards, if there is one.
        owner: Option<CpuId>,
    },
    /// It got a lock without waiting, which is allowed at any time.
    TryLocked {
        /// See [`Probe::Locking`].
        rank: u8,
        /// See [`Probe::Locking`].
        owner: Option<CpuId>,
    },
    /// It has released a lock.
    Unlocked {
        /// See [`Probe::Locking`].
        rank: u8,
    },
    /// It writes a word that other CPUs read.
    SharedWrite {
        /// The CPU on whose cache line the word stands; `None` for a word of several CPUs.
        owner: Option<CpuId>,
    },
    /// It has nothing to run and looks for work on a level of nearness.
    Searching {
        /// The level; a search begins at 0.
        level: usize,
        /// Cache lines that others write and that it reads there.
        lines: usize,
    },
}

/// How many ranks of locks there can be.
pub const LOCK_RANKS: usize = 8;

/// A lock was waited for while one of the same or a higher rank was held: two CPUs could wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockOrderViolation {
    /// The highest rank that is held.
    pub held: u8,
    /// The rank of the lock that was asked for.
    pub wanted: u8,
}

impl fmt::Display for LockOrderViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a lock of rank {} is waited for while one of rank {} is held", self.wanted, self.held)
    }
}

impl core::error::Error for LockOrderViolation {}

/// The locks that one CPU holds. Only that CPU uses it.
#[derive(Debug, Default)]
pub struct LockLedger {
    held: [AtomicU8; LOCK_RANKS],
}

impl LockLedger {
    /// Takes notice of `probe`; says so if it breaks the order.
    pub fn observe(&self, probe: Probe) -> Result<(), LockOrderViolation> {
        match probe {
            Probe::Locking { rank, .. } => {
                self.add(rank, 1);
                match self.highest_other_than_newest(rank) {
                    Some(held) if held >= rank => Err(LockOrderViolation { held, wanted: rank }),
                    _ => Ok(()),
                }
            }
            Probe::TryLocked { rank, .. } => {
                self.add(rank, 1);
                Ok(())
            }
            Probe::Unlocked { rank } => {
                self.add(rank, u8::MAX);
                Ok(())
            }
            Probe::SharedWrite { .. } | Probe::Searching { .. } => Ok(()),
        }
    }

    /// How many locks are held.
    pub fn held(&self) -> usize {
        self.held.iter().map(|count| usize::from(count.load(Ordering::Relaxed))).sum()
    }

    fn highest_other_than_newest(&self, newest: u8) -> Option<u8> {
        (0..LOCK_RANKS as u8).rev().find(|&rank| self.count(rank) > u8::from(rank == newest))
    }

    fn count(&self, rank: u8) -> u8 {
        self.held.get(usize::from(rank)).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn add(&self, rank: u8, change: u8) {
        if let Some(count) = self.held.get(usize::from(rank)) {
            count.store(count.load(Ordering::Relaxed).wrapping_add(change), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_an_equal_or_lower_rank_is_a_violation_and_trying_is_not() {
        let ledger = LockLedger::default();
        let locking = |rank| ledger.observe(Probe::Locking { rank, owner: None });
        assert_eq!(locking(1), Ok(()));
        assert_eq!(locking(2), Ok(()));
        assert_eq!(ledger.observe(Probe::TryLocked { rank: 2, owner: None }), Ok(()));
        assert_eq!(locking(2), Err(LockOrderViolation { held: 2, wanted: 2 }));
        assert_eq!(locking(1), Err(LockOrderViolation { held: 2, wanted: 1 }));
        assert_eq!(ledger.held(), 5);
    }

    #[test]
    fn a_released_lock_no_longer_counts() {
        let ledger = LockLedger::default();
        assert_eq!(ledger.observe(Probe::Locking { rank: 2, owner: None }), Ok(()));
        assert_eq!(ledger.observe(Probe::Unlocked { rank: 2 }), Ok(()));
        assert_eq!(ledger.observe(Probe::Locking { rank: 1, owner: None }), Ok(()));
        assert_eq!(ledger.held(), 1);
    }
}
