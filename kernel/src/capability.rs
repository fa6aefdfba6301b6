//! A process's capability table: slot and generation in a handle, an object behind it.
//!
//! The interface is the permission: a handle names an object of exactly one interface, and there are no rights bits.
//! Lock level: leaf.

use alloc::vec::Vec;
use spin::Mutex;
use tessera_schema::generated::interfaces;

/// What a capability names. Every object of this issue belongs to the process that holds it or is machine-wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// The serial console.
    Console,
    /// Monotonic time and sleeping.
    Timer,
    /// The scheduling attributes of the thread that calls.
    SchedulingPolicy,
}

impl Object {
    /// The interface's Cap'n Proto id.
    pub const fn interface(self) -> u64 {
        match self {
            Self::Console => interfaces::console::ID,
            Self::Timer => interfaces::timer::ID,
            Self::SchedulingPolicy => interfaces::scheduling_policy_cap::ID,
        }
    }
}

/// What a submission names: slot in the low half, generation in the high half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

impl Handle {
    /// The handle with this wire form; it may name nothing.
    pub const fn from_raw(raw: u64) -> Self {
        Self { slot: raw as u32, generation: (raw >> 32) as u32 }
    }

    /// The wire form.
    pub const fn to_raw(self) -> u64 {
        self.slot as u64 | (self.generation as u64) << 32
    }
}

/// The handle names no capability, or one that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidHandle(pub Handle);

/// The table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull;

/// The most capabilities of one process.
pub const MAX_CAPABILITIES: usize = 1024;

struct Slot {
    /// Starts at 1, so that a zeroed handle names nothing. A slot whose generations are used up stays empty.
    generation: u32,
    object: Option<Object>,
}

/// The table.
pub struct CapabilityTable {
    slots: Mutex<Vec<Slot>>,
}

impl Default for CapabilityTable {
    fn default() -> Self {
        Self::new()
    }
}

impl CapabilityTable {
    /// An empty table.
    pub const fn new() -> Self {
        Self { slots: Mutex::new(Vec::new()) }
    }

    /// Adds a capability.
    pub fn insert(&self, object: Object) -> Result<Handle, TableFull> {
        let mut slots = self.slots.lock();
        let reusable = slots.iter().position(|slot| slot.object.is_none() && slot.generation != u32::MAX);
        let index = match reusable {
            Some(index) => index,
            None if slots.len() < MAX_CAPABILITIES => {
                slots.push(Slot { generation: 0, object: None });
                slots.len() - 1
            }
            None => return Err(TableFull),
        };
        let slot = &mut slots[index];
        slot.generation += 1;
        slot.object = Some(object);
        Ok(Handle { slot: index as u32, generation: slot.generation })
    }

    /// The object that a handle names.
    pub fn get(&self, handle: Handle) -> Result<Object, InvalidHandle> {
        let slots = self.slots.lock();
        let slot = slots.get(handle.slot as usize).filter(|slot| slot.generation == handle.generation);
        slot.and_then(|slot| slot.object).ok_or(InvalidHandle(handle))
    }

    /// Gives a capability up. The slot may be used again, under another generation.
    pub fn remove(&self, handle: Handle) -> Result<Object, InvalidHandle> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(handle.slot as usize).filter(|slot| slot.generation == handle.generation);
        slot.and_then(|slot| slot.object.take()).ok_or(InvalidHandle(handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_its_object_until_it_is_given_up() {
        let table = CapabilityTable::new();
        let console = table.insert(Object::Console).unwrap();
        let timer = table.insert(Object::Timer).unwrap();
        assert_eq!(table.get(console), Ok(Object::Console));
        assert_eq!(table.get(Handle::from_raw(timer.to_raw())), Ok(Object::Timer));
        assert_eq!(table.remove(console), Ok(Object::Console));
        assert_eq!(table.get(console), Err(InvalidHandle(console)));
        let reused = table.insert(Object::SchedulingPolicy).unwrap();
        assert_eq!(reused.slot, console.slot, "the slot is used again");
        assert_eq!(table.get(console), Err(InvalidHandle(console)), "but the old handle stays stale");
    }

    #[test]
    fn invented_handles_name_nothing() {
        let table = CapabilityTable::new();
        table.insert(Object::Console).unwrap();
        for raw in [0, 1 << 32 | 7, 2 << 32, u64::MAX] {
            let handle = Handle::from_raw(raw);
            assert_eq!(table.get(handle), Err(InvalidHandle(handle)));
        }
    }

    #[test]
    fn a_full_table_says_so() {
        let table = CapabilityTable::new();
        for _ in 0..MAX_CAPABILITIES {
            table.insert(Object::Timer).unwrap();
        }
        assert_eq!(table.insert(Object::Timer), Err(TableFull));
    }
}
