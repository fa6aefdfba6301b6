//! [`Submission`]: the seven operations, decoded from the 64 bytes of an entry.
//!
//! Only the form is judged here, from the entry alone: which fields an operation uses is the table at
//! [`SubmissionEntry`]. Addresses and handles are still the program's word for them.

use crate::endpoint::CallId;
use tessera_abi::ring::{EXCEPTION, NO_DEADLINE, Operation, RECEIVE_BYTES, SubmissionEntry, TransportError};
use tessera_abi::transfer::{self, MAX_TRANSFER};

/// The array of capabilities that travel along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Transfer {
    /// Its address in the program; zero if nothing is sent and there is room for nothing.
    pub array: u64,
    /// Entries that are sent, at most `MAX_TRANSFER`.
    pub sent: u16,
    /// Entries that it has room for, at most `MAX_TRANSFER`.
    pub room: u16,
}

/// A call of a method, not yet resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// The capability's handle.
    pub handle: u64,
    /// The interface's Cap'n Proto id.
    pub interface: u64,
    /// The method's ordinal.
    pub method: u16,
    /// Address of the parameters in the program.
    pub params: u64,
    /// Bytes of the parameters.
    pub params_len: u32,
    /// Address of the buffer for the results in the program.
    pub results: u64,
    /// Bytes of that buffer.
    pub results_len: u32,
    /// Capabilities sent with the parameters, and room for those of the results.
    pub transfer: Transfer,
}

/// Receives a call at an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receive {
    /// The endpoint's handle.
    pub handle: u64,
    /// Address of the buffer for the call in the program.
    pub buffer: u64,
    /// Bytes of that buffer, at least `RECEIVE_BYTES`.
    pub buffer_len: u32,
    /// Room for the call's capabilities; none are sent.
    pub transfer: Transfer,
}

/// Answers a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Return {
    /// The endpoint's handle.
    pub handle: u64,
    /// Which call.
    pub call: CallId,
    /// Whether the results are a `CapException`.
    pub is_exception: bool,
    /// Address of the results in the program.
    pub results: u64,
    /// Bytes of the results.
    pub results_len: u32,
    /// Capabilities sent with the results; there is room for none.
    pub transfer: Transfer,
}

/// Waits while a word has a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Park {
    /// The ParkSpace's handle.
    pub handle: u64,
    /// Address of the word in the program, a multiple of 4.
    pub word: u64,
    /// The value that it must have.
    pub expected: u32,
    /// When to give up, in nanoseconds since boot. `None`: never.
    pub deadline: Option<u64>,
}

/// Wakes those that wait on a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unpark {
    /// The ParkSpace's handle.
    pub handle: u64,
    /// Address of the word in the program, a multiple of 4.
    pub word: u64,
    /// The most threads to wake.
    pub most: u32,
}

/// A submission whose form is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submission {
    /// Completes with this value.
    Nop {
        /// The value.
        argument: u64,
    },
    /// Invokes a method.
    Call(Call),
    /// Receives a call.
    Receive(Receive),
    /// Answers a call.
    Return(Return),
    /// Gives a capability up.
    Release {
        /// Its handle.
        handle: u64,
    },
    /// Waits on a word.
    Park(Park),
    /// Wakes those that wait on a word.
    Unpark(Unpark),
}

impl Submission {
    /// Decodes an entry, or says what is wrong with its form. Of several faults, fields that the operation does not
    /// use are named first.
    pub fn decode(entry: &SubmissionEntry) -> Result<Self, TransportError> {
        let operation = operation(entry.operation).ok_or(TransportError::UnknownOperation)?;
        if without_what_it_uses(operation, entry) != SubmissionEntry::default() {
            return Err(TransportError::ReservedField);
        }
        match operation {
            Operation::Nop => Ok(Self::Nop { argument: entry.argument }),
            Operation::Call => Call::decode(entry).map(Self::Call),
            Operation::Recv => Receive::decode(entry).map(Self::Receive),
            Operation::Return => Return::decode(entry).map(Self::Return),
            Operation::Release => Ok(Self::Release { handle: entry.handle }),
            Operation::Park => Park::decode(entry).map(Self::Park),
            Operation::Unpark => Unpark::decode(entry).map(Self::Unpark),
        }
    }
}

fn operation(number: u8) -> Option<Operation> {
    let all = [
        Operation::Nop,
        Operation::Call,
        Operation::Recv,
        Operation::Return,
        Operation::Release,
        Operation::Park,
        Operation::Unpark,
    ];
    all.into_iter().find(|&operation| operation as u8 == number)
}

/// The entry with all fields zero that the operation uses: what is left must be zero.
fn without_what_it_uses(operation: Operation, entry: &SubmissionEntry) -> SubmissionEntry {
    let rest = SubmissionEntry { operation: 0, user_data: 0, ..*entry };
    match operation {
        Operation::Nop => SubmissionEntry { argument: 0, ..rest },
        Operation::Call => SubmissionEntry { flags: rest.flags, ..SubmissionEntry::default() },
        Operation::Recv => SubmissionEntry {
            handle: 0,
            results: 0,
            results_len: 0,
            // There is only room.
            capabilities: transfer::sent(rest.capabilities) as u32,
            argument: 0,
            ..rest
        },
        Operation::Return => SubmissionEntry {
            flags: rest.flags & !(EXCEPTION as u8),
            handle: 0,
            interface: 0,
            params: 0,
            params_len: 0,
            // There is no room.
            capabilities: transfer::room(rest.capabilities) as u32,
            argument: 0,
            ..rest
        },
        Operation::Release => SubmissionEntry { handle: 0, ..rest },
        Operation::Park => {
            SubmissionEntry { handle: 0, params: 0, params_len: 0, capabilities: 0, argument: 0, ..rest }
        }
        Operation::Unpark => SubmissionEntry { handle: 0, params: 0, params_len: 0, capabilities: 0, ..rest },
    }
}

impl Transfer {
    fn decode(entry: &SubmissionEntry) -> Result<Self, TransportError> {
        let (sent, room) = (transfer::sent(entry.capabilities), transfer::room(entry.capabilities));
        let has_array = entry.argument != 0;
        if sent.max(room) > MAX_TRANSFER || has_array != (sent + room > 0) {
            return Err(TransportError::BadCapabilities);
        }
        // At most `MAX_TRANSFER`.
        Ok(Self { array: entry.argument, sent: sent as u16, room: room as u16 })
    }
}

impl Call {
    fn decode(entry: &SubmissionEntry) -> Result<Self, TransportError> {
        Ok(Self {
            handle: entry.handle,
            interface: entry.interface,
            method: entry.method,
            params: entry.params,
            params_len: entry.params_len,
            results: entry.results,
            results_len: entry.results_len,
            transfer: Transfer::decode(entry)?,
        })
    }
}

impl Receive {
    fn decode(entry: &SubmissionEntry) -> Result<Self, TransportError> {
        if entry.results_len < RECEIVE_BYTES {
            return Err(TransportError::ResultsTooSmall);
        }
        Ok(Self {
            handle: entry.handle,
            buffer: entry.results,
            buffer_len: entry.results_len,
            transfer: Transfer::decode(entry)?,
        })
    }
}

impl Return {
    fn decode(entry: &SubmissionEntry) -> Result<Self, TransportError> {
        Ok(Self {
            handle: entry.handle,
            call: CallId::from_raw(entry.interface),
            is_exception: entry.flags != 0,
            results: entry.params,
            results_len: entry.params_len,
            transfer: Transfer::decode(entry)?,
        })
    }
}

impl Park {
    fn decode(entry: &SubmissionEntry) -> Result<Self, TransportError> {
        let deadline = (entry.argument != NO_DEADLINE).then_some(entry.argument);
        Ok(Self { handle: entry.handle, word: word(entry)?, expected: entry.capabilities, deadline })
    }
}

impl Unpark {
    fn decode(entry: &SubmissionEntry) -> Result<Self, TransportError> {
        Ok(Self { handle: entry.handle, word: word(entry)?, most: entry.capabilities })
    }
}

/// The address of an aligned word of 32 bits.
fn word(entry: &SubmissionEntry) -> Result<u64, TransportError> {
    let is_word = entry.params.is_multiple_of(4) && entry.params_len == 4;
    is_word.then_some(entry.params).ok_or(TransportError::BadWord)
}
