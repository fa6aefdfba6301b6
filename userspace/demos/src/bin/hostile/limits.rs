//! The limits of what can wait: calls and receivers at an endpoint, operations of a thread, those with a deadline, parks of
//! a process, those who wait for one end.

use crate::raw::{
    EMPTY, INTERFACE, address, answer, call, exception, next, pair, park, perform, receive, submit, unpark,
    with_user_data,
};
use core::sync::atomic::{AtomicU32, Ordering};
use demos::{Findings, child::Child};
use tessera_rt::{
    CallError, Client,
    abi::{
        limits::{
            ENDING_WAITERS, ENDPOINT_IN_FLIGHT, ENDPOINT_QUEUE, ENDPOINT_RECEIVERS, OUTSTANDING_OPERATIONS, PARKS,
            TIMED_OPERATIONS,
        },
        ring::{NO_DEADLINE, ParkOutcome, RECEIVE_BYTES, SubmissionEntry, TransportError},
    },
    client::{ParkSpace, ProcessSpawner},
    generated::interfaces::process_handle,
    message::ExceptionKind,
    ring,
    thread::{self, Attributes},
    time,
};

/// Where results go that nobody reads.
static SINK: [AtomicU32; 2048] = [const { AtomicU32::new(0) }; 2048];
const OVERLOADED: i32 = -(TransportError::Overloaded as i32);

fn sink_call(handle: u64, method: (u64, u16)) -> SubmissionEntry {
    SubmissionEntry { results: address(SINK.as_ptr()), results_len: 128, ..call(handle, method, &EMPTY, &mut []) }
}

/// Fills the queue of an endpoint from two threads, then what can be in flight. Everything is answered in the end.
pub fn endpoint_queue(findings: &mut Findings) -> Result<(), CallError> {
    let (endpoint, client) = pair()?;
    for number in 0..60 {
        submit(&with_user_data(sink_call(client, (INTERFACE, 0)), number))?;
    }
    ring::current().enter(0, 0)?;
    let other = thread::spawn(Attributes::default(), move || fill(client, ENDPOINT_QUEUE as u64 - 60))?;
    while QUEUED.load(Ordering::SeqCst) == 0 {
        time::sleep(100_000)?;
    }
    findings.equal("the call that was one too many", QUEUED.load(Ordering::SeqCst), 2);
    let mut buffer = [0; RECEIVE_BYTES as usize];
    let receiving = with_user_data(receive(endpoint, address(buffer.as_mut_ptr()), None), 1 << 32);
    let mut calls = alloc::vec::Vec::new();
    for _ in 0..ENDPOINT_IN_FLIGHT {
        let received = perform(&receiving)?;
        findings.check(received.status > 0, format_args!("a receive gave {received:?}"));
        calls.push(received.value);
    }
    findings.equal("calls received and not answered", calls.len(), ENDPOINT_QUEUE);
    // A call more waits, and so does who would receive it, until something in flight was answered.
    let more = thread::spawn(Attributes::default(), move || fill(client, 1))?;
    submit(&receiving)?;
    ring::current().enter(0, 0)?;
    while MORE.load(Ordering::SeqCst) == 0 {
        time::sleep(100_000)?;
    }
    let waiting = ring::current().waiting();
    findings.equal("completions while too much is in flight", waiting, 0);
    for id in calls {
        submit(&with_user_data(answer(endpoint, id), 2 << 32))?;
        ring::current().enter(0, 0)?;
        // Answers of calls, of RETURN, and one of the receive.
        while let Some(completion) = ring::current().complete() {
            if completion.user_data == 1 << 32 {
                submit(&with_user_data(answer(endpoint, completion.value), 2 << 32))?;
            }
            findings.check(completion.status >= 0, format_args!("{completion:?}"));
        }
    }
    findings.equal("the thread that filled the queue", other.join()?, 0);
    findings.equal("the thread with a call more", more.join()?, 0);
    ring::current().release(endpoint)
}

/// What became of the first call that was one too many: 2 if the endpoint was overloaded.
static QUEUED: AtomicU32 = AtomicU32::new(0);
/// Set when the call that is one more waits.
static MORE: AtomicU32 = AtomicU32::new(0);

/// Calls so many times, and once more if that fills the queue; 0 when all but that were answered.
fn fill(client: u64, count: u64) -> i32 {
    let attempt = || -> Result<bool, CallError> {
        for number in 0..count {
            submit(&with_user_data(sink_call(client, (INTERFACE, 0)), number))?;
        }
        ring::current().enter(0, 0)?;
        if count > 1 {
            let mut results = [0; 128];
            let refused = perform(&call(client, (INTERFACE, 0), &EMPTY, &mut results))?;
            let is_overloaded = exception(&refused, &results) == Some(ExceptionKind::Overloaded);
            QUEUED.store(1 + u32::from(is_overloaded), Ordering::SeqCst);
        } else {
            MORE.store(1, Ordering::SeqCst);
        }
        for _ in 0..count {
            if next()?.status < 0 {
                return Ok(false);
            }
        }
        Ok(true)
    };
    i32::from(attempt() != Ok(true))
}

/// Receivers that wait at one endpoint: of two threads, because one cannot have so many operations beside its own.
pub fn receivers(findings: &mut Findings) -> Result<(), CallError> {
    const HALF: u64 = ENDPOINT_RECEIVERS as u64 / 2;
    let (endpoint, client) = pair()?;
    let buffer = address(SINK.as_ptr());
    for number in 0..HALF {
        submit(&with_user_data(receive(endpoint, buffer, None), number))?;
    }
    ring::current().enter(0, 0)?;
    let other = thread::spawn(Attributes::default(), move || receive_all(endpoint, buffer, HALF))?;
    while FULL.load(Ordering::SeqCst) == 0 {
        time::sleep(100_000)?;
    }
    findings.equal("a receiver more", FULL.load(Ordering::SeqCst), 2);
    // The first one gets a call, and then there is room for another.
    let caller = thread::spawn(Attributes::default(), move || {
        perform(&sink_call(client, (INTERFACE, 0))).map_or(-1, |completion| completion.status)
    })?;
    let received = next()?;
    findings.equal("who received", received.user_data, 0);
    submit(&with_user_data(answer(endpoint, received.value), 100))?;
    findings.equal("the answer", next()?.status, 0);
    findings.equal("the caller", caller.join()?, 0);
    submit(&with_user_data(receive(endpoint, buffer, None), 101))?;
    ring::current().enter(0, 0)?;
    findings.equal("completions", ring::current().waiting(), 0);
    ring::current().release(endpoint)?;
    for _ in 0..HALF {
        findings.equal("a receiver without endpoint", next()?.status, DISCONNECTED);
    }
    findings.equal("receivers of another thread without endpoint", other.join()?, 0);
    ring::current().release(client)
}

const DISCONNECTED: i32 = -(TransportError::Disconnected as i32);
/// What became of the receiver that was one too many: 2 if the endpoint was overloaded.
static FULL: AtomicU32 = AtomicU32::new(0);

/// Receives so many times, and once more; 0 when all but that were told that the endpoint is gone.
fn receive_all(endpoint: u64, buffer: u64, count: u64) -> i32 {
    let attempt = || -> Result<bool, CallError> {
        for number in 0..count {
            submit(&with_user_data(receive(endpoint, buffer, None), number))?;
        }
        ring::current().enter(0, 0)?;
        let more = perform(&receive(endpoint, buffer, None))?;
        FULL.store(1 + u32::from(more.status == OVERLOADED), Ordering::SeqCst);
        let mut are_gone = true;
        for _ in 0..count {
            are_gone &= next()?.status == DISCONNECTED;
        }
        Ok(are_gone)
    };
    i32::from(attempt() != Ok(true))
}

/// Outstanding operations of one thread, and those with a deadline.
pub fn operations(findings: &mut Findings) -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let (space, word) = (ParkSpace::granted()?.handle(), address(WORD.as_ptr()));
    let timed = SubmissionEntry { argument: NO_DEADLINE - 1, ..park(space, word, 0) };
    for round in 0..3 {
        for number in 0..TIMED_OPERATIONS as u64 {
            submit(&with_user_data(timed, number))?;
        }
        ring::current().enter(0, 0)?;
        findings.equal("a deadline more", perform(&timed)?.status, OVERLOADED);
        for number in TIMED_OPERATIONS as u64..OUTSTANDING_OPERATIONS as u64 {
            submit(&with_user_data(park(space, word, 0), number))?;
        }
        ring::current().enter(0, 0)?;
        findings.equal("an operation more", perform(&park(space, word, 0))?.status, OVERLOADED);
        submit(&with_user_data(unpark(space, word, u32::MAX), 999))?;
        for number in 0..OUTSTANDING_OPERATIONS as u64 {
            let completion = next()?;
            let good = (completion.user_data, completion.value) == (number, ParkOutcome::Woken as u64);
            findings.check(good, format_args!("park {number} of round {round}: {completion:?}"));
        }
        findings.equal("those that were woken", next()?.value, OUTSTANDING_OPERATIONS as u64);
    }
    Ok(())
}

/// Parks of a process: so many threads, each with all that it can have outstanding.
pub fn parks(findings: &mut Findings) -> Result<(), CallError> {
    const PARKING: u32 = PARKS / OUTSTANDING_OPERATIONS as u32;
    static WORD: AtomicU32 = AtomicU32::new(0);
    static PARKED: AtomicU32 = AtomicU32::new(0);
    static WOKEN: AtomicU32 = AtomicU32::new(0);
    let (space, word) = (ParkSpace::granted()?.handle(), address(WORD.as_ptr()));
    let parking = move || -> Result<(), CallError> {
        for number in 0..OUTSTANDING_OPERATIONS as u64 {
            submit(&with_user_data(park(space, word, 0), number))?;
        }
        ring::current().enter(0, 0)?;
        PARKED.fetch_add(1, Ordering::SeqCst);
        for _ in 0..OUTSTANDING_OPERATIONS {
            WOKEN.fetch_add(u32::from(next()?.value == ParkOutcome::Woken as u64), Ordering::SeqCst);
        }
        Ok(())
    };
    let attributes = Attributes { stack_bytes: thread::LEAST_STACK_BYTES, ..Attributes::default() };
    let mut threads = alloc::vec::Vec::new();
    for _ in 0..PARKING {
        threads.push(thread::spawn(attributes, move || i32::from(parking().is_err()))?);
    }
    while PARKED.load(Ordering::SeqCst) < PARKING {
        time::sleep(1_000_000)?;
    }
    findings.equal("a park more", perform(&park(space, word, 0))?.status, OVERLOADED);
    // Those that were granted stay: a part is woken, and then there is room for one.
    findings.equal("those that were woken", perform(&unpark(space, word, 10))?.value, 10);
    submit(&park(space, word, 0))?;
    ring::current().enter(0, 0)?;
    findings.equal("completions", ring::current().waiting(), 0);
    submit(&unpark(space, word, u32::MAX))?;
    let both = [next()?, next()?];
    findings.check(both.iter().all(|completion| completion.status == 0), format_args!("{both:?}"));
    for thread in threads {
        findings.equal("a thread that parked", thread.join()?, 0);
    }
    findings.equal("parks that were woken", WOKEN.load(Ordering::SeqCst), PARKS);
    Ok(())
}

/// Those who wait for the end of one process.
pub fn waiters(findings: &mut Findings) -> Result<(), CallError> {
    let child = Child::spawn(ProcessSpawner::granted()?, &crate::warden::wanted("exit"), &[])?;
    let wait = sink_call(child.process.handle(), (process_handle::ID, process_handle::WAIT));
    for number in 0..ENDING_WAITERS as u64 {
        submit(&with_user_data(wait, number))?;
    }
    ring::current().enter(0, 0)?;
    let mut results = [0; 128];
    let more = call(child.process.handle(), (process_handle::ID, process_handle::WAIT), &EMPTY, &mut results);
    let refused = perform(&more)?;
    findings.equal("who waits, too", exception(&refused, &results), Some(ExceptionKind::Overloaded));
    child.process.kill()?;
    for _ in 0..ENDING_WAITERS {
        let completion = next()?;
        findings.check(completion.status > 0 && completion.flags == 0, format_args!("{completion:?}"));
    }
    child.release()
}
