//! How a submission ended, and the entry that tells the program.

use crate::endpoint::CallId;
use tessera_abi::ring::{CompletionEntry, EXCEPTION, TransportError};

/// How a submission ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completed {
    /// A NOP, PARK or UNPARK, with its value. A RETURN or RELEASE, with zero.
    Value(u64),
    /// The call was answered; the results are in the program's buffer.
    Results {
        /// Their bytes.
        length: u32,
        /// Capabilities that came along.
        capabilities: u32,
    },
    /// The call was answered with a `CapException`, which is in the program's buffer.
    Exception {
        /// Its bytes.
        length: u32,
    },
    /// A call was received; it is in the program's buffer.
    Received {
        /// Bytes of what stands there: a `ReceivedCall` and the parameters.
        length: u32,
        /// What the answer must name.
        call: CallId,
        /// Capabilities that came along.
        capabilities: u32,
    },
    /// The submission did not reach its capability, or the answer did not reach the program.
    Transport(TransportError),
}

impl Completed {
    /// The entry that says so.
    pub fn entry(self, user_data: u64) -> CompletionEntry {
        let nothing = CompletionEntry { user_data, ..CompletionEntry::default() };
        match self {
            Self::Value(value) => CompletionEntry { value, ..nothing },
            Self::Results { length, capabilities } => {
                CompletionEntry { status: bytes(length), capabilities: capabilities.into(), ..nothing }
            }
            Self::Exception { length } => CompletionEntry { status: bytes(length), flags: EXCEPTION, ..nothing },
            Self::Received { length, call, capabilities } => CompletionEntry {
                status: bytes(length),
                value: call.to_raw(),
                capabilities: capabilities.into(),
                ..nothing
            },
            Self::Transport(error) => CompletionEntry { status: -(error as i32), ..nothing },
        }
    }
}

/// A message is never longer than `MAX_MESSAGE_BYTES`, so this never saturates.
fn bytes(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
