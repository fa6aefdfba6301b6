//! Arrays of capabilities that another thread writes while the kernel reads them: what is sent is sent once, and none is
//! lost or made.

use crate::{
    exhaust::held,
    raw::{EMPTY, INTERFACE, address, call, pair, perform},
    warden::release_all,
};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use demos::{Findings, random::Random};
use tessera_rt::{
    CallError, Client,
    abi::{
        ring::{SubmissionEntry, TransportError},
        transfer::{COPY, MOVE, counts},
    },
    client::{CapabilityTable, Endpoint, copied},
    generated::messages::MintParams,
    ring, server, start,
    thread::{self, Attributes},
    time,
};

/// Calls that send an array, at least; and at most, until each outcome was seen.
const CALLS: u32 = 300;
const MOST_CALLS: u32 = 100 * CALLS;
/// Two entries: handle and detail of each.
static ARRAY: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
/// The capability that is sent.
static SENT: AtomicU64 = AtomicU64::new(0);
/// One that is sent beside it, always as a copy.
static KEPT: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let table = CapabilityTable::granted()?;
    let before = held(&table)?;
    let (endpoint, client) = pair()?;
    let server = thread::spawn(Attributes::default(), move || {
        let served = server::serve(endpoint, |call, _| {
            let mut capabilities = call.capabilities.iter();
            let released = capabilities.try_for_each(|entry| ring::current().release(entry.handle));
            released.map_err(|_| server::Refusal::failed("what came is not there"))
        });
        i32::from(served.is_err())
    })?;
    let mint = || Endpoint::from_handle(endpoint).mint(&MintParams { interface: INTERFACE, badge: 2 });
    let [mut sent] = mint()?;
    // Before the racer reads it: with a bit changed, no handle at all would be that of the first grant.
    SENT.store(sent, Ordering::Release);
    KEPT.store(client, Ordering::Release);
    let racer = thread::spawn(Attributes::default(), race)?;
    let (mut delivered, mut refused, mut moves) = (0, 0, 0);
    for round in 0..MOST_CALLS {
        if round >= CALLS && delivered > moves && refused > 0 && moves > 0 {
            break;
        }
        SENT.store(sent, Ordering::Release);
        if round % 2 == 0 {
            // Where there is one CPU, the other thread writes now.
            time::sleep(20_000)?;
        }
        let mut results = [0; 128];
        let entry = call(client, (INTERFACE, 0), &EMPTY, &mut results);
        let array = SubmissionEntry { capabilities: counts(2, 0), argument: address(ARRAY.as_ptr()), ..entry };
        let completion = perform(&array)?;
        let errors = [TransportError::BadCapabilities, TransportError::InvalidHandle];
        let is_refused = errors.iter().any(|error| completion.status == -(*error as i32));
        let is_delivered = completion.status >= 0 && completion.flags == 0;
        findings.check(is_refused || is_delivered, format_args!("an array that changes gave {completion:?}"));
        (delivered, refused) = (delivered + u32::from(is_delivered), refused + u32::from(is_refused));
        // Gone if and only if it was moved; then the server has given it up.
        let is_there = CapabilityTable::granted()?.revocable(&[copied(sent)]);
        match is_there {
            Ok(both) => release_all(&both)?,
            Err(error) => {
                let is_moved = is_delivered && error.is_transport(TransportError::InvalidHandle);
                findings.check(is_moved, format_args!("what was sent is gone after {completion:?}: {error}"));
                [sent] = mint()?;
                moves += 1;
            }
        }
    }
    STOP.store(true, Ordering::Release);
    racer.join()?;
    let text = format_args!("{delivered} delivered, {refused} refused, {moves} of them moved");
    findings.check(delivered > moves && refused > 0 && moves > 0, text);
    ring::current().release(sent)?;
    ring::current().release(endpoint)?;
    findings.equal("the server", server.join()?, 0);
    ring::current().release(client)?;
    findings.equal("capabilities held", held(&table)?, before);
    let lost = start::grants().iter().position(|grant| !is_held(&table, grant.handle));
    if let Some(place) = lost {
        // It may be the console: nothing is printed.
        tessera_rt::exit(LOST + place as i32);
    }
    Ok(())
}

/// The exit code of a process that has lost its first grant.
const LOST: i32 = 50;

fn is_held(table: &CapabilityTable, handle: u64) -> bool {
    table.revocable(&[copied(handle)]).is_ok_and(|both| release_all(&both).is_ok())
}

fn race() {
    let mut random = Random::new(21);
    while !STOP.load(Ordering::Acquire) {
        let sent = SENT.load(Ordering::Acquire);
        let (first, second) = (random.below(8), random.below(8));
        // Mostly what can be delivered: the capability once, to be moved, or twice as copies; the other one is the client's.
        write(0, if first == 0 { sent ^ 1 << 32 } else { sent }, if first < 4 { MOVE } else { COPY });
        write(2, if second < 6 { KEPT.load(Ordering::Acquire) } else { sent }, if second == 7 { 2 } else { COPY });
        if start::cpus() == 1 {
            let _ = time::sleep(20_000);
        }
    }
}

fn write(place: usize, handle: u64, detail: u64) {
    ARRAY[place].store(handle, Ordering::Relaxed);
    ARRAY[place + 1].store(detail, Ordering::Relaxed);
}
