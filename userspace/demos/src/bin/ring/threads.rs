//! Each thread has its ring: what it submits completes there, whoever brings the completion about.

use crate::{answer, next, operations::INTERFACE, operations::pair, receive};
use core::sync::atomic::{AtomicU64, Ordering};
use demos::Findings;
use tessera_rt::{
    CallError,
    abi::ring::RECEIVE_BYTES,
    client::EndpointClient,
    ring,
    sync::Semaphore,
    thread::{self, Attributes},
};

const THREADS: u32 = 4;
/// Rounds of each thread.
const ROUNDS: u32 = 200;

/// Completions that a thread found in its ring and that were not its own.
static STRAY: AtomicU64 = AtomicU64::new(0);
/// Answers that were for another thread.
static SWAPPED: AtomicU64 = AtomicU64::new(0);

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    static READY: Semaphore = Semaphore::new(0);
    let (endpoint, client) = pair()?;
    let client = EndpointClient::new(client, INTERFACE);
    let mut handles = [const { None }; THREADS as usize];
    for (number, handle) in handles.iter_mut().enumerate() {
        let work = move || {
            READY.acquire();
            rounds(number as u32, client).map_or(1, |()| 0)
        };
        *handle = Some(thread::spawn(Attributes::default(), work)?);
    }
    (0..THREADS).for_each(|_| READY.release());
    serve(findings, endpoint, THREADS * ROUNDS)?;
    for handle in handles.into_iter().flatten() {
        findings.equal("a thread", handle.join()?, 0);
    }
    findings.equal("completions in another thread's ring", STRAY.load(Ordering::SeqCst), 0);
    findings.equal("answers in another thread's ring", SWAPPED.load(Ordering::SeqCst), 0);
    findings.equal("completions left in the server's ring", ring::current().enter(0, 0)?, 0);
    ring::current().release(client.handle())?;
    ring::current().release(endpoint)
}

/// NOPs and calls with the thread's own number in them.
fn rounds(number: u32, client: EndpointClient) -> Result<(), CallError> {
    let ring = ring::current();
    for round in 0..ROUNDS {
        let tag = number << 16 | round;
        for _ in 0..8 {
            ring.submit_nop(tag, tag.into())?;
        }
        let mut results = [0; 16];
        let length = client.call(0, &tag.to_le_bytes(), &mut results)?;
        let is_own = results.get(..length) == Some(&(!tag).to_le_bytes());
        SWAPPED.fetch_add(u64::from(!is_own), Ordering::SeqCst);
        let mut nops = 0;
        while let Some(completion) = ring.complete() {
            nops += 1;
            let is_own = completion.user_data == tag.into() && completion.value == tag.into();
            STRAY.fetch_add(u64::from(!is_own), Ordering::SeqCst);
        }
        STRAY.fetch_add(u64::from(nops != 8), Ordering::SeqCst);
    }
    Ok(())
}

/// Answers so many calls, each with its parameter's complement.
fn serve(findings: &mut Findings, endpoint: u64, calls: u32) -> Result<(), CallError> {
    let mut buffer = [0; RECEIVE_BYTES as usize];
    for _ in 0..calls {
        let delivery = crate::perform(&receive(endpoint, &mut buffer))?;
        let params = buffer.get(32..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        let results = params.map(|byte| !byte);
        crate::submit(&answer(endpoint, delivery.value, &results))?;
        let status = next()?.status;
        findings.check(status == 0, format_args!("a RETURN gave {status}"));
    }
    Ok(())
}
