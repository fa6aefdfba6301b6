//! Each of the seven operations does what it says.

use crate::{address, answer, call, next, nop, park, perform, receive, release, submit, unpark, with_user_data};
use core::sync::atomic::AtomicU32;
use demos::Findings;
use tessera_rt::{
    CallError, Client, Timer,
    abi::{
        ring::{ParkOutcome, RECEIVE_BYTES, TransportError},
        transfer::RECEIVED_CALL_BYTES,
    },
    client::{Endpoint, EndpointFactory, ParkSpace},
    generated::{interfaces::timer, messages::MintParams},
};

/// An interface of this program's own.
pub const INTERFACE: u64 = 0xd3a0_0000_0000_0001;
const BADGE: u64 = 0xbad6e;

/// An endpoint and a client of it.
pub fn pair() -> Result<(u64, u64), CallError> {
    let [endpoint] = EndpointFactory::granted()?.create()?;
    let [client] = Endpoint::from_handle(endpoint).mint(&MintParams { interface: INTERFACE, badge: BADGE })?;
    Ok((endpoint, client))
}

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let completion = perform(&nop(7, 42))?;
    findings.equal("NOP", (completion.user_data, completion.status, completion.value), (7, 0, 42));
    let mut buffer = [0; 64];
    let now = call(Timer::granted()?.handle(), timer::ID, timer::NOW, &mut buffer);
    let completion = perform(&with_user_data(now, 8))?;
    findings.check(completion.status > 0 && completion.flags == 0, format_args!("CALL gave {completion:?}"));
    messages(findings)?;
    words(findings)
}

/// CALL, RECV and RETURN, all by one thread, and RELEASE.
fn messages(findings: &mut Findings) -> Result<(), CallError> {
    let (endpoint, client) = pair()?;
    let (mut results, mut received) = ([0; 32], [0; RECEIVE_BYTES as usize]);
    submit(&with_user_data(call(client, INTERFACE, 5, &mut results), 1))?;
    submit(&with_user_data(receive(endpoint, &mut received), 2))?;
    let delivery = next()?;
    let length = (RECEIVED_CALL_BYTES + 16) as i32;
    findings.equal("RECV", (delivery.user_data, delivery.status), (2, length));
    let field = |at: usize| {
        received.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    findings.equal("the call's interface and badge", (field(0), field(8)), (INTERFACE, BADGE));
    findings.equal("the call's method and length", field(24), 5 | 16 << 32);
    submit(&with_user_data(answer(endpoint, delivery.value, b"answer"), 3))?;
    let mut both = [next()?, next()?];
    both.sort_unstable_by_key(|completion| completion.user_data);
    findings.equal(
        "CALL and RETURN",
        both.map(|completion| (completion.user_data, completion.status)),
        [(1, 6), (3, 0)],
    );
    findings.equal("the answer", results.first_chunk(), Some(b"answer"));
    findings.equal("RELEASE", perform(&release(client))?.status, 0);
    let gone = -(TransportError::InvalidHandle as i32);
    findings.equal("RELEASE again", perform(&release(client))?.status, gone);
    findings.equal("RELEASE of the endpoint", perform(&release(endpoint))?.status, 0);
    Ok(())
}

/// PARK and UNPARK.
fn words(findings: &mut Findings) -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(5);
    let (space, word) = (ParkSpace::granted()?.handle(), address(WORD.as_ptr()));
    let differs = perform(&park(space, word, 4))?;
    findings.equal("PARK with another value", (differs.status, differs.value), (0, ParkOutcome::Differs as u64));
    let nobody = perform(&unpark(space, word, 1))?;
    findings.equal("UNPARK of nobody", (nobody.status, nobody.value), (0, 0));
    submit(&with_user_data(park(space, word, 5), 1))?;
    submit(&with_user_data(unpark(space, word, 9), 2))?;
    let mut both = [next()?, next()?];
    both.sort_unstable_by_key(|completion| completion.user_data);
    let values = both.map(|completion| (completion.user_data, completion.status, completion.value));
    findings.equal("PARK and UNPARK", values, [(1, 0, ParkOutcome::Woken as u64), (2, 0, 1)]);
    Ok(())
}
