//! How the tree changes shape: a block that is full gives those behind a newcomer to a new one, one with few is joined with
//! a neighbour or gets some of its entries. What changes in a block may so change the one above, and so on
//! to the root.

use super::Tree;
use super::at::At;
use super::block::{Entry, FEW, JOINED};
use super::node::Nodes;
use super::order::{ENTRIES, Order};
use crate::slab::Slot;

impl Tree {
    /// A block becomes one that is not used.
    #[inline(always)]
    pub(super) fn recycle<N: Nodes>(&mut self, nodes: &N, block: Slot) {
        if let Some(spare) = self.spare.replace(block) {
            let spare: At<'_, N> = At::new(nodes, spare);
            spare.block.next_unused.set(self.unused);
            self.unused = Some(spare.slot);
        }
    }

    /// One that was not used is no longer one.
    #[inline(always)]
    pub(super) fn take_unused<N: Nodes>(&mut self, nodes: &N) -> Slot {
        self.spare.take().unwrap_or_else(|| {
            let unused = self.unused.expect("there are as many blocks as nodes, and fewer are used");
            self.unused = At::<N>::new(nodes, unused).block.next_unused.get();
            unused
        })
    }

    fn begin_block<'a, N: Nodes>(&mut self, nodes: &'a N, is_leaf: bool) -> At<'a, N> {
        let block = At::new(nodes, self.take_unused(nodes));
        block.block.begin(is_leaf);
        block
    }

    /// The first node of a tree that has none.
    #[inline(never)]
    pub(super) fn plant<N: Nodes>(&mut self, nodes: &N, entry: Entry<N::Key, N::Summary>) {
        let leaf = self.begin_block(nodes, true);
        (self.root, self.first_leaf, self.last_leaf) = (Some(leaf.slot), Some(leaf.slot), Some(leaf.slot));
        self.first = entry.slot;
        leaf.adopt(nodes, 0, entry);
    }

    /// Puts an entry in a block, before the one that has this rank; in one that is full also into the sums above.
    pub(super) fn put<'a, N: Nodes>(
        &mut self,
        nodes: &'a N,
        at: At<'a, N>,
        rank: usize,
        entry: Entry<N::Key, N::Summary>,
    ) {
        if at.block.len() < ENTRIES {
            return at.adopt(nodes, rank, entry);
        }
        let behind = self.begin_block(nodes, at.block.is_leaf());
        // Who comes is often followed by others that belong just behind: the threads of one weight, by their deadlines. So
        // blocks end where somebody comes, and are filled by those who follow; with nobody behind, the next one begins.
        let is_last_leaf = at.slot.is(self.last_leaf);
        let kept = if is_last_leaf && rank == ENTRIES { ENTRIES } else { rank.clamp(FEW - 1, ENTRIES - FEW + 1) };
        (kept..ENTRIES).for_each(|rank| behind.adopt_last(nodes, at.block.entry(rank)));
        at.block.cut(kept);
        match rank <= ENTRIES - FEW {
            true => at.adopt(nodes, rank, entry),
            false => behind.adopt(nodes, rank - kept, entry),
        }
        if is_last_leaf {
            self.last_leaf = Some(behind.slot);
        }
        if let Some((above, place)) = at.above(nodes) {
            if !above.block.covers(place, entry.sum) {
                above.add_up(nodes, entry.sum);
            }
            if kept < ENTRIES {
                above.block.sum(place).set(at.block.elect());
            }
            self.put(nodes, above, above.block.order().rank(place) + 1, behind.as_entry());
        } else {
            let root = self.begin_block(nodes, false);
            root.adopt_last(nodes, at.as_entry());
            root.adopt_last(nodes, behind.as_entry());
            self.root = Some(root.slot);
        }
    }

    /// A block has few entries left: it is joined with a neighbour, or gets some of its entries. One that `leads_to_first`
    /// may have few: those who are next leave it all the time, and nobody comes. Only it may have none.
    #[inline(never)]
    pub(super) fn mend<'a, N: Nodes>(&mut self, nodes: &'a N, at: At<'a, N>, leads_to_first: bool) {
        let Some((above, place)) = at.above(nodes) else { return self.mend_root(nodes, at) };
        if leads_to_first && at.block.len() == 0 {
            return self.unhook(nodes, at, above, place, leads_to_first);
        }
        let rank = above.block.order().rank(place);
        let behind = above.ranked(nodes, rank + 1).map(|behind| (at, behind));
        let before = || Some((above.ranked(nodes, rank.checked_sub(1)?)?, at));
        let Some((left, right)) = behind.or_else(before) else { return };
        let (Some((_, of_left)), Some((_, of_right))) = (left.above(nodes), right.above(nodes)) else { return };
        if left.block.len() + right.block.len() <= JOINED {
            // Each entry that moves is a write to whom it leads to: the fewer do.
            let (gone, of_gone, stays, of_stays) = if left.block.len() < right.block.len() {
                (0..left.block.len()).rev().for_each(|rank| right.adopt(nodes, 0, left.block.entry(rank)));
                (left, of_left, right, of_right)
            } else {
                (0..right.block.len()).for_each(|rank| left.adopt_last(nodes, right.block.entry(rank)));
                (right, of_right, left, of_left)
            };
            above.block.describe(of_stays, stays.as_entry());
            self.unhook(nodes, gone, above, of_gone, leads_to_first);
        } else if !leads_to_first {
            even_out(nodes, left, right);
            above.block.sum(of_left).set(left.block.elect());
            above.block.describe(of_right, right.as_entry());
            above.sum_up(nodes);
        }
    }

    /// A block that nobody needs any more, to which the entry in this place of the one above leads.
    fn unhook<'a, N: Nodes>(
        &mut self,
        nodes: &'a N,
        at: At<'a, N>,
        above: At<'a, N>,
        place: usize,
        leads_to_first: bool,
    ) {
        let left = above.block.remove(Some(place));
        self.recycle(nodes, at.slot);
        if left.len() < FEW {
            self.mend(nodes, above, leads_to_first);
        } else if !leads_to_first {
            above.sum_up(nodes);
        }
        let root = || At::<'a, N>::maybe(nodes, self.root);
        if at.slot.is(self.first_leaf) {
            self.first_leaf = root().map(|root| root.outermost_leaf(nodes, Order::first).slot);
        } else if at.slot.is(self.last_leaf) {
            self.last_leaf = root().map(|root| root.outermost_leaf(nodes, Order::last).slot);
        }
    }

    /// A root that leads to one block only is none.
    fn mend_root<'a, N: Nodes>(&mut self, nodes: &'a N, root: At<'a, N>) {
        match root.block.len() {
            0 => {
                self.recycle(nodes, root.slot);
                (self.root, self.first_leaf, self.last_leaf) = (None, None, None);
            }
            1 if !root.block.is_leaf() => {
                let below = root.ranked(nodes, 0);
                self.root = below.map(|below| below.slot);
                self.recycle(nodes, root.slot);
                if let Some(below) = below {
                    below.block.above.set(None);
                    self.mend_root(nodes, below);
                }
            }
            _ => {}
        }
    }

    /// The node at the very beginning.
    #[inline(always)]
    pub(super) fn look_for_first<N: Nodes>(&self, nodes: &N) -> Option<Slot> {
        let leaf: At<'_, N> = At::maybe(nodes, self.first_leaf)?;
        leaf.block.slot(leaf.block.order().first())
    }
}

/// Moves entries between neighbours until they have as many.
fn even_out<'a, N: Nodes>(nodes: &'a N, left: At<'a, N>, right: At<'a, N>) {
    let half = (left.block.len() + right.block.len()) / 2;
    while left.block.len() < half {
        left.adopt_last(nodes, right.block.entry(0));
        right.block.remove(None);
    }
    while left.block.len() > half {
        let last = left.block.len() - 1;
        right.adopt(nodes, 0, left.block.entry(last));
        left.block.cut(last);
    }
}
