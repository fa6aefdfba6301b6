//! The form of a submission, once more: what must hold of any 64 bytes and what becomes of them.

use kernel_core::ring::{Submission, Transfer};
use tessera_abi::ring::{NO_DEADLINE, Operation, RECEIVE_BYTES, SubmissionEntry, TransportError};
use tessera_abi::transfer::{MAX_TRANSFER, counts};
use tessera_fuzz::Input;

/// What can be wrong with an entry's form.
pub const REFUSALS: [TransportError; 5] = [
    TransportError::UnknownOperation,
    TransportError::ReservedField,
    TransportError::BadCapabilities,
    TransportError::ResultsTooSmall,
    TransportError::BadWord,
];

/// The submission with these bytes.
pub fn entry(bytes: [u8; 64]) -> SubmissionEntry {
    let mut fields = Input::new(&bytes);
    let mut read = || {
        Some(SubmissionEntry {
            operation: fields.byte()?,
            flags: fields.byte()?,
            method: fields.array().map(u16::from_le_bytes)?,
            params_len: fields.u32()?,
            handle: fields.u64()?,
            user_data: fields.u64()?,
            interface: fields.u64()?,
            params: fields.u64()?,
            results: fields.u64()?,
            results_len: fields.u32()?,
            capabilities: fields.u32()?,
            argument: fields.u64()?,
        })
    };
    read().expect("64 bytes")
}

/// Decodes an entry, and checks that it is what was decoded or has what it is refused for.
pub fn decode(entry: &SubmissionEntry) -> Result<Submission, TransportError> {
    let decoded = Submission::decode(entry);
    let has_word = entry.params.is_multiple_of(4) && entry.params_len == 4;
    match &decoded {
        Ok(submission) => {
            // Nothing of the entry was overlooked: what was decoded says it again.
            assert_eq!(encode(submission, entry.user_data), *entry);
            assert!(match submission {
                Submission::Nop { .. } | Submission::Release { .. } => true,
                Submission::Call(call) => is_bounded(&call.transfer),
                Submission::Receive(receive) => {
                    is_bounded(&receive.transfer) && receive.transfer.sent == 0 && receive.buffer_len >= RECEIVE_BYTES
                }
                Submission::Return(answer) => is_bounded(&answer.transfer) && answer.transfer.room == 0,
                Submission::Park(_) | Submission::Unpark(_) => has_word,
            });
        }
        Err(TransportError::UnknownOperation) => assert!(entry.operation > Operation::Unpark as u8),
        Err(TransportError::BadWord) => assert!(!has_word),
        Err(TransportError::ResultsTooSmall) => assert!(entry.results_len < RECEIVE_BYTES),
        Err(error) => assert!(REFUSALS.contains(error), "{error:?} cannot be seen in an entry"),
    }
    decoded
}

/// An array exactly if something can stand in it, and no more than a message carries.
fn is_bounded(transfer: &Transfer) -> bool {
    let most = usize::from(transfer.sent.max(transfer.room));
    most <= MAX_TRANSFER && (transfer.array != 0) == (most > 0)
}

/// The entry that says what was decoded; the inverse of decoding.
fn encode(submission: &Submission, user_data: u64) -> SubmissionEntry {
    let with = |operation: Operation, handle: u64| SubmissionEntry {
        operation: operation as u8,
        user_data,
        handle,
        ..Default::default()
    };
    match *submission {
        Submission::Nop { argument } => SubmissionEntry { argument, ..with(Operation::Nop, 0) },
        Submission::Call(call) => SubmissionEntry {
            interface: call.interface,
            method: call.method,
            params: call.params,
            params_len: call.params_len,
            results: call.results,
            results_len: call.results_len,
            capabilities: counts(call.transfer.sent, call.transfer.room),
            argument: call.transfer.array,
            ..with(Operation::Call, call.handle)
        },
        Submission::Receive(receive) => SubmissionEntry {
            results: receive.buffer,
            results_len: receive.buffer_len,
            capabilities: counts(receive.transfer.sent, receive.transfer.room),
            argument: receive.transfer.array,
            ..with(Operation::Recv, receive.handle)
        },
        Submission::Return(answer) => SubmissionEntry {
            flags: u8::from(answer.is_exception),
            interface: answer.call.to_raw(),
            params: answer.results,
            params_len: answer.results_len,
            capabilities: counts(answer.transfer.sent, answer.transfer.room),
            argument: answer.transfer.array,
            ..with(Operation::Return, answer.handle)
        },
        Submission::Release { handle } => with(Operation::Release, handle),
        Submission::Park(park) => SubmissionEntry {
            params: park.word,
            params_len: 4,
            capabilities: park.expected,
            argument: park.deadline.unwrap_or(NO_DEADLINE),
            ..with(Operation::Park, park.handle)
        },
        Submission::Unpark(unpark) => SubmissionEntry {
            params: unpark.word,
            params_len: 4,
            capabilities: unpark.most,
            ..with(Operation::Unpark, unpark.handle)
        },
    }
}
