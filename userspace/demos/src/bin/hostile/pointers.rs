//! Addresses of the kernel, and of nothing, in every field that takes one; handles that are stale, forged or of another
//! kind. Each is refused by its own error, and nothing is done.

use crate::raw::{
    EMPTY, FOREIGN, INTERFACE, PAGE, READ_WRITE, address, answer, call, exception, pair, park, perform, receive, unpark,
};
use core::sync::atomic::AtomicU32;
use demos::Findings;
use tessera_rt::{
    CallError, Client, SchedulingPolicy, Timer,
    abi::{
        ring::{RECEIVE_BYTES, SubmissionEntry, TransportError},
        transfer::counts,
    },
    client::{
        CapabilityTable, EndpointFactory, MemoryFactory, MemoryObject, ParkSpace, ProcessSpawner, Revoker,
        ThreadControl, ThreadSpawner, VirtualMemory, copied, moved,
    },
    generated::{
        interfaces::{capability_table, endpoint_factory, timer},
        messages::{AllocateParams, CreateThreadParams, MapMemoryParams, ProtectParams, RangeParams, SpawnParams},
    },
    message::{ExceptionKind, U64List},
    ring, start,
};

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let before = SchedulingPolicy::granted()?.snapshot()?.weight;
    for foreign in FOREIGN {
        findings.part("submissions", |findings| submissions(findings, foreign));
        findings.part("methods", |findings| methods(findings, foreign));
    }
    handles(findings)?;
    transfers(findings)?;
    findings.equal("the weight after all that", SchedulingPolicy::granted()?.snapshot()?.weight, before);
    Ok(())
}

fn refused(
    findings: &mut Findings,
    what: &str,
    entry: &SubmissionEntry,
    error: TransportError,
) -> Result<(), CallError> {
    let completion = perform(entry)?;
    findings.check(completion.status == -(error as i32), format_args!("{what} gave {completion:?}, not {error:?}"));
    Ok(())
}

/// A foreign address in each field of a submission.
fn submissions(findings: &mut Findings, foreign: u64) -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let (timer, space) = (Timer::granted()?.handle(), ParkSpace::granted()?.handle());
    let mut buffer = [0; 64];
    let good = call(timer, (timer::ID, timer::NOW), &EMPTY, &mut buffer);
    refused(findings, "parameters", &SubmissionEntry { params: foreign, ..good }, TransportError::BadParams)?;
    refused(findings, "results", &SubmissionEntry { results: foreign, ..good }, TransportError::BadResults)?;
    // Begins in the program's own memory and ends elsewhere.
    let last = (address(main_page as *const ()) & !(PAGE - 1)) - 8;
    refused(
        findings,
        "results below the program",
        &SubmissionEntry { results: last, ..good },
        TransportError::BadResults,
    )?;
    refused(findings, "results in code", &SubmissionEntry { results: last + 8, ..good }, TransportError::BadResults)?;
    if foreign != 0 {
        refused(findings, "a handle", &SubmissionEntry { handle: foreign, ..good }, TransportError::InvalidHandle)?;
        let revocable = (capability_table::ID, capability_table::REVOCABLE);
        let revocable = call(CapabilityTable::granted()?.handle(), revocable, &EMPTY, &mut buffer);
        let array = SubmissionEntry { argument: foreign, capabilities: counts(1, 2), ..revocable };
        refused(findings, "an array", &array, TransportError::BadCapabilities)?;
        let (factory, create) = (EndpointFactory::granted()?.handle(), endpoint_factory::CREATE);
        let create = call(factory, (endpoint_factory::ID, create), &EMPTY, &mut buffer);
        let room = SubmissionEntry { argument: foreign, capabilities: counts(0, 1), ..create };
        refused(findings, "room for capabilities", &room, TransportError::BadCapabilities)?;
    }
    refused(findings, "an interface", &SubmissionEntry { interface: foreign, ..good }, TransportError::WrongInterface)?;
    refused(findings, "a word to park on", &park(space, foreign, 0), TransportError::BadWord)?;
    let nobody = perform(&unpark(space, foreign, 1))?;
    let good = nobody.status == -(TransportError::BadWord as i32) || (nobody.status, nobody.value) == (0, 0);
    findings.check(good, format_args!("a word to wake on gave {nobody:?}"));
    refused(findings, "a space", &park(foreign | 1 << 40, address(WORD.as_ptr()), 0), TransportError::InvalidHandle)?;
    messages(findings, foreign)
}

fn main_page() {}

/// The same at an endpoint: what a RECV and a RETURN name.
fn messages(findings: &mut Findings, foreign: u64) -> Result<(), CallError> {
    let (endpoint, client) = pair()?;
    // Looked at when the call comes: the receive fails, the call stays for a better one.
    let mut results = [0; 64];
    crate::raw::submit(&call(client, (INTERFACE, 0), &EMPTY, &mut results))?;
    let bad = perform(&receive(endpoint, foreign, None))?;
    let is_refused = bad.status == -(TransportError::BadResults as i32);
    findings.check(is_refused, format_args!("a receive at {foreign:#x} gave {bad:?}"));
    let mut buffer = [0; RECEIVE_BYTES as usize];
    let received = perform(&receive(endpoint, address(buffer.as_mut_ptr()), None))?;
    findings.check(received.status > 0, format_args!("a receive after that gave {received:?}"));
    let results = SubmissionEntry { params: foreign, params_len: 8, ..answer(endpoint, received.value) };
    refused(findings, "an answer's bytes", &results, TransportError::BadParams)?;
    refused(findings, "an answer's call", &answer(endpoint, foreign | 1 << 62), TransportError::NoSuchCall)?;
    crate::raw::submit(&answer(endpoint, received.value))?;
    let both = [crate::raw::next()?, crate::raw::next()?];
    findings.check(both.iter().all(|completion| completion.status == 0), format_args!("the good answer: {both:?}"));
    ring::current().release(endpoint)?;
    ring::current().release(client)
}

/// A foreign address in each parameter that is one. All are arguments that are refused.
fn methods(findings: &mut Findings, foreign: u64) -> Result<(), CallError> {
    let invalid = ExceptionKind::InvalidArgument;
    let memory = VirtualMemory::granted()?;
    let page = foreign & !(PAGE - 1);
    findings.excepted("unmap", memory.unmap(&RangeParams { address: page, bytes: PAGE }), invalid);
    findings.excepted(
        "unmap of all",
        memory.unmap(&RangeParams { address: page, bytes: 0u64.wrapping_sub(page) & !(PAGE - 1) }),
        invalid,
    );
    let protect = memory.protect(&ProtectParams { address: page, bytes: PAGE, access: READ_WRITE });
    findings.excepted("protect", protect, invalid);
    if foreign > 1 << 40 {
        let huge = memory.allocate(&AllocateParams { bytes: page, access: READ_WRITE });
        findings.check(is_refused_size(&huge), format_args!("allocate gave {huge:?}"));
        let object = MemoryFactory::granted()?.create(page);
        findings.check(is_refused_size(&object), format_args!("an object gave {object:?}"));
    }
    let [object] = MemoryFactory::granted()?.create(PAGE)?;
    let outside = MapMemoryParams { offset: page, bytes: PAGE, access: READ_WRITE };
    if page != 0 {
        findings.excepted("an offset", MemoryObject::from_handle(object).map(&outside), invalid);
    }
    let outside = MapMemoryParams { offset: PAGE, bytes: page.max(PAGE), access: READ_WRITE };
    findings.excepted("a length", MemoryObject::from_handle(object).map(&outside), invalid);
    ring::current().release(object)?;
    threads(findings, foreign)?;
    Ok(())
}

fn is_refused_size<T>(outcome: &Result<T, CallError>) -> bool {
    let kind = outcome.as_ref().err().and_then(CallError::exception);
    matches!(kind, Some(ExceptionKind::InvalidArgument | ExceptionKind::Overloaded))
}

/// An entry or a thread pointer that programs cannot have would break the kernel's way back to user mode.
fn threads(findings: &mut Findings, foreign: u64) -> Result<(), CallError> {
    if foreign < 1 << 47 {
        return Ok(());
    }
    let invalid = ExceptionKind::InvalidArgument;
    let good = CreateThreadParams {
        entry: address(main_page as *const ()),
        stack: 0,
        argument: 0,
        tls_base: 0,
        affinity: U64List::EMPTY,
        weight: 0,
        class: 1,
        request_ns: 0,
    };
    let spawner = ThreadSpawner::granted()?;
    findings.excepted("an entry", spawner.create(&CreateThreadParams { entry: foreign, ..good }), invalid);
    findings.excepted("a pointer", spawner.create(&CreateThreadParams { tls_base: foreign, ..good }), invalid);
    let mask = [foreign; 8];
    let affinity = U64List::new(&mask);
    findings.excepted("a mask", spawner.create(&CreateThreadParams { affinity, ..good }), invalid);
    findings.excepted("own pointer", ThreadControl::granted()?.set_tls_base(foreign), invalid);
    let params = SpawnParams { affinity, ..crate::warden::wanted("exit") };
    findings.excepted("a process's mask", ProcessSpawner::granted()?.spawn(&params, &[]), invalid);
    Ok(())
}

/// Handles: forged ones, all generations of one slot, ones that are gone, and ones of another kind.
fn handles(findings: &mut Findings) -> Result<(), CallError> {
    let mut buffer = [0; 128];
    let timer = Timer::granted()?.handle();
    let now = call(timer, (timer::ID, timer::NOW), &EMPTY, &mut buffer);
    for bit in 0..64 {
        let completion = perform(&SubmissionEntry { handle: timer ^ 1 << bit, ..now })?;
        let expected = [TransportError::InvalidHandle, TransportError::WrongInterface];
        let good = expected.iter().any(|error| completion.status == -(*error as i32));
        findings.check(good, format_args!("a handle with bit {bit} changed gave {completion:?}"));
    }
    for grant in start::grants().iter().filter(|grant| grant.interface != timer::ID) {
        refused(
            findings,
            "another's handle",
            &SubmissionEntry { handle: grant.handle, ..now },
            TransportError::WrongInterface,
        )?;
    }
    let [stale] = EndpointFactory::granted()?.create()?;
    ring::current().release(stale)?;
    let [next] = EndpointFactory::granted()?.create()?;
    findings.check(stale != next, format_args!("the handle {stale:#x} came again at once"));
    refused(
        findings,
        "a stale handle",
        &receive(stale, address(buffer.as_mut_ptr()), None),
        TransportError::InvalidHandle,
    )?;
    findings.refused("a stale handle's release", ring::current().release(stale), TransportError::InvalidHandle);
    ring::current().release(next)?;
    // A method that there is not.
    let absent = perform(&SubmissionEntry { method: 999, ..now })?;
    findings.equal("a method that there is not", exception(&absent, &buffer), Some(ExceptionKind::Unimplemented));
    Ok(())
}

/// Capabilities that cannot go along: none of those beside them goes.
fn transfers(findings: &mut Findings) -> Result<(), CallError> {
    let table = CapabilityTable::granted()?;
    let timer = Timer::granted()?.handle();
    let [copy, revoker] = table.revocable(&[copied(timer)])?;
    findings.refused("a forged one", table.revocable(&[copied(timer ^ 1 << 33)]), TransportError::InvalidHandle);
    Revoker::from_handle(revoker).revoke()?;
    findings.refused("a revoked one", table.revocable(&[copied(copy)]), TransportError::Revoked);
    let spawner = ProcessSpawner::granted()?;
    let params = SpawnParams { grant_names: "a b", ..crate::warden::wanted("exit") };
    let twice = spawner.spawn(&params, &[moved(copy), moved(copy)]);
    findings.check(twice.is_err(), format_args!("one capability twice gave {twice:?}"));
    let [other, other_revoker] = table.revocable(&[copied(timer)])?;
    let forged = spawner.spawn(&params, &[moved(other), moved(0xdead_0000_0000_0001)]);
    findings.refused("a good one beside a forged one", forged, TransportError::InvalidHandle);
    let mut buffer = [0; 64];
    let now = perform(&call(other, (timer::ID, timer::NOW), &EMPTY, &mut buffer))?;
    findings.check(now.status > 0, format_args!("the good one was lost: {now:?}"));
    crate::warden::release_all(&[copy, revoker, other, other_revoker])
}
