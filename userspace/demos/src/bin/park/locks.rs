//! Mutex, condition variable and channel under contention, and a great many wake-ups of which none may be lost.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use demos::Findings;
use tessera_rt::{
    CallError,
    sync::{Channel, Condvar, Mutex},
    thread::{self, Attributes, JoinHandle},
};

const THREADS: u32 = 4;
/// Rounds of each thread.
const ROUNDS: u32 = 2000;
/// How often two threads wake each other, together, unless the argument says otherwise.
const PINGS: u64 = 2_000;

/// Starts the threads and waits for all.
fn all(findings: &mut Findings, what: &str, work: fn(u32)) -> Result<(), CallError> {
    let mut handles: [Option<JoinHandle>; THREADS as usize] = [const { None }; THREADS as usize];
    for (number, handle) in (0..).zip(&mut handles) {
        *handle = Some(thread::spawn(Attributes::default(), move || work(number))?);
    }
    for handle in handles.into_iter().flatten() {
        findings.equal(what, handle.join()?, 0);
    }
    Ok(())
}

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    mutex(findings)?;
    condvar(findings)?;
    channel(findings)
}

/// Two numbers that only somebody within the lock can see differ.
fn mutex(findings: &mut Findings) -> Result<(), CallError> {
    static BOTH: Mutex<(u32, u32)> = Mutex::new((0, 0));
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    static BROKEN: AtomicU32 = AtomicU32::new(0);
    all(findings, "a thread with the mutex", |_| {
        for _ in 0..ROUNDS {
            let mut both = BOTH.lock();
            let alone = INSIDE.fetch_add(1, Ordering::SeqCst) == 0;
            BROKEN.fetch_add(u32::from(!alone || both.0 != both.1), Ordering::SeqCst);
            both.0 += 1;
            demos::work();
            both.1 += 1;
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    })?;
    findings.equal("times that two were inside", BROKEN.load(Ordering::SeqCst), 0);
    findings.equal("rounds with the mutex", *BOTH.lock(), (THREADS * ROUNDS, THREADS * ROUNDS));
    Ok(())
}

/// The threads take turns in the order of their numbers.
fn condvar(findings: &mut Findings) -> Result<(), CallError> {
    static TURN: Mutex<u32> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    all(findings, "a thread with the condition variable", |number| {
        for round in 0..ROUNDS / 4 {
            let mut turn = CHANGED.wait_while(TURN.lock(), |turn| *turn != round * THREADS + number);
            *turn += 1;
            drop(turn);
            CHANGED.notify_all();
        }
    })?;
    findings.equal("turns", *TURN.lock(), THREADS * (ROUNDS / 4));
    Ok(())
}

/// Two send and two receive, through a queue that is mostly full or empty.
fn channel(findings: &mut Findings) -> Result<(), CallError> {
    static QUEUE: Channel<u32, 2> = Channel::new();
    static RECEIVED: AtomicU64 = AtomicU64::new(0);
    static SUM: AtomicU64 = AtomicU64::new(0);
    static SENDERS: AtomicU32 = AtomicU32::new(THREADS / 2);
    all(findings, "a thread with the channel", |number| {
        if number % 2 == 0 {
            for message in 1..=ROUNDS {
                let _ = QUEUE.send(message);
            }
            if SENDERS.fetch_sub(1, Ordering::SeqCst) == 1 {
                QUEUE.close();
            }
            return;
        }
        while let Some(message) = QUEUE.receive() {
            RECEIVED.fetch_add(1, Ordering::SeqCst);
            SUM.fetch_add(message.into(), Ordering::SeqCst);
        }
    })?;
    let messages = u64::from(THREADS / 2 * ROUNDS);
    findings.equal("messages", RECEIVED.load(Ordering::SeqCst), messages);
    findings.equal("their sum", SUM.load(Ordering::SeqCst), messages * u64::from(ROUNDS + 1) / 2);
    Ok(())
}

/// Two threads wake each other; a wake-up that were lost would leave both asleep for ever.
pub fn ping_pong(findings: &mut Findings) -> Result<(), CallError> {
    static BALL: AtomicU32 = AtomicU32::new(0);
    let pings = demos::number(0).unwrap_or(PINGS) as u32;
    fn play(parity: u32, pings: u32) -> Result<(), CallError> {
        use tessera_rt::{Client, client::ParkSpace, ring};
        let (ring, space) = (ring::current(), ParkSpace::granted()?.handle());
        loop {
            let seen = BALL.load(Ordering::SeqCst);
            if seen >= pings {
                return Ok(());
            }
            if seen % 2 == parity {
                BALL.fetch_add(1, Ordering::SeqCst);
                ring.unpark(space, &BALL, 1)?;
            } else {
                ring.park(space, &BALL, seen, None)?;
            }
        }
    }
    let other = thread::spawn(Attributes::default(), move || play(1, pings).map_or(1, |()| 0))?;
    play(0, pings)?;
    findings.equal("the other thread", other.join()?, 0);
    findings.equal("wake-ups", BALL.load(Ordering::SeqCst), pings);
    Ok(())
}
