//! Submissions that must be refused by the transport, each with its own error.

use demos::Findings;
use tessera_rt::{
    CallError, Client, Console, SchedulingPolicy, Timer,
    abi::ring::{CQ_ENTRIES, CompletionEntry, MAX_MESSAGE_BYTES, Operation, SubmissionEntry, TransportError},
    generated::interfaces::timer,
    message::ExceptionKind,
    probe, ring,
};

/// Submits one entry and gives its completion.
fn submit(entry: &SubmissionEntry) -> Result<CompletionEntry, CallError> {
    let ring = ring::current();
    // SAFETY: every entry here names memory that is not the program's, or a buffer that its caller keeps.
    unsafe { ring.submit(entry) }?;
    ring.enter(1, u64::MAX)?;
    ring.complete().ok_or(CallError::QueueFull)
}

fn refused(
    findings: &mut Findings,
    what: &str,
    entry: &SubmissionEntry,
    error: TransportError,
) -> Result<(), CallError> {
    let completion = submit(entry)?;
    let good = completion.user_data == entry.user_data && completion.status == -(error as i32);
    findings.check(good, format_args!("{what} gave {}, not {:?}", completion.status, error));
    Ok(())
}

/// Handles that name nothing, something gone, or something else.
pub fn bad_handles(findings: &mut Findings) -> Result<(), CallError> {
    let timer = Timer::granted()?.handle();
    let invalid = CallError::Transport(-(TransportError::InvalidHandle as i32));
    for (what, handle) in [("slot 9999", 9999), ("a stale generation", timer ^ 1 << 40), ("all ones", u64::MAX)] {
        let outcome = Timer::from_handle(handle).now();
        findings.check(outcome == Err(invalid), format_args!("{what} gave {outcome:?}"));
    }
    let wrong = CallError::Transport(-(TransportError::WrongInterface as i32));
    let outcome = SchedulingPolicy::from_handle(timer).snapshot();
    findings.check(outcome == Err(wrong), format_args!("a timer as scheduling policy gave {outcome:?}"));
    let outcome = Console::from_handle(timer).write(b"x");
    findings.check(outcome == Err(wrong), format_args!("a timer as console gave {outcome:?}"));
    Ok(())
}

/// A method that the interface does not have is answered with an exception.
pub fn bad_methods(findings: &mut Findings) -> Result<(), CallError> {
    let mut buffer = [0; 256];
    let entry = SubmissionEntry {
        operation: Operation::Call as u8,
        method: 77,
        handle: Timer::granted()?.handle(),
        interface: timer::ID,
        results: buffer.as_mut_ptr().expose_provenance() as u64,
        results_len: buffer.len() as u32,
        ..call(11)?
    };
    let completion = submit(&entry)?;
    let bytes = buffer.get(..completion.status.max(0) as usize).unwrap_or(&[]);
    let exception = tessera_rt::message::Exception::decode(bytes);
    let good = exception.is_ok_and(|exception| exception.kind == ExceptionKind::Unimplemented);
    findings.check(good && completion.flags == 1, format_args!("method 77 gave {completion:?}, {exception:?}"));
    Ok(())
}

/// The parameters of `Timer.now`, kept for the life of the program.
static EMPTY_PARAMS: [u8; 16] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A good call of Timer.now without a place for its results.
fn call(user_data: u64) -> Result<SubmissionEntry, CallError> {
    Ok(SubmissionEntry {
        operation: Operation::Call as u8,
        method: timer::NOW,
        params_len: EMPTY_PARAMS.len() as u32,
        handle: Timer::granted()?.handle(),
        user_data,
        interface: timer::ID,
        params: EMPTY_PARAMS.as_ptr().expose_provenance() as u64,
        ..Default::default()
    })
}

/// Buffers in kernel memory, unmapped memory, read-only memory, across the end of the address space.
pub fn bad_pointers(findings: &mut Findings) -> Result<(), CallError> {
    let mut buffer = [0u8; 64];
    let results = buffer.as_mut_ptr().expose_provenance() as u64;
    let good = SubmissionEntry { results, results_len: 64, ..call(12)? };
    findings.check(submit(&good)?.status > 0, format_args!("the unchanged call failed"));
    let kernel = probe::KERNEL_ADDRESS as u64;
    for (what, address) in [
        ("kernel memory", kernel),
        ("null", 0),
        ("unmapped memory", 0x6000_0000_0000),
        ("a non-canonical address", 1 << 63),
        ("the end of the address space", u64::MAX - 4),
        ("the end of user memory", 0x7fff_ffff_fff8),
    ] {
        let entry = SubmissionEntry { params: address, ..good };
        refused(findings, what, &entry, TransportError::BadParams)?;
        let entry = SubmissionEntry { results: address, ..good };
        refused(findings, what, &entry, TransportError::BadResults)?;
    }
    let read_only = EMPTY_PARAMS.as_ptr().expose_provenance() as u64;
    let entry = SubmissionEntry { results: read_only, results_len: 16, ..good };
    // Sixteen bytes are too few for the results as well, but nothing may be written there in any case.
    let status = submit(&entry)?.status;
    findings.check(status < 0, format_args!("results into read-only memory gave {status}"));
    let entry = SubmissionEntry { results_len: 8, ..good };
    refused(findings, "a buffer of 8 bytes", &entry, TransportError::ResultsTooSmall)?;
    let entry = SubmissionEntry { params_len: MAX_MESSAGE_BYTES + 1, ..good };
    refused(findings, "a message too long", &entry, TransportError::MessageTooLong)?;
    let entry = SubmissionEntry { params_len: 7, ..good };
    refused(findings, "a cut message", &entry, TransportError::MalformedMessage)
}

/// A call is refused, before the kernel sees it, while its completion might find no room behind those that were not
/// taken.
pub fn too_many_outstanding(findings: &mut Findings) -> Result<(), CallError> {
    let (ring, timer) = (ring::current(), Timer::granted()?);
    for number in 0..CQ_ENTRIES {
        if ring.submission_room() == 0 {
            ring.enter(0, 0)?;
        }
        ring.submit_nop(number, 0)?;
    }
    let outcome = timer.now();
    let refused = outcome == Err(CallError::TooManyOutstanding);
    findings.check(refused, format_args!("a call behind {CQ_ENTRIES} NOPs gave {outcome:?}"));
    ring.enter(CQ_ENTRIES, u64::MAX)?;
    let taken = core::iter::from_fn(|| ring.complete()).count();
    findings.check(taken == CQ_ENTRIES as usize, format_args!("{taken} completions of {CQ_ENTRIES} NOPs"));
    timer.now().map(drop)
}

/// Entries whose fields make no sense.
pub fn bad_entries(findings: &mut Findings) -> Result<(), CallError> {
    let entry = SubmissionEntry { operation: 99, user_data: 13, ..Default::default() };
    refused(findings, "operation 99", &entry, TransportError::UnknownOperation)?;
    let nop = SubmissionEntry { operation: Operation::Nop as u8, user_data: 14, ..Default::default() };
    refused(findings, "a flag", &SubmissionEntry { flags: 1, ..nop }, TransportError::ReservedField)?;
    refused(findings, "a reserved word", &SubmissionEntry { capabilities: 1, ..nop }, TransportError::ReservedField)?;
    let recv = SubmissionEntry { operation: Operation::Recv as u8, user_data: 15, ..Default::default() };
    refused(findings, "a RECV without a buffer", &recv, TransportError::ResultsTooSmall)
}
