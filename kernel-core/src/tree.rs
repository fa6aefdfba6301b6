//! [`Tree`]: the one ordered tree: run queues, timers and the release queue are made of it.
//!
//! A B+ tree (Comer 1979) that is intrusive: a node is a [`Slot`], its [`Links`] stand in the entity, and a [`Nodes`]
//! adapter says where they are, what the key is and, optionally, which [`Summary`] is kept of sets of nodes (the
//! least eligible time, whether anybody among them may be stolen). An entity with several `Links` can be in several
//! trees. Equal keys stay in order of insertion, the first node is known, and nothing allocates.
//!
//! Nodes stand in leaves of 3 to 15, in order, and leaves below blocks of as many. So insertion, removal of any node
//! and searches take O(log n) steps at worst, each of which looks at one block and at no other node; at the ends, where
//! a run queue takes those who are next and puts those who have had their turn, constantly many on average.
//!
//! A tree has no memory of its own. Each node brings a block along when it is inserted, and takes one along when it is
//! removed: one that the tree does not use then, not always the same. So a tree of n nodes has n blocks. It never needs
//! more: all blocks have three entries but for the root, the last leaf and on each level the one that leads to the first
//! node, which makes about n/2; and when few nodes are left, the first two leaves are joined.
//!
//! One more thing keeps the common operations short. A search begins at the first node and goes up from there, so the
//! sum that is kept of a block *on the way from the root to the first node* is never looked at: it need not be right,
//! and the removal of the first node, which would change all of these and nothing else, has no sum to compute again.
//! For the same reason these may have few entries: they are used up one by one. Everywhere else sums are exact.
//!
//! Each other leaf knows a node that contributes all that the others do, if it has one: its *witness*. Whoever comes with
//! no more than that, and anybody else who leaves, changes no sum, and nothing is read to know it but the leaf.
//!
//! A search gives a [`Filter`] that uses the summaries to leave whole blocks out.
//!
//! Invariants: see [`Tree::check`]. Lock level: none of its own; the tree and its nodes' links belong to the owner of
//! the queue.

mod at;
mod block;
mod check;
mod node;
mod order;
mod reshape;

use crate::slab::Slot;
use at::At;
use block::{Entry, FEW, Place};
use order::{ENTRIES, Order};

pub use block::Block;
pub use check::TreeViolation;
pub use node::{Everything, Filter, Key, Links, Matching, Nodes, Summary};

/// With so few nodes a tree joins its first two leaves when the first one has one node.
const FEW_IN_ALL: u32 = 2 * FEW as u32 - 1;

/// An ordered tree. See the module.
#[derive(Debug, Default)]
pub struct Tree {
    /// A block, as the two leaves.
    root: Option<Slot>,
    first_leaf: Option<Slot>,
    last_leaf: Option<Slot>,
    /// A block that is not used, and the first of the others.
    spare: Option<Slot>,
    unused: Option<Slot>,
    /// The first node.
    first: Option<Slot>,
    len: u32,
}

impl Tree {
    /// A tree without nodes.
    pub const fn new() -> Self {
        Self { root: None, first_leaf: None, last_leaf: None, spare: None, unused: None, first: None, len: 0 }
    }

    /// How many nodes it has.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no nodes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The node with the least key.
    pub const fn first(&self) -> Option<Slot> {
        self.first
    }

    /// Adds a node that is in no tree of these links, behind all with an equal key.
    #[inline]
    pub fn insert<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        self.insert_node(nodes, slot, nodes.node(slot));
    }

    /// As [`Tree::insert`], with the node looked up already.
    #[inline(always)]
    pub fn insert_node<N: Nodes>(&mut self, nodes: &N, slot: Slot, node: &N::Node) {
        let links = N::links(node);
        debug_assert!(!links.is_linked(), "slot {} is in a tree already", slot.index());
        self.recycle(nodes, links.spare.get().unwrap_or(slot));
        self.take_in(nodes, links, entry(nodes, slot, node));
    }

    /// A node that has lent its block gets its place.
    #[inline(always)]
    fn take_in<N: Nodes>(&mut self, nodes: &N, links: &Links, entry: Entry<N::Key, N::Summary>) {
        self.len += 1;
        let Some(last) = At::maybe(nodes, self.last_leaf) else { return self.plant(nodes, entry) };
        let order = last.block.order();
        let before = order.last();
        if entry.key < last.block.key(before) {
            return self.insert_before_end(nodes, links, entry);
        }
        if order.len() == ENTRIES {
            return self.put(nodes, last, ENTRIES, entry);
        }
        let index = last.block.append(order, entry);
        if !last.block.covers(before, entry.sum) && last.block.has_come(index, entry.sum) {
            last.add_up(nodes, entry.sum);
        }
        links.leaf.set(Some(Place::new(last.slot, index)));
    }

    /// Adds a node that does not belong at the end, where it belongs, down from the root.
    #[inline]
    fn insert_before_end<N: Nodes>(&mut self, nodes: &N, links: &Links, entry: Entry<N::Key, N::Summary>) {
        let mut leaf: At<'_, N> = At::new(nodes, self.root.expect("a tree with a last leaf has a root"));
        while !leaf.block.is_leaf()
            && let Some(below) = leaf.below(nodes, leaf.block.way_to(entry.key))
        {
            leaf = below;
        }
        let (order, rank) = (leaf.block.order(), leaf.block.rank_of(entry.key));
        if rank == 0 && leaf.slot.is(self.first_leaf) {
            self.first = entry.slot;
        }
        if order.len() == ENTRIES {
            return self.put(nodes, leaf, rank, entry);
        }
        let index = leaf.block.insert(rank, entry);
        if leaf.block.has_come(index, entry.sum) {
            leaf.add_up(nodes, entry.sum);
        }
        links.leaf.set(Some(Place::new(leaf.slot, index)));
    }

    /// Removes a node of this tree.
    ///
    /// # Panics
    /// If the node is in no tree.
    #[inline]
    pub fn remove<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        self.remove_node(nodes, slot, nodes.node(slot));
    }

    /// As [`Tree::remove`], with the node looked up already.
    #[inline(always)]
    pub fn remove_node<N: Nodes>(&mut self, nodes: &N, slot: Slot, node: &N::Node) {
        let links = N::links(node);
        self.let_go(nodes, slot, links);
        links.spare.set(Some(self.take_unused(nodes)));
    }

    /// A node loses its place, and has not got a block back yet.
    #[inline(always)]
    fn let_go<N: Nodes>(&mut self, nodes: &N, slot: Slot, links: &Links) {
        self.len -= 1;
        if slot.is(self.first)
            && let Some(leaf) = At::maybe(nodes, self.first_leaf)
        {
            links.leaf.set(None);
            let left = leaf.block.remove(None);
            self.first = leaf.block.slot(left.first());
            return self.begins_with(nodes, leaf, left);
        }
        let place = links.leaf.get().expect("only a node that is in the tree is removed");
        links.leaf.set(None);
        let leaf: At<'_, N> = At::new(nodes, place.block());
        let left = leaf.block.remove(Some(place.index()));
        if leaf.slot.is(self.first_leaf) {
            self.begins_with(nodes, leaf, left);
        } else if left.len() < FEW {
            self.mend(nodes, leaf, false);
        } else if leaf.block.has_left(place.index(), left) {
            leaf.sum_up(nodes);
        }
    }

    /// These are left in the first leaf, which may have few; but where nodes are few, so must be blocks.
    #[inline(always)]
    fn begins_with<'a, N: Nodes>(&mut self, nodes: &'a N, leaf: At<'a, N>, left: Order) {
        if left.len() == 0 || left.len() == 1 && self.len <= FEW_IN_ALL && !leaf.slot.is(self.root) {
            self.mend(nodes, leaf, true);
            self.first = self.look_for_first(nodes);
        }
    }

    /// Moves a node of this tree to where it belongs after its key, or what it contributes to the summaries, has changed:
    /// behind all with an equal key.
    #[inline]
    pub fn rekey<N: Nodes>(&mut self, nodes: &N, slot: Slot, node: &N::Node) {
        let place = N::links(node).leaf.get();
        match place.filter(|place| place.block().is(self.root)) {
            // The only leaf: it can stay in its place, with another rank.
            Some(place) => {
                let leaf: At<'_, N> = At::new(nodes, place.block());
                leaf.block.rerank(place.index(), entry(nodes, slot, node));
                self.first = leaf.block.slot(leaf.block.order().first());
            }
            None => {
                self.let_go(nodes, slot, N::links(node));
                self.take_in(nodes, N::links(node), entry(nodes, slot, node));
            }
        }
    }

    /// Brings the summaries up to date after what `slot` contributes to them has changed.
    pub fn refresh<N: Nodes>(&self, nodes: &N, slot: Slot) {
        let node = nodes.node(slot);
        if let Some(place) = N::links(node).leaf.get() {
            let leaf: At<'_, N> = At::new(nodes, place.block());
            let sum = nodes.summary(node);
            leaf.block.sum(place.index()).set(sum);
            leaf.add_up(nodes, sum);
            leaf.sum_up(nodes);
        }
    }

    /// The node after `slot`.
    pub fn next<N: Nodes>(&self, nodes: &N, slot: Slot) -> Option<Slot> {
        self.next_where(nodes, slot, &Everything)
    }

    /// The first node that `filter` accepts. O(log n) if `may_contain` is never true in vain.
    #[inline]
    pub fn first_where<N: Nodes, F: Filter<N>>(&self, nodes: &N, filter: &F) -> Option<Slot> {
        let first: At<'_, N> = At::maybe(nodes, self.first_leaf)?;
        first.search(nodes, 0, filter).map(|(_, _, slot)| slot)
    }

    /// The first node after `slot` that `filter` accepts.
    pub fn next_where<N: Nodes, F: Filter<N>>(&self, nodes: &N, slot: Slot, filter: &F) -> Option<Slot> {
        let place = N::links(nodes.node(slot)).leaf.get()?;
        let leaf: At<'_, N> = At::new(nodes, place.block());
        leaf.search(nodes, leaf.block.order().rank(place.index()) + 1, filter).map(|(_, _, slot)| slot)
    }

    /// All nodes that `filter` accepts, in order.
    pub fn iter_where<'a, N: Nodes, F: Filter<N>>(
        &self,
        nodes: &'a N,
        filter: F,
    ) -> impl Iterator<Item = Slot> + use<'a, N, F> {
        let mut next = At::<'a, N>::maybe(nodes, self.first_leaf).map(|first| (first, 0));
        core::iter::from_fn(move || {
            let (at, rank) = next?;
            let found = at.search(nodes, rank, &filter);
            next = found.map(|(leaf, rank, _)| (leaf, rank + 1));
            found.map(|(_, _, slot)| slot)
        })
    }

    /// All nodes, in order.
    pub fn iter<'a, N: Nodes>(&self, nodes: &'a N) -> impl Iterator<Item = Slot> + use<'a, N> {
        self.iter_where(nodes, Everything)
    }
}

/// What a leaf says of a node.
#[inline(always)]
fn entry<N: Nodes>(nodes: &N, slot: Slot, node: &N::Node) -> Entry<N::Key, N::Summary> {
    Entry { key: N::key(node), slot: Some(slot), sum: nodes.summary(node) }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
