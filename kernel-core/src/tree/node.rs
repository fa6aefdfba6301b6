//! What a tree asks of its nodes, and what a search asks of them.

use crate::slab::Slot;
use crate::sync::{Pack, QueueOwned};

/// What a tree keeps about a set of nodes, so that a search can leave whole subtrees out.
pub trait Summary: Pack + PartialEq {
    /// The summary of both sets together. Associative, commutative, and `x.and(x) == x`.
    fn and(self, other: Self) -> Self;
}

impl Summary for () {
    #[inline(always)]
    fn and(self, (): ()) {}
}

/// A node's place in a tree.
#[derive(Debug, Default)]
pub struct Links<S: Summary + Default = ()> {
    pub(super) parent: QueueOwned<Option<Slot>>,
    /// By [`Side`]: which way a search goes is a number to it, not a branch that nobody can predict.
    children: [QueueOwned<Option<Slot>>; 2],
    /// At least that of its children; 0: the node is in no tree.
    pub(super) priority: QueueOwned<u32>,
    /// About the subtree on each side; without one, what the node itself contributes, which changes no sum.
    below: [QueueOwned<S>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left = 0,
    Right = 1,
}

impl Side {
    #[inline(always)]
    pub(super) fn right_if(right: bool) -> Self {
        if right { Self::Right } else { Self::Left }
    }
}

impl<S: Summary + Default> Links<S> {
    /// Whether the node is in a tree.
    pub fn is_linked(&self) -> bool {
        self.priority.get() != 0
    }

    #[inline(always)]
    pub(super) fn child(&self, side: Side) -> &QueueOwned<Option<Slot>> {
        &self.children[side as usize]
    }

    #[inline(always)]
    pub(super) fn below(&self, side: Side) -> &QueueOwned<S> {
        &self.below[side as usize]
    }
}

/// Where the nodes of a tree are and what they are ordered by.
///
/// Each function gets nodes that were looked up already: a step in the tree costs one look-up.
pub trait Nodes {
    /// What the links stand in.
    type Node;
    /// What the nodes are ordered by. A node's key must not change while it is in the tree.
    type Key: Ord + Copy;
    /// What is kept about subtrees; `()` if nothing is.
    type Summary: Summary + Default;

    /// The node in `slot`.
    fn node(&self, slot: Slot) -> &Self::Node;

    /// The links of a node for this tree.
    fn links(node: &Self::Node) -> &Links<Self::Summary>;

    /// The key of a node.
    fn key(node: &Self::Node) -> Self::Key;

    /// What a node contributes to the summaries. When it changes while the node is in a tree, [`super::Tree::refresh`]
    /// must be told.
    fn summary(&self, node: &Self::Node) -> Self::Summary;
}

/// What a search looks for among the nodes of `N`.
pub trait Filter<N: Nodes> {
    /// Whether any of the nodes that this is the summary of may be wanted. False leaves them all out.
    fn may_contain(&self, summary: N::Summary) -> bool;
    /// Whether `node` itself is wanted.
    fn accepts(&self, node: &N::Node) -> bool;
}

/// A [`Filter`] of two closures: about a summary, about a node.
#[derive(Clone, Copy, Debug)]
pub struct Matching<S, A>(pub S, pub A);

impl<N: Nodes, S: Fn(N::Summary) -> bool, A: Fn(&N::Node) -> bool> Filter<N> for Matching<S, A> {
    #[inline(always)]
    fn may_contain(&self, summary: N::Summary) -> bool {
        (self.0)(summary)
    }
    #[inline(always)]
    fn accepts(&self, node: &N::Node) -> bool {
        (self.1)(node)
    }
}

/// Every node.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl<N: Nodes> Filter<N> for Everything {
    #[inline(always)]
    fn may_contain(&self, _: N::Summary) -> bool {
        true
    }
    #[inline(always)]
    fn accepts(&self, _: &N::Node) -> bool {
        true
    }
}
