//! [`Tree`]: the one ordered tree: run queues, timers and the release queue are made of it.
//!
//! A treap (Seidel and Aragon 1996) that is intrusive: a node is a [`Slot`], its [`Links`] stand in the entity, and a
//! [`Nodes`] adapter says where the links are, what the key is and, optionally, which [`Summary`] is kept of each
//! subtree (the least eligible time, whether anybody in it may be stolen). An entity with several `Links` can be in
//! several trees. Equal keys stay in order of insertion, the first and the last node are known, and nothing allocates.
//!
//! Each node gets a random priority when it is inserted and is above those of its subtree, which have lower ones: so the tree has the shape
//! that it would have if all had come in random order, whatever the order was. Insertion, removal of any node and
//! searches take O(log n) expected steps (four times as many with a chance below n^-5), and at the ends, where a run
//! queue takes those who are next and puts those who have had their turn, constantly many: there is no balance to
//! restore. Priorities come from a sequence that depends on the tree's history alone, so a run repeats exactly; a
//! program sees neither them nor their number, and cannot make the tree a bad one.
//!
//! One more thing keeps the common operations short. A search begins at the first node and climbs, so what is kept
//! about the left subtree of a node *on the way from the root to the first* is never looked at: it need not be right,
//! and the removal of the first node, which would change all of these and nothing else, has no summary to compute
//! again. Everywhere else summaries are exact.
//!
//! A search gives a [`Filter`] that uses the summaries to leave subtrees out.
//!
//! Invariants: see [`Tree::check`]. Lock level: none of its own; the tree and its nodes' links belong to the owner of
//! the queue.

mod at;
mod check;
mod node;
mod reshape;

use crate::slab::Slot;
use at::At;
use node::Side;

pub use check::TreeViolation;
pub use node::{Everything, Filter, Links, Matching, Nodes, Summary};

/// An ordered tree. See the module.
#[derive(Debug)]
pub struct Tree {
    root: Option<Slot>,
    first: Option<Slot>,
    last: Option<Slot>,
    len: u32,
    draws: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree without nodes.
    pub const fn new() -> Self {
        Self { root: None, first: None, last: None, len: 0, draws: 0x9e37_79b9_7f4a_7c15 }
    }

    /// How many nodes it has.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no nodes.
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The root.
    pub const fn root(&self) -> Option<Slot> {
        self.root
    }

    /// The node with the least key.
    pub const fn first(&self) -> Option<Slot> {
        self.first
    }

    /// The node with the greatest key.
    pub const fn last(&self) -> Option<Slot> {
        self.last
    }

    /// Adds a node that is in no tree of these links, behind all with an equal key.
    #[inline]
    pub fn insert<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        self.insert_node(nodes, slot, nodes.node(slot));
    }

    /// As [`Tree::insert`], with the node looked up already.
    #[inline(always)]
    pub fn insert_node<N: Nodes>(&mut self, nodes: &N, slot: Slot, node: &N::Node) {
        let new: At<'_, N> = At { slot, node };
        debug_assert!(!new.links().is_linked(), "slot {} is in a tree already", slot.index());
        new.links().priority.set(self.draw());
        self.len += 1;
        match At::maybe(nodes, self.last) {
            Some(last) if N::key(node) < N::key(last.node) => self.insert_below_root(nodes, new),
            Some(last) => self.append(nodes, new, last),
            None => {
                new.links().parent.set(None);
                new.hang(nodes, Side::Left, None);
                new.hang(nodes, Side::Right, None);
                (self.root, self.first, self.last) = (Some(slot), Some(slot), Some(slot));
            }
        }
    }

    /// Removes a node of this tree.
    #[inline]
    pub fn remove<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        self.remove_node(nodes, slot, nodes.node(slot));
    }

    /// As [`Tree::remove`], with the node looked up already.
    #[inline(always)]
    pub fn remove_node<N: Nodes>(&mut self, nodes: &N, slot: Slot, node: &N::Node) {
        let at: At<'_, N> = At { slot, node };
        debug_assert!(at.links().is_linked(), "slot {} is in no tree", slot.index());
        if slot.is(self.first) {
            self.remove_first(nodes, at);
        } else {
            if slot.is(self.last) {
                let previous = at.child(nodes, Side::Left).map(|left| left.outermost(nodes, Side::Right).slot);
                self.last = previous.or(at.links().parent.get());
            }
            self.merge_below(nodes, at);
        }
        at.links().priority.set(0);
        self.len -= 1;
    }

    /// Brings the summaries up to date after what `slot` contributes to them has changed.
    pub fn refresh<N: Nodes>(&self, nodes: &N, slot: Slot) {
        let at: At<'_, N> = At::new(nodes, slot);
        for side in [Side::Left, Side::Right] {
            if at.links().child(side).get().is_none() {
                at.links().below(side).set(at.own(nodes));
            }
        }
        if let Some(parent) = at.parent(nodes) {
            parent.propagate(nodes, parent.side_of(slot), at.total(nodes));
        }
    }

    /// The node after `slot`.
    pub fn next<N: Nodes>(&self, nodes: &N, slot: Slot) -> Option<Slot> {
        self.next_where(nodes, slot, &Everything)
    }

    /// The first node that `filter` accepts. O(log n) expected if `may_contain` is never true in vain.
    #[inline]
    pub fn first_where<N: Nodes, F: Filter<N>>(&self, nodes: &N, filter: &F) -> Option<Slot> {
        let first: At<'_, N> = At::maybe(nodes, self.first)?;
        if filter.accepts(first.node) {
            return Some(first.slot);
        }
        first.search_after(nodes, filter).map(|at| at.slot)
    }

    /// The first node after `slot` that `filter` accepts.
    pub fn next_where<N: Nodes, F: Filter<N>>(&self, nodes: &N, slot: Slot, filter: &F) -> Option<Slot> {
        let at: At<'_, N> = At::new(nodes, slot);
        at.search_after(nodes, filter).map(|at| at.slot)
    }

    /// All nodes that `filter` accepts, in order.
    pub fn iter_where<'a, N: Nodes, F: Filter<N>>(
        &self,
        nodes: &'a N,
        filter: F,
    ) -> impl Iterator<Item = Slot> + use<'a, N, F> {
        let first = self.first_where(nodes, &filter);
        core::iter::successors(first, move |&slot| {
            let at: At<'_, N> = At::new(nodes, slot);
            at.search_after(nodes, &filter).map(|at| at.slot)
        })
    }

    /// All nodes, in order.
    pub fn iter<'a, N: Nodes>(&self, nodes: &'a N) -> impl Iterator<Item = Slot> + use<'a, N> {
        self.iter_where(nodes, Everything)
    }

    /// The next priority; never 0.
    #[inline(always)]
    fn draw(&mut self) -> u32 {
        // Knuth's MMIX generator, of which the high half is good.
        self.draws = self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.draws >> 32) as u32 | 1
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
