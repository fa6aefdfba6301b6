//! [`Order`]: the order of a block's entries in one word, so that an entry comes and goes without moving the others.
//!
//! The lowest four bits are how many entries there are; the next ones are the places of the first entry, the second and
//! so on, and then those of the places that are free (Mao, Kohler and Morris 2012, "Cache craftiness for fast multicore
//! key-value storage", section 4.6).

/// Entries that a block can have: one for each group of four bits but the lowest.
pub(super) const ENTRIES: usize = 15;

const GROUP: u32 = 4;
const LOWEST: u64 = 0b1111;
/// Where the place with the highest rank stands.
const LAST: u32 = shift(ENTRIES - 1);

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Order(u64);

impl Order {
    /// No entries.
    pub(super) const EMPTY: Self = Self(0xedcb_a987_6543_2100);

    /// How many entries there are.
    #[inline(always)]
    pub(super) const fn len(self) -> usize {
        (self.0 & LOWEST) as usize
    }

    /// The place of the entry with this rank, from 0. Below [`Order::len`].
    #[inline(always)]
    pub(super) const fn place(self, rank: usize) -> usize {
        (self.0 >> shift(rank) & LOWEST) as usize
    }

    /// The place of the first entry.
    #[inline(always)]
    pub(super) const fn first(self) -> usize {
        self.place(0)
    }

    /// The place of the last entry. Only if there is any.
    #[inline(always)]
    pub(super) const fn last(self) -> usize {
        ((self.0 >> (GROUP * self.len() as u32)) & LOWEST) as usize
    }

    /// The places from that of the entry with this rank on.
    #[inline(always)]
    pub(super) fn places_from(self, rank: usize) -> impl Iterator<Item = usize> {
        let mut rest = self.0 >> GROUP;
        rest >>= GROUP * rank as u32;
        (rank..self.len()).map(move |_| {
            let place = rest & LOWEST;
            rest >>= GROUP;
            place as usize
        })
    }

    /// The rank of the entry in this place.
    #[inline(always)]
    pub(super) const fn rank(self, place: usize) -> usize {
        // The lowest group that is zero, found as the lowest that borrows from the one above. The length is left out.
        const ONES: u64 = 0x1111_1111_1111_1110;
        let differs = self.0 ^ (place as u64).wrapping_mul(ONES) | LOWEST;
        let zero = differs.wrapping_sub(ONES) & !differs & (ONES << (GROUP - 1));
        (zero.trailing_zeros() / GROUP) as usize - 1
    }

    /// With an entry more, which gets this rank; and its place, which was the last of the free ones.
    #[inline(always)]
    pub(super) const fn insert(self, rank: usize) -> (Self, usize) {
        let place = self.0 >> LAST;
        let before = self.0 & below(rank);
        let behind = self.0 & !below(rank);
        (Self((before | place << shift(rank) | behind << GROUP) + 1), place as usize)
    }

    /// With an entry more, behind all others; and its place.
    #[inline(always)]
    pub(super) const fn append(self) -> (Self, usize) {
        (Self(self.0 + 1), self.place(self.len()))
    }

    /// Without the entry that has this rank. Its place is the last of the free ones.
    #[inline(always)]
    pub(super) const fn remove(self, rank: usize) -> Self {
        let before = self.0 & below(rank);
        let behind = self.0 >> GROUP & !below(rank);
        Self((before | behind | (self.place(rank) as u64) << LAST) - 1)
    }

    /// Without the first entry, of any.
    #[inline(always)]
    pub(super) const fn remove_first(self) -> Self {
        Self((self.0 >> GROUP) & !LOWEST | (self.first() as u64) << LAST | (self.len() as u64 - 1))
    }

    /// With the first `len` entries only.
    #[inline(always)]
    pub(super) const fn cut(self, len: usize) -> Self {
        Self(self.0 & !LOWEST | len as u64)
    }
}

/// Where the place of the entry with this rank stands.
#[inline(always)]
const fn shift(rank: usize) -> u32 {
    GROUP + GROUP * rank as u32
}

/// The bits of the length and of the places of those with a lower rank.
#[inline(always)]
const fn below(rank: usize) -> u64 {
    (1 << shift(rank)) - 1
}

crate::pack_newtype!(Order(u64));

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_list_of_places_and_no_place_is_used_twice(
            steps in prop::collection::vec((0..5, any::<prop::sample::Index>()), 0..200),
        ) {
            let (mut order, mut model) = (Order::EMPTY, Vec::new());
            for (step, index) in steps {
                match step {
                    0 | 1 if model.len() < ENTRIES => {
                        let rank = if step == 0 { index.index(model.len() + 1) } else { model.len() };
                        let (new, place) = if step == 0 { order.insert(rank) } else { order.append() };
                        prop_assert!(place < ENTRIES && !model.contains(&place));
                        model.insert(rank, place);
                        order = new;
                    }
                    2 if !model.is_empty() => {
                        let rank = index.index(model.len());
                        model.remove(rank);
                        order = order.remove(rank);
                    }
                    3 if !model.is_empty() => {
                        model.remove(0);
                        order = order.remove_first();
                    }
                    _ => {
                        model.truncate(model.len() * 2 / 3);
                        order = order.cut(model.len());
                    }
                }
                prop_assert_eq!(order.len(), model.len());
                for (rank, &place) in model.iter().enumerate() {
                    prop_assert_eq!((order.place(rank), order.rank(place)), (place, rank));
                    prop_assert!(order.places_from(rank).eq(model[rank..].iter().copied()));
                }
                if let (Some(&first), Some(&last)) = (model.first(), model.last()) {
                    prop_assert_eq!((order.first(), order.last()), (first, last));
                }
            }
        }
    }
}
