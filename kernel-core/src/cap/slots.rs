//! The slots of a table: where its objects stand, which are free, and how to walk them.
//!
//! Slots come in chunks that never move, so that growth copies no slot while the table's lock is held. Each chunk keeps
//! a word with a bit for each slot that holds an object, so a walk steps over 64 empty slots at a time.

use super::handle::Handle;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Slots of a chunk: as many as a word has bits.
pub(super) const CHUNK: u32 = u64::BITS;

enum Content<T> {
    /// In the free list.
    Free { next: Option<u32> },
    /// Taken, and not filled yet.
    Reserved,
    /// Holds an object.
    Held(T),
    /// Empty for ever: its generations are used up.
    Retired,
}

struct Slot<T> {
    /// Of its handle, or of the last that it had. 0: it had none.
    generation: u32,
    content: Content<T>,
}

struct Chunk<T> {
    slots: Box<[Slot<T>]>,
    /// Bit n: slot n holds an object.
    held: u64,
}

/// Which table: where its first slots stand. No two tables that exist have this in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TableMark(usize);

pub(super) struct Slots<T> {
    chunks: Vec<Chunk<T>>,
    first_free: Option<u32>,
    limit: u32,
}

impl<T> Slots<T> {
    pub(super) const fn new(limit: u32) -> Self {
        Self { chunks: Vec::new(), first_free: None, limit }
    }

    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Slots that exist.
    fn count(&self) -> u32 {
        // Only the last chunk can be shorter than the others, and only because of the limit.
        (self.chunks.len() as u32).saturating_mul(CHUNK).min(self.limit)
    }

    pub(super) fn mark(&self) -> TableMark {
        TableMark(self.chunks.first().map_or(0, |chunk| chunk.slots.as_ptr().addr()))
    }

    fn slot(&self, slot: u32) -> Option<&Slot<T>> {
        self.chunks.get((slot / CHUNK) as usize)?.slots.get((slot % CHUNK) as usize)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot<T>> {
        self.chunks.get_mut((slot / CHUNK) as usize)?.slots.get_mut((slot % CHUNK) as usize)
    }

    /// Takes a free slot and gives it its next handle. `None`: there is none and there cannot be more.
    pub(super) fn reserve(&mut self) -> Option<Handle> {
        if self.first_free.is_none() {
            self.grow()?;
        }
        let index = self.first_free?;
        let slot = self.slot_mut(index)?;
        let Content::Free { next } = slot.content else { return None };
        slot.content = Content::Reserved;
        slot.generation += 1;
        let handle = Handle::new(index, slot.generation);
        self.first_free = next;
        Some(handle)
    }

    /// Adds a chunk of free slots, the last one perhaps shorter.
    fn grow(&mut self) -> Option<()> {
        let first = self.count();
        let count = (self.limit - first).min(CHUNK);
        let last = first + count.checked_sub(1)?;
        let mut slots = Vec::new();
        slots.try_reserve_exact(count as usize).ok()?;
        self.chunks.try_reserve(1).ok()?;
        slots.extend((first..=last).map(|slot| {
            let next = (slot < last).then_some(slot + 1);
            Slot { generation: 0, content: Content::Free { next } }
        }));
        self.chunks.push(Chunk { slots: slots.into_boxed_slice(), held: 0 });
        self.first_free = Some(first);
        Some(())
    }

    /// Whether `handle` is that of a slot that is taken and not filled.
    pub(super) fn is_reserved(&self, handle: Handle) -> bool {
        let slot = self.slot(handle.slot());
        slot.is_some_and(|slot| slot.generation == handle.generation() && matches!(slot.content, Content::Reserved))
    }

    /// Fills a slot that is reserved.
    pub(super) fn fill(&mut self, handle: Handle, object: T) {
        if let Some(slot) = self.slot_mut(handle.slot()) {
            slot.content = Content::Held(object);
            self.chunks[(handle.slot() / CHUNK) as usize].held |= 1 << (handle.slot() % CHUNK);
        }
    }

    /// Makes a slot that is reserved free again. Its handle will never name anything.
    pub(super) fn cancel(&mut self, handle: Handle) {
        self.vacate(handle.slot());
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.slot(handle.slot()).filter(|slot| slot.generation == handle.generation())?;
        match &slot.content {
            Content::Held(object) => Some(object),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, handle: Handle) -> Option<T> {
        self.get(handle)?;
        self.vacate(handle.slot())
    }

    /// Empties a slot that is taken, and answers what it held.
    fn vacate(&mut self, index: u32) -> Option<T> {
        let next = self.first_free;
        let slot = self.slot_mut(index)?;
        let is_used_up = slot.generation == u32::MAX;
        let content = if is_used_up { Content::Retired } else { Content::Free { next } };
        let before = core::mem::replace(&mut slot.content, content);
        if !is_used_up {
            self.first_free = Some(index);
        }
        self.chunks[(index / CHUNK) as usize].held &= !(1 << (index % CHUNK));
        match before {
            Content::Held(object) => Some(object),
            _ => None,
        }
    }

    /// The first slot from `index` on that holds an object, with its handle.
    pub(super) fn next_held(&self, index: u32) -> Option<(Handle, &T)> {
        let first_chunk = index / CHUNK;
        for (number, chunk) in (first_chunk..).zip(self.chunks.get(first_chunk as usize..)?) {
            let skipped = if number == first_chunk { index % CHUNK } else { 0 };
            let held = chunk.held & (u64::MAX << skipped);
            if held != 0 {
                let place = held.trailing_zeros();
                let slot = &chunk.slots[place as usize];
                let Content::Held(object) = &slot.content else { return None };
                return Some((Handle::new(number * CHUNK + place, slot.generation), object));
            }
        }
        None
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_slot_whose_generations_are_used_up_stays_empty() {
        let mut slots = Slots::new(1);
        let first = slots.reserve().expect("a slot");
        slots.fill(first, 'a');
        slots.slot_mut(0).expect("it exists").generation = u32::MAX;
        let last = Handle::new(0, u32::MAX);
        assert_eq!(slots.remove(last), Some('a'));
        assert_eq!(slots.reserve(), None);
        assert_eq!(slots.get(last), None);
        assert_eq!(slots.get(Handle::new(0, 0)), None);
    }

    #[test]
    fn a_reserved_slot_whose_generations_are_used_up_is_not_freed_by_cancelling_it() {
        let mut slots = Slots::<char>::new(1);
        slots.reserve().expect("a slot");
        slots.slot_mut(0).expect("it exists").generation = u32::MAX;
        slots.cancel(Handle::new(0, u32::MAX));
        assert_eq!(slots.reserve(), None);
    }
}
