//! What a tree asks of its nodes, and what a search asks of them.

use super::block::{Block, Place};
use crate::slab::Slot;
use crate::sync::{Pack, QueueOwned};

/// What nodes are ordered by.
pub trait Key: Ord + Pack + Default {}

impl<K: Ord + Pack + Default> Key for K {}

/// What a tree keeps about a set of nodes, so that a search can leave the whole set out.
pub trait Summary: Pack + PartialEq {
    /// The summary of both sets together. Associative, commutative, and `x.and(x) == x`.
    fn and(self, other: Self) -> Self;
}

impl Summary for () {
    #[inline(always)]
    fn and(self, (): ()) {}
}

/// A node's place in a tree, and which block it lends.
#[derive(Debug, Default)]
pub struct Links {
    /// Where in a leaf the node stands.
    pub(super) leaf: QueueOwned<Option<Place>>,
    /// While it stands in none: the block that it will lend, by the node that has it; `None`: its own.
    pub(super) spare: QueueOwned<Option<Slot>>,
}

impl Links {
    /// Whether the node is in a tree.
    pub fn is_linked(&self) -> bool {
        self.leaf.get().is_some()
    }
}

/// Where the nodes of a tree are and what they are ordered by.
///
/// Functions about a node get one that was looked up already.
pub trait Nodes {
    /// What the links stand in.
    type Node;
    /// What the nodes are ordered by. When a node's key changes while it is in the tree, [`super::Tree::rekey`] must be
    /// told at once.
    type Key: Key;
    /// What is kept about sets of nodes; `()` if nothing is.
    type Summary: Summary + Default;

    /// The node in `slot`.
    fn node(&self, slot: Slot) -> &Self::Node;

    /// The links of a node for this tree.
    fn links(node: &Self::Node) -> &Links;

    /// The block that a node has for this tree. It belongs to the tree that it is lent to, or to the node that got it back
    /// instead of its own; the rest of this node may then belong to somebody else.
    fn block(node: &Self::Node) -> &Block<Self::Key, Self::Summary>;

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
