//! ProcessSpawner, ProcessHandle and SchedulingPolicyCap: what is asked for is what a process gets, and nothing that is
//! refused changes anything.
//!
//! Without arguments it is the parent that checks; the first argument makes it one of the parent's children.
#![no_std]
#![no_main]

mod attributes;
mod children;
mod limits;
mod refusals;
mod revoked;
mod scheduling;

use demos::{Findings, child::Given};
use tessera_rt::{
    CallError, Client, SchedulingPolicy,
    client::{MemoryFactory, MemoryObject, copied},
    generated::messages::SpawnParams,
    shared, start,
};

tessera_rt::entry!(main);

fn main() -> i32 {
    match start::argument(0) {
        None => check(),
        Some(role) => children::run(role),
    }
}

fn check() -> i32 {
    let mut findings = Findings::default();
    findings.part("attributes", attributes::check);
    findings.part("refusals", refusals::check);
    findings.part("narrowed spawners", refusals::narrowed);
    findings.part("handles", refusals::handles);
    findings.part("limits", limits::check);
    findings.part("moved grants", limits::moves);
    findings.part("scheduling", scheduling::check);
    findings.part("revocation", revoked::check);
    findings.exit_code()
}

/// How the parent asks for a child.
fn wanted(arguments: &str) -> SpawnParams<'_> {
    SpawnParams { binary: "spawn", name: "child", arguments, class: 1, silent: 1, ..Default::default() }
}

/// Memory that a child writes its report to.
struct Report {
    memory: MemoryObject,
    words: &'static [core::sync::atomic::AtomicU32],
}

impl Report {
    fn new() -> Result<Self, CallError> {
        let [memory] = MemoryFactory::granted()?.create(4096)?;
        let memory = MemoryObject::from_handle(memory);
        let words = shared::map(&memory, 0, 4096)?;
        Ok(Self { memory, words })
    }

    fn given(&self) -> Given<'static> {
        ("report", copied(self.memory.handle()))
    }

    fn read(&self, word: usize) -> u32 {
        self.words.get(word).map_or(u32::MAX, |word| word.load(core::sync::atomic::Ordering::SeqCst))
    }
}

fn policy() -> Result<Given<'static>, CallError> {
    Ok(("policy", copied(SchedulingPolicy::granted()?.handle())))
}
