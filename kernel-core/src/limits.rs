//! What may be used at most: [`Quota`] counts one kind of thing, [`QuotaChain`] counts it for a spawner and for all
//! from which that one was derived.
//!
//! No locks: any CPU charges and releases at any time. What is charged never exceeds the limit, not even for a moment,
//! and a release never counts below zero: one of too much is a kernel's mistake, and must not mint what nobody gave.
//! Who charges must release: nothing is released by itself.
//!
//! Ordering: a charge acquires and a release releases, so that who gets the last place sees what its former owner did
//! with it.

use crate::sync::shim::{AtomicU32, Ordering};
use alloc::sync::Arc;
use core::fmt;
use tessera_hal::sync::Fault;

/// The longest chain of quotas.
pub const MAX_QUOTA_DEPTH: u32 = 8;

/// More was asked for than the limit leaves. Nothing was charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exceeded {
    /// What was asked for.
    pub asked: u32,
    /// What was in use.
    pub used: u32,
    /// The limit.
    pub limit: u32,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} more exceed the limit: {} of {} are in use", self.asked, self.used, self.limit)
    }
}

impl core::error::Error for Exceeded {}

/// A chain of quotas would be longer than [`MAX_QUOTA_DEPTH`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a chain of quotas has at most {MAX_QUOTA_DEPTH} members")
    }
}

impl core::error::Error for TooDeep {}

/// A count with a limit.
#[derive(Debug)]
pub struct Quota {
    used: AtomicU32,
    limit: u32,
}

impl Quota {
    /// Nothing is used of `limit`.
    pub fn new(limit: u32) -> Self {
        Self { used: AtomicU32::new(0), limit }
    }

    /// The limit.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// What is in use; it may be another number at once.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// Uses `count` more, if the limit permits all of it.
    pub fn charge(&self, count: u32) -> Result<(), Exceeded> {
        let more = |used: u32| used.checked_add(count).filter(|&sum| sum <= self.limit);
        self.change(more).map_err(|used| Exceeded { asked: count, used, limit: self.limit })
    }

    /// Uses `count` less; what is not in use is not released.
    pub fn release(&self, count: u32) {
        let less = |used: u32| used.checked_sub(count).or(Some(0));
        // `less` always has an answer.
        let _ = self.change(less);
    }

    /// Replaces what is used, or answers for which `used` there is no next.
    fn change(&self, next: impl Fn(u32) -> Option<u32>) -> Result<(), u32> {
        if Fault::QuotaByLoadAndStore.is_active() {
            let used = self.used.load(Ordering::Acquire);
            self.used.store(next(used).ok_or(used)?, Ordering::Release);
            return Ok(());
        }
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let changed = next(used).ok_or(used)?;
            match self.used.compare_exchange_weak(used, changed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => used = now,
            }
        }
    }
}

/// A quota that is part of another: what is charged here is charged there too.
#[derive(Debug)]
pub struct QuotaChain {
    quota: Quota,
    parent: Option<Arc<QuotaChain>>,
    depth: u32,
}

impl QuotaChain {
    /// A quota that is part of no other.
    pub fn root(limit: u32) -> Self {
        Self { quota: Quota::new(limit), parent: None, depth: 1 }
    }

    /// A quota that is part of `parent`. Its limit may be higher than the parent's: both are kept.
    pub fn derive(parent: Arc<Self>, limit: u32) -> Result<Self, TooDeep> {
        let depth = parent.depth + 1;
        if depth > MAX_QUOTA_DEPTH {
            return Err(TooDeep);
        }
        Ok(Self { quota: Quota::new(limit), parent: Some(parent), depth })
    }

    /// This one's own count and limit.
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What this one was derived from.
    pub const fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// What is in use of this one; it may be another number at once.
    pub fn used(&self) -> u32 {
        self.quota.used()
    }

    /// This one's own limit.
    pub const fn limit(&self) -> u32 {
        self.quota.limit()
    }

    /// Charges `count` here and in all that this is part of, or nowhere. Until it is known that it fits nowhere, what it
    /// has charged may make another charge fail; it makes none succeed.
    pub fn charge(&self, count: u32) -> Result<(), Exceeded> {
        for (members, member) in self.members().enumerate() {
            if let Err(exceeded) = member.quota.charge(count) {
                self.members().take(members).for_each(|charged| charged.quota.release(count));
                return Err(exceeded);
            }
        }
        Ok(())
    }

    /// Releases `count` here and in all that this is part of.
    pub fn release(&self, count: u32) {
        self.members().for_each(|member| member.quota.release(count));
    }

    /// This one and all that it is part of, at most [`MAX_QUOTA_DEPTH`].
    fn members(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |member| member.parent.as_deref())
    }
}
