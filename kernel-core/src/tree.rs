//! [`Tree`]: the one ordered tree: run queues, timers and the release queue are made of it.
//!
//! A height-balanced (AVL) tree that is intrusive: a node is a [`Slot`], its [`Links`] stand in the entity, and a
//! [`Nodes`] adapter says where the links are, what the key is and, optionally, which [`Summary`] is kept of each
//! subtree (the least eligible time, whether anybody in it may be stolen). An entity with several `Links` can be in
//! several trees. Insertion, removal of any node and searches are O(log n), the first and the last node are known, and
//! nothing allocates. Equal keys stay in order of insertion.
//!
//! Two things keep the common operations short. A node that belongs behind the last is hung there at once. And a
//! search begins at the first node and climbs, so what is kept about the left subtree of a node *on the way from the
//! root to the first* is never looked at: it need not be right, and the removal of the first node, which would change
//! all of these and nothing else, has no summary to compute again. Everywhere else summaries are exact.
//!
//! A search gives a [`Filter`] that uses the summaries to leave subtrees out.
//!
//! Invariants: see [`Tree::check`]. Lock level: none of its own; the tree and its nodes' links belong to the owner of
//! the queue.

mod at;
mod check;
mod node;
mod rebalance;

use crate::slab::Slot;
use at::At;
use node::{Shape, Side};

pub use check::TreeViolation;
pub use node::{Everything, Filter, Links, Matching, Nodes, Summary};

/// An ordered tree. See the module.
#[derive(Debug, Default)]
pub struct Tree {
    root: Option<Slot>,
    first: Option<Slot>,
    last: Option<Slot>,
    len: u32,
}

impl Tree {
    /// A tree without nodes.
    pub const fn new() -> Self {
        Self { root: None, first: None, last: None, len: 0 }
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
    pub fn insert_node<N: Nodes>(&mut self, nodes: &N, slot: Slot, node: &N::Node) {
        let new: At<'_, N> = At { slot, node };
        debug_assert!(!new.links().is_linked(), "slot {} is in a tree already", slot.index());
        let place = self.place_for(nodes, N::key(new.node));
        let (links, own) = (new.links(), new.own(nodes));
        links.left.set(None);
        links.right.set(None);
        links.below(Side::Left).set(own);
        links.below(Side::Right).set(own);
        links.shape.set(Shape::Even);
        links.parent.set(place.map(|(parent, _)| parent.slot));
        self.len += 1;
        let Some((parent, side)) = place else {
            (self.root, self.first, self.last) = (Some(slot), Some(slot), Some(slot));
            return;
        };
        parent.links().child(side).set(Some(slot));
        match side {
            Side::Left if parent.slot.is(self.first) => self.first = Some(slot),
            Side::Right if parent.slot.is(self.last) => self.last = Some(slot),
            _ => {}
        }
        parent.propagate(nodes, side, own);
        self.rise(nodes, new, parent, side);
    }

    /// Removes a node of this tree.
    #[inline]
    pub fn remove<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        self.remove_node(nodes, slot, nodes.node(slot));
    }

    /// As [`Tree::remove`], with the node looked up already.
    pub fn remove_node<N: Nodes>(&mut self, nodes: &N, slot: Slot, node: &N::Node) {
        let at: At<'_, N> = At { slot, node };
        debug_assert!(at.links().is_linked(), "slot {} is in no tree", slot.index());
        let is_first = slot.is(self.first);
        if is_first {
            // It has no left child, so by balance its right child, if it has one, has none.
            self.first = at.links().right.get().or(at.links().parent.get());
        }
        if slot.is(self.last) {
            self.last = at.links().left.get().or(at.links().parent.get());
        }
        let lowest = match (at.child(nodes, Side::Left), at.child(nodes, Side::Right)) {
            (Some(_), Some(right)) => Some(self.replace_by_successor(nodes, at, right)),
            (left, right) => self.replace_by_child(nodes, at, left.or(right), is_first),
        };
        at.set_shape(Shape::Unlinked);
        self.len -= 1;
        if let Some((lowest, side)) = lowest {
            self.sink(nodes, lowest, side);
        }
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

    /// The first node that `filter` accepts. O(log n) if `may_contain` is never true in vain.
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

    /// Where a node with this key is to be hung; `None` in an empty tree.
    #[inline(always)]
    fn place_for<'a, N: Nodes>(&self, nodes: &'a N, key: N::Key) -> Option<(At<'a, N>, Side)> {
        let last: At<'_, N> = At::maybe(nodes, self.last)?;
        if key >= N::key(last.node) {
            return Some((last, Side::Right));
        }
        let mut at: At<'_, N> = At::maybe(nodes, self.root)?;
        loop {
            let side = if key < N::key(at.node) { Side::Left } else { Side::Right };
            match at.child(nodes, side) {
                Some(child) => at = child,
                None => return Some((at, side)),
            }
        }
    }
}
