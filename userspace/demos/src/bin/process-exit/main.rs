//! A process may end at any point of what it does, and leaves nothing behind: the system's counts return to what they
//! were.
//!
//! Arguments: how many processes the random part makes (0: none), and a seed, if not the clock's. The first argument is
//! a name where the program is one of its own children. `large N`: makes and kills N processes with 1 GiB each.
#![no_std]
#![no_main]

mod calls;
mod cases;
mod children;
mod large;
mod storm;

use core::sync::atomic::AtomicU32;
use demos::{Findings, child::Given, resources::Baseline};
use tessera_rt::{
    CallError, Client,
    abi::transfer::TransferEntry,
    client::{
        Endpoint, EndpointFactory, MemoryFactory, MemoryObject, ParkSpace, ProcessSpawner, SystemInspector,
        ThreadControl, ThreadSpawner, VirtualMemory, copied,
    },
    generated::messages::{MintParams, SpawnParams},
    shared, start,
};

tessera_rt::entry!(main);

fn main() -> i32 {
    match start::argument(0) {
        Some("large") => large::run(demos::number(1).unwrap_or(1)),
        Some(role) if role.parse::<u64>().is_err() => children::run(role),
        _ => check(),
    }
}

fn check() -> i32 {
    let mut findings = Findings::default();
    findings.part("the proof", |findings| {
        let family = Family::new()?;
        // The first time fills what the kernel and this program keep for the next time.
        cases::check(findings, &family)?;
        calls::check(findings, &family)?;
        let before = Baseline::now(family.inspector)?;
        cases::check(findings, &family)?;
        calls::check(findings, &family)?;
        before.returned(findings, "each case")?;
        storm::check(findings, &family, &before)
    });
    findings.exit_code()
}

/// What the children are made with.
struct Family {
    spawner: ProcessSpawner,
    inspector: SystemInspector,
    /// Memory through which a child says how far it is.
    memory: u64,
    words: &'static [AtomicU32],
    space: u64,
    /// An endpoint of this program, and a client of it.
    endpoint: u64,
    client: u64,
}

/// The interface of the endpoint.
const INTERFACE: u64 = 0xd3a0_0000_0000_0002;

impl Family {
    fn new() -> Result<Self, CallError> {
        let [memory] = MemoryFactory::granted()?.create(4096)?;
        let words = shared::map(&MemoryObject::from_handle(memory), 0, 4096)?;
        let [endpoint] = EndpointFactory::granted()?.create()?;
        let [client] = Endpoint::from_handle(endpoint).mint(&MintParams { interface: INTERFACE, badge: 0 })?;
        let (spawner, inspector) = (ProcessSpawner::granted()?, SystemInspector::granted()?);
        let space = ParkSpace::granted()?.handle();
        Ok(Self { spawner, inspector, memory, words, space, endpoint, client })
    }

    /// What every child is given, and one more.
    fn given(&self, last: TransferEntry) -> Result<[Given<'static>; 9], CallError> {
        Ok([
            ("words", copied(self.memory)),
            ("space", copied(self.space)),
            ("timer", copied(tessera_rt::Timer::granted()?.handle())),
            ("spawner", copied(self.spawner.handle())),
            ("threads", copied(ThreadSpawner::granted()?.handle())),
            ("control", copied(ThreadControl::granted()?.handle())),
            ("memory", copied(VirtualMemory::granted()?.handle())),
            ("factory", copied(MemoryFactory::granted()?.handle())),
            ("call", last),
        ])
    }
}

/// How a child is asked for.
fn wanted(arguments: &str) -> SpawnParams<'_> {
    SpawnParams { binary: "process-exit", name: "child", arguments, class: 1, silent: 1, ..Default::default() }
}
