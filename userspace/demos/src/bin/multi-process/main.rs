//! Prime numbers counted in segments by 1, 2, 4 and more worker processes, whose results the parent collects at an
//! endpoint: the checksum does not depend on how many there are, and every worker gets something done.
#![no_std]
#![no_main]

mod sieve;

use demos::{
    Findings,
    child::{Child, End},
    number,
};
use tessera_rt::{
    CallError, Client,
    client::{Endpoint, EndpointClient, EndpointFactory, ProcessSpawner, copied},
    generated::messages::{MintParams, SpawnParams},
    ring::{
        self,
        operations::{Answer, ReceiveBuffer},
    },
    start,
};

tessera_rt::entry!(main);

/// The interface of the parent's endpoint. Its one method gives a segment's result and gets the next segment's number,
/// or nothing.
const INTERFACE: u64 = 0xd3a0_0000_0000_0003;
/// Segments, unless the argument says otherwise.
const SEGMENTS: u64 = 48;
/// The most workers.
const MOST: usize = 8;
/// What a worker gives before its first segment.
const NOTHING: u64 = u64::MAX;
/// How many primes there are below the end of the 48th segment, 1,572,864: by another program.
const PRIMES: u64 = 119_268;

fn main() -> i32 {
    if start::argument(0) == Some("worker") {
        return worker().map_or(1, |()| 0);
    }
    let mut findings = Findings::default();
    let segments = number(0).unwrap_or(SEGMENTS);
    let own = (0..segments).map(sieve::primes).sum::<u64>();
    if segments == SEGMENTS {
        findings.equal("the parent's own count", own, PRIMES);
    }
    for workers in [1, 2, 4, MOST] {
        findings.part("workers", |findings| count(findings, workers, segments, own));
    }
    findings.exit_code()
}

/// What the parent knows of a worker.
#[derive(Clone, Copy, Default)]
struct Done {
    segments: u64,
    primes: u64,
}

fn count(findings: &mut Findings, workers: usize, segments: u64, expected: u64) -> Result<(), CallError> {
    let [endpoint] = EndpointFactory::granted()?.create()?;
    let mut children = [None; MOST];
    for (badge, place) in (0..).zip(children.iter_mut().take(workers)) {
        let [client] = Endpoint::from_handle(endpoint).mint(&MintParams { interface: INTERFACE, badge })?;
        let params = SpawnParams {
            binary: "multi-process",
            name: "worker",
            arguments: "worker",
            class: 1,
            instance: badge as u32,
            silent: 1,
            ..Default::default()
        };
        let given = [("parent", copied(client))];
        *place = Some(Child::start(ProcessSpawner::granted()?, &params, &given)?);
        ring::current().release(client)?;
    }
    let done = collect(endpoint, workers, segments)?;
    for child in children.into_iter().flatten() {
        findings.equal("a worker's end", child.ended()?, End::Exit(0));
    }
    ring::current().release(endpoint)?;
    let primes: u64 = done.iter().map(|done| done.primes).sum();
    findings.equal("primes", primes, expected);
    findings.equal("segments", done.iter().map(|done| done.segments).sum(), segments);
    let idle = done.iter().take(workers).filter(|done| done.segments == 0).count();
    findings.equal("workers without a segment", idle, 0);
    Ok(())
}

/// Deals segments out until all are done and every worker knows. Nobody gets a second one before everybody has asked for
/// a first one: those who ask early wait for their answer.
fn collect(endpoint: u64, workers: usize, segments: u64) -> Result<[Done; MOST], CallError> {
    let (ring, mut buffer) = (ring::current(), ReceiveBuffer::new());
    let mut done = [Done::default(); MOST];
    let mut waiting: [Option<u64>; MOST] = [None; MOST];
    let (mut next, mut finished, mut asked) = (0_u64, 0, 0);
    while finished < workers {
        let received = ring.receive(endpoint, &mut buffer)?;
        let (call, badge) = (received.call, received.header.badge as usize % MOST);
        let primes = received.params.first_chunk().map_or(NOTHING, |bytes| u64::from_le_bytes(*bytes));
        if primes == NOTHING {
            asked += 1;
        } else {
            done[badge].segments += 1;
            done[badge].primes += primes;
        }
        waiting[badge] = Some(call);
        if asked < workers {
            continue;
        }
        for call in waiting.iter_mut().filter_map(Option::take) {
            let number = next.to_le_bytes();
            let results: &[u8] = if next < segments { &number } else { &[] };
            finished += usize::from(results.is_empty());
            next += 1;
            ring.reply(endpoint, Answer { call, is_exception: false, results, given: &[] })?;
        }
    }
    Ok(done)
}

fn worker() -> Result<(), CallError> {
    let parent = EndpointClient::named("parent").ok_or(CallError::NotGranted(INTERFACE))?;
    let mut primes = NOTHING;
    let mut results = [0; 128];
    loop {
        let length = parent.call(0, &primes.to_le_bytes(), &mut results)?;
        let segment = results.get(..length).and_then(|bytes| bytes.first_chunk());
        let Some(segment) = segment else { return Ok(()) };
        primes = sieve::primes(u64::from_le_bytes(*segment));
    }
}
