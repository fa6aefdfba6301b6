//! Whether a tree is as it must be.

use super::Tree;
use super::at::At;
use super::node::{Nodes, Side};
use crate::slab::Slot;
use core::fmt;

/// What is wrong with a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeViolation {
    /// A child does not point back to its parent, or the root has one.
    Parent(Slot),
    /// A node stands after one with a greater key.
    Order(Slot),
    /// A node is above one that it should give way to, or has no priority.
    Priority(Slot),
    /// A summary does not follow from those below it.
    Summary(Slot),
    /// The first node is not the one that is remembered.
    First,
    /// The last node is not the one that is remembered.
    Last,
    /// There are more or fewer nodes than were inserted.
    Length,
}

impl fmt::Display for TreeViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent(slot) => write!(f, "node {} does not point to its parent", slot.index()),
            Self::Order(slot) => write!(f, "node {} is out of order", slot.index()),
            Self::Priority(slot) => write!(f, "node {} is above one of a higher priority", slot.index()),
            Self::Summary(slot) => write!(f, "the summary of node {} is wrong", slot.index()),
            Self::First => write!(f, "the first node is not the one that is remembered"),
            Self::Last => write!(f, "the last node is not the one that is remembered"),
            Self::Length => write!(f, "the number of nodes is wrong"),
        }
    }
}

impl core::error::Error for TreeViolation {}

impl Tree {
    /// Whether every node points back to its parent, keys are in order, priorities too, summaries follow from
    /// those below, and the first node and the length are right. O(n).
    pub fn check<N: Nodes>(&self, nodes: &N) -> Result<(), TreeViolation> {
        let mut counted = 0;
        let root: Option<At<'_, N>> = At::maybe(nodes, self.root);
        check_subtree(nodes, root, None, true, &mut counted)?;
        if counted != self.len {
            return Err(TreeViolation::Length);
        }
        if self.first != root.map(|root| root.outermost(nodes, Side::Left).slot) {
            return Err(TreeViolation::First);
        }
        let mut in_order = self.iter(nodes);
        let mut previous = in_order.next();
        let key = |slot| N::key(nodes.node(slot));
        for slot in in_order {
            if previous.is_some_and(|previous| key(previous) > key(slot)) {
                return Err(TreeViolation::Order(slot));
            }
            previous = Some(slot);
        }
        if previous != self.last { Err(TreeViolation::Last) } else { Ok(()) }
    }
}

/// Checks a subtree. `leads_to_first`: nobody looks at what its nodes keep about their left sides.
fn check_subtree<'a, N: Nodes>(
    nodes: &'a N,
    root: Option<At<'a, N>>,
    parent: Option<At<'a, N>>,
    leads_to_first: bool,
    counted: &mut u32,
) -> Result<(), TreeViolation> {
    let Some(at) = root else { return Ok(()) };
    let slot = at.slot;
    if at.links().parent.get() != parent.map(|parent| parent.slot) {
        return Err(TreeViolation::Parent(slot));
    }
    if !at.links().is_linked() || parent.is_some_and(|parent| parent.gives_way_to(at)) {
        return Err(TreeViolation::Priority(slot));
    }
    *counted += 1;
    let [left, right] = [Side::Left, Side::Right].map(|side| at.child(nodes, side));
    check_subtree(nodes, left, Some(at), leads_to_first, counted)?;
    check_subtree(nodes, right, Some(at), false, counted)?;
    let is_exact = |side: Side, child: Option<At<'a, N>>| {
        at.links().below(side).get() == child.map_or_else(|| at.own(nodes), |child| child.total(nodes))
    };
    if !is_exact(Side::Right, right) || !leads_to_first && !is_exact(Side::Left, left) {
        return Err(TreeViolation::Summary(slot));
    }
    Ok(())
}
