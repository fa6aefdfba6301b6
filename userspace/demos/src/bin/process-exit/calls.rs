//! Ends in the middle of calls, on either side.

use crate::{Family, INTERFACE, wanted};
use demos::{
    Findings,
    child::{Child, End},
};
use tessera_rt::{
    CallError, Client,
    abi::ring::TransportError,
    client::{Endpoint, EndpointFactory, copied, moved},
    generated::messages::MintParams,
    message::ExceptionKind,
    ring::{
        self, MethodId,
        operations::{Answer, Callee, ReceiveBuffer},
    },
};

pub fn check(findings: &mut Findings, family: &Family) -> Result<(), CallError> {
    client_dies(findings, family)?;
    waiting_client_dies(findings, family)?;
    server_dies(findings, family)
}

const ANSWER: &[u8] = b"!";

/// The client is killed while this server holds its call.
fn client_dies(findings: &mut Findings, family: &Family) -> Result<(), CallError> {
    let (ring, mut buffer) = (ring::current(), ReceiveBuffer::new());
    let child = family.start_ready(&wanted("call"), copied(family.client))?;
    let call = ring.receive(family.endpoint, &mut buffer)?.call;
    findings.equal("a client whose call was received", child.killed()?, End::Killed);
    let late = ring.reply(family.endpoint, Answer { call, is_exception: false, results: ANSWER, given: &[] });
    findings.refused("an answer to nobody", late, TransportError::NoSuchCall);
    // The counterfactual: a client that lives gets its answer.
    let child = family.start_ready(&wanted("call"), copied(family.client))?;
    let call = ring.receive(family.endpoint, &mut buffer)?.call;
    ring.reply(family.endpoint, Answer { call, is_exception: false, results: ANSWER, given: &[] })?;
    findings.equal("a client with its answer", child.ended()?, End::Exit(0));
    Ok(())
}

/// The client is killed while its call waits; the server never sees it.
fn waiting_client_dies(findings: &mut Findings, family: &Family) -> Result<(), CallError> {
    let (ring, mut buffer) = (ring::current(), ReceiveBuffer::new());
    let operations = family.inspector.resources()?.operations;
    let child = family.start_ready(&wanted("call"), copied(family.client))?;
    while family.inspector.resources()?.operations <= operations {
        tessera_rt::time::sleep(100_000)?;
    }
    findings.equal("a client whose call waits", child.killed()?, End::Killed);
    let [client] = Endpoint::from_handle(family.endpoint).mint(&MintParams { interface: INTERFACE, badge: 5 })?;
    let own = begin(client)?;
    let received = ring.receive(family.endpoint, &mut buffer)?;
    findings.equal("the badge of the first call", received.header.badge, 5);
    let call = received.call;
    ring.reply(family.endpoint, Answer { call, is_exception: false, results: ANSWER, given: &[] })?;
    findings.check(own.wait()?.results() == ANSWER, format_args!("another answer"));
    ring.release(client)
}

fn begin(client: u64) -> Result<ring::pending::Pending, CallError> {
    let callee = Callee { handle: client, method: MethodId { interface: INTERFACE, method: 0 } };
    ring::current().begin_call(callee, b"?", &[], 128, 0)
}

/// The server is killed with one call received and two that wait.
fn server_dies(findings: &mut Findings, family: &Family) -> Result<(), CallError> {
    let [endpoint] = EndpointFactory::granted()?.create()?;
    let [client] = Endpoint::from_handle(endpoint).mint(&MintParams { interface: INTERFACE, badge: 0 })?;
    let calls = [begin(client)?, begin(client)?, begin(client)?];
    // The calls are there before the server is.
    ring::current().enter(0, 0)?;
    let server: Child = family.start_ready(&wanted("serve"), moved(endpoint))?;
    findings.equal("a server with a call", server.killed()?, End::Killed);
    for call in calls {
        let outcome = call.wait().map(|ended| ended.results().len());
        findings.excepted("a call of a server that died", outcome, ExceptionKind::Disconnected);
    }
    let outcome = begin(client)?.wait().map(|ended| ended.results().len());
    findings.excepted("a call after that", outcome, ExceptionKind::Disconnected);
    ring::current().release(client)
}
