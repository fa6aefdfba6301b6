//! The run tree: who waits on one CPU, by virtual deadline, first come first served among equals.
//!
//! Each node keeps two facts about its subtree: the earliest virtual run time (so that the first *eligible* entity is
//! found in O(log n)) and the earliest among those that may be stolen (so that pinned ones hide nobody). Guarded by the
//! queue's lock.

use super::entity::Entity;
use super::policy::Policy;
use super::vtime::VirtualTime;
use crate::slab::{Slab, Slot};
use crate::sync::QueueOwned;
use crate::tree::{Links, Matching, Nodes, Tree};
use core::cmp::Ordering;

/// An entity's place in the run tree, and what it keeps about those below it.
#[derive(Default)]
pub(super) struct RunLinks {
    tree: Links,
    earliest: QueueOwned<VirtualTime>,
    has_stealable: QueueOwned<bool>,
    /// Has a meaning only if `has_stealable`.
    earliest_stealable: QueueOwned<VirtualTime>,
}

/// A virtual deadline as a key. All keys of one tree are within 2^63 ns of each other, where this is an order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(VirtualTime);

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.since(other.0).as_nanos().cmp(&0)
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The entities as nodes of run trees.
pub(super) struct RunNodes<'a, const WORDS: usize>(pub &'a Slab<Entity<WORDS>>);

fn stealable_below<const WORDS: usize>(entity: &Entity<WORDS>) -> Option<VirtualTime> {
    entity.links.has_stealable.get().then(|| entity.links.earliest_stealable.get())
}

impl<const WORDS: usize> Nodes for RunNodes<'_, WORDS> {
    type Node = Entity<WORDS>;
    type Key = Deadline;

    #[inline(always)]
    fn node(&self, slot: Slot) -> &Entity<WORDS> {
        &self.0[slot]
    }

    #[inline(always)]
    fn links(entity: &Entity<WORDS>) -> &Links {
        &entity.links.tree
    }

    #[inline(always)]
    fn key(entity: &Entity<WORDS>) -> Deadline {
        Deadline(entity.virtual_deadline.get())
    }

    fn summarise(entity: &Entity<WORDS>, left: Option<&Entity<WORDS>>, right: Option<&Entity<WORDS>>) -> bool {
        let own = entity.vruntime.get();
        let mut earliest = own;
        let mut stealable = entity.is_stealable.get().then_some(own);
        for child in [left, right].into_iter().flatten() {
            earliest = earliest.earlier(child.links.earliest.get());
            stealable = match (stealable, stealable_below(child)) {
                (Some(mine), Some(theirs)) => Some(mine.earlier(theirs)),
                (mine, theirs) => mine.or(theirs),
            };
        }
        let changed = earliest != entity.links.earliest.get() || stealable != stealable_below(entity);
        entity.links.earliest.set(earliest);
        entity.links.has_stealable.set(stealable.is_some());
        entity.links.earliest_stealable.set(stealable.unwrap_or_default());
        changed
    }
}

/// Who is due first in a queue that stands at `virtual_time`.
pub(super) fn first_due<const WORDS: usize>(
    tree: &Tree,
    threads: &Slab<Entity<WORDS>>,
    policy: Policy,
    virtual_time: VirtualTime,
) -> Option<Slot> {
    match policy {
        Policy::Wfq => tree.first(),
        Policy::Eevdf => {
            let eligible = |vruntime| policy.is_eligible(vruntime, virtual_time);
            let below = |entity: &Entity<WORDS>| eligible(entity.links.earliest.get());
            let here = |entity: &Entity<WORDS>| eligible(entity.vruntime.get());
            // V is the mean of all members rounded down, so the earliest of them is always eligible. If the one that
            // pulls V down is the current thread, nobody in the tree may be; then the first deadline is the answer.
            tree.first_where(&RunNodes(threads), &Matching(below, here)).or(tree.first())
        }
    }
}

/// The virtual run time of the most delayed entity that may be stolen.
pub(super) fn earliest_stealable<const WORDS: usize>(
    tree: &Tree,
    threads: &Slab<Entity<WORDS>>,
) -> Option<VirtualTime> {
    stealable_below(&threads[tree.root()?])
}

/// The entities that may be stolen, in the order of the policy's key. Looking at the first few costs O(log n) each.
pub(super) fn stealable<'a, const WORDS: usize>(
    tree: &Tree,
    nodes: &'a RunNodes<'a, WORDS>,
) -> impl Iterator<Item = Slot> {
    let below = |entity: &Entity<WORDS>| entity.links.has_stealable.get();
    let here = |entity: &Entity<WORDS>| entity.is_stealable.get();
    tree.iter_where(nodes, Matching(below, here))
}
