//! A node that was looked up, and what can be done from there: steps, links, summaries, searches.

use super::node::{Filter, Links, Nodes, Side, Summary};
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
    pub(super) fn links(self) -> &'a Links<N::Summary> {
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
    pub(super) fn side_of(self, child: Slot) -> Side {
        Side::right_if(!child.is(self.links().child(Side::Left).get()))
    }

    /// Whether it is to be below `other`.
    #[inline(always)]
    pub(super) fn gives_way_to(self, other: Self) -> bool {
        self.links().priority.get() < other.links().priority.get()
    }

    /// What the node itself contributes to the summaries.
    #[inline(always)]
    pub(super) fn own(self, nodes: &'a N) -> N::Summary {
        nodes.summary(self.node)
    }

    /// The summary of the subtree here.
    #[inline(always)]
    pub(super) fn total(self, nodes: &'a N) -> N::Summary {
        let links = self.links();
        self.own(nodes).and(links.below(Side::Left).get()).and(links.below(Side::Right).get())
    }

    /// Makes `child`, or nobody, the child on `side`.
    #[inline(always)]
    pub(super) fn hang(self, nodes: &'a N, side: Side, child: Option<Self>) {
        self.links().child(side).set(child.map(|child| child.slot));
        let below = child.map_or_else(|| self.own(nodes), |child| child.total(nodes));
        self.links().below(side).set(below);
        if let Some(child) = child {
            child.links().parent.set(Some(self.slot));
        }
    }

    /// What is kept on `side` is `summary`: computes anew what is kept above, up to `top`, and answers what `top` is to
    /// keep.
    #[inline(always)]
    pub(super) fn sum_up(self, nodes: &'a N, side: Side, summary: N::Summary, top: Option<Self>) -> N::Summary {
        let (mut at, mut side, mut summary) = (self, side, summary);
        while !at.slot.is(top.map(|top| top.slot)) {
            at.links().below(side).set(summary);
            summary = at.total(nodes);
            let Some(parent) = at.parent(nodes) else { break };
            side = parent.side_of(at.slot);
            at = parent;
        }
        summary
    }

    /// What is kept on `side` has become `summary`: tells those above, until it changes nothing there.
    #[inline(always)]
    pub(super) fn propagate(self, nodes: &'a N, side: Side, summary: N::Summary) {
        let (mut at, mut side, mut summary) = (self, side, summary);
        loop {
            let kept = at.links().below(side);
            if kept.get() == summary {
                return;
            }
            kept.set(summary);
            let Some(parent) = at.parent(nodes) else { return };
            side = parent.side_of(at.slot);
            summary = at.total(nodes);
            at = parent;
        }
    }

    /// The first node of the subtree that may contain what `filter` wants, going left only.
    #[inline(always)]
    fn leftmost<F: Filter<N>>(self, nodes: &'a N, filter: &F) -> Self {
        let mut at = self;
        while let Some(left) = at.links().child(Side::Left).get()
            && filter.may_contain(at.links().below(Side::Left).get())
        {
            at = Self::new(nodes, left);
        }
        at
    }

    /// The outermost node of the subtree on `side`.
    #[inline(always)]
    pub(super) fn outermost(self, nodes: &'a N, side: Side) -> Self {
        let mut at = self;
        while let Some(child) = at.child(nodes, side) {
            at = child;
        }
        at
    }

    /// The nearest ancestor in whose left subtree this node is.
    #[inline(always)]
    fn first_ancestor_after(self, nodes: &'a N) -> Option<Self> {
        let mut at = self;
        loop {
            let parent = at.parent(nodes)?;
            if parent.side_of(at.slot) == Side::Left {
                return Some(parent);
            }
            at = parent;
        }
    }

    /// The first accepted node after this one. Looks at what is kept about right subtrees, and about left ones only
    /// inside of these.
    pub(super) fn search_after<F: Filter<N>>(self, nodes: &'a N, filter: &F) -> Option<Self> {
        let mut at = self;
        loop {
            at = match at.links().child(Side::Right).get() {
                Some(right) if filter.may_contain(at.links().below(Side::Right).get()) => {
                    Self::new(nodes, right).leftmost(nodes, filter)
                }
                _ => at.first_ancestor_after(nodes)?,
            };
            if filter.accepts(at.node) {
                return Some(at);
            }
        }
    }
}
