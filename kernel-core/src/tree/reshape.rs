//! How a treap changes shape: a node goes in by splitting the subtree that gives way to it, and goes out by merging the
//! two that it leaves behind. Either follows one path of nodes, two long on average however many there are.
//!
//! A node that leaves the way from the root to the first node is on such a path, and gets an exact summary there.

use super::Tree;
use super::at::At;
use super::node::{Nodes, Side, Summary};

/// Where a subtree is hung: on this side of this node; `None`: it is the whole tree.
type Place<'a, N> = Option<(At<'a, N>, Side)>;

impl Tree {
    /// Hangs `new`, which belongs behind all others, of which `last` is the last: above those at the end that give way.
    #[inline(always)]
    pub(super) fn append<'a, N: Nodes>(&mut self, nodes: &'a N, new: At<'a, N>, last: At<'a, N>) {
        self.last = Some(new.slot);
        let (own, links) = (new.own(nodes), new.links());
        links.child(Side::Right).set(None);
        links.below(Side::Right).set(own);
        if !last.gives_way_to(new) {
            links.child(Side::Left).set(None);
            links.below(Side::Left).set(own);
            self.hang_top(new, Some((last, Side::Right)));
            return last.propagate(nodes, Side::Right, own);
        }
        let mut below = last;
        let above = loop {
            match below.parent(nodes) {
                Some(parent) if parent.gives_way_to(new) => below = parent,
                above => break above,
            }
        };
        links.child(Side::Left).set(Some(below.slot));
        below.links().parent.set(Some(new.slot));
        self.hang_top(new, above.map(|above| (above, Side::Right)));
        // Those that gave way were all that `above` had on its right, and it knows their sum. At the root they are on
        // the way to the first node, where nothing needs to be known.
        let sum = above.map_or(own, |above| above.links().below(Side::Right).get());
        links.below(Side::Left).set(sum);
        if let Some(above) = above {
            above.propagate(nodes, Side::Right, own.and(sum));
        }
    }

    /// Hangs `new` where it belongs, down from the root.
    pub(super) fn insert_below_root<'a, N: Nodes>(&mut self, nodes: &'a N, new: At<'a, N>) {
        let key = N::key(new.node);
        if At::maybe(nodes, self.first).is_some_and(|first| key < N::key(first.node)) {
            self.first = Some(new.slot);
        }
        let (mut place, mut at): (Place<'_, N>, _) = (None, At::maybe(nodes, self.root));
        while let Some(above) = at.filter(|at| !at.gives_way_to(new)) {
            let side = Side::right_if(key >= N::key(above.node));
            (place, at) = (Some((above, side)), above.child(nodes, side));
        }
        self.hang_top(new, place);
        split(nodes, at, new);
        if let Some((above, side)) = place {
            above.propagate(nodes, side, new.total(nodes));
        }
    }

    /// Nobody is before the first node: who is behind it, if anybody, takes its place. Nothing is kept about that.
    #[inline(always)]
    pub(super) fn remove_first<'a, N: Nodes>(&mut self, nodes: &'a N, first: At<'a, N>) {
        let (parent, behind) = (first.parent(nodes), first.child(nodes, Side::Right));
        let behind_slot = behind.map(|behind| behind.slot);
        match parent {
            Some(parent) => parent.links().child(Side::Left).set(behind_slot),
            None => self.root = behind_slot,
        }
        self.first = parent.map(|parent| parent.slot);
        if let Some(behind) = behind {
            behind.links().parent.set(self.first);
            self.first = Some(behind.outermost(nodes, Side::Left).slot);
        } else if parent.is_none() {
            self.last = None;
        }
    }

    /// Hangs what is below `at`, which is not the first, in its place.
    pub(super) fn merge_below<'a, N: Nodes>(&mut self, nodes: &'a N, at: At<'a, N>) {
        let above = at.parent(nodes).map(|parent| (parent, parent.side_of(at.slot)));
        let mut place = above;
        let (mut left, mut right) = (at.child(nodes, Side::Left), at.child(nodes, Side::Right));
        while let (Some(before), Some(behind)) = (left, right) {
            let (top, inner) = if before.gives_way_to(behind) {
                right = behind.child(nodes, Side::Left);
                (behind, Side::Left)
            } else {
                left = before.child(nodes, Side::Right);
                (before, Side::Right)
            };
            self.hang_top(top, place);
            place = Some((top, inner));
        }
        let rest = left.or(right);
        match rest {
            Some(rest) => self.hang_top(rest, place),
            None => match place {
                Some((at, side)) => at.links().child(side).set(None),
                None => self.root = None,
            },
        }
        if let Some((lowest, side)) = place {
            let summary = rest.map_or_else(|| lowest.own(nodes), |rest| rest.total(nodes));
            let top = above.map(|(above, _)| above);
            let summary = lowest.sum_up(nodes, side, summary, top);
            if let Some((above, side)) = above {
                above.propagate(nodes, side, summary);
            }
        }
    }

    #[inline(always)]
    fn hang_top<'a, N: Nodes>(&mut self, top: At<'a, N>, place: Place<'a, N>) {
        top.links().parent.set(place.map(|(at, _)| at.slot));
        match place {
            Some((at, side)) => at.links().child(side).set(Some(top.slot)),
            None => self.root = Some(top.slot),
        }
    }
}

/// Hangs the subtree of `top` below `new`: those up to its key before it, the others behind.
#[inline(always)]
fn split<'a, N: Nodes>(nodes: &'a N, top: Option<At<'a, N>>, new: At<'a, N>) {
    let key = N::key(new.node);
    // The last of those before `new`, and the first of those behind it, so far; and where the next one is hung.
    let (mut before, mut before_end) = (new, new.links().child(Side::Left));
    let (mut behind, mut behind_end) = (new, new.links().child(Side::Right));
    let mut at = top;
    while let Some(next) = at {
        if key < N::key(next.node) {
            behind_end.set(Some(next.slot));
            next.links().parent.set(Some(behind.slot));
            (behind, behind_end) = (next, next.links().child(Side::Left));
            at = next.child(nodes, Side::Left);
        } else {
            before_end.set(Some(next.slot));
            next.links().parent.set(Some(before.slot));
            (before, before_end) = (next, next.links().child(Side::Right));
            at = next.child(nodes, Side::Right);
        }
    }
    before_end.set(None);
    behind_end.set(None);
    new.links().below(Side::Left).set(sum_up_spine(nodes, before, Side::Right, new));
    new.links().below(Side::Right).set(sum_up_spine(nodes, behind, Side::Left, new));
}

/// Computes anew what is kept on `side` of `lowest`, which nobody is below there, and of all up to `top`, which are
/// parents of each other on that side; answers what `top` is to keep of them.
#[inline(always)]
fn sum_up_spine<'a, N: Nodes>(nodes: &'a N, lowest: At<'a, N>, side: Side, top: At<'a, N>) -> N::Summary {
    let (mut at, mut summary) = (lowest, lowest.own(nodes));
    while at.slot != top.slot {
        at.links().below(side).set(summary);
        summary = at.total(nodes);
        let Some(parent) = at.parent(nodes) else { break };
        at = parent;
    }
    summary
}
