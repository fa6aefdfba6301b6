//! A node that was looked up, and what can be done from there: steps, links, summaries, searches.

use super::node::{Filter, Links, Nodes, Shape, Side};
use crate::slab::Slot;

/// A node that was looked up.
pub(super) struct At<'a, N: Nodes> {
    pub(super) slot: Slot,
    pub(super) node: &'a N::Node,
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
        Self { slot, node: nodes.node(slot) }
    }

    #[inline(always)]
    pub(super) fn maybe(nodes: &'a N, slot: Option<Slot>) -> Option<Self> {
        slot.map(|slot| Self::new(nodes, slot))
    }

    #[inline(always)]
    pub(super) fn links(self) -> &'a Links {
        N::links(self.node)
    }

    #[inline(always)]
    pub(super) fn parent(self, nodes: &'a N) -> Option<Self> {
        Self::maybe(nodes, self.links().parent.get())
    }

    #[inline(always)]
    pub(super) fn child(self, nodes: &'a N, side: Side) -> Option<Self> {
        Self::maybe(nodes, self.links().child(side).get())
    }

    /// On which side of its parent `child` is.
    #[inline(always)]
    pub(super) fn side_of(self, child: Self) -> Side {
        if self.links().left.get() == Some(child.slot) { Side::Left } else { Side::Right }
    }

    /// Makes `child` the child on `side`.
    #[inline(always)]
    pub(super) fn adopt(self, side: Side, child: Option<Self>) {
        self.links().child(side).set(child.map(|child| child.slot));
        if let Some(child) = child {
            child.links().parent.set(Some(self.slot));
        }
    }

    #[inline(always)]
    pub(super) fn shape(self) -> Shape {
        self.links().shape.get()
    }

    #[inline(always)]
    pub(super) fn set_shape(self, shape: Shape) {
        self.links().shape.set(shape);
    }

    /// Computes the summary again; answers whether it changed.
    #[inline(always)]
    pub(super) fn summarise(self, nodes: &'a N) -> bool {
        let (left, right) = (self.child(nodes, Side::Left), self.child(nodes, Side::Right));
        N::summarise(self.node, left.map(|left| left.node), right.map(|right| right.node))
    }

    /// As `summarise`, with one child looked up already.
    #[inline(always)]
    pub(super) fn summarise_over(self, nodes: &'a N, child: Self) -> bool {
        match self.side_of(child) {
            Side::Left => {
                N::summarise(self.node, Some(child.node), self.child(nodes, Side::Right).map(|right| right.node))
            }
            Side::Right => {
                N::summarise(self.node, self.child(nodes, Side::Left).map(|left| left.node), Some(child.node))
            }
        }
    }

    /// The summary of this node has changed: computes those above again, until one stays as it was.
    pub(super) fn propagate(self, nodes: &'a N) {
        let mut below = self;
        while let Some(at) = below.parent(nodes) {
            if !at.summarise_over(nodes, below) {
                return;
            }
            below = at;
        }
    }

    /// The first node of the subtree that may contain what `filter` wants, going left only.
    #[inline(always)]
    pub(super) fn leftmost<F: Filter<N::Node>>(self, nodes: &'a N, filter: &F) -> Self {
        let mut at = self;
        while let Some(left) = at.child(nodes, Side::Left).filter(|left| filter.may_contain(left.node)) {
            at = left;
        }
        at
    }

    /// The nearest ancestor in whose left subtree this node is.
    pub(super) fn first_ancestor_after(self, nodes: &'a N) -> Option<Self> {
        let mut at = self;
        loop {
            let parent = at.parent(nodes)?;
            if parent.side_of(at) == Side::Left {
                return Some(parent);
            }
            at = parent;
        }
    }

    /// The first accepted node after this one.
    pub(super) fn search_after<F: Filter<N::Node>>(self, nodes: &'a N, filter: &F) -> Option<Self> {
        let mut at = self;
        loop {
            at = match at.child(nodes, Side::Right).filter(|right| filter.may_contain(right.node)) {
                Some(right) => right.leftmost(nodes, filter),
                None => at.first_ancestor_after(nodes)?,
            };
            if filter.accepts(at.node) {
                return Some(at);
            }
        }
    }
}
