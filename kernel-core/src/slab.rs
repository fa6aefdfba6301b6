//! [`Slab`]: where shared entities live. Entries never move and are never freed, only reused.
//!
//! An [`Id`] is a slot and a generation. A look-up takes no lock, never panics, and answers [`Stale`] once the entry
//! was removed, also if its slot lives again. Because entries stay, a reference that was looked up just before a
//! removal stays valid memory; whoever must know that the entity is still the same one checks the generation in its
//! home word.
//!
//! Memory comes in chunks of doubling size. Only [`Slab::insert`] and [`Slab::reserve`] allocate, everything else is
//! allocation-free. No lock level: insertion and removal are lock-free, growth waits only for another growth.
//!
//! Ordering: an insertion releases the contents with the generation, a look-up acquires it. The free list counts its
//! changes beside its head, so that a slot that leaves and comes back is not mistaken for one that stayed.

mod id;

use crate::sync::Pack;
use crate::sync::shim::{AtomicU32, AtomicU64, Ordering};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Index;
use id::{CHUNKS, FIRST_CHUNK};
use tessera_hal::sync::Fault;

pub(crate) use id::FREE_SHIFT;
pub use id::{Id, MAX_ENTRIES, Slot};

/// The id names nothing, or no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stale;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the id names nothing that exists")
    }
}

impl core::error::Error for Stale {}

/// Why nothing could be inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InsertError {
    /// The slab holds as many entries as it may.
    Full {
        /// How many that is.
        limit: u32,
    },
    /// There is no memory for another chunk, or the caller may not allocate and nothing is reserved.
    OutOfMemory,
}

impl fmt::Display for InsertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "all {limit} entries are in use"),
            Self::OutOfMemory => write!(f, "no memory for another entry"),
        }
    }
}

impl core::error::Error for InsertError {}

struct Entry<T> {
    /// Odd while the entry lives.
    generation: AtomicU32,
    /// The next slot of the free list, as packed by `Option<Slot>`.
    next_free: AtomicU32,
    value: T,
}

/// A slab of `T`. `T` is built once per slot with `Default` and set up again, through a shared reference, each time
/// that the slot is reused.
pub struct Slab<T> {
    /// By number of chunk; the first is not used.
    chunks: [spin::Once<Box<[Entry<T>]>>; CHUNKS as usize + 1],
    /// How many slots were ever used.
    used: AtomicU32,
    /// Number of changes (high half) and first free slot, packed (low half).
    free: AtomicU64,
    limit: u32,
}

impl<T: Default> Slab<T> {
    /// A slab of at most `limit` entries (and never more than [`MAX_ENTRIES`]). Allocates nothing yet.
    pub fn new(limit: u32) -> Self {
        Self {
            chunks: [const { spin::Once::new() }; CHUNKS as usize + 1],
            used: AtomicU32::new(0),
            free: AtomicU64::new(0),
            limit: limit.min(MAX_ENTRIES),
        }
    }

    /// Allocates memory for `count` entries in all, or for as many as the slab may hold.
    pub fn reserve(&self, count: u32) -> Result<(), InsertError> {
        let Some(last) = count.min(self.limit).checked_sub(1) else { return Ok(()) };
        (1..=Slot::new(last).chunk()).try_for_each(|chunk| self.grow(chunk))
    }

    /// Brings an entry to life. `set_up` prepares it before anybody can find it. May allocate.
    pub fn insert(&self, set_up: impl FnOnce(&T, Id<T>)) -> Result<Id<T>, InsertError> {
        self.insert_in(|slab| slab.take_fresh(Self::grow), set_up)
    }

    /// As [`Slab::insert`], but only in memory that exists already.
    pub fn insert_reserved(&self, set_up: impl FnOnce(&T, Id<T>)) -> Result<Id<T>, InsertError> {
        let existing = |slab: &Self, chunk: usize| match slab.chunks[chunk].is_completed() {
            true => Ok(()),
            false => Err(InsertError::OutOfMemory),
        };
        self.insert_in(|slab| slab.take_fresh(existing), set_up)
    }

    fn insert_in(
        &self,
        fresh: impl FnOnce(&Self) -> Result<Slot, InsertError>,
        set_up: impl FnOnce(&T, Id<T>),
    ) -> Result<Id<T>, InsertError> {
        let slot = match self.take_free() {
            Some(slot) => slot,
            None => fresh(self)?,
        };
        let entry = self.entry(slot).ok_or(InsertError::OutOfMemory)?;
        let id = Id::from_parts(slot, entry.generation.load(Ordering::Relaxed) + 1);
        set_up(&entry.value, id);
        let order = if Fault::SlabPublishWithoutRelease.is_active() { Ordering::Relaxed } else { Ordering::Release };
        entry.generation.store(id.generation(), order);
        Ok(id)
    }

    /// The next slot that was never used. Its chunk is there before anybody can get it.
    fn take_fresh(&self, prepare: impl Fn(&Self, usize) -> Result<(), InsertError>) -> Result<Slot, InsertError> {
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            if used >= self.limit {
                return Err(InsertError::Full { limit: self.limit });
            }
            prepare(self, Slot::new(used).chunk())?;
            match self.used.compare_exchange(used, used + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(Slot::new(used)),
                Err(current) => used = current,
            }
        }
    }

    fn grow(&self, chunk: usize) -> Result<(), InsertError> {
        self.chunks[chunk]
            .try_call_once(|| {
                let count = (FIRST_CHUNK as usize) << (chunk - 1);
                let mut entries = Vec::new();
                entries.try_reserve_exact(count).map_err(|_| InsertError::OutOfMemory)?;
                entries.extend((0..count).map(|_| Entry {
                    generation: AtomicU32::new(0),
                    next_free: AtomicU32::new(0),
                    value: T::default(),
                }));
                Ok(entries.into_boxed_slice())
            })
            .map(|_| ())
    }
}

impl<T> Slab<T> {
    /// The entry that `id` names.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Result<&T, Stale> {
        match self.entry(id.slot()) {
            Some(entry) if id.generation() % 2 == 1 && entry.generation.load(Ordering::Acquire) == id.generation() => {
                Ok(&entry.value)
            }
            _ => Err(Stale),
        }
    }

    /// The entry in a slot, whoever lives there; `None` if nobody ever did.
    #[inline]
    pub fn in_slot(&self, slot: Slot) -> Option<&T> {
        self.entry(slot).map(|entry| &entry.value)
    }

    /// Ends the life of an entry: its id is stale from now on, and its slot may live again at once. Of several callers
    /// exactly one succeeds. Allocates and frees no memory.
    pub fn remove(&self, id: Id<T>) -> Result<(), Stale> {
        let entry = self.entry(id.slot()).filter(|_| id.generation() % 2 == 1).ok_or(Stale)?;
        let next = id.generation().wrapping_add(1);
        entry
            .generation
            .compare_exchange(id.generation(), next, Ordering::AcqRel, Ordering::Relaxed)
            .map_err(|_| Stale)?;
        // A slot whose generations have run out is retired: an old id must never come to life again.
        if next != 0 {
            self.give_free(id.slot(), entry);
        }
        Ok(())
    }

    /// The id that lives in `slot` now.
    pub fn live(&self, slot: Slot) -> Option<Id<T>> {
        let generation = self.entry(slot)?.generation.load(Ordering::Acquire);
        (generation % 2 == 1).then_some(Id::from_parts(slot, generation))
    }

    /// Every entry that lives, by slot. Others may come and go meanwhile.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        (0..self.used.load(Ordering::Acquire)).filter_map(|index| {
            let id = self.live(Slot::new(index))?;
            Some((id, self.get(id).ok()?))
        })
    }

    #[inline(always)]
    fn entry(&self, slot: Slot) -> Option<&Entry<T>> {
        self.chunks.get(slot.chunk())?.get()?.get(slot.place())
    }

    fn take_free(&self) -> Option<Slot> {
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let slot = <Option<Slot> as Pack>::unpack(head as u32)?;
            let next = self.entry(slot)?.next_free.load(Ordering::Relaxed);
            match self.free.compare_exchange(head, changed(head, next), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(slot),
                Err(current) => head = current,
            }
        }
    }

    fn give_free(&self, slot: Slot, entry: &Entry<T>) {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            entry.next_free.store(head as u32, Ordering::Relaxed);
            match self.free.compare_exchange(
                head,
                changed(head, Some(slot).pack()),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(current) => head = current,
            }
        }
    }
}

/// The head of the free list with another first slot and one more change.
const fn changed(head: u64, first: u32) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | first as u64
}

impl<T> Index<Slot> for Slab<T> {
    type Output = T;

    /// The entry in a slot that was used at least once, whoever lives there. For structures that link slots and know
    /// that their members live.
    ///
    /// # Panics
    /// If the slot was never used: it is then from another slab.
    #[inline]
    fn index(&self, slot: Slot) -> &T {
        match self.in_slot(slot) {
            Some(value) => value,
            None => panic!("slot {} was never used in this slab", slot.index()),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::QueueOwned;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    type Numbers = Slab<QueueOwned<u64>>;

    #[test]
    fn slots_of_all_chunks_have_their_own_place_and_keep_their_index() {
        let mut expected = (1, 0);
        for index in 0..FIRST_CHUNK * 15 {
            let slot = Slot::new(index);
            assert_eq!((slot.chunk(), slot.place(), slot.index()), (expected.0, expected.1, index));
            expected.1 += 1;
            if expected.1 == (FIRST_CHUNK as usize) << (expected.0 - 1) {
                expected = (expected.0 + 1, 0);
            }
        }
        let last = Slot::new(MAX_ENTRIES - 1);
        let last_place = (FIRST_CHUNK << (CHUNKS - 1)) as usize - 1;
        assert_eq!((last.chunk(), last.place(), last.index()), (CHUNKS as usize, last_place, MAX_ENTRIES - 1));
        for beyond in [MAX_ENTRIES, u32::MAX - 1, u32::MAX] {
            assert!(Slot::new(beyond).index() >= MAX_ENTRIES);
        }
    }

    #[test]
    fn made_up_ids_are_stale_and_nothing_else() {
        let slab = Numbers::new(100);
        let id = slab.insert(|_, _| ()).expect("room for one");
        for number in [0, 1, 2 << 32, u64::MAX, u64::from(u32::MAX), id.as_u64() + 1, id.as_u64() + (1 << 32)] {
            assert_eq!(slab.get(Id::from_u64(number)).err(), Some(Stale), "{number:#x}");
            assert_eq!(slab.remove(Id::from_u64(number)), Err(Stale), "{number:#x}");
        }
        assert!(slab.get(Id::from_u64(id.as_u64())).is_ok());
    }

    #[test]
    fn a_reused_slot_has_another_id_and_keeps_its_place() {
        let slab = Numbers::new(1);
        let first = slab.insert(|number, _| number.set(1)).expect("room for one");
        let place: *const _ = slab.get(first).expect("it lives");
        assert_eq!(slab.insert(|_, _| ()), Err(InsertError::Full { limit: 1 }));
        assert_eq!(slab.remove(first), Ok(()));
        assert_eq!(slab.remove(first), Err(Stale));
        let second = slab.insert(|number, _| number.set(2)).expect("the slot is free");
        assert_eq!(second.slot(), first.slot());
        assert!(slab.get(first).is_err());
        assert_eq!(slab.get(second).map(|number| number.get()), Ok(2));
        assert!(core::ptr::eq(place, &slab[second.slot()]));
    }

    #[test]
    fn a_slot_whose_generations_have_run_out_is_retired() {
        let slab = Numbers::new(1);
        let id = slab.insert(|_, _| ()).expect("room for one");
        slab.entry(id.slot()).expect("used").generation.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(slab.remove(Id::from_parts(id.slot(), u32::MAX)), Ok(()));
        assert!(slab.insert(|_, _| ()).is_err());
        assert!(slab.get(Id::from_parts(id.slot(), 0)).is_err());
    }

    #[test]
    fn an_insertion_that_may_not_allocate_uses_only_what_is_reserved() {
        let slab = Numbers::new(1000);
        assert_eq!(slab.insert_reserved(|_, _| ()), Err(InsertError::OutOfMemory));
        slab.reserve(65).expect("memory");
        for _ in 0..FIRST_CHUNK * 3 {
            slab.insert_reserved(|_, _| ()).expect("two chunks are reserved");
        }
        assert_eq!(slab.insert_reserved(|_, _| ()), Err(InsertError::OutOfMemory));
    }

    #[test]
    fn concurrent_insertions_and_removals_never_share_a_slot() {
        let slab = Numbers::new(10_000);
        std::thread::scope(|scope| {
            for worker in 0..4_u64 {
                let slab = &slab;
                scope.spawn(move || {
                    let mut mine = std::collections::VecDeque::new();
                    for step in 0..20_000_u64 {
                        let mark = worker << 32 | step;
                        mine.push_back((slab.insert(|number, _| number.set(mark)).expect("room"), mark));
                        if mine.len() > 50 {
                            let (id, mark) = mine.pop_front().expect("not empty");
                            assert_eq!(slab.get(id).map(|number| number.get()), Ok(mark));
                            assert_eq!(slab.remove(id), Ok(()));
                        }
                    }
                });
            }
        });
        assert_eq!(slab.iter().count(), 4 * 50);
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_map(operations in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..400)) {
            let slab = Numbers::new(150);
            let mut model = BTreeMap::new();
            let mut ever = alloc::vec::Vec::new();
            for (step, (insert, pick)) in operations.into_iter().enumerate() {
                if insert || ever.is_empty() {
                    match slab.insert(|number, _| number.set(step as u64)) {
                        Ok(id) => {
                            prop_assert!(model.insert(id, step as u64).is_none());
                            ever.push(id);
                        }
                        Err(error) => {
                            prop_assert_eq!(error, InsertError::Full { limit: 150 });
                            prop_assert_eq!(model.len(), 150);
                        }
                    }
                } else {
                    let id = *pick.get(&ever);
                    prop_assert_eq!(slab.remove(id).is_ok(), model.remove(&id).is_some());
                }
                for id in &ever {
                    prop_assert_eq!(slab.get(*id).ok().map(QueueOwned::get), model.get(id).copied());
                }
            }
            prop_assert_eq!(slab.iter().count(), model.len());
        }
    }
}
