//! [`Tree`]: the one ordered tree: run queues, timers and the release queue are made of it.
//!
//! A height-balanced (AVL) tree that is intrusive: a node is a [`Slot`], its [`Links`] stand in the entity, and a
//! [`Nodes`] adapter says where the links are, what the key is and, optionally, which *summary* each node keeps of its
//! subtree (the least eligible time, the best thread that may be stolen). An entity with several `Links` can be in
//! several trees. Insertion, removal of any node and searches are O(log n), the first node is known, and nothing
//! allocates. Equal keys stay in order of insertion.
//!
//! Summaries are recomputed from the place of a change upwards, until one comes out as it was. A search gives a
//! [`Filter`] that uses them to leave subtrees out.
//!
//! Invariants: see [`Tree::check`]. Lock level: none of its own; the tree and its nodes' links belong to the owner of
//! the queue.

mod at;
mod check;
mod node;

use crate::slab::Slot;
use at::At;
use node::{Shape, Side};

pub use check::TreeViolation;
pub use node::{Everything, Filter, Links, Matching, Nodes};

/// An ordered tree. See the module.
#[derive(Debug, Default)]
pub struct Tree {
    root: Option<Slot>,
    first: Option<Slot>,
    len: u32,
}

impl Tree {
    /// A tree without nodes.
    pub const fn new() -> Self {
        Self { root: None, first: None, len: 0 }
    }

    /// How many nodes it has.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no nodes.
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The root: its summary is about the whole tree.
    pub const fn root(&self) -> Option<Slot> {
        self.root
    }

    /// The node with the least key.
    pub const fn first(&self) -> Option<Slot> {
        self.first
    }

    /// Adds a node that is in no tree of these links, behind all with an equal key.
    pub fn insert<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        let at: At<'_, N> = At::new(nodes, slot);
        debug_assert!(!at.links().is_linked(), "slot {} is in a tree already", slot.index());
        self.hang(nodes, at);
        self.len += 1;
        N::summarise(at.node, None, None);
        at.propagate(nodes);
        self.rise(nodes, at);
    }

    /// Removes a node of this tree.
    pub fn remove<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        let at: At<'_, N> = At::new(nodes, slot);
        debug_assert!(at.links().is_linked(), "slot {} is in no tree", slot.index());
        if self.first == Some(slot) {
            self.first = self.next(nodes, slot);
        }
        let (lowest, side) = match (at.child(nodes, Side::Left), at.child(nodes, Side::Right)) {
            (Some(left), Some(right)) => self.replace_by_successor(nodes, at, left, right),
            (left, right) => (at.parent(nodes), self.put_in_place_of(nodes, at, left.or(right))),
        };
        at.set_shape(Shape::Unlinked);
        self.len -= 1;
        if let Some(lowest) = lowest {
            if lowest.summarise(nodes) {
                lowest.propagate(nodes);
            }
            self.sink(nodes, lowest, side);
        }
    }

    /// Brings the summaries up to date after something that they are computed from has changed in `slot`.
    pub fn refresh<N: Nodes>(&self, nodes: &N, slot: Slot) {
        let at: At<'_, N> = At::new(nodes, slot);
        if at.summarise(nodes) {
            at.propagate(nodes);
        }
    }

    /// The node after `slot`.
    pub fn next<N: Nodes>(&self, nodes: &N, slot: Slot) -> Option<Slot> {
        self.next_where(nodes, slot, &Everything)
    }

    /// The first node that `filter` accepts. O(log n) if `may_contain` is never true in vain.
    #[inline]
    pub fn first_where<N: Nodes, F: Filter<N::Node>>(&self, nodes: &N, filter: &F) -> Option<Slot> {
        let root: At<'_, N> = At::maybe(nodes, self.root).filter(|root| filter.may_contain(root.node))?;
        let first = root.leftmost(nodes, filter);
        if filter.accepts(first.node) {
            return Some(first.slot);
        }
        first.search_after(nodes, filter).map(|at| at.slot)
    }

    /// The first node after `slot` that `filter` accepts.
    pub fn next_where<N: Nodes, F: Filter<N::Node>>(&self, nodes: &N, slot: Slot, filter: &F) -> Option<Slot> {
        let at: At<'_, N> = At::new(nodes, slot);
        at.search_after(nodes, filter).map(|at| at.slot)
    }

    /// All nodes that `filter` accepts, in order.
    pub fn iter_where<'a, N: Nodes, F: Filter<N::Node>>(
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

    /// Links a node as a leaf where its key belongs.
    fn hang<N: Nodes>(&mut self, nodes: &N, new: At<'_, N>) {
        let key = N::key(new.node);
        let (mut parent, mut side, mut is_first): (Option<At<'_, N>>, _, _) = (None, Side::Left, true);
        let mut next = self.root;
        while let Some(slot) = next {
            let at: At<'_, N> = At::new(nodes, slot);
            side = if key < N::key(at.node) { Side::Left } else { Side::Right };
            is_first &= side == Side::Left;
            next = at.links().child(side).get();
            parent = Some(at);
        }
        let links = new.links();
        links.parent.set(parent.map(|parent| parent.slot));
        links.left.set(None);
        links.right.set(None);
        links.shape.set(Shape::Even);
        match parent {
            Some(parent) => parent.links().child(side).set(Some(new.slot)),
            None => self.root = Some(new.slot),
        }
        if is_first {
            self.first = Some(new.slot);
        }
    }

    /// The subtree at `below` has become higher by one: restores the balance above it.
    fn rise<'a, N: Nodes>(&mut self, nodes: &'a N, mut below: At<'a, N>) {
        while let Some(at) = below.parent(nodes) {
            let (side, shape) = (at.side_of(below), at.shape());
            if shape == side.leaning() {
                self.rebalance(nodes, at, below, side);
                return;
            }
            if shape != Shape::Even {
                at.set_shape(Shape::Even);
                return;
            }
            at.set_shape(side.leaning());
            below = at;
        }
    }

    /// The subtree on `side` of `at` has become lower by one: restores the balance from there upwards.
    fn sink<'a, N: Nodes>(&mut self, nodes: &'a N, mut at: At<'a, N>, mut side: Side) {
        loop {
            let shape = at.shape();
            let top = if shape == side.leaning() {
                at.set_shape(Shape::Even);
                at
            } else if shape == Shape::Even {
                at.set_shape(side.other().leaning());
                return;
            } else {
                let Some(child) = at.child(nodes, side.other()) else { return };
                let top = self.rebalance(nodes, at, child, side.other());
                if top.shape() != Shape::Even {
                    return; // The rotation has kept the height.
                }
                top
            };
            let Some(parent) = top.parent(nodes) else { return };
            side = parent.side_of(top);
            at = parent;
        }
    }

    /// `at` is two higher on the `heavy` side, where `child` is: rotates and answers the new top.
    fn rebalance<'a, N: Nodes>(&mut self, nodes: &'a N, at: At<'a, N>, child: At<'a, N>, heavy: Side) -> At<'a, N> {
        let light = heavy.other();
        let child_shape = child.shape();
        if child_shape == light.leaning()
            && let Some(top) = child.child(nodes, light)
        {
            self.rebalance_twice(nodes, at, child, top, heavy);
            return top;
        }
        let inner = child.child(nodes, light);
        self.put_in_place_of(nodes, at, Some(child));
        at.adopt(heavy, inner);
        child.adopt(light, Some(at));
        let even = child_shape == Shape::Even;
        at.set_shape(if even { heavy.leaning() } else { Shape::Even });
        child.set_shape(if even { light.leaning() } else { Shape::Even });
        at.summarise(nodes);
        child.summarise_over(nodes, at);
        child
    }

    /// As `rebalance`, for a child that leans the other way: its inner child becomes the top.
    fn rebalance_twice<'a, N: Nodes>(
        &mut self,
        nodes: &'a N,
        at: At<'a, N>,
        child: At<'a, N>,
        top: At<'a, N>,
        heavy: Side,
    ) {
        let light = heavy.other();
        let (inner, outer) = (top.child(nodes, light), top.child(nodes, heavy));
        self.put_in_place_of(nodes, at, Some(top));
        at.adopt(heavy, inner);
        child.adopt(light, outer);
        top.adopt(light, Some(at));
        top.adopt(heavy, Some(child));
        let shape = top.shape();
        at.set_shape(if shape == heavy.leaning() { light.leaning() } else { Shape::Even });
        child.set_shape(if shape == light.leaning() { heavy.leaning() } else { Shape::Even });
        top.set_shape(Shape::Even);
        at.summarise(nodes);
        child.summarise(nodes);
        top.summarise(nodes);
    }

    /// Gives the parent of `at` another child in its place; answers on which side (left for the root).
    fn put_in_place_of<'a, N: Nodes>(&mut self, nodes: &'a N, at: At<'a, N>, child: Option<At<'a, N>>) -> Side {
        match at.parent(nodes) {
            Some(parent) => {
                let side = parent.side_of(at);
                parent.adopt(side, child);
                side
            }
            None => {
                self.root = child.map(|child| child.slot);
                if let Some(child) = child {
                    child.links().parent.set(None);
                }
                Side::Left
            }
        }
    }

    /// Puts the successor of `at`, which has both children, where `at` is. Answers which node lost height, and on
    /// which side.
    fn replace_by_successor<'a, N: Nodes>(
        &mut self,
        nodes: &'a N,
        at: At<'a, N>,
        left: At<'a, N>,
        right: At<'a, N>,
    ) -> (Option<At<'a, N>>, Side) {
        let successor = right.leftmost(nodes, &Everything);
        let is_child = successor.slot == right.slot;
        let lowest = if is_child { Some(successor) } else { successor.parent(nodes) };
        if !is_child {
            self.put_in_place_of(nodes, successor, successor.child(nodes, Side::Right));
            successor.adopt(Side::Right, Some(right));
        }
        successor.adopt(Side::Left, Some(left));
        successor.set_shape(at.shape());
        self.put_in_place_of(nodes, at, Some(successor));
        // The summary that the successor had was about another place, so it cannot tell whether its new ancestors
        // need theirs computed again: first below, then here, then above in any case.
        let mut below = lowest.filter(|_| !is_child);
        while let Some(changed) = below.filter(|below| below.slot != successor.slot && below.summarise(nodes)) {
            below = changed.parent(nodes);
        }
        successor.summarise(nodes);
        successor.propagate(nodes);
        (lowest, if is_child { Side::Right } else { Side::Left })
    }
}
