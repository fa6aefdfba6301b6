//! What a timer means when it fires: the 64-bit payload that the dispatcher carries, typed.
//!
//! Kind in bits 0..8, sleep slot in 8..16, its generation in 16..32, the thread's index in 32..64.

use crate::thread::SleepKey;

/// Why a timer was armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// A `Timer.sleep` completes.
    Sleep {
        /// The thread's index.
        thread: u32,
        /// Which of its sleeps.
        key: SleepKey,
    },
    /// A `cap_enter` gives up.
    EnterTimeout {
        /// The thread's index.
        thread: u32,
    },
    /// The next piece of a report is due.
    Report,
    /// The run is over.
    EndOfRun,
}

const SLEEP: u8 = 1;
const ENTER_TIMEOUT: u8 = 2;
const REPORT: u8 = 3;
const END_OF_RUN: u8 = 4;

impl Expiry {
    /// The payload.
    pub const fn to_raw(self) -> u64 {
        match self {
            Self::Sleep { thread, key } => {
                SLEEP as u64 | (key.slot as u64) << 8 | (key.generation as u64) << 16 | (thread as u64) << 32
            }
            Self::EnterTimeout { thread } => ENTER_TIMEOUT as u64 | (thread as u64) << 32,
            Self::Report => REPORT as u64,
            Self::EndOfRun => END_OF_RUN as u64,
        }
    }

    /// What a payload means; `None` if the kernel never made it.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        let thread = (raw >> 32) as u32;
        match raw as u8 {
            SLEEP => {
                Some(Self::Sleep { thread, key: SleepKey { slot: (raw >> 8) as u8, generation: (raw >> 16) as u16 } })
            }
            ENTER_TIMEOUT => Some(Self::EnterTimeout { thread }),
            REPORT => Some(Self::Report),
            END_OF_RUN => Some(Self::EndOfRun),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_survive_the_way_and_foreign_ones_mean_nothing() {
        let key = SleepKey { slot: 31, generation: 0xfffe };
        for expiry in [
            Expiry::Sleep { thread: u32::MAX, key },
            Expiry::EnterTimeout { thread: 7 },
            Expiry::Report,
            Expiry::EndOfRun,
        ] {
            assert_eq!(Expiry::from_raw(expiry.to_raw()), Some(expiry));
        }
        assert_eq!(Expiry::from_raw(0), None);
        assert_eq!(Expiry::from_raw(99), None);
    }
}
