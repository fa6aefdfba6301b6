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

use crate::slab::Slot;
use crate::sync::QueueOwned;
use core::fmt;

/// A node's place in a tree.
#[derive(Debug, Default)]
pub struct Links {
    parent: QueueOwned<Option<Slot>>,
    left: QueueOwned<Option<Slot>>,
    right: QueueOwned<Option<Slot>>,
    shape: QueueOwned<Shape>,
}

/// Which subtree of a node is the higher one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Shape {
    /// The node is in no tree.
    #[default]
    Unlinked,
    Even,
    LeansLeft,
    LeansRight,
}
crate::pack_enum!(Shape { Unlinked, Even, LeansLeft, LeansRight });

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    const fn leaning(self) -> Shape {
        match self {
            Self::Left => Shape::LeansLeft,
            Self::Right => Shape::LeansRight,
        }
    }
}

impl Links {
    /// Whether the node is in a tree.
    pub fn is_linked(&self) -> bool {
        self.shape.get() != Shape::Unlinked
    }

    #[inline(always)]
    fn child(&self, side: Side) -> &QueueOwned<Option<Slot>> {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}

/// Where the nodes of a tree are and what they are ordered by.
pub trait Nodes {
    /// What the nodes are ordered by. A node's key must not change while it is in the tree.
    type Key: Ord + Copy;

    /// The links of a node for this tree.
    fn links(&self, slot: Slot) -> &Links;

    /// The key of a node.
    fn key(&self, slot: Slot) -> Self::Key;

    /// Computes what `slot` keeps about its subtree, from itself and the summaries of its children, stores it in the
    /// node and answers whether it is another one than before.
    #[inline(always)]
    fn summarise(&self, slot: Slot, left: Option<Slot>, right: Option<Slot>) -> bool {
        let _ = (slot, left, right);
        false
    }
}

/// What a search looks for.
pub trait Filter {
    /// Whether anything below `slot`, itself included, may be wanted. False leaves the whole subtree out.
    fn may_contain(&self, slot: Slot) -> bool;
    /// Whether `slot` itself is wanted.
    fn accepts(&self, slot: Slot) -> bool;
}

/// A [`Filter`] of two closures: about a subtree, about a node.
#[derive(Clone, Copy, Debug)]
pub struct Matching<S, N>(pub S, pub N);

impl<S: Fn(Slot) -> bool, N: Fn(Slot) -> bool> Filter for Matching<S, N> {
    #[inline(always)]
    fn may_contain(&self, slot: Slot) -> bool {
        (self.0)(slot)
    }
    #[inline(always)]
    fn accepts(&self, slot: Slot) -> bool {
        (self.1)(slot)
    }
}

/// Every node.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl Filter for Everything {
    fn may_contain(&self, _: Slot) -> bool {
        true
    }
    fn accepts(&self, _: Slot) -> bool {
        true
    }
}

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
        debug_assert!(!nodes.links(slot).is_linked(), "slot {} is in a tree already", slot.index());
        let parent = self.hang(nodes, slot);
        self.len += 1;
        nodes.summarise(slot, None, None);
        propagate(nodes, parent);
        self.rise(nodes, slot);
    }

    /// Removes a node of this tree.
    pub fn remove<N: Nodes>(&mut self, nodes: &N, slot: Slot) {
        debug_assert!(nodes.links(slot).is_linked(), "slot {} is in no tree", slot.index());
        if self.first == Some(slot) {
            self.first = self.next(nodes, slot);
        }
        let links = nodes.links(slot);
        let (lowest, side) = match (links.left.get(), links.right.get()) {
            (Some(_), Some(right)) => self.replace_by_successor(nodes, slot, right),
            (left, right) => (links.parent.get(), self.put_in_place_of(nodes, slot, left.or(right))),
        };
        links.shape.set(Shape::Unlinked);
        self.len -= 1;
        propagate(nodes, lowest);
        if let Some(lowest) = lowest {
            self.sink(nodes, lowest, side);
        }
    }

    /// Brings the summaries up to date after something that they are computed from has changed in `slot`.
    pub fn refresh<N: Nodes>(&self, nodes: &N, slot: Slot) {
        propagate(nodes, Some(slot));
    }

    /// The node after `slot`.
    pub fn next<N: Nodes>(&self, nodes: &N, slot: Slot) -> Option<Slot> {
        self.next_where(nodes, slot, &Everything)
    }

    /// The first node that `filter` accepts. O(log n) if `may_contain` is never true in vain.
    #[inline]
    pub fn first_where<N: Nodes, F: Filter>(&self, nodes: &N, filter: &F) -> Option<Slot> {
        let root = self.root.filter(|&root| filter.may_contain(root))?;
        search_below(nodes, root, filter)
    }

    /// The first node after `slot` that `filter` accepts.
    pub fn next_where<N: Nodes, F: Filter>(&self, nodes: &N, slot: Slot, filter: &F) -> Option<Slot> {
        search_after(nodes, slot, filter)
    }

    /// All nodes that `filter` accepts, in order.
    pub fn iter_where<'a, N: Nodes, F: Filter>(
        &self,
        nodes: &'a N,
        filter: F,
    ) -> impl Iterator<Item = Slot> + use<'a, N, F> {
        let first = self.first_where(nodes, &filter);
        core::iter::successors(first, move |&slot| search_after(nodes, slot, &filter))
    }

    /// All nodes, in order.
    pub fn iter<'a, N: Nodes>(&self, nodes: &'a N) -> impl Iterator<Item = Slot> + use<'a, N> {
        self.iter_where(nodes, Everything)
    }

    /// Links a node as a leaf where its key belongs; answers its parent.
    fn hang<N: Nodes>(&mut self, nodes: &N, slot: Slot) -> Option<Slot> {
        let key = nodes.key(slot);
        let (mut parent, mut side, mut is_first) = (None, Side::Left, true);
        let mut next = self.root;
        while let Some(at) = next {
            side = if key < nodes.key(at) { Side::Left } else { Side::Right };
            is_first &= side == Side::Left;
            parent = Some(at);
            next = nodes.links(at).child(side).get();
        }
        let links = nodes.links(slot);
        links.parent.set(parent);
        links.left.set(None);
        links.right.set(None);
        links.shape.set(Shape::Even);
        match parent {
            Some(parent) => nodes.links(parent).child(side).set(Some(slot)),
            None => self.root = Some(slot),
        }
        if is_first {
            self.first = Some(slot);
        }
        parent
    }

    /// The subtree at `slot` has become higher by one: restores the balance above it.
    fn rise<N: Nodes>(&mut self, nodes: &N, mut slot: Slot) {
        while let Some(parent) = nodes.links(slot).parent.get() {
            let links = nodes.links(parent);
            let side = if links.left.get() == Some(slot) { Side::Left } else { Side::Right };
            let shape = links.shape.get();
            if shape == side.leaning() {
                self.rebalance(nodes, parent, side);
                return;
            }
            if shape != Shape::Even {
                links.shape.set(Shape::Even);
                return;
            }
            links.shape.set(side.leaning());
            slot = parent;
        }
    }

    /// The subtree on `side` of `slot` has become lower by one: restores the balance from there upwards.
    fn sink<N: Nodes>(&mut self, nodes: &N, mut slot: Slot, mut side: Side) {
        loop {
            let links = nodes.links(slot);
            let shape = links.shape.get();
            let top = if shape == side.leaning() {
                links.shape.set(Shape::Even);
                slot
            } else if shape == Shape::Even {
                links.shape.set(side.other().leaning());
                return;
            } else {
                let top = self.rebalance(nodes, slot, side.other());
                if nodes.links(top).shape.get() != Shape::Even {
                    return; // The rotation has kept the height.
                }
                top
            };
            let Some(parent) = nodes.links(top).parent.get() else { return };
            side = if nodes.links(parent).left.get() == Some(top) { Side::Left } else { Side::Right };
            slot = parent;
        }
    }

    /// `slot` is two higher on the `heavy` side: rotates and answers the new top.
    fn rebalance<N: Nodes>(&mut self, nodes: &N, slot: Slot, heavy: Side) -> Slot {
        let light = heavy.other();
        let Some(child) = nodes.links(slot).child(heavy).get() else { return slot };
        let child_shape = nodes.links(child).shape.get();
        if child_shape == light.leaning() {
            return self.rebalance_twice(nodes, slot, child, heavy);
        }
        self.rotate(nodes, slot, child, heavy);
        let even = child_shape == Shape::Even;
        nodes.links(slot).shape.set(if even { heavy.leaning() } else { Shape::Even });
        nodes.links(child).shape.set(if even { light.leaning() } else { Shape::Even });
        summarise(nodes, slot);
        summarise(nodes, child);
        child
    }

    /// As `rebalance`, for a child that leans the other way: its inner child becomes the top.
    fn rebalance_twice<N: Nodes>(&mut self, nodes: &N, slot: Slot, child: Slot, heavy: Side) -> Slot {
        let light = heavy.other();
        let Some(top) = nodes.links(child).child(light).get() else { return slot };
        let shape = nodes.links(top).shape.get();
        self.rotate(nodes, child, top, light);
        self.rotate(nodes, slot, top, heavy);
        nodes.links(slot).shape.set(if shape == heavy.leaning() { light.leaning() } else { Shape::Even });
        nodes.links(child).shape.set(if shape == light.leaning() { heavy.leaning() } else { Shape::Even });
        nodes.links(top).shape.set(Shape::Even);
        summarise(nodes, slot);
        summarise(nodes, child);
        summarise(nodes, top);
        top
    }

    /// Puts `child`, which is on `side` of `slot`, above it.
    fn rotate<N: Nodes>(&mut self, nodes: &N, slot: Slot, child: Slot, side: Side) {
        let inner = nodes.links(child).child(side.other()).get();
        self.put_in_place_of(nodes, slot, Some(child));
        nodes.links(slot).child(side).set(inner);
        if let Some(inner) = inner {
            nodes.links(inner).parent.set(Some(slot));
        }
        nodes.links(child).child(side.other()).set(Some(slot));
        nodes.links(slot).parent.set(Some(child));
    }

    /// Gives the parent of `slot` another child in its place; answers on which side (left for the root).
    fn put_in_place_of<N: Nodes>(&mut self, nodes: &N, slot: Slot, child: Option<Slot>) -> Side {
        let parent = nodes.links(slot).parent.get();
        if let Some(child) = child {
            nodes.links(child).parent.set(parent);
        }
        let Some(parent) = parent else {
            self.root = child;
            return Side::Left;
        };
        let links = nodes.links(parent);
        let side = if links.left.get() == Some(slot) { Side::Left } else { Side::Right };
        links.child(side).set(child);
        side
    }

    /// Puts the successor of `slot`, which has both children, where `slot` is. Answers which node lost height, and on
    /// which side.
    fn replace_by_successor<N: Nodes>(&mut self, nodes: &N, slot: Slot, right: Slot) -> (Option<Slot>, Side) {
        let mut successor = right;
        while let Some(left) = nodes.links(successor).left.get() {
            successor = left;
        }
        let moved = nodes.links(successor);
        let lowest = if successor == right {
            (Some(successor), Side::Right)
        } else {
            let parent = moved.parent.get();
            self.put_in_place_of(nodes, successor, moved.right.get());
            moved.right.set(Some(right));
            nodes.links(right).parent.set(Some(successor));
            (parent, Side::Left)
        };
        let left = nodes.links(slot).left.get();
        moved.left.set(left);
        if let Some(left) = left {
            nodes.links(left).parent.set(Some(successor));
        }
        moved.shape.set(nodes.links(slot).shape.get());
        self.put_in_place_of(nodes, slot, Some(successor));
        // The summary that the successor had was about another place, so it cannot tell whether its new ancestors
        // need theirs computed again: first below, then here, then above in any case.
        if lowest.0 != Some(successor) {
            propagate_below(nodes, lowest.0, successor);
        }
        summarise(nodes, successor);
        propagate(nodes, moved.parent.get());
        lowest
    }
}

/// Summarises one node; answers whether its summary changed.
#[inline(always)]
fn summarise<N: Nodes>(nodes: &N, slot: Slot) -> bool {
    let links = nodes.links(slot);
    nodes.summarise(slot, links.left.get(), links.right.get())
}

/// Summarises from `slot` upwards until a summary stays as it was.
fn propagate<N: Nodes>(nodes: &N, mut slot: Option<Slot>) {
    while let Some(at) = slot {
        if !summarise(nodes, at) {
            return;
        }
        slot = nodes.links(at).parent.get();
    }
}

/// As `propagate`, but not further than below `limit`.
fn propagate_below<N: Nodes>(nodes: &N, mut slot: Option<Slot>, limit: Slot) {
    while let Some(at) = slot.filter(|&at| at != limit) {
        if !summarise(nodes, at) {
            return;
        }
        slot = nodes.links(at).parent.get();
    }
}

/// The first accepted node of the subtree at `slot` or, failing that, of what comes after it.
fn search_below<N: Nodes, F: Filter>(nodes: &N, mut slot: Slot, filter: &F) -> Option<Slot> {
    while let Some(left) = nodes.links(slot).left.get().filter(|&left| filter.may_contain(left)) {
        slot = left;
    }
    if filter.accepts(slot) { Some(slot) } else { search_after(nodes, slot, filter) }
}

/// The first accepted node after `slot`.
fn search_after<N: Nodes, F: Filter>(nodes: &N, mut slot: Slot, filter: &F) -> Option<Slot> {
    loop {
        if let Some(right) = nodes.links(slot).right.get().filter(|&right| filter.may_contain(right)) {
            slot = right;
            while let Some(left) = nodes.links(slot).left.get().filter(|&left| filter.may_contain(left)) {
                slot = left;
            }
        } else {
            slot = first_ancestor_after(nodes, slot)?;
        }
        if filter.accepts(slot) {
            return Some(slot);
        }
    }
}

/// The nearest ancestor in whose left subtree `slot` is.
fn first_ancestor_after<N: Nodes>(nodes: &N, mut slot: Slot) -> Option<Slot> {
    loop {
        let parent = nodes.links(slot).parent.get()?;
        if nodes.links(parent).left.get() == Some(slot) {
            return Some(parent);
        }
        slot = parent;
    }
}

/// What is wrong with a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeViolation {
    /// A child does not point back to its parent, or the root has one.
    Parent(Slot),
    /// A node stands after one with a greater key.
    Order(Slot),
    /// The heights below a node differ by more than one, or not as it says.
    Balance(Slot),
    /// A summary does not follow from those below it.
    Summary(Slot),
    /// The first node is not the one that is remembered.
    First,
    /// There are more or fewer nodes than were inserted.
    Length,
}

impl fmt::Display for TreeViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent(slot) => write!(f, "node {} does not point to its parent", slot.index()),
            Self::Order(slot) => write!(f, "node {} is out of order", slot.index()),
            Self::Balance(slot) => write!(f, "node {} is out of balance", slot.index()),
            Self::Summary(slot) => write!(f, "the summary of node {} is wrong", slot.index()),
            Self::First => write!(f, "the first node is not the one that is remembered"),
            Self::Length => write!(f, "the number of nodes is wrong"),
        }
    }
}

impl core::error::Error for TreeViolation {}

impl Tree {
    /// Whether every node points back to its parent, keys are in order, subtrees are in balance, summaries follow from
    /// those below, and the first node and the length are right. O(n).
    pub fn check<N: Nodes>(&self, nodes: &N) -> Result<(), TreeViolation> {
        let mut counted = 0;
        check_subtree(nodes, self.root, None, &mut counted)?;
        if counted != self.len {
            return Err(TreeViolation::Length);
        }
        let mut nodes_in_order = self.iter(nodes);
        let mut previous = nodes_in_order.next();
        if previous != self.first {
            return Err(TreeViolation::First);
        }
        for slot in nodes_in_order {
            if previous.is_some_and(|previous| nodes.key(previous) > nodes.key(slot)) {
                return Err(TreeViolation::Order(slot));
            }
            previous = Some(slot);
        }
        Ok(())
    }
}

/// Checks a subtree and answers its height. As deep as the tree is high, so at most 1.44 log n.
fn check_subtree<N: Nodes>(
    nodes: &N,
    root: Option<Slot>,
    parent: Option<Slot>,
    counted: &mut u32,
) -> Result<u32, TreeViolation> {
    let Some(slot) = root else { return Ok(0) };
    let links = nodes.links(slot);
    if links.parent.get() != parent {
        return Err(TreeViolation::Parent(slot));
    }
    *counted += 1;
    let left = check_subtree(nodes, links.left.get(), root, counted)?;
    let right = check_subtree(nodes, links.right.get(), root, counted)?;
    let shape = match (left, right) {
        _ if left == right => Shape::Even,
        _ if left == right + 1 => Shape::LeansLeft,
        _ if right == left + 1 => Shape::LeansRight,
        _ => return Err(TreeViolation::Balance(slot)),
    };
    if links.shape.get() != shape {
        return Err(TreeViolation::Balance(slot));
    }
    if summarise(nodes, slot) {
        return Err(TreeViolation::Summary(slot));
    }
    Ok(1 + left.max(right))
}
