//! Balance: heights of siblings differ by one at most. Rotations, and the replacement of a removed node.
//!
//! A rotation keeps the summary of the whole subtree, so nothing above it changes. A node that leaves the way from the
//! root to the first node gets another left child in the same step, and with it an exact summary of that side.

use super::Tree;
use super::at::At;
use super::node::{Nodes, Shape, Side};

impl Tree {
    /// The subtree of `at` on `side`, at `below`, has become higher by one: restores the balance above it.
    #[inline(always)]
    pub(super) fn rise<'a, N: Nodes>(&mut self, nodes: &'a N, below: At<'a, N>, at: At<'a, N>, side: Side) {
        let (mut below, mut at, mut side) = (below, at, side);
        loop {
            let shape = at.shape();
            if shape == Shape::Even {
                at.set_shape(side.leaning());
            } else if shape == side.leaning() {
                self.rotate(nodes, at, below, side);
                return;
            } else {
                at.set_shape(Shape::Even);
                return;
            }
            let Some(parent) = at.parent(nodes) else { return };
            side = parent.side_of(at.slot);
            (below, at) = (at, parent);
        }
    }

    /// The subtree on `side` of `at` has become lower by one: restores the balance from there upwards.
    #[inline(always)]
    pub(super) fn sink<'a, N: Nodes>(&mut self, nodes: &'a N, at: At<'a, N>, side: Side) {
        let (mut at, mut side) = (at, side);
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
                let top = self.rotate(nodes, at, child, side.other());
                if top.shape() != Shape::Even {
                    return; // The rotation has kept the height.
                }
                top
            };
            let Some(parent) = top.parent(nodes) else { return };
            side = parent.side_of(top.slot);
            at = parent;
        }
    }

    /// `at` is two higher on the `heavy` side, where `child` is: rotates and answers the new top.
    #[inline(always)]
    fn rotate<'a, N: Nodes>(&mut self, nodes: &'a N, at: At<'a, N>, child: At<'a, N>, heavy: Side) -> At<'a, N> {
        let light = heavy.other();
        let child_shape = child.shape();
        if child_shape == light.leaning()
            && let Some(top) = child.child(nodes, light)
        {
            self.rotate_twice(nodes, at, child, top, heavy);
            return top;
        }
        self.put_in_place_of(nodes, at, child);
        at.adopt_from(nodes, heavy, child, light);
        child.adopt(nodes, light, at);
        let even = child_shape == Shape::Even;
        at.set_shape(if even { heavy.leaning() } else { Shape::Even });
        child.set_shape(if even { light.leaning() } else { Shape::Even });
        child
    }

    /// As `rotate`, for a child that leans the other way: its inner child becomes the top.
    fn rotate_twice<'a, N: Nodes>(
        &mut self,
        nodes: &'a N,
        at: At<'a, N>,
        child: At<'a, N>,
        top: At<'a, N>,
        heavy: Side,
    ) {
        let light = heavy.other();
        self.put_in_place_of(nodes, at, top);
        at.adopt_from(nodes, heavy, top, light);
        child.adopt_from(nodes, light, top, heavy);
        top.adopt(nodes, light, at);
        top.adopt(nodes, heavy, child);
        let shape = top.shape();
        at.set_shape(if shape == heavy.leaning() { light.leaning() } else { Shape::Even });
        child.set_shape(if shape == light.leaning() { heavy.leaning() } else { Shape::Even });
        top.set_shape(Shape::Even);
    }

    /// Gives the parent of `at` another child in its place. Summaries are the caller's.
    #[inline(always)]
    fn put_in_place_of<'a, N: Nodes>(&mut self, nodes: &'a N, at: At<'a, N>, child: At<'a, N>) {
        let parent = at.parent(nodes);
        child.links().parent.set(parent.map(|parent| parent.slot));
        match parent {
            Some(parent) => parent.links().child(parent.side_of(at.slot)).set(Some(child.slot)),
            None => self.root = Some(child.slot),
        }
    }

    /// Puts the only child of `at`, or nobody, where `at` is. Answers who lost height, and on which side.
    #[inline(always)]
    pub(super) fn replace_by_child<'a, N: Nodes>(
        &mut self,
        nodes: &'a N,
        at: At<'a, N>,
        child: Option<At<'a, N>>,
        is_first: bool,
    ) -> Option<(At<'a, N>, Side)> {
        let parent = at.parent(nodes);
        let slot = child.map(|child| child.slot);
        if let Some(child) = child {
            child.links().parent.set(parent.map(|parent| parent.slot));
        }
        let Some(parent) = parent else {
            self.root = slot;
            return None;
        };
        let side = parent.side_of(at.slot);
        parent.links().child(side).set(slot);
        if !is_first {
            let below = child.map_or_else(|| parent.own(nodes), |child| child.total(nodes));
            parent.propagate(nodes, side, below);
        }
        Some((parent, side))
    }

    /// Puts the successor of `at`, which has both children, where `at` is. Answers who lost height, and on which side.
    pub(super) fn replace_by_successor<'a, N: Nodes>(
        &mut self,
        nodes: &'a N,
        at: At<'a, N>,
        right: At<'a, N>,
    ) -> (At<'a, N>, Side) {
        let successor = right.first(nodes);
        let lost = if successor.slot == right.slot {
            (successor, Side::Right)
        } else {
            // It leaves its place as any node does, and the summaries up to `at` follow; then it takes over from `at`.
            let lost = self.replace_by_child(nodes, successor, successor.child(nodes, Side::Right), false);
            successor.adopt_from(nodes, Side::Right, at, Side::Right);
            lost.unwrap_or((successor, Side::Right))
        };
        successor.adopt_from(nodes, Side::Left, at, Side::Left);
        successor.set_shape(at.shape());
        self.put_in_place_of(nodes, at, successor);
        if let Some(parent) = successor.parent(nodes) {
            parent.propagate(nodes, parent.side_of(successor.slot), successor.total(nodes));
        }
        lost
    }
}
