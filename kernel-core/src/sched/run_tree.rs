//! The run tree: who waits on one CPU, by virtual deadline, first come first served among equals.
//!
//! Two facts are kept about the entities below a block: the earliest virtual run time, so that the first *eligible* one is
//! found in O(log n), and whether any of them may be stolen, so that pinned ones hide nobody. A policy under which everyone
//! is eligible keeps only the second. Guarded by the queue's lock.

use super::entity::Entity;
use super::mean::WeightedMean;
use super::policy::Policy;
use super::vtime::VirtualTime;
use crate::slab::{Slab, Slot};
use crate::sync::Pack;
use crate::tree::{Block, Links, Matching, Nodes, Summary, Tree};
use core::cmp::Ordering;

/// What run trees are made of.
pub(super) type RunBlock = Block<Deadline, Below>;

/// A virtual deadline as a key. All keys of one tree are within 2^63 ns of each other, where this is an order.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Deadline(VirtualTime);

impl Pack for Deadline {
    type Bits = u64;
    #[inline(always)]
    fn pack(self) -> u64 {
        self.0.as_nanos()
    }
    #[inline(always)]
    fn unpack(bits: u64) -> Self {
        Self(VirtualTime::from_nanos(bits))
    }
}

impl Ord for Deadline {
    #[inline(always)]
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.since(other.0).as_nanos().cmp(&0)
    }
}

impl PartialOrd for Deadline {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What is kept about a subtree, in one word: the earliest virtual run time, rounded down to an even number, and in the
/// lowest bit whether anybody may be stolen. The rounding makes a search look one nanosecond further, at most in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Below(u64);

impl Below {
    const STEALABLE: u64 = 1;

    fn new(earliest: VirtualTime, is_stealable: bool) -> Self {
        Self(earliest.as_nanos() & !Self::STEALABLE | u64::from(is_stealable))
    }

    const fn earliest(self) -> VirtualTime {
        VirtualTime::from_nanos(self.0 & !Self::STEALABLE)
    }

    const fn has_stealable(self) -> bool {
        self.0 & Self::STEALABLE != 0
    }
}

crate::pack_newtype!(Below(u64));

impl Summary for Below {
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // The lowest bit decides nothing but ties, and is the same in both cases.
        let earlier = if (self.0.wrapping_sub(other.0)).cast_signed() < 0 { self.0 } else { other.0 };
        Self(earlier | (self.0 | other.0) & Self::STEALABLE)
    }
}

/// The entities as nodes of the run trees of one policy.
pub(super) struct RunNodes<'a, const WORDS: usize> {
    threads: &'a Slab<Entity<WORDS>>,
    policy: Policy,
}

impl<'a, const WORDS: usize> RunNodes<'a, WORDS> {
    #[inline(always)]
    pub(super) const fn new(threads: &'a Slab<Entity<WORDS>>, policy: Policy) -> Self {
        Self { threads, policy }
    }
}

impl<const WORDS: usize> Nodes for RunNodes<'_, WORDS> {
    type Node = Entity<WORDS>;
    type Key = Deadline;
    type Summary = Below;

    #[inline(always)]
    fn node(&self, slot: Slot) -> &Entity<WORDS> {
        &self.threads[slot]
    }

    #[inline(always)]
    fn links(entity: &Entity<WORDS>) -> &Links {
        &entity.links
    }

    #[inline(always)]
    fn block(entity: &Entity<WORDS>) -> &RunBlock {
        &entity.block
    }

    #[inline(always)]
    fn key(entity: &Entity<WORDS>) -> Deadline {
        Deadline(entity.virtual_deadline.get())
    }

    #[inline(always)]
    fn summary(&self, entity: &Entity<WORDS>) -> Below {
        let earliest = match self.policy {
            Policy::Wfq => VirtualTime::ZERO,
            Policy::Eevdf => entity.vruntime.get(),
        };
        Below::new(earliest, entity.is_stealable.get())
    }
}

/// Who is due first in a queue whose virtual time is `mean`.
#[inline(always)]
pub(super) fn first_due<'a, const WORDS: usize>(
    tree: &Tree,
    nodes: &RunNodes<'a, WORDS>,
    mean: &WeightedMean,
) -> Option<(Slot, &'a Entity<WORDS>)> {
    let first = tree.first()?;
    let entity = &nodes.threads[first];
    if nodes.policy.is_eligible(entity.vruntime.get(), |point| mean.has_reached(point)) {
        return Some((first, entity));
    }
    let eligible = first_eligible_after(tree, nodes, first, mean.virtual_time());
    Some((eligible, &nodes.threads[eligible]))
}

fn first_eligible_after<const WORDS: usize>(
    tree: &Tree,
    nodes: &RunNodes<'_, WORDS>,
    first: Slot,
    virtual_time: VirtualTime,
) -> Slot {
    let has_come = |point: VirtualTime| !virtual_time.is_before(point);
    let below = |below: Below| has_come(below.earliest());
    let here = |entity: &Entity<WORDS>| has_come(entity.vruntime.get());
    // V is the mean of all members rounded down, so the earliest of them is always eligible. If the one that
    // pulls V down is the current thread, nobody in the tree may be; then the first deadline is the answer.
    tree.next_where(nodes, first, &Matching(below, here)).unwrap_or(first)
}

/// The entities that may be stolen, in the order of the policy's key. Looking at the first few costs O(log n) each.
pub(super) fn stealable<'a, const WORDS: usize>(
    tree: &Tree,
    nodes: &'a RunNodes<'a, WORDS>,
) -> impl Iterator<Item = Slot> {
    tree.iter_where(nodes, Matching(Below::has_stealable, |entity: &Entity<WORDS>| entity.is_stealable.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_about_both_sets_whatever_their_order() {
        let (early, late) = (VirtualTime::from_nanos(u64::MAX - 3), VirtualTime::from_nanos(9));
        for (stealable_early, stealable_late) in [(false, false), (false, true), (true, false), (true, true)] {
            let (one, other) = (Below::new(early, stealable_early), Below::new(late, stealable_late));
            assert_eq!(one.and(other), other.and(one));
            assert_eq!(one.and(one), one);
            assert_eq!(one.and(other).earliest(), VirtualTime::from_nanos(u64::MAX - 3));
            assert_eq!(one.and(other).has_stealable(), stealable_early || stealable_late);
        }
    }

    #[test]
    fn a_search_may_look_one_nanosecond_too_far_and_never_overlooks() {
        for nanoseconds in [0, 1, 7, 8, u64::MAX] {
            let at = VirtualTime::from_nanos(nanoseconds);
            let kept = Below::new(at, true).earliest();
            assert!((0..=1).contains(&at.since(kept).as_nanos()));
        }
    }
}
