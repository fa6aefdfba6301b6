//! [`Table`]: the capabilities of one process.

use super::handle::{Handle, InvalidHandle};
use super::slots::Slots;
use core::fmt;

/// No slot is free and none can be added: the limit is reached, there is no memory, or the table is being emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull;

impl fmt::Display for TableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the capability table takes nothing more")
    }
}

impl core::error::Error for TableFull {}

/// A table of `T`. See the module for transfer between two.
pub struct Table<T> {
    pub(super) slots: Slots<T>,
    held: u32,
    reserved: u32,
    /// Where the emptying of the table has come to. `None`: it has not begun.
    drained: Option<u32>,
}

impl<T> Table<T> {
    /// An empty table of at most `limit` slots. Allocates nothing.
    pub const fn new(limit: u32) -> Self {
        Self { slots: Slots::new(limit), held: 0, reserved: 0, drained: None }
    }

    /// Adds a capability. May allocate. An object that finds no slot is dropped; where that must not happen here,
    /// [`Table::reserve`] one first.
    pub fn insert(&mut self, object: T) -> Result<Handle, TableFull> {
        let handle = self.reserve_slot().ok_or(TableFull)?;
        self.fill_slot(handle, object);
        Ok(handle)
    }

    /// What the handle names.
    pub fn get(&self, handle: Handle) -> Result<&T, InvalidHandle> {
        self.slots.get(handle).ok_or(InvalidHandle(handle))
    }

    /// Gives a capability up. Its slot is used again under another generation.
    pub fn remove(&mut self, handle: Handle) -> Result<T, InvalidHandle> {
        let object = self.slots.remove(handle).ok_or(InvalidHandle(handle))?;
        self.held -= 1;
        Ok(object)
    }

    /// How many capabilities it holds; slots that are only reserved do not count.
    pub const fn len(&self) -> u32 {
        self.held
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Slots that are reserved.
    pub const fn reserved(&self) -> u32 {
        self.reserved
    }

    /// The most slots.
    pub const fn limit(&self) -> u32 {
        self.slots.limit()
    }

    /// The first capability in the slots from `slot_plus_one` on: 0 begins a walk, the slot after that of the last
    /// handle goes on with it. A walk over a table that changes meanwhile sees each slot at most once.
    pub fn next_after(&self, slot_plus_one: u32) -> Option<(Handle, &T)> {
        self.slots.next_held(slot_plus_one)
    }

    /// Takes out at most `most` capabilities, and answers whether that was all. From the first step on the table takes
    /// nothing more, and what is reserved stays empty.
    pub fn drain_step(&mut self, most: usize, out: &mut impl FnMut(T)) -> bool {
        let mut next = self.drained.unwrap_or(0);
        for _ in 0..most {
            let Some((handle, _)) = self.slots.next_held(next) else { break };
            next = handle.slot() + 1;
            if let Ok(object) = self.remove(handle) {
                out(object);
            }
        }
        self.drained = Some(next);
        self.is_empty()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drained.is_some()
    }

    /// Takes a slot that will be filled or cancelled.
    pub(super) fn reserve_slot(&mut self) -> Option<Handle> {
        if self.is_draining() {
            return None;
        }
        let handle = self.slots.reserve()?;
        self.reserved += 1;
        Some(handle)
    }

    /// Fills a slot that is reserved.
    pub(super) fn fill_slot(&mut self, handle: Handle, object: T) {
        self.slots.fill(handle, object);
        self.reserved -= 1;
        self.held += 1;
    }

    /// Frees a slot that is reserved.
    pub(super) fn cancel_slot(&mut self, handle: Handle) {
        self.slots.cancel(handle);
        self.reserved -= 1;
    }
}
