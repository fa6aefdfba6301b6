//! A client and its server, which have the CPU in turns. Each round trip carries a number there and its successor back, and
//! counts as progress of both.
//!
//! Argument: `server`, or `client` and optionally the number of round trips after which both end.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;
use demos::{Findings, number};
use tessera_rt::{
    CallError,
    client::EndpointClient,
    exit, println,
    ring::operations::Received,
    server::{self, Refusal},
    start,
};

tessera_rt::entry!(main);

/// The name of the endpoint, and of the grants of both sides.
const ENDPOINT: &str = "pair";
/// Methods: the successor of a number, and the end of the server instead of an answer.
const SUCCESSOR: u16 = 1;
const END: u16 = 2;
/// What the manifest puts on the client's capability.
const BADGE: u64 = 7;

fn main() -> i32 {
    match start::argument(0) {
        Some("server") => serve(),
        Some("client") => {
            let mut findings = Findings::default();
            if let Err(error) = call(&mut findings) {
                findings.check(false, format_args!("{error}"));
            }
            findings.exit_code()
        }
        role => {
            println!("no role {role:?}");
            2
        }
    }
}

fn serve() -> i32 {
    let Some(endpoint) = start::granted(ENDPOINT) else { return 2 };
    // The end of all clients is no error.
    i32::from(server::serve(endpoint.handle, answer).is_err())
}

fn answer(call: &Received<'_>, results: &mut server::Results) -> Result<(), Refusal> {
    if call.header.method == END {
        exit(0);
    }
    let number = <[u8; 8]>::try_from(call.params).map_err(|_| Refusal::invalid_argument("not a number"))?;
    if call.header.badge != BADGE {
        return Err(Refusal::failed("another badge than the manifest says"));
    }
    start::progress().fetch_add(1, Ordering::Relaxed);
    results.set_bytes(&u64::from_ne_bytes(number).wrapping_add(1).to_ne_bytes())
}

fn call(findings: &mut Findings) -> Result<(), CallError> {
    let Some(server) = EndpointClient::named(ENDPOINT) else {
        findings.check(false, format_args!("no grant named {ENDPOINT}"));
        return Ok(());
    };
    let mut results = [0; 64];
    for round in 0..number(1).unwrap_or(u64::MAX) {
        let length = server.call(SUCCESSOR, &round.to_ne_bytes(), &mut results)?;
        let answer = results.get(..length).unwrap_or_default();
        if answer != (round + 1).to_ne_bytes() {
            findings.check(false, format_args!("{round} was answered with {answer:?}"));
            return Ok(());
        }
        start::progress().fetch_add(1, Ordering::Relaxed);
    }
    let end = server.call(END, &[], &mut results);
    findings.check(end.is_err(), format_args!("a server that has ended answers {end:?}"));
    Ok(())
}
