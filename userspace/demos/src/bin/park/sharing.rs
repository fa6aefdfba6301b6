//! Two processes meet at a word of shared memory that each has mapped elsewhere.

use core::sync::atomic::{AtomicU32, Ordering};
use demos::{
    Findings,
    child::{Child, End},
};
use tessera_rt::{
    CallError, Client,
    client::{MemoryFactory, MemoryObject, ParkSpace, ProcessSpawner, VirtualMemory, copied},
    generated::messages::SpawnParams,
    ring, shared,
};

/// Turns of each process.
const TURNS: u32 = 2000;
/// The word that both wait on.
const TURN: usize = 17;
/// Where the partner writes where it has mapped the memory, in pages.
const PLACE: usize = 18;

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let [memory] = MemoryFactory::granted()?.create(4096)?;
    // So that the two mappings stand at different addresses.
    shared::allocate(&VirtualMemory::granted()?, 3 * 4096)?;
    let words = shared::map(&MemoryObject::from_handle(memory), 0, 4096)?;
    let space = ParkSpace::granted()?.handle();
    let params = SpawnParams {
        binary: "park",
        name: "partner",
        arguments: "partner",
        class: 1,
        silent: 1,
        ..Default::default()
    };
    let given = [("memory", copied(memory)), ("space", copied(space))];
    let child = Child::start(ProcessSpawner::granted()?, &params, &given)?;
    take_turns(&words[TURN], 0)?;
    findings.equal("the partner", child.ended()?, End::Exit(0));
    findings.equal("turns", words[TURN].load(Ordering::SeqCst), 2 * TURNS);
    let (here, there) = ((words.as_ptr().addr() >> 12) as u32, words[PLACE].load(Ordering::SeqCst));
    findings.check(here != there && there != 0, format_args!("both have mapped it at page {here:#x}"));
    ring::current().release(memory)
}

pub fn partner() -> i32 {
    let run = || {
        let words = shared::map(&MemoryObject::granted()?, 0, 4096)?;
        words[PLACE].store((words.as_ptr().addr() >> 12) as u32, Ordering::SeqCst);
        take_turns(&words[TURN], 1)
    };
    run().map_or(1, |()| 0)
}

/// Counts up whenever the word's lowest bit is `parity`, and sleeps until the other one has.
fn take_turns(word: &AtomicU32, parity: u32) -> Result<(), CallError> {
    let (ring, space) = (ring::current(), ParkSpace::granted()?.handle());
    for _ in 0..TURNS {
        loop {
            let seen = word.load(Ordering::SeqCst);
            if seen % 2 == parity {
                break;
            }
            ring.park(space, word, seen, None)?;
        }
        word.fetch_add(1, Ordering::SeqCst);
        ring.unpark(space, word, 1)?;
    }
    Ok(())
}
