//! The kernel's threads by place. A look-up locks one cell; nothing is global.

use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use hal::Machine;
use kernel_core::slab::{Id, InsertError, Slab, Slot};
use spin::Mutex;

/// Where one thread stands.
pub struct Cell<M: Machine> {
    thread: Mutex<Option<Arc<Thread<M>>>>,
    /// The first generation of operations that the next thread here may use: references to those of earlier threads
    /// stay stale.
    next_generation: AtomicU32,
}

impl<M: Machine> Default for Cell<M> {
    fn default() -> Self {
        Self { thread: Mutex::new(None), next_generation: AtomicU32::new(0) }
    }
}

/// A place in the table, for a thread that is about to be made. Must be filled or given back.
#[must_use]
pub struct Place<M: Machine>(Id<Cell<M>>);

impl<M: Machine> Place<M> {
    /// The place as a number, below 2^21.
    pub const fn index(&self) -> u32 {
        self.0.slot().index()
    }
}

/// The table.
pub struct ThreadTable<M: Machine> {
    cells: Slab<Cell<M>>,
    live: AtomicU32,
}

impl<M: Machine> ThreadTable<M> {
    /// A table of at most `limit` threads.
    pub fn new(limit: u32) -> Self {
        Self { cells: Slab::new(limit), live: AtomicU32::new(0) }
    }

    /// Takes a place. Gives the first generation for the operations of the new thread, too. May allocate.
    pub fn reserve(&self) -> Result<(Place<M>, u32), InsertError> {
        let id = self.cells.insert(|_, _| ())?;
        self.live.fetch_add(1, Ordering::Relaxed);
        Ok((Place(id), self.cells[id.slot()].next_generation.load(Ordering::Relaxed)))
    }

    /// Puts a thread into its place.
    pub fn fill(&self, place: &Place<M>, thread: Arc<Thread<M>>) {
        *self.cells[place.0.slot()].thread.lock() = Some(thread);
    }

    /// Empties a place, for another thread.
    pub fn release(&self, place: &Place<M>, next_generation: u32) {
        let cell = &self.cells[place.0.slot()];
        cell.next_generation.store(next_generation, Ordering::Relaxed);
        let thread = cell.thread.lock().take();
        if self.cells.remove(place.0).is_ok() {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
        drop(thread);
    }

    /// The thread at a place.
    pub fn get(&self, index: u32) -> Option<Arc<Thread<M>>> {
        let id = self.cells.live(Slot::new(index))?;
        self.cells.get(id).ok()?.thread.lock().clone()
    }

    /// The first thread at `index` or behind it, with its place.
    pub fn next_from(&self, index: u32) -> Option<(u32, Arc<Thread<M>>)> {
        self.cells
            .iter()
            .filter(|(id, _)| id.slot().index() >= index)
            .find_map(|(id, cell)| Some((id.slot().index(), cell.thread.lock().clone()?)))
    }

    /// How many places are taken.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }
}
