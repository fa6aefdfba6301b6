//! What a tree asks of its nodes, and what a search asks of them.

use crate::slab::Slot;
use crate::sync::QueueOwned;

/// A node's place in a tree.
#[derive(Debug, Default)]
pub struct Links {
    pub(super) parent: QueueOwned<Option<Slot>>,
    pub(super) left: QueueOwned<Option<Slot>>,
    pub(super) right: QueueOwned<Option<Slot>>,
    pub(super) shape: QueueOwned<Shape>,
}

/// Which subtree of a node is the higher one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Shape {
    /// The node is in no tree.
    #[default]
    Unlinked,
    Even,
    LeansLeft,
    LeansRight,
}
crate::pack_enum!(Shape { Unlinked, Even, LeansLeft, LeansRight });

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    pub(super) const fn leaning(self) -> Shape {
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
    pub(super) fn child(&self, side: Side) -> &QueueOwned<Option<Slot>> {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}

/// Where the nodes of a tree are and what they are ordered by.
///
/// Each function gets nodes that were looked up already: a step in the tree costs one look-up per node.
pub trait Nodes {
    /// What the links stand in.
    type Node;
    /// What the nodes are ordered by. A node's key must not change while it is in the tree.
    type Key: Ord + Copy;

    /// The node in `slot`.
    fn node(&self, slot: Slot) -> &Self::Node;

    /// The links of a node for this tree.
    fn links(node: &Self::Node) -> &Links;

    /// The key of a node.
    fn key(node: &Self::Node) -> Self::Key;

    /// Computes what `node` keeps about its subtree, from itself and the summaries of its children, stores it in the
    /// node and answers whether it is another one than before.
    #[inline(always)]
    fn summarise(node: &Self::Node, left: Option<&Self::Node>, right: Option<&Self::Node>) -> bool {
        let _ = (node, left, right);
        false
    }
}

/// What a search looks for among nodes of type `N`.
pub trait Filter<N> {
    /// Whether anything below `node`, itself included, may be wanted. False leaves the whole subtree out.
    fn may_contain(&self, node: &N) -> bool;
    /// Whether `node` itself is wanted.
    fn accepts(&self, node: &N) -> bool;
}

/// A [`Filter`] of two closures: about a subtree, about a node.
#[derive(Clone, Copy, Debug)]
pub struct Matching<S, A>(pub S, pub A);

impl<N, S: Fn(&N) -> bool, A: Fn(&N) -> bool> Filter<N> for Matching<S, A> {
    #[inline(always)]
    fn may_contain(&self, node: &N) -> bool {
        (self.0)(node)
    }
    #[inline(always)]
    fn accepts(&self, node: &N) -> bool {
        (self.1)(node)
    }
}

/// Every node.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl<N> Filter<N> for Everything {
    fn may_contain(&self, _: &N) -> bool {
        true
    }
    fn accepts(&self, _: &N) -> bool {
        true
    }
}
