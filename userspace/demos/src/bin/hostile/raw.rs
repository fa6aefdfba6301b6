//! Submissions as an attacker writes them, and what the kernel says to each.

use tessera_rt::{
    CallError, Client,
    abi::{
        ring::{CompletionEntry, EXCEPTION, NO_DEADLINE, Operation, RECEIVE_BYTES, SubmissionEntry},
        transfer,
    },
    client::{Endpoint, EndpointFactory},
    generated::messages::MintParams,
    message::{Exception, ExceptionKind, Message},
    ring,
};

/// An interface of this program's own.
pub const INTERFACE: u64 = 0xd3a0_0000_0000_0003;
pub const PAGE: u64 = 4096;
pub const READ: u16 = 1;
pub const READ_WRITE: u16 = 3;

/// Addresses that are not the program's: of the kernel, where no address can be, at the ends of ranges.
pub const FOREIGN: [u64; 8] = [
    0xffff_ffff_8020_0000,
    0xffff_8000_0000_0000,
    0xffff_0000_4008_0000,
    u64::MAX - 4095,
    1 << 63,
    1 << 47,
    (1 << 47) - 4096,
    0,
];

/// The parameters of a method that has none.
pub static EMPTY: [u8; 16] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Bytes of an encoded message, and how many they are.
pub struct Encoded {
    bytes: [u8; 256],
    length: usize,
}

impl Encoded {
    pub fn of<'p>(message: &impl Message<'p>) -> Result<Self, CallError> {
        let mut bytes = [0; 256];
        let length = message.encode(&mut bytes)?;
        Ok(Self { bytes, length })
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

pub fn address<T>(of: *const T) -> u64 {
    of.expose_provenance() as u64
}

/// Puts an entry into the queue, entering the kernel if there is no room.
pub fn submit(entry: &SubmissionEntry) -> Result<(), CallError> {
    let ring = ring::current();
    if ring.submission_room() == 0 {
        ring.enter(0, 0)?;
    }
    // SAFETY: every entry of this program names statics, memory that its submitter keeps until the completion, or memory
    // that is not the program's.
    unsafe { ring.submit(entry) }?;
    Ok(())
}

/// Waits for one more completion and takes the first one.
pub fn next() -> Result<CompletionEntry, CallError> {
    let ring = ring::current();
    ring.enter(1, u64::MAX)?;
    ring.complete().ok_or(CallError::QueueFull)
}

/// Submits an entry and takes its completion.
pub fn perform(entry: &SubmissionEntry) -> Result<CompletionEntry, CallError> {
    submit(entry)?;
    next()
}

/// Whether it is one of the answers that there are: results, an exception, or an error of the transport.
pub const fn is_typed(completion: &CompletionEntry) -> bool {
    completion.status >= -16 && completion.status <= RECEIVE_BYTES as i32 && completion.flags & !EXCEPTION == 0
}

/// The kind of the exception that stands in `results`, if the completion is one.
pub fn exception(completion: &CompletionEntry, results: &[u8]) -> Option<ExceptionKind> {
    let length = usize::try_from(completion.status).ok().filter(|_| completion.flags & EXCEPTION != 0)?;
    Exception::decode(results.get(..length)?).ok().map(|exception| exception.kind)
}

pub fn call(handle: u64, (interface, method): (u64, u16), params: &[u8], results: &mut [u8]) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Call as u8,
        method,
        params_len: params.len() as u32,
        handle,
        interface,
        params: address(params.as_ptr()),
        results: address(results.as_mut_ptr()),
        results_len: results.len() as u32,
        ..Default::default()
    }
}

/// A receive that has room for capabilities in `array`, if there is one.
pub fn receive(endpoint: u64, buffer: u64, array: Option<u64>) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Recv as u8,
        handle: endpoint,
        results: buffer,
        results_len: RECEIVE_BYTES,
        capabilities: transfer::counts(0, if array.is_some() { transfer::MAX_TRANSFER as u16 } else { 0 }),
        argument: array.unwrap_or(0),
        ..Default::default()
    }
}

pub fn answer(endpoint: u64, call: u64) -> SubmissionEntry {
    SubmissionEntry { operation: Operation::Return as u8, handle: endpoint, interface: call, ..Default::default() }
}

pub fn park(space: u64, word: u64, expected: u32) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Park as u8,
        params_len: 4,
        handle: space,
        params: word,
        capabilities: expected,
        argument: NO_DEADLINE,
        ..Default::default()
    }
}

pub fn unpark(space: u64, word: u64, most: u32) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Unpark as u8,
        params_len: 4,
        handle: space,
        params: word,
        capabilities: most,
        ..Default::default()
    }
}

pub const fn with_user_data(entry: SubmissionEntry, user_data: u64) -> SubmissionEntry {
    SubmissionEntry { user_data, ..entry }
}

/// An endpoint and a client of it.
pub fn pair() -> Result<(u64, u64), CallError> {
    let [endpoint] = EndpointFactory::granted()?.create()?;
    let [client] = Endpoint::from_handle(endpoint).mint(&MintParams { interface: INTERFACE, badge: 1 })?;
    Ok((endpoint, client))
}
