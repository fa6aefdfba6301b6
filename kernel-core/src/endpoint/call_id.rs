//! [`CallId`]: what an answer names.

use core::fmt;
use tessera_abi::limits::ENDPOINT_IN_FLIGHT;

/// Bits for the place of the record.
const PLACE_BITS: u32 = 8;
const _: () = assert!(ENDPOINT_IN_FLIGHT <= 1 << PLACE_BITS);

/// A call in flight at one endpoint: the place of its record in the low 8 bits, its number above. Numbers count up from
/// 1 for each endpoint and are never used again: at a call each nanosecond they would last for two years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(u64);

impl CallId {
    pub(super) const fn new(number: u64, place: u8) -> Self {
        Self(number << PLACE_BITS | place as u64)
    }

    /// The id with this wire form; it may name nothing.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The wire form; never zero for a call that exists.
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    pub(super) const fn place(self) -> usize {
        (self.0 & ((1 << PLACE_BITS) - 1)) as usize
    }
}

/// The id names no call that this server has received and not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchCall(pub CallId);

impl fmt::Display for NoSuchCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no call {:#x} waits for an answer by this server", self.0.to_raw())
    }
}

impl core::error::Error for NoSuchCall {}
