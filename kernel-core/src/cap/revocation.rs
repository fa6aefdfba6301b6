//! [`Revocation`]: one switch for a capability and everything that was made from it.
//!
//! A capability carries the chain of all switches that it hangs on. Revoking one is a single store, however many
//! capabilities hang on it; each is found dead at its next use. Nothing comes back to life.
//!
//! Ordering: [`Revocation::revoke`] releases and a look acquires, so who finds a capability revoked sees what was done
//! before.

use crate::sync::shim::{AtomicBool, Ordering};
use alloc::sync::Arc;
use core::fmt;
use tessera_hal::sync::Fault;

/// The longest chain: a look at a capability is never longer than this.
pub const MAX_REVOCATION_DEPTH: u32 = 8;

/// A chain of switches would be longer than [`MAX_REVOCATION_DEPTH`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a capability hangs on at most {MAX_REVOCATION_DEPTH} revocations")
    }
}

impl core::error::Error for TooDeep {}

/// The capability was revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revoked;

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the capability was revoked")
    }
}

impl core::error::Error for Revoked {}

/// A switch that works once.
#[derive(Debug)]
pub struct Revocation {
    revoked: AtomicBool,
    parent: Option<Arc<Revocation>>,
    depth: u32,
}

impl Revocation {
    /// A new switch below `parent`: revoked alone, or with it. Allocates.
    pub fn new(parent: Option<Arc<Self>>) -> Result<Arc<Self>, TooDeep> {
        let depth = parent.as_ref().map_or(0, |parent| parent.depth) + 1;
        if depth > MAX_REVOCATION_DEPTH {
            return Err(TooDeep);
        }
        Ok(Arc::new(Self { revoked: AtomicBool::new(false), parent, depth }))
    }

    /// Revokes everything that hangs on this.
    pub fn revoke(&self) {
        let order = if Fault::RevokeWithoutRelease.is_active() { Ordering::Relaxed } else { Ordering::Release };
        self.revoked.store(true, order);
    }

    /// Whether this or one above it was revoked.
    pub fn is_revoked(&self) -> bool {
        core::iter::successors(Some(self), |switch| switch.parent.as_deref())
            .any(|switch| switch.revoked.load(Ordering::Acquire))
    }
}

/// An object and what it hangs on: what a [`Table`](super::Table) holds.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// The object.
    pub object: T,
    /// What can revoke the capability. `None`: nothing.
    pub revocation: Option<Arc<Revocation>>,
}

impl<T> Entry<T> {
    /// A capability that nobody can revoke.
    pub const fn new(object: T) -> Self {
        Self { object, revocation: None }
    }

    /// The object, unless the capability was revoked.
    pub fn live(&self) -> Result<&T, Revoked> {
        match &self.revocation {
            Some(revocation) if revocation.is_revoked() => Err(Revoked),
            _ => Ok(&self.object),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_kills_what_hangs_on_it_and_nothing_else() {
        let root = Revocation::new(None).expect("not deep");
        let [left, right] = [(); 2].map(|()| Revocation::new(Some(Arc::clone(&root))).expect("not deep"));
        let below = Revocation::new(Some(Arc::clone(&left))).expect("not deep");
        let entries = [&root, &left, &right, &below]
            .map(|revocation| Entry { object: 7, revocation: Some(Arc::clone(revocation)) });
        let live = || entries.each_ref().map(|entry| entry.live() == Ok(&7));
        assert_eq!(live(), [true; 4]);
        left.revoke();
        assert_eq!(live(), [true, false, true, false]);
        root.revoke();
        assert_eq!(live(), [false; 4]);
        assert_eq!(entries[3].live(), Err(Revoked));
        assert_eq!(Entry::new(7).live(), Ok(&7), "what hangs on nothing cannot be revoked");
    }

    #[test]
    fn what_is_made_from_something_revoked_is_revoked() {
        let root = Revocation::new(None).expect("not deep");
        root.revoke();
        assert!(Revocation::new(Some(root)).expect("not deep").is_revoked());
    }

    #[test]
    fn a_chain_is_bounded() {
        let mut last = Revocation::new(None).expect("not deep");
        for _ in 1..MAX_REVOCATION_DEPTH {
            last = Revocation::new(Some(last)).expect("not deep yet");
        }
        assert_eq!(Revocation::new(Some(last)).err(), Some(TooDeep));
    }
}
