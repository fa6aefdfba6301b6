//! Every error of the transport, each by a submission that deserves it, and that does nothing else.

use crate::{
    EMPTY, address, answer, call, next, nop,
    operations::{INTERFACE, pair},
    park, perform, receive, release, submit, unpark, with_user_data,
};
use core::sync::atomic::AtomicU32;
use demos::Findings;
use tessera_rt::{
    CallError, Client, Timer,
    abi::{
        limits::{OUTSTANDING_OPERATIONS, TIMED_OPERATIONS},
        ring::{
            EXCEPTION, MAX_MESSAGE_BYTES, NO_DEADLINE, Operation, ParkOutcome, RECEIVE_BYTES, SubmissionEntry,
            TransportError,
        },
        transfer::counts,
    },
    client::{CapabilityTable, EndpointFactory, ParkSpace, Revoker, copied},
    generated::interfaces::{endpoint_factory, timer},
    probe, ring,
};

/// Counts which errors were seen: a refusal of each kind must be.
struct Seen<'a> {
    findings: &'a mut Findings,
    errors: u32,
}

impl Seen<'_> {
    fn refused(&mut self, what: &str, entry: &SubmissionEntry, error: TransportError) -> Result<(), CallError> {
        let entry = with_user_data(*entry, 77);
        let completion = perform(&entry)?;
        self.saw(what, completion.status, error);
        self.findings.equal("the user data", completion.user_data, 77);
        Ok(())
    }

    fn saw(&mut self, what: &str, status: i32, error: TransportError) {
        self.errors |= 1 << error as u32;
        self.findings.check(status == -(error as i32), format_args!("{what} gave {status}, not {error:?}"));
    }
}

/// Errors 1 to 16.
const ALL_ERRORS: u32 = 0x1_fffe;

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let mut seen = Seen { findings, errors: 0 };
    forms(&mut seen)?;
    calls(&mut seen)?;
    endpoints(&mut seen)?;
    parks(&mut seen)?;
    too_many(&mut seen)?;
    let errors = seen.errors;
    findings.equal("kinds of refusals seen", errors, ALL_ERRORS);
    Ok(())
}

/// Operations that there are not, and fields that an operation does not use.
fn forms(seen: &mut Seen<'_>) -> Result<(), CallError> {
    for operation in [7, 8, 99, 255] {
        let entry = SubmissionEntry { operation, ..Default::default() };
        seen.refused("a reserved operation", &entry, TransportError::UnknownOperation)?;
    }
    let reserved = TransportError::ReservedField;
    for operation in 0..=Operation::Unpark as u8 {
        let entry = SubmissionEntry { operation, flags: 0x80, ..Default::default() };
        seen.refused("an unknown flag", &entry, reserved)?;
    }
    let with_method =
        |operation: Operation| SubmissionEntry { operation: operation as u8, method: 1, ..Default::default() };
    for operation in
        [Operation::Nop, Operation::Recv, Operation::Return, Operation::Release, Operation::Park, Operation::Unpark]
    {
        seen.refused("a method where there is none", &with_method(operation), reserved)?;
    }
    seen.refused(
        "a CALL with EXCEPTION",
        &SubmissionEntry { operation: 1, flags: EXCEPTION as u8, ..Default::default() },
        reserved,
    )?;
    seen.refused("a NOP with a handle", &SubmissionEntry { handle: 1, ..nop(0, 0) }, reserved)?;
    seen.refused("a RELEASE with an argument", &SubmissionEntry { argument: 1, ..release(0) }, reserved)?;
    seen.refused("an UNPARK with a deadline", &SubmissionEntry { argument: 1, ..unpark(0, 0, 1) }, reserved)?;
    let sent = SubmissionEntry { operation: Operation::Recv as u8, capabilities: counts(1, 0), ..Default::default() };
    seen.refused("a RECV that sends", &sent, reserved)?;
    let room = SubmissionEntry { operation: Operation::Return as u8, capabilities: counts(0, 1), ..Default::default() };
    seen.refused("a RETURN with room", &room, reserved)
}

fn calls(seen: &mut Seen<'_>) -> Result<(), CallError> {
    let (timer, ring) = (Timer::granted()?.handle(), ring::current());
    let mut buffer = [0; 64];
    let good = call(timer, timer::ID, timer::NOW, &mut buffer);
    seen.refused("a handle of nothing", &SubmissionEntry { handle: 9999, ..good }, TransportError::InvalidHandle)?;
    seen.refused("another interface", &SubmissionEntry { interface: 1, ..good }, TransportError::WrongInterface)?;
    let kernel = probe::KERNEL_ADDRESS as u64;
    seen.refused("parameters in the kernel", &SubmissionEntry { params: kernel, ..good }, TransportError::BadParams)?;
    seen.refused("results in the kernel", &SubmissionEntry { results: kernel, ..good }, TransportError::BadResults)?;
    seen.refused("8 bytes for results", &SubmissionEntry { results_len: 8, ..good }, TransportError::ResultsTooSmall)?;
    seen.refused("a cut message", &SubmissionEntry { params_len: 9, ..good }, TransportError::MalformedMessage)?;
    let long = SubmissionEntry { params_len: MAX_MESSAGE_BYTES + 1, ..good };
    seen.refused("a long message", &long, TransportError::MessageTooLong)?;
    let [copy, revoker] = CapabilityTable::granted()?.revocable(&[copied(timer)])?;
    Revoker::from_handle(revoker).revoke()?;
    seen.refused("a revoked timer", &SubmissionEntry { handle: copy, ..good }, TransportError::Revoked)?;
    ring.release(copy)?;
    ring.release(revoker)?;
    let bad = TransportError::BadCapabilities;
    seen.refused("counts without an array", &SubmissionEntry { capabilities: 1, ..good }, bad)?;
    seen.refused("an array without counts", &SubmissionEntry { argument: 4096, ..good }, bad)?;
    let many = SubmissionEntry { argument: address(EMPTY.as_ptr()), capabilities: counts(17, 0), ..good };
    seen.refused("17 capabilities", &many, bad)?;
    let factory = EndpointFactory::granted()?.handle();
    let create = call(factory, endpoint_factory::ID, endpoint_factory::CREATE, &mut buffer);
    seen.refused("no room for what comes", &create, TransportError::CapabilitiesRefused)?;
    let read_only = SubmissionEntry { argument: address(EMPTY.as_ptr()), capabilities: counts(0, 1), ..create };
    seen.refused("room that is read-only", &read_only, bad)
}

fn endpoints(seen: &mut Seen<'_>) -> Result<(), CallError> {
    let (endpoint, client) = pair()?;
    let timer = Timer::granted()?.handle();
    let mut buffer = [0; RECEIVE_BYTES as usize];
    seen.refused("a RECV at a timer", &receive(timer, &mut buffer), TransportError::WrongInterface)?;
    seen.refused("a RECV at a client", &receive(client, &mut buffer), TransportError::WrongInterface)?;
    let small = SubmissionEntry { results_len: RECEIVE_BYTES - 1, ..receive(endpoint, &mut buffer) };
    seen.refused("a small RECV", &small, TransportError::ResultsTooSmall)?;
    seen.refused("an answer to nothing", &answer(endpoint, 12345, b""), TransportError::NoSuchCall)?;
    let long = SubmissionEntry { params_len: MAX_MESSAGE_BYTES + 1, ..answer(endpoint, 1, b"") };
    seen.refused("a long answer", &long, TransportError::MessageTooLong)?;
    seen.refused("a RETURN at a timer", &answer(timer, 1, b""), TransportError::WrongInterface)?;
    // A RECV that waits while the endpoint goes.
    submit(&with_user_data(receive(endpoint, &mut buffer), 1))?;
    submit(&with_user_data(release(endpoint), 2))?;
    let mut both = [next()?, next()?];
    both.sort_unstable_by_key(|completion| completion.user_data);
    seen.saw("a RECV whose endpoint goes", both[0].status, TransportError::Disconnected);
    seen.findings.equal("the RELEASE of it", both[1].status, 0);
    // A call of an endpoint that is gone is refused by an exception, not by the transport.
    let mut results = [0; 128];
    let completion = perform(&call(client, INTERFACE, 0, &mut results))?;
    let length = completion.status.max(0) as usize;
    let exception = tessera_rt::message::Exception::decode(results.get(..length).unwrap_or_default());
    let is_gone = exception.is_ok_and(|exception| exception.kind == tessera_rt::message::ExceptionKind::Disconnected);
    seen.findings.check(is_gone && completion.flags == EXCEPTION, format_args!("a call of nobody gave {completion:?}"));
    ring::current().release(client)
}

fn parks(seen: &mut Seen<'_>) -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let (space, word) = (ParkSpace::granted()?.handle(), address(WORD.as_ptr()));
    let bad = TransportError::BadWord;
    for wrong in [word + 1, word + 2, 4, 0x6000_0000_0000, probe::KERNEL_ADDRESS as u64, u64::MAX - 3] {
        seen.refused("a PARK on no word", &park(space, wrong, 0), bad)?;
    }
    seen.refused("an UNPARK of no word", &unpark(space, word + 1, 1), bad)?;
    seen.refused("a PARK on 8 bytes", &SubmissionEntry { params_len: 8, ..park(space, word, 0) }, bad)?;
    let timer = Timer::granted()?.handle();
    seen.refused("a PARK by a timer", &park(timer, word, 0), TransportError::WrongInterface)?;
    seen.refused("an UNPARK by nothing", &unpark(0xdead, word, 1), TransportError::InvalidHandle)
}

/// One operation more than a thread can have outstanding; those before it stay.
fn too_many(seen: &mut Seen<'_>) -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let (space, word, ring) = (ParkSpace::granted()?.handle(), address(WORD.as_ptr()), ring::current());
    for number in 0..OUTSTANDING_OPERATIONS as u64 {
        submit(&with_user_data(park(space, word, 0), number))?;
    }
    ring.enter(0, 0)?;
    seen.refused("a 65th operation", &park(space, word, 0), TransportError::Overloaded)?;
    submit(&with_user_data(unpark(space, word, u32::MAX), u64::MAX >> 1))?;
    for number in 0..OUTSTANDING_OPERATIONS as u64 {
        let completion = next()?;
        let is_next = (completion.user_data, completion.value) == (number, ParkOutcome::Woken as u64);
        seen.findings.check(is_next, format_args!("park {number} ended as {completion:?}"));
    }
    seen.findings.equal("those that were woken", next()?.value, OUTSTANDING_OPERATIONS as u64);
    too_many_timed(seen, space, word)
}

/// One operation with a deadline more than a thread can have; without a deadline it may.
fn too_many_timed(seen: &mut Seen<'_>, space: u64, word: u64) -> Result<(), CallError> {
    let timed = SubmissionEntry { argument: NO_DEADLINE - 1, ..park(space, word, 0) };
    for number in 0..TIMED_OPERATIONS as u64 {
        submit(&with_user_data(timed, number))?;
    }
    ring::current().enter(0, 0)?;
    seen.refused("a 17th operation with a deadline", &timed, TransportError::Overloaded)?;
    submit(&with_user_data(park(space, word, 0), TIMED_OPERATIONS as u64))?;
    submit(&unpark(space, word, u32::MAX))?;
    for number in 0..=TIMED_OPERATIONS as u64 {
        seen.findings.equal("a park that was woken", next()?.user_data, number);
    }
    seen.findings.equal("those that were woken", next()?.value, TIMED_OPERATIONS as u64 + 1);
    Ok(())
}
