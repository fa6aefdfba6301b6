//! The only program that the kernel starts: it makes what the manifest names, starts it, and waits for its end.
//!
//! Nothing is started before everything could be made, and nothing is started twice. Exit code: 0 if every program exited
//! with 0, else 1.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;
use services::init::{self, End, NotHeld};
use tessera_rt::{
    CallError, Client,
    abi::{limits::OUTSTANDING_OPERATIONS, ring::SQ_ENTRIES, transfer::TransferEntry},
    client::{Endpoint, EndpointFactory, ProcessSpawner, copied},
    generated::{
        interfaces::process_handle,
        messages::{Empty, MintParams, NarrowSpawnerParams, ProcessEnding},
    },
    message::{Message, U64List},
    println,
    ring::{self, MethodId, operations::Callee, pending::Pending},
    start,
};
use tessera_schema::manifest::{Manifest, ManifestError, Program, Source};

tessera_rt::entry!(main);

/// Calls that are under way at a time; some are left for printing.
const WINDOW: usize = OUTSTANDING_OPERATIONS - 4;
/// Room for how a process ended.
const ENDING_BYTES: usize = 512;

const _: () = assert!(WINDOW <= SQ_ENTRIES as usize);

/// Why init gave up.
enum Failure<'a> {
    NoManifest,
    Manifest(ManifestError),
    NotHeld(NotHeld<'a>),
    Endpoint(&'a str, CallError),
    Grant { program: &'a str, grant: &'a str, error: CallError },
    Spawn { program: &'a str, instance: u16, error: CallError },
    Start(CallError),
    Wait(CallError),
    Release(CallError),
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest => write!(f, "the kernel gave no manifest"),
            Self::Manifest(error) => write!(f, "manifest: {error}"),
            Self::NotHeld(grant) => write!(f, "{grant}"),
            Self::Endpoint(name, error) => write!(f, "endpoint {name}: {error}"),
            Self::Grant { program, grant, error } => write!(f, "{program}: grant {grant}: {error}"),
            Self::Spawn { program, instance, error } => write!(f, "{program}.{instance}: {error}"),
            Self::Start(error) => write!(f, "cannot start a program: {error}"),
            Self::Release(error) => write!(f, "cannot give a capability up: {error}"),
            Self::Wait(error) => write!(f, "cannot wait for a program: {error}"),
        }
    }
}

fn main() -> i32 {
    match run() {
        Ok(0) => 0,
        Ok(bad) => {
            println!("{bad} programs did not end well");
            1
        }
        Err(failure) => {
            println!("{failure}");
            1
        }
    }
}

/// Runs everything; gives how many programs did not end well.
fn run() -> Result<usize, Failure<'static>> {
    let bytes = start::manifest().ok_or(Failure::NoManifest)?;
    let manifest = Manifest::read(bytes).map_err(Failure::Manifest)?;
    init::check(&manifest, |capability| start::granted(capability.name()).is_some()).map_err(Failure::NotHeld)?;
    let endpoints = make_endpoints(&manifest)?;
    let mut made = Vec::new();
    for program in manifest.programs() {
        make_instances(program, &manifest, &endpoints, &mut made)?;
    }
    // A server's end is the end of its endpoint, so nobody else keeps it.
    release(endpoints.iter().map(Endpoint::handle))?;
    start_all(&made).map_err(Failure::Start)?;
    wait_for_all(&made).map_err(Failure::Wait)
}

/// An instance that was made.
struct Instance<'a> {
    program: &'a str,
    number: u16,
    process: u64,
}

fn make_endpoints(manifest: &Manifest<'static>) -> Result<Vec<Endpoint>, Failure<'static>> {
    let make = |name| {
        let made = EndpointFactory::granted().and_then(|factory| factory.create());
        made.map(|[handle]| Endpoint::from_handle(handle)).map_err(|error| Failure::Endpoint(name, error))
    };
    manifest.endpoints().iter().map(|endpoint| make(endpoint.name)).collect()
}

fn make_instances(
    program: &Program<'static>,
    manifest: &Manifest<'static>,
    endpoints: &[Endpoint],
    made: &mut Vec<Instance<'static>>,
) -> Result<(), Failure<'static>> {
    let mut given: Vec<TransferEntry> = Vec::new();
    let mut own = Vec::new();
    for grant in &program.grants {
        let failure = |error| Failure::Grant { program: program.name, grant: grant.name, error };
        let (handle, is_own) = capability(grant.source, manifest, endpoints).map_err(failure)?;
        given.push(copied(handle));
        own.extend(is_own.then_some(handle));
    }
    let names = init::grant_names(program);
    for number in 0..program.count {
        let failure = |error| Failure::Spawn { program: program.name, instance: number, error };
        let params = init::spawn_params(program, &names, number.into());
        let spawner = ProcessSpawner::granted().map_err(failure)?;
        let (_, [process]) = spawner.spawn(&params, &given).map_err(failure)?;
        made.push(Instance { program: program.name, number, process });
    }
    release(own)
}

/// The capability that a grant copies, and whether it was made for that alone.
fn capability(source: Source, manifest: &Manifest<'_>, endpoints: &[Endpoint]) -> Result<(u64, bool), CallError> {
    match source {
        Source::Kernel(capability) => {
            let grant = start::granted(capability.name()).ok_or(CallError::NotGranted(capability.interface()))?;
            Ok((grant.handle, false))
        }
        Source::Spawner { most_processes } => {
            let params = NarrowSpawnerParams { most_processes: most_processes.get(), affinity: U64List::EMPTY };
            let [narrow] = ProcessSpawner::granted()?.narrow(&params)?;
            Ok((narrow, true))
        }
        // The reader has checked the numbers of endpoints.
        Source::Server { endpoint } => Ok((endpoints[endpoint].handle(), false)),
        Source::Client { endpoint, badge } => {
            let interface = manifest.endpoints()[endpoint].interface;
            let [client] = endpoints[endpoint].mint(&MintParams { interface, badge })?;
            Ok((client, true))
        }
    }
}

/// Gives up what only the programs are to have.
fn release(handles: impl IntoIterator<Item = u64>) -> Result<(), Failure<'static>> {
    handles.into_iter().try_for_each(|handle| ring::current().release(handle)).map_err(Failure::Release)
}

/// Begins a call without parameters of a process's handle.
fn begin(process: u64, method: u16, results_bytes: usize) -> Result<Pending, CallError> {
    let mut params = [0; 16];
    let length = Empty {}.encode(&mut params)?;
    let method = MethodId { interface: process_handle::ID, method };
    let callee = Callee { handle: process, method };
    ring::current().begin_call(callee, params.get(..length).unwrap_or_default(), &[], results_bytes, 0)
}

/// Starts everything, many with one entry into the kernel.
fn start_all(made: &[Instance<'_>]) -> Result<(), CallError> {
    for batch in made.chunks(WINDOW) {
        let begun: Result<Vec<_>, _> =
            batch.iter().map(|instance| begin(instance.process, process_handle::START, ENDING_BYTES)).collect();
        for start in begun? {
            start.wait()?;
        }
    }
    Ok(())
}

/// Waits for everything; gives how many did not end well. At most [`WINDOW`] are waited for at a time, in the order in
/// which they were made: the others' ends are seen when it is their turn.
fn wait_for_all(made: &[Instance<'_>]) -> Result<usize, CallError> {
    let (mut waits, mut instances) = (Vec::new(), Vec::new());
    let mut next = made.iter();
    let mut bad = 0;
    loop {
        for instance in next.by_ref().take(WINDOW - waits.len()) {
            waits.push(begin(instance.process, process_handle::WAIT, ENDING_BYTES)?);
            instances.push(instance);
        }
        let Some((place, ended)) = ring::current().wait_any(&mut waits)? else { return Ok(bad) };
        drop(waits.swap_remove(place));
        let instance: &Instance<'_> = instances.swap_remove(place);
        let ended = ended?;
        let end = End::from(ProcessEnding::decode(ended.results())?);
        if !end.is_good() {
            println!("{}.{} {end}", instance.program, instance.number);
            bad += 1;
        }
        ring::current().release(instance.process)?;
    }
}
