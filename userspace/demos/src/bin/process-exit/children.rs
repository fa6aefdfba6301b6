//! What the children do until their end.

use core::sync::atomic::Ordering;
use demos::{child::Child, work};
use tessera_rt::{
    CallError, Client, Timer,
    client::{Endpoint, EndpointClient, MemoryFactory, MemoryObject, ParkSpace, ProcessSpawner, VirtualMemory},
    generated::messages::{AllocateParams, MapMemoryParams},
    ring::{self, operations::ReceiveBuffer},
    shared, start,
    thread::{self, Attributes},
};

/// What a child can be in the middle of.
pub const ROLES: [&str; 10] = ["spin", "exit", "park", "sleep", "join", "threads", "parent", "memory", "call", "fault"];

/// Where a child says that it is about to do what it is for.
pub const READY: usize = 0;

pub fn run(role: &str) -> i32 {
    let outcome = match role {
        "exit" => ready(),
        "spin" => ready().map(|()| spin()),
        "park" => park(),
        "sleep" => ready().and_then(|()| Timer::granted()?.sleep(u64::MAX - 1)),
        "join" => join(),
        "threads" => threads(),
        "parent" => parent(),
        "memory" => memory(),
        "call" => call(),
        "serve" => serve(),
        "fault" => ready().map(|()| tessera_rt::probe::execute_privileged()),
        _ => return 99,
    };
    outcome.map_or(98, |()| 0)
}

fn spin() {
    loop {
        work();
    }
}

/// Says that it is there.
pub fn ready() -> Result<(), CallError> {
    let words = shared::map(&MemoryObject::named("words")?, 0, 4096)?;
    words[READY].fetch_add(1, Ordering::SeqCst);
    ring::current().unpark(ParkSpace::granted()?.handle(), &words[READY], u32::MAX).map(drop)
}

/// On a word that nobody changes.
fn park() -> Result<(), CallError> {
    let words = shared::map(&MemoryObject::named("words")?, 0, 4096)?;
    ready()?;
    ring::current().park(ParkSpace::granted()?.handle(), &words[100], 0, None).map(drop)
}

/// Waits for a thread of its own that never ends.
fn join() -> Result<(), CallError> {
    let other = thread::spawn(Attributes::default(), spin)?;
    ready()?;
    other.join().map(drop)
}

/// One that spins, one that parks, one that sleeps, one that has ended.
fn threads() -> Result<(), CallError> {
    thread::spawn(Attributes::default(), spin)?.detach();
    thread::spawn(Attributes::default(), || park().map_or(1, |()| 0))?.detach();
    thread::spawn(Attributes::default(), || {
        Timer::granted().and_then(|timer| timer.sleep(u64::MAX - 1)).map_or(1, |()| 0)
    })?
    .detach();
    thread::spawn(Attributes::default(), || 7)?.join()?;
    spin();
    Ok(())
}

/// Waits for a child of its own, which goes on without it and exits.
fn parent() -> Result<(), CallError> {
    let given = [("words", "words"), ("space", "space")]
        .map(|(name, held)| (name, tessera_rt::client::copied(start::granted(held).map_or(0, |grant| grant.handle))));
    let child = Child::start(ProcessSpawner::granted()?, &crate::wanted("exit"), &given)?;
    ready()?;
    child.ended().map(drop)
}

/// Private memory and an object of its own, both touched, one mapped twice.
fn memory() -> Result<(), CallError> {
    let (bytes, memory) = (64 << 12, VirtualMemory::granted()?);
    let [object] = MemoryFactory::granted()?.create(bytes)?;
    let object = MemoryObject::from_handle(object);
    let areas = [shared::allocate(&memory, bytes)?, shared::map(&object, 0, bytes)?];
    object.map(&MapMemoryParams { offset: 4096, bytes: 4096, access: 1 })?;
    memory.allocate(&AllocateParams { bytes: 1 << 20, access: 1 })?;
    ready()?;
    for word in areas.iter().flat_map(|area| area.iter().step_by(1024)) {
        word.store(1, Ordering::Relaxed);
    }
    spin();
    Ok(())
}

/// Calls a server that does not answer.
fn call() -> Result<(), CallError> {
    let client = EndpointClient::named("call").ok_or(CallError::NotGranted(crate::INTERFACE))?;
    ready()?;
    client.call(0, b"?", &mut [0; 128]).map(drop)
}

/// Receives a call, says so, and never answers.
fn serve() -> Result<(), CallError> {
    let endpoint = Endpoint::named("call")?.handle();
    let mut buffer = ReceiveBuffer::new();
    let _ = ring::current().receive(endpoint, &mut buffer)?;
    ready()?;
    spin();
    Ok(())
}
