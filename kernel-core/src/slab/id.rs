//! Names of entries: [`Slot`], a place, and [`Id`], a place and who lives there.

use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;

/// Entries of the first chunk; each further chunk has twice as many.
pub(super) const FIRST_CHUNK: u32 = 64;
/// Chunks that a slab can have: 64 * (2^15 - 1) entries, two million.
pub(super) const CHUNKS: u32 = 15;
/// Entries that a slab can have.
pub const MAX_ENTRIES: u32 = FIRST_CHUNK * ((1 << CHUNKS) - 1);

/// The low bits of a slot: the place in its chunk.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
/// Four bits that are zero in a slot, for who keeps something with one.
pub(crate) const FREE_SHIFT: u32 = PLACE_BITS;
const CHUNK_SHIFT: u32 = FREE_SHIFT + 4;

/// The place of an entry in its slab. It says nothing about who lives there; intrusive links hold slots.
///
/// Kept as it is looked up: the number of the chunk, from 1, in the highest four bits, the place in the chunk in the
/// lowest 24.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Slot(NonZeroU32);

impl Slot {
    /// The slot with this index. All indices that no slab has give one slot, and no slab has that either.
    pub const fn new(index: u32) -> Self {
        let (chunk, place) = if index < MAX_ENTRIES {
            let number = index + FIRST_CHUNK;
            let chunk = (number / FIRST_CHUNK).ilog2();
            (chunk, number - (FIRST_CHUNK << chunk))
        } else {
            (CHUNKS - 1, PLACE_MASK)
        };
        match NonZeroU32::new((chunk + 1) << CHUNK_SHIFT | place) {
            Some(raw) => Self(raw),
            None => Self(NonZeroU32::MAX),
        }
    }

    /// The index, from 0.
    pub const fn index(self) -> u32 {
        self.place() as u32 + (FIRST_CHUNK << (self.chunk() - 1)) - FIRST_CHUNK
    }

    /// The number of its chunk, from 1 to 15.
    #[inline(always)]
    pub(super) const fn chunk(self) -> usize {
        (self.0.get() >> CHUNK_SHIFT) as usize
    }

    /// Its place in the chunk.
    #[inline(always)]
    pub(super) const fn place(self) -> usize {
        (self.0.get() & PLACE_MASK) as usize
    }
}

impl Slot {
    /// With four bits more.
    #[inline(always)]
    pub(crate) fn with(self, bits: usize) -> NonZeroU32 {
        self.0 | (bits as u32) << FREE_SHIFT & !Self::BITS
    }

    /// Without them.
    #[inline(always)]
    pub(crate) const fn from_bits(bits: u32) -> Option<Self> {
        match NonZeroU32::new(bits & Self::BITS) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// All that a slot has.
    const BITS: u32 = !(0b1111 << FREE_SHIFT);

    /// Whether `link` leads here: one comparison, where that of two options is several.
    #[inline(always)]
    pub(crate) fn is(self, link: Option<Self>) -> bool {
        use crate::sync::Pack;
        link.pack() == self.0.get()
    }
}

impl crate::sync::Pack for Option<Slot> {
    type Bits = u32;
    #[inline(always)]
    fn pack(self) -> u32 {
        self.map_or(0, |slot| slot.0.get())
    }
    #[inline(always)]
    fn unpack(bits: u32) -> Self {
        NonZeroU32::new(bits).map(Slot)
    }
}

/// The identity of an entry of a slab of `T`: a slot and the generation that lives there. Never reused before the
/// generation has run out, and then the slot is retired instead.
pub struct Id<T> {
    slot: Slot,
    generation: u32,
    entity: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The slot.
    pub const fn slot(self) -> Slot {
        self.slot
    }

    /// The generation: odd, and one higher than anything that lived in the slot before.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The id of the entry that lived in `slot` at `generation`. It may be stale, or never have existed.
    pub const fn from_parts(slot: Slot, generation: u32) -> Self {
        Self { slot, generation, entity: PhantomData }
    }

    /// As one number, for programs and reports: generation in the high, slot index in the low half.
    pub const fn as_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot.index() as u64
    }

    /// Back from one number. Any number is an id; one that was made up is stale.
    pub const fn from_u64(number: u64) -> Self {
        Self::from_parts(Slot::new(number as u32), (number >> 32) as u32)
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_u64() == other.as_u64()
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_u64().cmp(&other.as_u64())
    }
}
impl<T> core::hash::Hash for Id<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_u64().hash(state);
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot.index(), self.generation / 2)
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}
