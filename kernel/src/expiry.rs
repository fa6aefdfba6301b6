//! What a timer means when it fires: the 64-bit payload that the dispatcher carries, typed.
//!
//! Kind in the high five bits, an operation or a thread's place below.

use crate::operation::OperationRef;

/// Why a timer was armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// A sleep is over, or a park gives up.
    Operation(OperationRef),
    /// A `cap_enter` gives up.
    EnterTimeout {
        /// The thread's place in the kernel's table.
        thread: u32,
    },
    /// The next piece of a report is due.
    Report,
    /// The run is over.
    EndOfRun,
}

const KIND_SHIFT: u32 = 59;
const OPERATION: u64 = 1;
const ENTER_TIMEOUT: u64 = 2;
const REPORT: u64 = 3;
const END_OF_RUN: u64 = 4;

impl Expiry {
    /// The payload.
    pub const fn to_raw(self) -> u64 {
        match self {
            Self::Operation(operation) => OPERATION << KIND_SHIFT | operation.to_raw(),
            Self::EnterTimeout { thread } => ENTER_TIMEOUT << KIND_SHIFT | thread as u64,
            Self::Report => REPORT << KIND_SHIFT,
            Self::EndOfRun => END_OF_RUN << KIND_SHIFT,
        }
    }

    /// What a payload means; `None` if the kernel never made it.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        let rest = raw & ((1 << KIND_SHIFT) - 1);
        match raw >> KIND_SHIFT {
            OPERATION => Some(Self::Operation(OperationRef::from_raw(rest))),
            ENTER_TIMEOUT => Some(Self::EnterTimeout { thread: rest as u32 }),
            REPORT => Some(Self::Report),
            END_OF_RUN => Some(Self::EndOfRun),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::OperationKey;

    #[test]
    fn payloads_survive_the_way_and_foreign_ones_mean_nothing() {
        let key = OperationKey { place: 63, generation: u32::MAX };
        for expiry in [
            Expiry::Operation(OperationRef { thread: (1 << 21) - 1, key }),
            Expiry::EnterTimeout { thread: 7 },
            Expiry::Report,
            Expiry::EndOfRun,
        ] {
            assert_eq!(Expiry::from_raw(expiry.to_raw()), Some(expiry));
        }
        assert_eq!(Expiry::from_raw(0), None);
        assert_eq!(Expiry::from_raw(u64::MAX), None);
    }
}
