//! Who makes the attackers and looks at what they leave behind.

use crate::{ATTACKS, faults, random, victim};
use alloc::format;
use demos::{
    Findings,
    child::{Child, End, Given},
    number,
    resources::Baseline,
};
use tessera_rt::{
    CallError, Client, Console, SchedulingPolicy, Timer,
    client::{
        CapabilityTable, EndpointFactory, MemoryFactory, ParkSpace, ProcessSpawner, SystemInspector, ThreadControl,
        ThreadSpawner, VirtualMemory, copied,
    },
    generated::messages::{NarrowSpawnerParams, SpawnParams},
    message::U64List,
    println,
    ring::{self, operations::ReceiveBuffer},
    start,
};

/// Random submissions, unless the argument says otherwise.
const SUBMISSIONS: u64 = 100_000;
/// How many processes an attacker can have at a time.
pub const PROCESSES: u32 = 24;
/// The most frames of an attacker: 24 MiB.
pub const FRAMES: u32 = 6144;
/// The most threads: so many that they can use up the parks of their process.
pub const THREADS: u32 = 80;

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let (warden, before) = Warden::warm(findings)?;
    for (role, _) in ATTACKS {
        warden.attack(findings, role)?;
        before.returned(findings, role)?;
    }
    faults::check(findings, &warden)?;
    before.returned(findings, "faults")?;
    random_part(findings, &warden, &before)
}

/// Random submissions alone.
pub fn check_random(findings: &mut Findings) -> Result<(), CallError> {
    let (warden, before) = Warden::warm(findings)?;
    random_part(findings, &warden, &before)
}

fn random_part(findings: &mut Findings, warden: &Warden, before: &Baseline) -> Result<(), CallError> {
    let (count, seed) = (number(1).unwrap_or(SUBMISSIONS), number(2).map_or_else(random::fresh_seed, Ok)?);
    println!("{count} random submissions, seed {seed}");
    let arguments = format!("random {count} {seed}");
    warden.attack(findings, &arguments)?;
    before.returned(findings, &arguments)
}

/// What attackers are made with.
pub struct Warden {
    spawner: ProcessSpawner,
    /// What they can make processes with.
    narrow: u64,
}

impl Warden {
    fn new() -> Result<Self, CallError> {
        let spawner = ProcessSpawner::granted()?;
        let few = NarrowSpawnerParams { most_processes: PROCESSES, affinity: U64List::EMPTY };
        let [narrow] = spawner.narrow(&few)?;
        Ok(Self { spawner, narrow })
    }

    /// A warden, and what the system has after a first attack, which fills what this program keeps for the next time, and
    /// when the victims have made the calls that they wait on.
    fn warm(findings: &mut Findings) -> Result<(Self, Baseline), CallError> {
        let warden = Self::new()?;
        hear_the_victims()?;
        warden.attack(findings, "harmless")?;
        let before = Baseline::now(SystemInspector::granted()?)?;
        warden.keep(findings, &before)?;
        Ok((warden, before))
    }

    /// Starts an attacker with everything that one can have.
    pub fn start(&self, arguments: &str) -> Result<Child, CallError> {
        Child::start(self.spawner, &wanted(arguments), &given(self.narrow)?)
    }

    /// The counterfactual: what a process has and does not give back is seen in every count.
    fn keep(&self, findings: &mut Findings, before: &Baseline) -> Result<(), CallError> {
        let keeper = self.start("keep")?;
        before.grown(findings, "a process keeps some of everything")?;
        findings.equal("keep", keeper.killed()?, End::Killed);
        before.returned(findings, "keep")
    }

    /// Lets an attacker do its worst, and waits for its end.
    fn attack(&self, findings: &mut Findings, arguments: &str) -> Result<(), CallError> {
        let end = self.start(arguments)?.ended()?;
        findings.equal(arguments, end, End::Exit(0));
        start::progress().fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

/// Receives the victims' calls and leaves them unanswered: they end with this program.
fn hear_the_victims() -> Result<(), CallError> {
    let end = start::granted(victim::END).ok_or(CallError::NotGranted(0))?.handle;
    let mut buffer = ReceiveBuffer::new();
    (0..victim::COUNT).try_for_each(|_| ring::current().receive(end, &mut buffer).map(drop))
}

/// How an attacker is asked for.
pub fn wanted(arguments: &str) -> SpawnParams<'_> {
    SpawnParams {
        binary: "hostile",
        name: "attacker",
        arguments,
        class: 1,
        silent: 1,
        frames: FRAMES,
        threads: THREADS,
        ..Default::default()
    }
}

/// All that this program has, with `spawner` to make processes with.
pub fn given(spawner: u64) -> Result<[Given<'static>; 12], CallError> {
    Ok([
        ("console", copied(Console::granted()?.handle())),
        ("timer", copied(Timer::granted()?.handle())),
        ("policy", copied(SchedulingPolicy::granted()?.handle())),
        ("threads", copied(ThreadSpawner::granted()?.handle())),
        ("control", copied(ThreadControl::granted()?.handle())),
        ("memory", copied(VirtualMemory::granted()?.handle())),
        ("space", copied(ParkSpace::granted()?.handle())),
        ("objects", copied(MemoryFactory::granted()?.handle())),
        ("endpoints", copied(EndpointFactory::granted()?.handle())),
        ("table", copied(CapabilityTable::granted()?.handle())),
        ("inspector", copied(SystemInspector::granted()?.handle())),
        ("spawner", copied(spawner)),
    ])
}

/// Gives capabilities up.
pub fn release_all(handles: &[u64]) -> Result<(), CallError> {
    handles.iter().try_for_each(|handle| ring::current().release(*handle))
}
