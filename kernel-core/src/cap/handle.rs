//! [`Handle`]: how a program names a capability.

use core::fmt;

/// Slot in the low, generation in the high half of the wire form. Generations begin with 1, so zero names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

impl Handle {
    pub(super) const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// The handle with this wire form; it may name nothing.
    pub const fn from_raw(raw: u64) -> Self {
        Self { slot: raw as u32, generation: (raw >> 32) as u32 }
    }

    /// The wire form.
    pub const fn to_raw(self) -> u64 {
        self.slot as u64 | (self.generation as u64) << 32
    }

    /// The slot.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// How many handles this slot has had, this one included.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// The handle names no capability, or one that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidHandle(pub Handle);

impl fmt::Display for InvalidHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handle {:#x} names no capability", self.0.to_raw())
    }
}

impl core::error::Error for InvalidHandle {}
