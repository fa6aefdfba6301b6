//! Whether a tree is as it must be.

use super::Tree;
use super::at::At;
use super::block::{FEW, Place};
use super::node::Nodes;
use super::order::Order;
use crate::slab::Slot;
use core::fmt;

/// What is wrong with a tree. Blocks are named by the node whose links they are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeViolation {
    /// A block does not lead back to the one above, or a node not to its leaf.
    Above(Slot),
    /// A node, or a block, stands after one with a greater key, or its key is not the one that it came with.
    Order(Slot),
    /// What is kept about a node or a block does not follow from it.
    Summary(Slot),
    /// A block has too few entries.
    Few(Slot),
    /// A leaf is not as deep as the others.
    Depth(Slot),
    /// The first node is not the one that is remembered.
    First,
    /// The first or the last leaf is not the one that is remembered.
    Ends,
    /// There are more or fewer nodes than were inserted.
    Length,
    /// There are more or fewer blocks than nodes.
    Blocks,
}

impl fmt::Display for TreeViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(slot) => write!(f, "block or node {} does not lead back to where it stands", slot.index()),
            Self::Order(slot) => write!(f, "block or node {} is out of order", slot.index()),
            Self::Summary(slot) => write!(f, "the summary of block or node {} is wrong", slot.index()),
            Self::Few(slot) => write!(f, "block {} has too few entries", slot.index()),
            Self::Depth(slot) => write!(f, "leaf {} is not as deep as the others", slot.index()),
            Self::First => write!(f, "the first node is not the one that is remembered"),
            Self::Ends => write!(f, "the first or the last leaf is not the one that is remembered"),
            Self::Length => write!(f, "the number of nodes is wrong"),
            Self::Blocks => write!(f, "there are not as many blocks as nodes"),
        }
    }
}

impl core::error::Error for TreeViolation {}

impl Tree {
    /// Whether every block and node leads back to where it stands, keys are in order, sums follow from those below,
    /// all leaves are equally deep, no block has too few entries, none is lost, and the ends and the length are right. O(n).
    pub fn check<N: Nodes>(&self, nodes: &N) -> Result<(), TreeViolation> {
        let mut walk = Walk { nodes, nodes_seen: 0, blocks_seen: 0, leaf_depth: None, last: None };
        if let Some(root) = At::maybe(nodes, self.root) {
            if root.block.above.get().is_some() {
                return Err(TreeViolation::Above(root.slot));
            }
            walk.block(root, 0, true, true)?;
        }
        if walk.nodes_seen != self.len {
            return Err(TreeViolation::Length);
        }
        if self.first != self.iter(nodes).next() {
            return Err(TreeViolation::First);
        }
        let root: Option<At<'_, N>> = At::maybe(nodes, self.root);
        let first_leaf = root.map(|root| root.outermost_leaf(nodes, Order::first).slot);
        if self.first_leaf != first_leaf || self.last_leaf != walk.last.map(|(_, leaf)| leaf) {
            return Err(TreeViolation::Ends);
        }
        let unused = core::iter::successors(self.unused, |&block| At::<N>::new(nodes, block).block.next_unused.get());
        let unused = self.spare.into_iter().chain(unused).take(self.len as usize + 1).count();
        if walk.blocks_seen + unused != self.len as usize { Err(TreeViolation::Blocks) } else { Ok(()) }
    }
}

struct Walk<'a, N: Nodes> {
    nodes: &'a N,
    nodes_seen: u32,
    blocks_seen: usize,
    leaf_depth: Option<u32>,
    /// The last key so far, and the leaf in which it stands.
    last: Option<(N::Key, Slot)>,
}

impl<'a, N: Nodes> Walk<'a, N> {
    /// Checks what is at and below a block. `leads_to_first`: nobody looks at what is kept about its first entry, and it
    /// may have few. `is_last`: nobody is behind it.
    fn block(&mut self, at: At<'a, N>, depth: u32, leads_to_first: bool, is_last: bool) -> Result<(), TreeViolation> {
        self.blocks_seen += 1;
        let (block, len) = (at.block, at.block.len());
        let least = match (block.is_leaf(), depth) {
            (false, 0) => 2,
            (true, 0) => 1,
            _ if leads_to_first || is_last && block.is_leaf() => 1,
            _ => FEW,
        };
        if len < least {
            return Err(TreeViolation::Few(at.slot));
        }
        if block.is_leaf() && !leads_to_first && !block.is_witness_right() {
            return Err(TreeViolation::Summary(at.slot));
        }
        if block.is_leaf() && *self.leaf_depth.get_or_insert(depth) != depth {
            return Err(TreeViolation::Depth(at.slot));
        }
        for (rank, index) in block.order().places_from(0).enumerate() {
            let Some(slot) = block.slot(index) else { return Err(TreeViolation::Above(at.slot)) };
            let (key, node) = (block.key(index), self.nodes.node(slot));
            let leads_to_first = leads_to_first && rank == 0;
            let in_order = leads_to_first || self.last.is_none_or(|(last, _)| last <= key);
            let (back, sum) = if block.is_leaf() {
                self.nodes_seen += 1;
                self.last = Some((key, at.slot));
                if N::key(node) != key {
                    return Err(TreeViolation::Order(slot));
                }
                (N::links(node).leaf.get(), self.nodes.summary(node))
            } else {
                let below = At::new(self.nodes, slot);
                let first = below.outermost_leaf(self.nodes, Order::first).block;
                if !leads_to_first && first.key(first.order().first()) < key {
                    return Err(TreeViolation::Order(slot));
                }
                self.block(below, depth + 1, leads_to_first, is_last && rank + 1 == len)?;
                (below.block.above.get(), below.block.total())
            };
            if !in_order {
                return Err(TreeViolation::Order(slot));
            }
            if back != Some(Place::new(at.slot, index)) {
                return Err(TreeViolation::Above(slot));
            }
            if block.sum(index).get() != sum && (block.is_leaf() || !leads_to_first) {
                return Err(TreeViolation::Summary(slot));
            }
        }
        Ok(())
    }
}
