//! The end of a process with a great deal of memory, beside programs that must not feel it.

use core::sync::atomic::Ordering;
use demos::{
    Findings,
    child::{Child, End},
};
use tessera_rt::{
    CallError, Client,
    client::{MemoryFactory, MemoryObject, ParkSpace, ProcessSpawner, VirtualMemory, copied},
    generated::messages::SpawnParams,
    ring, shared, start,
};

/// What a child allocates, and how much of it it touches.
const BYTES: u64 = 1 << 30;
const TOUCHED: usize = 64 << 20;
/// Frames of 4 KiB: the memory, its tables, and the program.
const FRAMES: u32 = (BYTES / 4096) as u32 + 4096;

/// Makes and kills so many, one after the other. With a second argument it is the child.
pub fn run(count: u64) -> i32 {
    if start::argument(1) == Some("child") {
        return child().map_or(1, |()| 0);
    }
    let mut findings = Findings::default();
    findings.part("large processes", |findings| (0..count).try_for_each(|_| one(findings)));
    findings.exit_code()
}

fn one(findings: &mut Findings) -> Result<(), CallError> {
    let [memory] = MemoryFactory::granted()?.create(4096)?;
    let words = shared::map(&MemoryObject::from_handle(memory), 0, 4096)?;
    let (ring, space) = (ring::current(), ParkSpace::granted()?.handle());
    let given =
        [("words", copied(memory)), ("space", copied(space)), ("memory", copied(VirtualMemory::granted()?.handle()))];
    let params = SpawnParams { frames: FRAMES, ..crate::wanted("large child") };
    let child = Child::start(ProcessSpawner::granted()?, &params, &given)?;
    while words[0].load(Ordering::SeqCst) == 0 {
        ring.park(space, &words[0], 0, None)?;
    }
    let frames = child.info()?.frames;
    findings.check(u64::from(frames) * 4096 >= BYTES, format_args!("the child was promised {frames} frames"));
    findings.equal("the large child", child.killed()?, End::Killed);
    ring.release(memory)?;
    start::progress().fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn child() -> Result<(), CallError> {
    let words = shared::map(&MemoryObject::named("words")?, 0, 4096)?;
    let large = shared::allocate(&VirtualMemory::granted()?, BYTES)?;
    for page in large.iter().step_by(1024).take(TOUCHED / 4096) {
        page.store(1, Ordering::Relaxed);
    }
    words[0].store(1, Ordering::SeqCst);
    ring::current().unpark(ParkSpace::granted()?.handle(), &words[0], 1)?;
    loop {
        demos::work();
    }
}
