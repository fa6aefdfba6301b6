//! What the children do.

use core::sync::atomic::Ordering;
use demos::work;
use tessera_rt::{
    CallError, Client, SchedulingPolicy, Timer,
    client::{CapabilityTable, MemoryObject, ParkSpace, ThreadSpawner, VirtualMemory},
    current_cpu,
    generated::messages::{AllocateParams, NextCapabilityParams},
    message::{ExceptionKind, U64List},
    ring, shared, start,
    thread::{self, Attributes},
};

/// Where a child writes what it found.
pub mod word {
    /// Its weight.
    pub const WEIGHT: usize = 0;
    /// Its class.
    pub const CLASS: usize = 1;
    /// Its CPU; all ones if the machine does not tell.
    pub const CPU: usize = 2;
    /// Its number among the instances.
    pub const INSTANCE: usize = 3;
    /// 1 if its grants are exactly those that its arguments name.
    pub const GRANTS_MATCH: usize = 4;
    /// How many capabilities its table holds.
    pub const CAPABILITIES: usize = 5;
    /// 1 if a wider mask was refused.
    pub const WIDER_REFUSED: usize = 6;
    /// 1 when the child waits for the parent; the parent makes it 2.
    pub const TURN: usize = 7;
    /// 1 if a change worked, else the negated transport error.
    pub const CHANGE: usize = 8;
}

pub fn run(role: &str) -> i32 {
    let outcome = match role {
        "report" => report(),
        "exit" => Ok(start::argument(1).and_then(|code| code.parse().ok()).unwrap_or(-1)),
        "spin" => loop {
            work();
        },
        "sleep" => sleep(),
        "fault" => fault(),
        "allocate" => allocate(),
        "threads" => threads(),
        "change" => change(),
        _ => Ok(99),
    };
    outcome.unwrap_or(98)
}

fn set(words: &[core::sync::atomic::AtomicU32], at: usize, value: u32) {
    if let Some(word) = words.get(at) {
        word.store(value, Ordering::SeqCst);
    }
}

fn words() -> Result<&'static [core::sync::atomic::AtomicU32], CallError> {
    shared::map(&MemoryObject::named("report")?, 0, 4096)
}

/// Says what it is, before it has changed anything.
fn report() -> Result<i32, CallError> {
    let policy = SchedulingPolicy::named("policy")?;
    let first = policy.snapshot()?;
    let words = words()?;
    set(words, word::WEIGHT, first.weight.into());
    set(words, word::CLASS, first.class.into());
    set(words, word::CPU, current_cpu().map_or(u32::MAX, u32::from));
    set(words, word::INSTANCE, start::instance());
    let expected = start::arguments().split_ascii_whitespace().skip(1);
    let is_equal = start::grants().iter().map(start::grant_name).eq(expected);
    set(words, word::GRANTS_MATCH, is_equal.into());
    set(words, word::CAPABILITIES, count_capabilities()?);
    let all = [u64::MAX >> (64 - start::cpus().clamp(1, 64))];
    let wider = policy.set_affinity(U64List::new(&all));
    let refused = wider.is_err_and(|error| error.exception() == Some(ExceptionKind::InvalidArgument));
    set(words, word::WIDER_REFUSED, refused.into());
    for _ in 0..100 {
        work();
        if current_cpu().map_or(u32::MAX, u32::from) != words[word::CPU].load(Ordering::SeqCst) {
            return Ok(1);
        }
    }
    Ok(0)
}

/// How many capabilities this process has.
pub fn count_capabilities() -> Result<u32, CallError> {
    let table = CapabilityTable::granted()?;
    let (mut after, mut count) = (0, 0);
    loop {
        let record = table.next(&NextCapabilityParams { process_id: 0, after })?;
        if record.found == 0 {
            return Ok(count);
        }
        after = u64::from(record.slot) + 1;
        count += 1;
    }
}

fn sleep() -> Result<i32, CallError> {
    Timer::granted()?.sleep(u64::MAX - 1)?;
    Ok(0)
}

fn fault() -> Result<i32, CallError> {
    tessera_rt::probe::execute_privileged();
    Ok(97)
}

/// Allocates until it is refused; 0 if the refusal was `overloaded` and what it had is good afterwards.
fn allocate() -> Result<i32, CallError> {
    let memory = VirtualMemory::granted()?;
    for megabytes in 0..1_000_000 {
        match memory.allocate(&AllocateParams { bytes: 1 << 20, access: 3 }) {
            Ok(_) => {}
            Err(error) if error.exception() == Some(ExceptionKind::Overloaded) => {
                return Ok(if megabytes > 0 && ring::current().nop(7)? == 7 { 0 } else { 1 });
            }
            Err(_) => return Ok(2),
        }
    }
    Ok(3)
}

/// Makes threads until it is refused; the number that it could make is the exit code.
fn threads() -> Result<i32, CallError> {
    let _ = ThreadSpawner::granted()?;
    let mut count = 0;
    loop {
        match thread::spawn(Attributes::default(), wait_for_ever) {
            Ok(handle) => handle.detach(),
            Err(error) if error.exception() == Some(ExceptionKind::Overloaded) => return Ok(count),
            Err(_) => return Ok(-1),
        }
        count += 1;
    }
}

fn wait_for_ever() {
    let _ = ring::current().enter(1, u64::MAX);
}

/// Changes its weight with a capability that the parent may have revoked meanwhile.
fn change() -> Result<i32, CallError> {
    let (policy, words, ring) = (SchedulingPolicy::named("policy")?, words()?, ring::current());
    let turn = &words[word::TURN];
    let before = policy.set_weight(100);
    turn.store(1, Ordering::SeqCst);
    let space = ParkSpace::granted()?.handle();
    ring.unpark(space, turn, 1)?;
    while turn.load(Ordering::SeqCst) != 2 {
        ring.park(space, turn, 1, None)?;
    }
    let outcome = match (before, policy.set_weight(200)) {
        (Ok(()), Ok(())) => 1,
        (Ok(()), Err(CallError::Transport(status))) => status.unsigned_abs(),
        _ => 0,
    };
    set(words, word::CHANGE, outcome);
    // The parent looks at the weight from outside.
    ring.unpark(space, turn, 1)?;
    wait_for_ever();
    Ok(0)
}
