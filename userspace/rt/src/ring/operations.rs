//! One function for each operation; all wait for the operation's end, so that every buffer can be borrowed.

use super::{Ring, succeeded};
use crate::CallError;
use core::{mem::offset_of, slice, sync::atomic::AtomicU32};
use tessera_abi::{
    ring::{CompletionEntry, EXCEPTION, NO_DEADLINE, Operation, ParkOutcome, RECEIVE_BYTES, SubmissionEntry},
    transfer::{self, MAX_TRANSFER, RECEIVED_CALL_BYTES, ReceivedCall, TransferEntry},
};
pub use tessera_schema::client::Returned;
use tessera_schema::message::Message;

/// A method: the interface's id and the method's ordinal in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MethodId {
    /// The interface's id.
    pub interface: u64,
    /// The method's ordinal.
    pub method: u16,
}

/// What is called: a method of a capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Callee {
    /// The capability's handle.
    pub handle: u64,
    /// The method.
    pub method: MethodId,
}

/// An answer to a received call.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The call's id.
    pub call: u64,
    /// Whether the results are a `CapException`.
    pub is_exception: bool,
    /// The results.
    pub results: &'a [u8],
    /// The capabilities that go with them.
    pub given: &'a [TransferEntry],
}

/// Room for a received call and what comes with it.
pub struct ReceiveBuffer {
    bytes: [u8; RECEIVE_BYTES as usize],
    capabilities: [TransferEntry; MAX_TRANSFER],
}

/// A call that an endpoint received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received<'a> {
    /// Its id, for the answer.
    pub call: u64,
    /// Who calls what.
    pub header: ReceivedCall,
    /// The parameters.
    pub params: &'a [u8],
    /// The capabilities that came along; they are this program's now.
    pub capabilities: &'a [TransferEntry],
}

impl ReceiveBuffer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self {
            bytes: [0; RECEIVE_BYTES as usize],
            capabilities: [TransferEntry { handle: 0, detail: 0 }; MAX_TRANSFER],
        }
    }

    /// What a completed RECV left here.
    fn received(&self, completion: &CompletionEntry) -> Received<'_> {
        let header = header(&self.bytes);
        let params = self.bytes.get(RECEIVED_CALL_BYTES..).unwrap_or_default();
        let count = (completion.capabilities as usize).min(MAX_TRANSFER);
        Received {
            call: completion.value,
            header,
            params: params.get(..header.params_len as usize).unwrap_or_default(),
            capabilities: self.capabilities.get(..count).unwrap_or_default(),
        }
    }
}

impl Default for ReceiveBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the header at the beginning of a receive buffer. (Its fields are read one by one: the buffer has no alignment.)
fn header(bytes: &[u8; RECEIVE_BYTES as usize]) -> ReceivedCall {
    fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
        bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
    ReceivedCall {
        interface: u64::from_le_bytes(field(bytes, offset_of!(ReceivedCall, interface))),
        badge: u64::from_le_bytes(field(bytes, offset_of!(ReceivedCall, badge))),
        caller: u64::from_le_bytes(field(bytes, offset_of!(ReceivedCall, caller))),
        method: u16::from_le_bytes(field(bytes, offset_of!(ReceivedCall, method))),
        capabilities: u16::from_le_bytes(field(bytes, offset_of!(ReceivedCall, capabilities))),
        params_len: u32::from_le_bytes(field(bytes, offset_of!(ReceivedCall, params_len))),
    }
}

/// The array of capabilities of a call: what is sent at first, what came afterwards.
pub(super) struct TransferArray {
    entries: [TransferEntry; MAX_TRANSFER],
    counts: u32,
}

impl TransferArray {
    pub(super) fn new(sent: &[TransferEntry], room: usize) -> Result<Self, CallError> {
        let mut entries = [TransferEntry::default(); MAX_TRANSFER];
        let too_many = CallError::TooManyCapabilities(sent.len().max(room));
        if room > MAX_TRANSFER {
            return Err(too_many);
        }
        entries.get_mut(..sent.len()).ok_or(too_many)?.copy_from_slice(sent);
        Ok(Self { entries, counts: transfer::counts(sent.len() as u16, room as u16) })
    }

    /// Names the array in an entry.
    pub(super) fn name_in(&mut self, entry: &mut SubmissionEntry) {
        entry.capabilities = self.counts;
        if self.counts != 0 {
            entry.argument = self.entries.as_mut_ptr().expose_provenance() as u64;
        }
    }

    pub(super) fn entries(&self) -> &[TransferEntry; MAX_TRANSFER] {
        &self.entries
    }
}

pub(super) fn call_entry(callee: Callee, params: &[u8], results: &mut [u8]) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Call as u8,
        method: callee.method.method,
        params_len: saturated(params.len()),
        handle: callee.handle,
        interface: callee.method.interface,
        params: params.as_ptr().expose_provenance() as u64,
        results: results.as_mut_ptr().expose_provenance() as u64,
        results_len: saturated(results.len()),
        ..Default::default()
    }
}

/// What a completed call brought, or its exception, which stands in `results`.
pub(super) fn returned(completion: &CompletionEntry, results: &[u8]) -> Result<Returned, CallError> {
    let length = completion.status.max(0) as usize;
    if completion.flags & EXCEPTION != 0 {
        return Err(CallError::from_exception(results.get(..length).unwrap_or_default()));
    }
    Ok(Returned { length, capabilities: completion.capabilities as usize })
}

fn saturated(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Ring {
    /// Calls a method. `lent` travels with the parameters; what comes with the results stands at the beginning of
    /// `received`. An exception is an error; it needs room in `results` too.
    pub fn call(
        &self,
        callee: Callee,
        params: &[u8],
        lent: &[TransferEntry],
        results: &mut [u8],
        received: &mut [TransferEntry],
    ) -> Result<Returned, CallError> {
        let mut array = TransferArray::new(lent, received.len())?;
        let mut entry = call_entry(callee, params, results);
        array.name_in(&mut entry);
        // SAFETY: parameters, results and array live until this function returns; the array of those is not touched
        // before.
        let completion = unsafe { self.perform(entry) }?;
        let returned = returned(&completion, results)?;
        received.iter_mut().zip(array.entries()).take(returned.capabilities).for_each(|(to, from)| *to = *from);
        Ok(returned)
    }

    /// Waits for a call at an endpoint.
    pub fn receive<'b>(&self, endpoint: u64, buffer: &'b mut ReceiveBuffer) -> Result<Received<'b>, CallError> {
        // SAFETY: the buffer lives until this function returns and is not touched before.
        let completion = unsafe { self.perform(receive_entry(endpoint, buffer)) }?;
        Ok(buffer.received(&completion))
    }

    /// Answers a call.
    pub fn reply(&self, endpoint: u64, answer: Answer<'_>) -> Result<(), CallError> {
        let mut array = TransferArray::new(answer.given, 0)?;
        let mut entry = return_entry(endpoint, answer);
        array.name_in(&mut entry);
        // SAFETY: the results and the array live until this function returns.
        unsafe { self.perform(entry) }.map(drop)
    }

    /// Answers a call and waits for the next one, with one system call. The first error is the answer's, the second one
    /// the wait's; after the former the next call was received nonetheless.
    pub fn reply_and_receive<'b>(
        &self,
        endpoint: u64,
        answer: Answer<'_>,
        buffer: &'b mut ReceiveBuffer,
    ) -> Result<(Result<(), CallError>, Received<'b>), CallError> {
        let mut array = TransferArray::new(answer.given, 0)?;
        let mut entry = return_entry(endpoint, answer);
        array.name_in(&mut entry);
        // Counted before anything is submitted: with a full queue the answer may complete before the wait.
        let seen = self.waiting();
        // SAFETY: the results and the array live until this function returns, which waits for the completion.
        let replied = unsafe { self.submit_awaited(entry) }?;
        // SAFETY: the buffer lives until this function returns and is not touched before; the wait is below.
        let received = unsafe { self.submit_awaited(receive_entry(endpoint, buffer)) };
        if received.is_ok() {
            self.enter(seen + 2, tessera_abi::system_call::WAIT_FOREVER)?;
        }
        let replied = succeeded(self.wait_for(replied)?).map(drop);
        let completion = succeeded(self.wait_for(received?)?)?;
        Ok((replied, buffer.received(&completion)))
    }

    /// Gives a capability up.
    pub fn release(&self, handle: u64) -> Result<(), CallError> {
        let entry = SubmissionEntry { operation: Operation::Release as u8, handle, ..Default::default() };
        // SAFETY: a RELEASE has no buffers.
        unsafe { self.perform(entry) }.map(drop)
    }

    /// Waits on a word as long as it has the expected value, at most until `deadline_ns` (nanoseconds since boot).
    /// `space` is a ParkSpace.
    pub fn park(
        &self,
        space: u64,
        word: &AtomicU32,
        expected: u32,
        deadline_ns: Option<u64>,
    ) -> Result<ParkOutcome, CallError> {
        let entry = SubmissionEntry {
            operation: Operation::Park as u8,
            params_len: size_of::<AtomicU32>() as u32,
            handle: space,
            params: word.as_ptr().expose_provenance() as u64,
            capabilities: expected,
            argument: deadline_ns.unwrap_or(NO_DEADLINE),
            ..Default::default()
        };
        // SAFETY: the kernel reads the word, as an atomic; it is borrowed until this function returns.
        let completion = unsafe { self.perform(entry) }?;
        // An outcome that this version does not know is a wake-up for no reason, which parkers expect.
        Ok(ParkOutcome::from_value(completion.value).unwrap_or(ParkOutcome::Woken))
    }

    /// Wakes at most `most` of those that wait on a word, the longest sleeper first. Gives how many.
    pub fn unpark(&self, space: u64, word: &AtomicU32, most: u32) -> Result<u32, CallError> {
        self.unpark_address(space, word.as_ptr().addr(), most)
    }

    /// [`Ring::unpark`] by the word's address, which need not be valid any more.
    pub(crate) fn unpark_address(&self, space: u64, word: usize, most: u32) -> Result<u32, CallError> {
        let entry = SubmissionEntry {
            operation: Operation::Unpark as u8,
            params_len: size_of::<AtomicU32>() as u32,
            handle: space,
            params: word as u64,
            capabilities: most,
            ..Default::default()
        };
        // SAFETY: an UNPARK touches no memory.
        let completion = unsafe { self.perform(entry) }?;
        Ok(completion.value as u32)
    }

    /// Gives `argument` back, by way of the kernel.
    pub fn nop(&self, argument: u64) -> Result<u64, CallError> {
        let entry = SubmissionEntry { operation: Operation::Nop as u8, argument, ..Default::default() };
        // SAFETY: a NOP has no buffers.
        unsafe { self.perform(entry) }.map(|completion| completion.value)
    }
}

/// Bytes of each of a thread's last messages, parameters and results.
const LAST_MESSAGE_BYTES: usize = 256;

/// Submits one of a thread's last calls: its messages stand in the ring's own page, at a place for each number from 0 to
/// 2, so that the call needs no other memory of the program.
pub(crate) fn last_call<'p>(
    ring: Ring,
    number: usize,
    callee: Callee,
    params: &impl Message<'p>,
) -> Result<(), CallError> {
    let place = ring.last_messages(2 * LAST_MESSAGE_BYTES * number.min(2));
    // SAFETY: the bytes lie in the header page behind the runtime's own and belong to this thread, which ends: nobody
    // else refers to them.
    let messages = unsafe { slice::from_raw_parts_mut(place.as_ptr(), 2 * LAST_MESSAGE_BYTES) };
    let (encoded, results) = messages.split_at_mut(LAST_MESSAGE_BYTES);
    let length = params.encode(encoded)?;
    let entry = call_entry(callee, encoded.get(..length).unwrap_or_default(), results);
    if ring.submission_room() == 0 {
        ring.enter(0, 0)?;
    }
    // SAFETY: the header page lives as long as the thread.
    unsafe { ring.submit(&entry) }?;
    Ok(())
}

fn receive_entry(endpoint: u64, buffer: &mut ReceiveBuffer) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Recv as u8,
        handle: endpoint,
        results: buffer.bytes.as_mut_ptr().expose_provenance() as u64,
        results_len: RECEIVE_BYTES,
        capabilities: transfer::counts(0, MAX_TRANSFER as u16),
        argument: buffer.capabilities.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    }
}

fn return_entry(endpoint: u64, answer: Answer<'_>) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Return as u8,
        flags: if answer.is_exception { EXCEPTION as u8 } else { 0 },
        params_len: saturated(answer.results.len()),
        handle: endpoint,
        interface: answer.call,
        params: answer.results.as_ptr().expose_provenance() as u64,
        ..Default::default()
    }
}
