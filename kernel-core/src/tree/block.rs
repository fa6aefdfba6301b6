//! [`Block`]: a few entries in order. In a leaf they are nodes, above it they are blocks.

use super::node::{Key, Summary};
use super::order::{ENTRIES, Order};
use crate::slab::{FREE_SHIFT, Slot};
use crate::sync::{Pack, QueueOwned};
use core::fmt;
use core::num::NonZeroU32;

/// Entries that a block has at least, unless it is the root or the last leaf or leads to the first node.
pub(super) const FEW: usize = 3;
/// Neighbours of which one has fewer, and which have no more than these together, become one, in which there is room.
pub(super) const JOINED: usize = ENTRIES * 2 / 3;

/// No node of a leaf contributes all that the others do.
const NOBODY: u8 = u8::MAX;

/// Where an entry stands, as the node or the block keeps it that the entry leads to: the slot of the node that has the
/// block, and in the bits that are free there the place in the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(NonZeroU32);

impl Place {
    #[inline(always)]
    pub(super) fn new(block: Slot, index: usize) -> Self {
        Self(block.with(index))
    }

    /// Which place in the block.
    #[inline(always)]
    pub(super) const fn index(self) -> usize {
        (self.0.get() >> FREE_SHIFT & 0b1111) as usize
    }

    #[inline(always)]
    pub(super) fn block(self) -> Slot {
        Slot::from_bits(self.0.get()).expect("a place was made of a slot")
    }
}

impl Pack for Option<Place> {
    type Bits = u32;
    #[inline(always)]
    fn pack(self) -> u32 {
        self.map_or(0, |place| place.0.get())
    }
    #[inline(always)]
    fn unpack(bits: u32) -> Self {
        NonZeroU32::new(bits).map(Place)
    }
}

/// What trees are made of: each node brings one along. See the module [`crate::tree`].
///
/// An entry stays in its place, whoever comes and goes. What entries consist of is kept in arrays of its own, so that a
/// search among keys reads nothing else. Two CPUs may use those of two neighbours in memory: where that is often so, an
/// entity keeps them apart by its alignment.
#[repr(C)]
pub struct Block<K: Key, S: Summary + Default = ()> {
    /// Where it stands in the block above.
    pub(super) above: QueueOwned<Option<Place>>,
    /// If no tree uses it: the next such one.
    pub(super) next_unused: QueueOwned<Option<Slot>>,
    order: QueueOwned<Order>,
    is_leaf: QueueOwned<bool>,
    /// In a leaf that does not begin the tree: where a node stands that contributes all that the others do, or `NOBODY`.
    witness: QueueOwned<u8>,
    slots: [QueueOwned<Option<Slot>>; ENTRIES],
    keys: [QueueOwned<K>; ENTRIES],
    sums: [QueueOwned<S>; ENTRIES],
}

/// What a block says about a node, or about all that is below a block.
#[derive(Clone, Copy)]
pub(super) struct Entry<K, S> {
    /// The node's; for a block one that nobody in it is before, and nobody before it is behind.
    pub(super) key: K,
    pub(super) slot: Option<Slot>,
    /// What the node contributes, or all nodes below that block.
    pub(super) sum: S,
}

impl<K: Key, S: Summary + Default> Default for Block<K, S> {
    fn default() -> Self {
        Self {
            above: QueueOwned::default(),
            next_unused: QueueOwned::default(),
            is_leaf: QueueOwned::default(),
            witness: QueueOwned::default(),
            order: QueueOwned::new(Order::EMPTY),
            slots: core::array::from_fn(|_| QueueOwned::default()),
            keys: core::array::from_fn(|_| QueueOwned::default()),
            sums: core::array::from_fn(|_| QueueOwned::default()),
        }
    }
}

impl<K: Key, S: Summary + Default> fmt::Debug for Block<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("order", &self.order).finish_non_exhaustive()
    }
}

impl<K: Key, S: Summary + Default> Block<K, S> {
    /// Begins to be a block of a tree, without entries.
    pub(super) fn begin(&self, is_leaf: bool) {
        self.order.set(Order::EMPTY);
        self.is_leaf.set(is_leaf);
        self.above.set(None);
    }

    #[inline(always)]
    pub(super) fn is_leaf(&self) -> bool {
        self.is_leaf.get()
    }

    #[inline(always)]
    pub(super) fn order(&self) -> Order {
        self.order.get()
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.order.get().len()
    }

    /// Who stands in a place.
    #[inline(always)]
    pub(super) fn slot(&self, place: usize) -> Option<Slot> {
        self.slots[place].get()
    }

    /// The key there.
    #[inline(always)]
    pub(super) fn key(&self, place: usize) -> K {
        self.keys[place].get()
    }

    /// What is kept there.
    #[inline(always)]
    pub(super) fn sum(&self, place: usize) -> &QueueOwned<S> {
        &self.sums[place]
    }

    /// The entry with this rank.
    pub(super) fn entry(&self, rank: usize) -> Entry<K, S> {
        let place = self.order.get().place(rank);
        Entry { key: self.keys[place].get(), slot: self.slots[place].get(), sum: self.sums[place].get() }
    }

    /// How many of a leaf's nodes are not behind `key`.
    #[inline(always)]
    pub(super) fn rank_of(&self, key: K) -> usize {
        let order = self.order.get();
        order.places_from(0).position(|place| key < self.keys[place].get()).unwrap_or(order.len())
    }

    /// The place of the block below which `key` belongs, behind all that are equal.
    #[inline(always)]
    pub(super) fn way_to(&self, key: K) -> usize {
        let order = self.order.get();
        let behind = order.places_from(1).position(|place| key < self.keys[place].get());
        behind.map_or(order.last(), |rank| order.place(rank))
    }

    /// The rank and the place of the first entry from `rank` on with a sum that is `wanted`.
    #[inline(always)]
    pub(super) fn find(&self, rank: usize, wanted: impl Fn(S) -> bool) -> Option<(usize, usize)> {
        (rank..).zip(self.order.get().places_from(rank)).find(|&(_, place)| wanted(self.sums[place].get()))
    }

    /// The sum of all entries. For a block that has any.
    pub(super) fn total(&self) -> S {
        self.total_until(|_| false).0
    }

    /// The same; finds the witness.
    pub(super) fn elect(&self) -> S {
        let (total, witness) = self.total_until(|_| false);
        self.witness.set(witness);
        total
    }

    /// As `elect`, if the sum is not what it `was` before somebody left. For a block that has any entries.
    pub(super) fn elect_below(&self, was: S) -> Option<S> {
        let (total, witness) = self.total_until(|total| total == was);
        self.witness.set(witness);
        if total == was { None } else { Some(total) }
    }

    /// The sum of the first entries, until it is `enough`, and which of them is the witness of that.
    #[inline(always)]
    fn total_until(&self, enough: impl Fn(S) -> bool) -> (S, u8) {
        let order = self.order.get();
        let mut witness = order.first() as u8;
        let mut total = self.sums[order.first()].get();
        // No place is beyond the end; where the sum is nothing, neither is this then.
        for (place, sum) in order.places_from(1).filter_map(|place| Some((place, self.sums.get(place)?))) {
            if enough(total) {
                break;
            }
            let (sum, before) = (sum.get(), total);
            total = total.and(sum);
            if total != before {
                witness = if total == sum { place as u8 } else { NOBODY };
            }
        }
        (total, witness)
    }

    /// Who stands there is the witness, or nobody is.
    #[inline(always)]
    fn set_witness(&self, place: usize, is_one: bool) {
        self.witness.set(if is_one { place as u8 } else { NOBODY });
    }

    /// What the witness of this leaf contributes, if there is one.
    #[inline(always)]
    fn witnessed(&self) -> Option<S> {
        self.sums.get(usize::from(self.witness.get())).map(QueueOwned::get)
    }

    /// Whether the witness of this leaf is none, or stands in it and contributes as much as all.
    pub(super) fn is_witness_right(&self) -> bool {
        let is_here = self.order.get().places_from(0).any(|place| place == usize::from(self.witness.get()));
        self.witnessed().is_none_or(|all| is_here && all == self.total())
    }

    /// Somebody has come to this place: answers whether the sum of the leaf is another one now.
    #[inline(always)]
    pub(super) fn has_come(&self, place: usize, sum: S) -> bool {
        let witnessed = self.witnessed();
        if witnessed.is_some_and(|all| all == sum || all.and(sum) == all) {
            return false;
        }
        self.set_witness(place, witnessed.is_some_and(|all| sum.and(all) == sum));
        true
    }

    /// Somebody has left this place of the leaf, and others are there, in this order: answers whether the sum may be
    /// another one now.
    #[inline(always)]
    pub(super) fn has_left(&self, place: usize, others: Order) -> bool {
        let witness = usize::from(self.witness.get());
        if witness != place {
            return witness == usize::from(NOBODY);
        }
        // Often many contribute the same.
        let first = others.first();
        let is_another = self.covers(first, self.sums[place].get());
        self.set_witness(first, is_another);
        !is_another
    }

    /// Whether the entry in this place contributes all of `sum` as well: then no sum of more than this entry changes when
    /// somebody else with that comes or goes.
    #[inline(always)]
    pub(super) fn covers(&self, place: usize, sum: S) -> bool {
        let known = self.sums[place].get();
        known == sum || known.and(sum) == known
    }

    /// Puts an entry in, before the one that has this rank, and answers its place. Not in a full block.
    #[inline(always)]
    pub(super) fn insert(&self, rank: usize, entry: Entry<K, S>) -> usize {
        self.fill(self.order.get().insert(rank), entry)
    }

    /// As `insert`, behind all others, which are in this order.
    #[inline(always)]
    pub(super) fn append(&self, order: Order, entry: Entry<K, S>) -> usize {
        self.fill(order.append(), entry)
    }

    #[inline(always)]
    fn fill(&self, (order, place): (Order, usize), entry: Entry<K, S>) -> usize {
        self.order.set(order);
        self.keys[place].set(entry.key);
        self.slots[place].set(entry.slot);
        self.sums[place].set(entry.sum);
        place
    }

    /// Takes the entry out that stands in this place, or the first one; answers the order of the others.
    #[inline(always)]
    pub(super) fn remove(&self, place: Option<usize>) -> Order {
        self.order.update(|order| match place {
            Some(place) => order.remove(order.rank(place)),
            None => order.remove_first(),
        })
    }

    /// Says something else of who stands in this place, who so gets the rank behind all that are equal.
    #[inline(always)]
    pub(super) fn rerank(&self, place: usize, entry: Entry<K, S>) {
        let order = self.order.get();
        let others = order.remove(order.rank(place));
        // Counted, not searched: among few, where a search ends nobody can predict.
        let keys = others.places_from(0).filter_map(|other| self.keys.get(other));
        let rank = keys.map(|other| usize::from(entry.key >= other.get())).sum();
        // Its place is the last of those that are free, which is the one that is taken.
        self.order.set(others.insert(rank).0);
        self.describe(place, entry);
    }

    /// Says something else in this place, of who stands there.
    pub(super) fn describe(&self, place: usize, entry: Entry<K, S>) {
        self.keys[place].set(entry.key);
        self.sums[place].set(entry.sum);
    }

    /// Leaves the first `len` entries.
    pub(super) fn cut(&self, len: usize) {
        self.order.update(|order| order.cut(len));
    }
}
