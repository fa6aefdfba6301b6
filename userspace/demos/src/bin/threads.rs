//! Threads of one program: they run, share by locks and channels, sleep and are woken, serve each other, and give back what
//! they had.
//!
//! Argument: the number of rounds.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use demos::{Findings, number, work};
use tessera_rt::{
    CallError, Client, Timer,
    client::{Endpoint, EndpointClient, EndpointFactory, SystemInspector, copied},
    generated::messages::{MintParams, ResourceCounts},
    message::ExceptionKind,
    ring,
    server::{self, Refusal},
    start,
    sync::{Channel, Condvar, Mutex, Once, Semaphore},
    thread::{self, Attributes, JoinHandle},
};

tessera_rt::entry!(main);

const THREADS: usize = 4;
const INTERFACE: u64 = 0xd0_0d1e;

fn main() -> i32 {
    let mut findings = Findings::default();
    if let Err(error) = run(&mut findings) {
        findings.check(false, format_args!("{error}"));
    }
    findings.exit_code()
}

fn run(findings: &mut Findings) -> Result<(), CallError> {
    let rounds = number(0).unwrap_or(5);
    // The first round makes what stays: the rings' places.
    let before = one_round(findings)?;
    let mut after = before;
    for _ in 0..rounds {
        after = one_round(findings)?;
        start::progress().fetch_add(1, Ordering::Relaxed);
    }
    // Page tables of the stacks come and go with the places that the kernel chooses; they were promised before.
    let (before, after) = (ResourceCounts { frames: 0, ..before }, ResourceCounts { frames: 0, ..after });
    findings.check(after == before, format_args!("before {before:?}, after {after:?}"));
    Ok(())
}

/// Everything once; gives what is in use afterwards.
fn one_round(findings: &mut Findings) -> Result<ResourceCounts, CallError> {
    codes(findings)?;
    shared_counter(findings)?;
    channel(findings)?;
    turns(findings)?;
    once_and_semaphore(findings)?;
    service(findings)?;
    detached(findings)?;
    resources_without_ending_threads()
}

fn spawn_all(work: fn(usize) -> i32) -> Result<[JoinHandle; THREADS], CallError> {
    let spawn = |number| thread::spawn_function(Attributes::default(), work, number);
    Ok([spawn(0)?, spawn(1)?, spawn(2)?, spawn(3)?])
}

/// Joins all; gives the sum of their codes.
fn join_all(threads: [JoinHandle; THREADS]) -> Result<i32, CallError> {
    threads.into_iter().try_fold(0, |sum, thread| Ok(sum + thread.join()?))
}

static SEEN: Semaphore = Semaphore::new(0);

/// A thread has its own ring and stack, its data, and its exit code.
fn codes(findings: &mut Findings) -> Result<(), CallError> {
    let data = [7_u8; 300];
    let thread = thread::spawn(Attributes { weight: 100, ..Default::default() }, move || {
        let sum: i32 = data.iter().map(|byte| i32::from(*byte)).sum();
        let echoed = ring::current().nop(5).unwrap_or(0);
        SEEN.acquire();
        sum + echoed as i32
    })?;
    let weight = thread.handle().snapshot()?.weight;
    findings.check(weight == 100, format_args!("a thread of weight 100 has weight {weight}"));
    SEEN.release();
    let code = thread.join()?;
    findings.check(code == 2105, format_args!("a thread gave {code}, not 2105"));
    Ok(())
}

static COUNTER: Mutex<u64> = Mutex::new(0);

/// A lock lets one thread at a time through, also if it is preempted inside.
fn shared_counter(findings: &mut Findings) -> Result<(), CallError> {
    *COUNTER.lock() = 0;
    join_all(spawn_all(|_| {
        for round in 0..2000 {
            let mut counter = COUNTER.lock();
            let seen = *counter;
            if round % 100 == 0 {
                (0..50).for_each(|_| work());
            }
            *counter = seen + 1;
        }
        0
    })?)?;
    let counted = *COUNTER.lock();
    findings.check(counted == 8000, format_args!("4 threads counted to {counted}, not 8000"));
    Ok(())
}

static MESSAGES: Channel<u32, 3> = Channel::new();
static SUM: AtomicU64 = AtomicU64::new(0);

/// Every message arrives once.
fn channel(findings: &mut Findings) -> Result<(), CallError> {
    SUM.store(0, Ordering::Relaxed);
    let threads = spawn_all(|number| {
        for message in 0..500_u32 {
            if number < 2 {
                let _ = MESSAGES.send(message);
            } else if let Some(message) = MESSAGES.receive() {
                SUM.fetch_add(message.into(), Ordering::Relaxed);
            }
        }
        0
    })?;
    join_all(threads)?;
    let sum = SUM.load(Ordering::Relaxed);
    findings.check(sum == 2 * 499 * 250 && MESSAGES.is_empty(), format_args!("the messages' sum is {sum}"));
    Ok(())
}

static TURN: Mutex<usize> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();

/// Threads that wait for their turn get it.
fn turns(findings: &mut Findings) -> Result<(), CallError> {
    *TURN.lock() = 0;
    join_all(spawn_all(|number| {
        for _ in 0..100 {
            let mut turn = CHANGED.wait_while(TURN.lock(), |turn| *turn % THREADS != number);
            *turn += 1;
            drop(turn);
            CHANGED.notify_all();
        }
        0
    })?)?;
    let turn = *TURN.lock();
    findings.check(turn == 400, format_args!("{turn} of 400 turns were taken"));
    let now_ns = Timer::granted()?.now()?.now_ns;
    let (_guard, outcome) = CHANGED.wait_until(TURN.lock(), now_ns + 2_000_000);
    let timed_out = outcome == tessera_rt::sync::WaitOutcome::TimedOut;
    let slept = Timer::granted()?.now()?.now_ns >= now_ns + 2_000_000;
    findings.check(timed_out && slept, format_args!("a wait for nothing ended as {outcome:?}, too early: {}", !slept));
    Ok(())
}

static MADE: AtomicU32 = AtomicU32::new(0);
static ONCE: Once<u32> = Once::new();
static PERMITS: Semaphore = Semaphore::new(2);
static INSIDE: AtomicU32 = AtomicU32::new(0);

fn once_and_semaphore(findings: &mut Findings) -> Result<(), CallError> {
    let bad = join_all(spawn_all(|_| {
        let value = *ONCE.call_once(|| {
            (0..100).for_each(|_| work());
            MADE.fetch_add(1, Ordering::Relaxed) + 42
        });
        let mut bad = i32::from(value != 42);
        for _ in 0..100 {
            PERMITS.acquire();
            bad += i32::from(INSIDE.fetch_add(1, Ordering::AcqRel) >= 2);
            work();
            INSIDE.fetch_sub(1, Ordering::AcqRel);
            PERMITS.release();
        }
        bad
    })?)?;
    let made = MADE.load(Ordering::Relaxed);
    findings.check(made == 1 && bad == 0, format_args!("made {made} times; {bad} threads saw what they should not"));
    Ok(())
}

/// A thread serves an endpoint; others call it, and its end is the end of their calls.
fn service(findings: &mut Findings) -> Result<(), CallError> {
    let [handle] = EndpointFactory::granted()?.create()?;
    let [client] = Endpoint::from_handle(handle).mint(&MintParams { interface: INTERFACE, badge: 9 })?;
    let server = thread::spawn(Attributes::default(), move || match server::serve(handle, answer) {
        Ok(()) => 0,
        Err(_) => 1,
    })?;
    let client = EndpointClient::new(client, INTERFACE);
    let mut results = [0; 256];
    for value in 0..100_u8 {
        let length = client.call(1, &[value, 1], &mut results)?;
        let good = results.get(..length) == Some(&[value.wrapping_add(1), 9][..]);
        findings.check(good, format_args!("{value} + 1 gave {:?}", results.get(..length)));
    }
    let outcome = client.call(7, &[], &mut results);
    let refused = outcome.is_err_and(|error| error.exception() == Some(ExceptionKind::Unimplemented));
    findings.check(refused, format_args!("a method that there is not gave {outcome:?}"));
    let mut received = [Default::default(); 1];
    let returned = client.call_with(2, &[], &[copied(Timer::granted()?.handle())], &mut results, &mut received)?;
    let back = Timer::from_handle(received[0].handle).now();
    findings.check(returned.capabilities == 1 && back.is_ok(), format_args!("a timer came back as {back:?}"));
    ring::current().release(received[0].handle)?;
    // The endpoint ends with its last capability.
    ring::current().release(handle)?;
    let code = server.join()?;
    findings.check(code == 0, format_args!("the server ended with {code}"));
    let outcome = client.call(1, &[1, 1], &mut results);
    findings.check(outcome.is_err(), format_args!("a call of no server gave {outcome:?}"));
    ring::current().release(client.handle())
}

fn answer(call: &ring::operations::Received<'_>, results: &mut server::Results) -> Result<(), Refusal> {
    match (call.header.method, call.params, call.capabilities) {
        (1, &[first, second], _) => results.set_bytes(&[first.wrapping_add(second), call.header.badge as u8]),
        (2, _, [capability]) => results.give(tessera_rt::client::moved(capability.handle)),
        _ => Err(Refusal::unimplemented()),
    }
}

static ENDED: Semaphore = Semaphore::new(0);

fn detached(findings: &mut Findings) -> Result<(), CallError> {
    for _ in 0..THREADS {
        thread::spawn(Attributes::default(), || ENDED.release())?.detach();
    }
    (0..THREADS).for_each(|_| ENDED.acquire());
    findings.check(true, format_args!(""));
    Ok(())
}

/// What is in use once no other thread of this program is on its way out.
fn resources_without_ending_threads() -> Result<ResourceCounts, CallError> {
    let (inspector, timer) = (SystemInspector::granted()?, Timer::granted()?);
    let mut counts = inspector.resources()?;
    // A thread that does not end for so long stays in the counts, and the comparison shows it.
    for _ in 0..500 {
        if counts.threads == counts.processes {
            break;
        }
        timer.sleep(timer.now()?.now_ns + 10_000_000)?;
        counts = inspector.resources()?;
    }
    Ok(counts)
}
