//! All processes by number, and those that wait to be freed.
//!
//! Looked at by the operator's tools, by spawns and by ends; never on the way of a dispatch or a call. Lock level: leaf.

use crate::process::Process;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};
use hal::Machine;
use spin::Mutex;

/// The processes that are not over.
pub struct ProcessTable<M: Machine>(Mutex<BTreeMap<u64, Arc<Process<M>>>>);

impl<M: Machine> Default for ProcessTable<M> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<M: Machine> ProcessTable<M> {
    /// Adds one. Allocates.
    pub fn insert(&self, process: &Arc<Process<M>>) {
        self.0.lock().insert(process.id, process.clone());
    }

    /// Removes one.
    pub fn remove(&self, id: u64) {
        let removed = self.0.lock().remove(&id);
        drop(removed);
    }

    /// The one with this number.
    pub fn get(&self, id: u64) -> Option<Arc<Process<M>>> {
        self.0.lock().get(&id).cloned()
    }

    /// The first one behind a number.
    pub fn next_after(&self, id: u64) -> Option<Arc<Process<M>>> {
        let behind = (core::ops::Bound::Excluded(id), core::ops::Bound::Unbounded);
        self.0.lock().range(behind).next().map(|(_, process)| process.clone())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many capabilities they hold in all.
    pub fn capabilities(&self) -> u64 {
        let mut count = 0;
        let mut after = 0;
        while let Some(process) = self.next_after(after) {
            after = process.id;
            count += u64::from(process.capabilities.lock().len());
        }
        count
    }
}

/// There is no memory for another grave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// Ended processes whose things are not freed yet. A process's grave is there before the process is, so that its end
/// allocates nothing.
pub struct Graves<M: Machine> {
    list: Mutex<List<M>>,
    /// How many wait; a hint that needs no lock.
    waiting: AtomicUsize,
}

struct List<M: Machine> {
    waiting: Vec<Arc<Process<M>>>,
    prepared: usize,
}

impl<M: Machine> Default for Graves<M> {
    fn default() -> Self {
        Self { list: Mutex::new(List { waiting: Vec::new(), prepared: 0 }), waiting: AtomicUsize::new(0) }
    }
}

impl<M: Machine> Graves<M> {
    /// Makes room for one more process.
    pub fn prepare(&self) -> Result<(), NoRoom> {
        let mut list = self.list.lock();
        let wanted = list.prepared + 1 - list.waiting.len().min(list.prepared);
        list.waiting.try_reserve(wanted).map_err(|_| NoRoom)?;
        list.prepared += 1;
        Ok(())
    }

    /// A process is over, or was not made after all.
    pub fn forget(&self) {
        self.list.lock().prepared -= 1;
    }

    /// Puts an ended process in, or back.
    pub fn bury(&self, process: Arc<Process<M>>) {
        let mut list = self.list.lock();
        list.waiting.push(process);
        self.waiting.store(list.waiting.len(), Ordering::Relaxed);
    }

    /// Takes one out, to free some of what it has.
    pub fn exhume(&self) -> Option<Arc<Process<M>>> {
        if self.is_empty() {
            return None;
        }
        let mut list = self.list.lock();
        let process = list.waiting.pop();
        self.waiting.store(list.waiting.len(), Ordering::Relaxed);
        process
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }
}
