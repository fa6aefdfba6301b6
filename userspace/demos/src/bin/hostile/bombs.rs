//! Bombs of threads and of processes, up to their limits, and storms of ends.

use crate::{
    raw::{address, perform, unpark},
    warden::{PROCESSES, THREADS, given, wanted},
};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use demos::{
    Findings,
    child::{Child, End},
    work,
};
use tessera_rt::{
    CallError, Client,
    client::{
        EndpointFactory, MemoryFactory, MemoryObject, ParkSpace, ProcessSpawner, ThreadControl, VirtualMemory, copied,
    },
    message::ExceptionKind,
    ring, shared,
    thread::{self, Attributes},
    time,
};

/// Threads until no more are granted, twice: all of them live, park, wake, and are joined.
pub fn threads(findings: &mut Findings) -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    static ALIVE: AtomicU32 = AtomicU32::new(0);
    let attributes = Attributes { stack_bytes: thread::LEAST_STACK_BYTES, ..Attributes::default() };
    let space = ParkSpace::granted()?.handle();
    for round in 0..2 {
        let mut all = Vec::new();
        let refused = loop {
            let spawned = thread::spawn(attributes, move || {
                ALIVE.fetch_add(1, Ordering::SeqCst);
                while WORD.load(Ordering::SeqCst) == round {
                    let _ = ring::current().park(space, &WORD, round, None);
                }
                7
            });
            match spawned {
                Ok(thread) => all.push(thread),
                Err(error) => break error,
            }
        };
        findings.excepted("a thread more", Err::<(), _>(refused), ExceptionKind::Overloaded);
        findings.equal("threads beside the first", all.len(), THREADS as usize - 1);
        while ALIVE.load(Ordering::SeqCst) < THREADS - 1 {
            time::sleep(1_000_000)?;
        }
        WORD.store(round + 1, Ordering::SeqCst);
        perform(&unpark(space, address(WORD.as_ptr()), u32::MAX))?;
        for thread in all {
            findings.equal("a thread of the bomb", thread.join()?, 7);
        }
        ALIVE.store(0, Ordering::SeqCst);
    }
    Ok(())
}

/// Processes until no more are granted: not started, started, killed, and given up without a start.
pub fn processes(findings: &mut Findings) -> Result<(), CallError> {
    let spawner = ProcessSpawner::granted()?;
    for is_started in [false, true] {
        let mut all = Vec::new();
        let refused = loop {
            match Child::spawn(spawner, &wanted("spin"), &[]) {
                Ok(child) => all.push(child),
                Err(error) => break error,
            }
        };
        findings.excepted("a process more", Err::<(), _>(refused), ExceptionKind::Overloaded);
        findings.equal("processes", all.len(), PROCESSES as usize);
        if let Some(child) = all.pop() {
            findings.equal("one that was killed", child.killed()?, End::Killed);
        }
        all.push(Child::spawn(spawner, &wanted("spin"), &[])?);
        findings.excepted("one more again", Child::spawn(spawner, &wanted("spin"), &[]), ExceptionKind::Overloaded);
        if is_started {
            all.iter().try_for_each(|child| child.process.start())?;
            for child in all {
                findings.equal("one that ran", child.killed()?, End::Killed);
            }
        } else {
            // Nobody can start them any more.
            all.into_iter().try_for_each(Child::release)?;
        }
        // What is given back comes back when the kernel has freed everything.
        while until_one(spawner)?.is_none() {
            time::sleep(1_000_000)?;
        }
    }
    Ok(())
}

/// A process if there may be one; it is killed.
fn until_one(spawner: ProcessSpawner) -> Result<Option<End>, CallError> {
    match Child::spawn(spawner, &wanted("spin"), &[]) {
        Ok(child) => child.killed().map(Some),
        Err(error) if error.exception() == Some(ExceptionKind::Overloaded) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many processes the fork bomb makes in all.
const FORKS: u32 = 40;
/// Words of the memory that its processes share.
const LEFT: usize = 0;
const REFUSED: usize = 1;
const OTHER: usize = 2;
const MADE: usize = 3;

/// A process that makes copies of itself, which do the same. Everybody ends when no more are granted or left.
pub fn forks(findings: &mut Findings) -> Result<(), CallError> {
    let [memory] = MemoryFactory::granted()?.create(4096)?;
    let words = shared::map(&MemoryObject::from_handle(memory), 0, 4096)?;
    words[LEFT].store(FORKS, Ordering::SeqCst);
    while words[MADE].load(Ordering::SeqCst) < FORKS {
        fork(words, memory)?;
        time::sleep(1_000_000)?;
    }
    findings.equal("refusals that were not overloaded", words[OTHER].load(Ordering::SeqCst), 0);
    let refused = words[REFUSED].load(Ordering::SeqCst);
    findings.check(refused > 0, format_args!("no copy was refused"));
    findings.equal("copies made", words[MADE].load(Ordering::SeqCst), FORKS);
    ring::current().release(memory)
}

/// Makes a copy, if any are left. `false`: no more for now.
fn fork(words: &[AtomicU32], memory: u64) -> Result<bool, CallError> {
    let take = |left: u32| left.checked_sub(1);
    if words[LEFT].fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
        return Ok(false);
    }
    let spawner = ProcessSpawner::granted()?;
    let mut all = [("", copied(0)); 13];
    all[..12].copy_from_slice(&given(spawner.handle())?);
    all[12] = ("words", copied(memory));
    match Child::start(spawner, &wanted("fork"), &all) {
        Ok(child) => {
            words[MADE].fetch_add(1, Ordering::SeqCst);
            child.release()?;
            Ok(true)
        }
        Err(error) => {
            let is_overloaded = error.exception() == Some(ExceptionKind::Overloaded);
            words[if is_overloaded { REFUSED } else { OTHER }].fetch_add(1, Ordering::SeqCst);
            words[LEFT].fetch_add(1, Ordering::SeqCst);
            Ok(false)
        }
    }
}

/// Processes whose threads all end at once, in one of several ways, several of them at a time.
pub fn exits(findings: &mut Findings) -> Result<(), CallError> {
    let spawner = ProcessSpawner::granted()?;
    for _ in 0..3 {
        let mut all: [Option<Child>; 4] = [None; 4];
        for (place, role) in all.iter_mut().zip(["ends-process", "ends-threads", "ends-fault", "ends-memory"]) {
            *place = Some(Child::start(spawner, &wanted(role), &given(spawner.handle())?)?);
        }
        let ends = all.into_iter().flatten().map(Child::ended);
        for (end, expected) in ends.zip([End::Exit(3), End::Exit(4), End::Fault, End::Exit(5)]) {
            findings.equal("an end in a storm", end?, expected);
        }
    }
    Ok(())
}

/// Threads of a process that is to end.
const ENDING: u32 = 12;
static READY: AtomicU32 = AtomicU32::new(0);

/// Waits until all threads are there, then does it in all of them.
fn together(end: fn()) -> Result<(), CallError> {
    let attributes = Attributes { stack_bytes: thread::LEAST_STACK_BYTES, ..Attributes::default() };
    for _ in 1..ENDING {
        thread::spawn(attributes, move || arrive(end))?.detach();
    }
    arrive(end);
    loop {
        work();
    }
}

fn arrive(end: fn()) {
    READY.fetch_add(1, Ordering::SeqCst);
    while READY.load(Ordering::SeqCst) < ENDING {
        let _ = time::sleep(100_000);
    }
    end();
}

/// Has some of everything that is counted, for as long as nobody ends it.
fn keep() -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let _endpoint = EndpointFactory::granted()?.create()?;
    let _object = MemoryFactory::granted()?.create(4096)?;
    let space = ParkSpace::granted()?.handle();
    thread::spawn(Attributes::default(), move || i32::from(ring::current().park(space, &WORD, 0, None).is_err()))?;
    time::sleep(u64::MAX / 2)
}

/// What processes of these attacks do; `None`: it is no role of theirs.
pub fn child(role: &str) -> Option<i32> {
    let outcome = match role {
        "spin" => loop {
            work();
        },
        "exit" => Ok(()),
        "fork" => forking(),
        "keep" => keep(),
        "ends-process" => together(|| tessera_rt::exit(3)),
        "ends-threads" => together(|| {
            // The last one ends the process, with its code.
            let _ = ThreadControl::granted().map(|control| control.exit(4));
        }),
        "ends-fault" => together(tessera_rt::probe::execute_privileged),
        "ends-memory" => together(use_memory_and_exit),
        _ => return None,
    };
    Some(outcome.map_or(98, |()| 0))
}

fn forking() -> Result<(), CallError> {
    let memory = MemoryObject::named("words")?;
    let words = shared::map(&memory, 0, 4096)?;
    while fork(words, memory.handle())? {}
    Ok(())
}

/// One of the threads ends the process while the others map and use memory.
fn use_memory_and_exit() {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    let Ok(memory) = VirtualMemory::granted() else { return };
    if FIRST.fetch_add(1, Ordering::SeqCst) == ENDING / 2 {
        tessera_rt::exit(5);
    }
    while let Ok(area) = shared::allocate(&memory, 16 << 12) {
        area.iter().step_by(1024).for_each(|word| word.store(1, Ordering::Relaxed));
    }
    tessera_rt::exit(5);
}
