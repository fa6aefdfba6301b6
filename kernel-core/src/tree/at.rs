//! A block that was looked up, and what can be done from there: steps, sums, searches.

use super::block::{Block, Entry, Place};
use super::node::{Filter, Nodes, Summary};
use super::order::Order;
use crate::slab::Slot;

type EntryOf<N> = Entry<<N as Nodes>::Key, <N as Nodes>::Summary>;

/// A block that was looked up.
pub(super) struct At<'a, N: Nodes> {
    /// Of the node whose links it is in.
    pub(super) slot: Slot,
    pub(super) block: &'a Block<N::Key, N::Summary>,
}

impl<N: Nodes> Clone for At<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N: Nodes> Copy for At<'_, N> {}

impl<'a, N: Nodes> At<'a, N> {
    #[inline(always)]
    pub(super) fn new(nodes: &'a N, slot: Slot) -> Self {
        Self { slot, block: N::block(nodes.node(slot)) }
    }

    #[inline(always)]
    pub(super) fn maybe(nodes: &'a N, slot: Option<Slot>) -> Option<Self> {
        slot.map(|slot| Self::new(nodes, slot))
    }

    /// The block above, and the place of this one there.
    #[inline(always)]
    pub(super) fn above(self, nodes: &'a N) -> Option<(Self, usize)> {
        self.block.above.get().map(|place| (Self::new(nodes, place.block()), place.index()))
    }

    /// The block that the entry in this place leads to. Not in a leaf.
    #[inline(always)]
    pub(super) fn below(self, nodes: &'a N, place: usize) -> Option<Self> {
        Self::maybe(nodes, self.block.slot(place))
    }

    /// The one that the entry with this rank leads to, if there is such an entry.
    pub(super) fn ranked(self, nodes: &'a N, rank: usize) -> Option<Self> {
        let order = self.block.order();
        if rank < order.len() { self.below(nodes, order.place(rank)) } else { None }
    }

    /// What the block above says of this one.
    pub(super) fn as_entry(self) -> EntryOf<N> {
        Entry { key: self.block.key(self.block.order().first()), slot: Some(self.slot), sum: self.block.elect() }
    }

    /// Puts an entry in that was elsewhere, before the one that has this rank: what it leads to leads back here.
    pub(super) fn adopt(self, nodes: &'a N, rank: usize, entry: EntryOf<N>) {
        let index = self.block.insert(rank, entry);
        if let Some(node) = entry.slot.map(|slot| nodes.node(slot)) {
            let back = if self.block.is_leaf() { &N::links(node).leaf } else { &N::block(node).above };
            back.set(Some(Place::new(self.slot, index)));
        }
    }

    /// As `adopt`, behind all other entries.
    pub(super) fn adopt_last(self, nodes: &'a N, entry: EntryOf<N>) {
        self.adopt(nodes, self.block.len(), entry);
    }

    /// Somebody who contributes `sum` has come.
    pub(super) fn add_up(self, nodes: &'a N, sum: N::Summary) {
        let mut at = self;
        while let Some((above, place)) = at.above(nodes) {
            let kept = above.block.sum(place);
            let new = kept.get().and(sum);
            if kept.get() == new {
                return;
            }
            kept.set(new);
            at = above;
        }
    }

    /// Somebody has left: tells those above, until it changes nothing there.
    pub(super) fn sum_up(self, nodes: &'a N) {
        let mut at = self;
        while let Some((above, place)) = at.above(nodes) {
            let kept = above.block.sum(place);
            let Some(total) = at.block.elect_below(kept.get()) else { return };
            kept.set(total);
            at = above;
        }
    }

    /// The leaf that is reached by one end of each block.
    pub(super) fn outermost_leaf(self, nodes: &'a N, end: impl Fn(Order) -> usize) -> Self {
        let mut at = self;
        while !at.block.is_leaf()
            && let Some(below) = at.below(nodes, end(at.block.order()))
        {
            at = below;
        }
        at
    }

    /// The first node from the one with this rank on that `filter` wants: its leaf, its rank there, and it.
    pub(super) fn search<F: Filter<N>>(self, nodes: &'a N, rank: usize, filter: &F) -> Option<(Self, usize, Slot)> {
        let (mut at, mut rank) = (self, rank);
        loop {
            let found = at.block.find(rank, |sum| filter.may_contain(sum));
            match found.and_then(|(rank, place)| Some((rank, at.block.slot(place)?))) {
                Some((found, slot)) if at.block.is_leaf() => {
                    if filter.accepts(nodes.node(slot)) {
                        return Some((at, found, slot));
                    }
                    rank = found + 1;
                }
                Some((_, slot)) => (at, rank) = (Self::new(nodes, slot), 0),
                None => {
                    let (above, place) = at.above(nodes)?;
                    (at, rank) = (above, above.block.order().rank(place) + 1);
                }
            }
        }
    }
}
