//! Calls whose ends go away: servers and clients that die, capabilities that are revoked, and cycles of what holds what.

use crate::{
    raw::{EMPTY, INTERFACE, call, pair, perform, submit},
    warden::{given, wanted},
};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use demos::{
    Findings,
    child::{Child, End, Given},
};
use tessera_rt::{
    CallError, Client,
    abi::{
        ring::TransportError,
        transfer::{TransferEntry, counts},
    },
    client::{CapabilityTable, Endpoint, EndpointClient, ProcessSpawner, Revoker, copied, moved},
    generated::messages::{MintParams, NarrowSpawnerParams},
    message::{ExceptionKind, U64List},
    ring::{
        self,
        operations::{Answer, ReceiveBuffer},
    },
    server,
    thread::{self, Attributes, JoinHandle},
    time,
};

const CLIENTS: usize = 4;
/// Why a client ends well.
const SERVER_GONE: i32 = 40;

/// A child with one capability more, under the name `other`.
fn start(role: &str, other: TransferEntry) -> Result<Child, CallError> {
    let spawner = ProcessSpawner::granted()?;
    let mut all: [Given<'_>; 13] = [("other", other); 13];
    all[..12].copy_from_slice(&given(spawner.handle())?);
    Child::start(spawner, &wanted(role), &all)
}

fn serving(endpoint: u64) -> Result<JoinHandle, CallError> {
    thread::spawn(Attributes::default(), move || {
        let served = server::serve(endpoint, |call, results| {
            let mut capabilities = call.capabilities.iter();
            let released = capabilities.try_for_each(|entry| ring::current().release(entry.handle));
            released.map_err(|_| server::Refusal::failed("what came is not there"))?;
            results.set_bytes(call.params)
        });
        i32::from(served.is_err())
    })
}

/// A server that dies while clients call, and clients that die while they are answered.
pub fn deaths(findings: &mut Findings) -> Result<(), CallError> {
    for round in 0..3 {
        let (endpoint, client) = pair()?;
        let server = start("server", moved(endpoint))?;
        let clients = (0..CLIENTS).map(|_| start("client", copied(client))).collect::<Result<Vec<_>, _>>()?;
        time::sleep(3_000_000 * round)?;
        findings.equal("the server", server.killed()?, End::Killed);
        for child in clients {
            findings.equal("a client whose server was killed", child.ended()?, End::Exit(SERVER_GONE));
        }
        let mut results = [0; 128];
        let late = EndpointClient::new(client, INTERFACE).call(0, &EMPTY, &mut results);
        findings.excepted("a call after that", late, ExceptionKind::Disconnected);
        ring::current().release(client)?;
    }
    for round in 0..3 {
        let (endpoint, client) = pair()?;
        let server = serving(endpoint)?;
        let clients = (0..CLIENTS).map(|_| start("client", copied(client))).collect::<Result<Vec<_>, _>>()?;
        time::sleep(3_000_000 * round)?;
        for child in clients {
            findings.equal("a client that was killed", child.killed()?, End::Killed);
        }
        let mut results = [0; 128];
        let served = EndpointClient::new(client, INTERFACE).call(0, &EMPTY, &mut results)?;
        findings.equal("bytes for a client that lives", served, EMPTY.len());
        ring::current().release(endpoint)?;
        findings.equal("the server whose clients died", server.join()?, 0);
        ring::current().release(client)?;
    }
    Ok(())
}

/// A capability is revoked while another thread calls by it: each call is served or refused as revoked.
pub fn revocations(findings: &mut Findings) -> Result<(), CallError> {
    static WRONG: AtomicU32 = AtomicU32::new(0);
    static CALLED: AtomicU32 = AtomicU32::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);
    let table = CapabilityTable::granted()?;
    let (endpoint, client) = pair()?;
    let server = serving(endpoint)?;
    for _ in 0..30 {
        let [copy, revoker] = table.revocable(&[copied(client)])?;
        let [second, second_revoker] = table.revocable(&[copied(copy)])?;
        CALLED.store(0, Ordering::SeqCst);
        DONE.store(false, Ordering::SeqCst);
        let caller = thread::spawn(Attributes::default(), move || {
            let mut handles = [copy, second].into_iter().cycle();
            while !DONE.load(Ordering::SeqCst) {
                let handle = handles.next().unwrap_or(copy);
                let outcome = EndpointClient::new(handle, INTERFACE).call(0, &EMPTY, &mut [0; 128]);
                let good = match outcome {
                    Ok(length) => length == EMPTY.len(),
                    Err(error) => error.is_transport(TransportError::Revoked),
                };
                WRONG.fetch_add(u32::from(!good), Ordering::SeqCst);
                CALLED.fetch_add(1, Ordering::SeqCst);
            }
        })?;
        while CALLED.load(Ordering::SeqCst) < 10 {
            time::sleep(50_000)?;
        }
        Revoker::from_handle(revoker).revoke()?;
        for handle in [copy, second] {
            let late = EndpointClient::new(handle, INTERFACE).call(0, &EMPTY, &mut [0; 128]);
            findings.refused("a call after the revocation", late, TransportError::Revoked);
        }
        DONE.store(true, Ordering::SeqCst);
        caller.join()?;
        crate::warden::release_all(&[copy, revoker, second, second_revoker])?;
    }
    findings.equal("outcomes other than served and revoked", WRONG.load(Ordering::SeqCst), 0);
    let served = EndpointClient::new(client, INTERFACE).call(0, &EMPTY, &mut [0; 128])?;
    findings.equal("the capability that was copied serves still", served, EMPTY.len());
    ring::current().release(endpoint)?;
    findings.equal("the server", server.join()?, 0);
    ring::current().release(client)
}

/// Things that hold each other. Whatever is left of them must be gone when this process is.
pub fn cycles(findings: &mut Findings) -> Result<(), CallError> {
    endpoint_through_itself(findings)?;
    chains(findings)?;
    let mut children = Vec::new();
    for role in ["holds-queue", "holds-moved", "holds-received"] {
        children.push(Child::start(
            ProcessSpawner::granted()?,
            &wanted(role),
            &given(ProcessSpawner::granted()?.handle())?,
        )?);
    }
    for child in children {
        findings.equal("a process with a cycle of its own", child.ended()?, End::Exit(0));
    }
    processes(findings)
}

/// The server's side of an endpoint goes through that endpoint, copied and moved.
fn endpoint_through_itself(findings: &mut Findings) -> Result<(), CallError> {
    let (endpoint, client) = pair()?;
    let callee = |handle| ring::operations::Callee {
        handle,
        method: ring::operations::MethodId { interface: INTERFACE, method: 0 },
    };
    let ring = ring::current();
    let mut buffer = ReceiveBuffer::new();
    let mut server = endpoint;
    for sent in [copied(endpoint), moved(endpoint)] {
        let calling = ring.begin_call(callee(client), &EMPTY, &[sent, copied(client)], 128, 1)?;
        let received = ring.receive(server, &mut buffer)?;
        let call = received.call;
        findings.equal("capabilities that came", received.capabilities.len(), 2);
        let came = received.capabilities.first().map_or(0, |entry| entry.handle);
        let other = received.capabilities.get(1).map_or(0, |entry| entry.handle);
        let is_moved = sent == moved(endpoint);
        if is_moved {
            server = came;
            findings.refused("what was moved", ring.release(endpoint), TransportError::InvalidHandle);
        }
        // Back it goes with the answer.
        let given = [moved(other)];
        ring.reply(server, Answer { call, is_exception: false, results: &[], given: &given })?;
        let ended = calling.wait()?;
        let back = ended.capabilities().first().map_or(0, |entry| entry.handle);
        ring.release(back)?;
        if !is_moved {
            // Not before: who gives the endpoint up gives its calls up.
            ring.release(came)?;
        }
    }
    // With nobody left to receive, what waits is told so.
    let waiting = ring.begin_call(callee(client), &EMPTY, &[copied(client), copied(server)], 128, 0)?;
    ring.enter(0, 0)?;
    ring.release(server)?;
    let outcome = waiting.wait().map(|ended| ended.results().len());
    findings.excepted("a call that carries its own server", outcome, ExceptionKind::Disconnected);
    ring.release(client)
}

/// Revocations of revocations, and spawners of spawners, until no more are granted.
fn chains(findings: &mut Findings) -> Result<(), CallError> {
    let table = CapabilityTable::granted()?;
    let [mut last, first] = table.revocable(&[copied(ProcessSpawner::granted()?.handle())])?;
    let mut all = alloc::vec![last];
    let refused = loop {
        match table.revocable(&[copied(last)]) {
            Ok([copy, revoker]) => {
                ring::current().release(revoker)?;
                all.push(copy);
                last = copy;
            }
            Err(error) => break error,
        }
    };
    findings.excepted("a revocation that depends on more", Err::<(), _>(refused), ExceptionKind::Overloaded);
    let few = NarrowSpawnerParams { most_processes: 1, affinity: U64List::EMPTY };
    Revoker::from_handle(first).revoke()?;
    for copy in &all {
        let narrow = ProcessSpawner::from_handle(*copy).narrow(&few);
        findings.refused("one that depends on a revoked one", narrow, TransportError::Revoked);
    }
    crate::warden::release_all(&all)?;
    ring::current().release(first)?;
    let (mut last, mut all) = (ProcessSpawner::granted()?, Vec::new());
    let refused = loop {
        match last.narrow(&few) {
            Ok([narrower]) => {
                all.push(narrower);
                last = ProcessSpawner::from_handle(narrower);
            }
            Err(error) => break error,
        }
    };
    findings.excepted("a spawner of a spawner more", Err::<(), _>(refused), ExceptionKind::Overloaded);
    findings.equal("one by the last spawner", Child::spawn(last, &wanted("exit"), &[])?.killed()?, End::Killed);
    crate::warden::release_all(&all)
}

/// Processes with handles of each other, and one with its own.
fn processes(findings: &mut Findings) -> Result<(), CallError> {
    let (endpoint, client) = pair()?;
    let ring = ring::current();
    let mut buffer = ReceiveBuffer::new();
    let children =
        [start("holder", copied(client))?, start("holder", copied(client))?, start("holder", copied(client))?];
    // Each asks, in any order, and calls again when it has what it asked for. Whoever asks first and second gets handles of
    // the first two, whoever asks third those of the third: so all are held, by others or by themselves.
    let (mut asked, mut has_it) = (0, 0);
    while has_it < children.len() {
        let received = ring.receive(endpoint, &mut buffer)?;
        if received.header.method == HAS_IT {
            has_it += 1;
            continue;
        }
        let call = received.call;
        let one = children.get(asked).unwrap_or(&children[0]);
        let other = children.get(asked ^ 1).unwrap_or(one);
        let given = [copied(one.process.handle()), copied(other.process.handle())];
        ring.reply(endpoint, Answer { call, is_exception: false, results: &[], given: &given })?;
        asked += 1;
    }
    for child in children {
        findings.equal("a process that is held by others", child.killed()?, End::Killed);
    }
    ring.release(endpoint)?;
    ring.release(client)
}

/// What processes of these attacks do; `None`: it is no role of theirs.
pub fn child(role: &str) -> Option<i32> {
    let outcome = match role {
        "client" => call_until_gone(),
        "server" => {
            Endpoint::named("other").and_then(|endpoint| server::serve(endpoint.handle(), |_, _| Ok(()))).map(|()| 0)
        }
        "holder" => hold(),
        "holds-queue" => hold_in_queue(false),
        "holds-moved" => hold_in_queue(true),
        "holds-received" => hold_received(),
        _ => return None,
    };
    Some(outcome.unwrap_or(98))
}

fn call_until_gone() -> Result<i32, CallError> {
    let client = EndpointClient::named("other").ok_or(CallError::NotGranted(INTERFACE))?;
    loop {
        match client.call(0, &EMPTY, &mut [0; 128]) {
            Ok(_) => {}
            Err(error) if error.exception() == Some(ExceptionKind::Disconnected) => return Ok(SERVER_GONE),
            Err(error) => return Err(error),
        }
    }
}

/// The method by which a process says that it has the handles.
const HAS_IT: u16 = 1;

/// Gets handles of processes, says so, and waits for an answer that never comes.
fn hold() -> Result<i32, CallError> {
    let client = EndpointClient::named("other").ok_or(CallError::NotGranted(INTERFACE))?;
    let mut received = [TransferEntry::default(); 2];
    client.call_with(0, &EMPTY, &[], &mut [0; 128], &mut received)?;
    client.call(HAS_IT, &EMPTY, &mut [0; 128]).map(|_| 0)
}

/// Ends with a call in the queue of its own endpoint that carries both its sides.
fn hold_in_queue(is_moved: bool) -> Result<i32, CallError> {
    let (endpoint, client) = pair()?;
    static ARRAY: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];
    let sent = [(endpoint, u32::from(is_moved)), (client, 0)];
    for (place, (handle, detail)) in sent.into_iter().enumerate() {
        ARRAY[place * 4].store(handle as u32, Ordering::SeqCst);
        ARRAY[place * 4 + 1].store((handle >> 32) as u32, Ordering::SeqCst);
        ARRAY[place * 4 + 2].store(detail, Ordering::SeqCst);
    }
    let entry = call(client, (INTERFACE, 0), &EMPTY, &mut []);
    submit(&tessera_rt::abi::ring::SubmissionEntry {
        capabilities: counts(2, 0),
        argument: crate::raw::address(ARRAY.as_ptr()),
        ..entry
    })?;
    ring::current().enter(0, 0)?;
    Ok(0)
}

/// Ends with a call in flight at its own endpoint, both sides of which travelled through it.
fn hold_received() -> Result<i32, CallError> {
    hold_in_queue(true)?;
    let [second] = tessera_rt::client::EndpointFactory::granted()?.create()?;
    let [client] = Endpoint::from_handle(second).mint(&MintParams { interface: INTERFACE, badge: 0 })?;
    static SINK: [AtomicU32; 2048] = [const { AtomicU32::new(0) }; 2048];
    static ROOM: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
    submit(&call(client, (INTERFACE, 0), &EMPTY, &mut []))?;
    let room = Some(crate::raw::address(ROOM.as_ptr()));
    perform(&crate::raw::receive(second, crate::raw::address(SINK.as_ptr()), room))?;
    Ok(0)
}
