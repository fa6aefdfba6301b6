//! Two processes for each CPU wait at a gate until all have come. Then it opens, and all of them have work that is done
//! when all have begun: it is for the scheduler to spread them, at whatever pace a host runs its CPUs.
//!
//! What each CPU has run is in the kernel's accounts.
#![no_std]
#![no_main]

use core::{
    hint,
    sync::atomic::{AtomicU32, Ordering},
};
use demos::{
    Findings,
    child::{Child, End},
};
use tessera_rt::{
    CallError, Client,
    client::{MemoryFactory, MemoryObject, ParkSpace, ProcessSpawner, copied},
    generated::messages::SpawnParams,
    ring, shared, start,
};

tessera_rt::entry!(main);

/// Processes for each CPU.
const EACH: u32 = 2;
/// The most processes.
const MOST: usize = 1024;

fn main() -> i32 {
    if start::argument(0) == Some("piece") {
        return piece().map_or(1, |()| 0);
    }
    let mut findings = Findings::default();
    findings.part("a crowd", run);
    findings.exit_code()
}

/// Where all meet. Each of the first two words is slept on until it is 0.
struct Gate {
    absent: &'static AtomicU32,
    closed: &'static AtomicU32,
    /// Those who have not begun. Nobody sleeps on this.
    pending: &'static AtomicU32,
    space: u64,
}

impl Gate {
    fn of(memory: &MemoryObject) -> Result<Self, CallError> {
        let [absent, closed, pending, ..] = shared::map(memory, 0, 4096)? else {
            unreachable!("a page has three words")
        };
        Ok(Self { absent, closed, pending, space: ParkSpace::granted()?.handle() })
    }

    fn wait_for(&self, word: &AtomicU32) -> Result<(), CallError> {
        loop {
            match word.load(Ordering::SeqCst) {
                0 => return Ok(()),
                seen => ring::current().park(self.space, word, seen, None)?,
            };
        }
    }

    fn wake_all(&self, word: &AtomicU32) -> Result<u32, CallError> {
        ring::current().unpark(self.space, word, u32::MAX)
    }
}

fn run(findings: &mut Findings) -> Result<(), CallError> {
    let [memory] = MemoryFactory::granted()?.create(4096)?;
    let gate = Gate::of(&MemoryObject::from_handle(memory))?;
    let pieces = start::cpus() * EACH;
    gate.absent.store(pieces, Ordering::SeqCst);
    gate.pending.store(pieces, Ordering::SeqCst);
    gate.closed.store(1, Ordering::SeqCst);
    let params =
        SpawnParams { binary: "crowd", name: "piece", arguments: "piece", class: 1, silent: 1, ..Default::default() };
    let given = [("memory", copied(memory)), ("space", copied(gate.space))];
    let mut children = [None; MOST];
    for (instance, place) in (0..pieces).zip(&mut children) {
        *place = Some(Child::start(ProcessSpawner::granted()?, &SpawnParams { instance, ..params }, &given)?);
    }
    gate.wait_for(gate.absent)?;
    gate.closed.store(0, Ordering::SeqCst);
    gate.wake_all(gate.closed)?;
    let mut ended = 0;
    for child in children.into_iter().flatten() {
        findings.equal("a piece's end", child.ended()?, End::Exit(0));
        ended += 1;
    }
    findings.equal("pieces", ended, pieces);
    Ok(())
}

fn piece() -> Result<(), CallError> {
    let gate = Gate::of(&MemoryObject::granted()?)?;
    if gate.absent.fetch_sub(1, Ordering::SeqCst) == 1 {
        gate.wake_all(gate.absent)?;
    }
    gate.wait_for(gate.closed)?;
    gate.pending.fetch_sub(1, Ordering::SeqCst);
    while gate.pending.load(Ordering::SeqCst) != 0 {
        hint::spin_loop();
    }
    Ok(())
}
