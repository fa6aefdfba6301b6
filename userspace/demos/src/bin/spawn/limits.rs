//! Limits that a spawner sets, and grants that move.

use crate::{Report, wanted};
use demos::{
    Findings,
    child::{Child, End},
};
use tessera_rt::{
    CallError, Client, Timer,
    abi::ring::TransportError,
    client::{ParkSpace, ProcessSpawner, ThreadControl, ThreadSpawner, VirtualMemory, copied, moved},
    generated::messages::SpawnParams,
    message::ExceptionKind,
    ring,
};

/// Threads of the child that counts how many it can make.
const THREADS: u32 = 5;

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let spawner = ProcessSpawner::granted()?;
    let good = wanted("exit 0");
    let timer = ("t", copied(Timer::granted()?.handle()));
    let few_frames = Child::spawn(spawner, &SpawnParams { frames: 4, ..good }, &[]);
    findings.excepted("4 frames", few_frames, ExceptionKind::Overloaded);
    let few_capabilities = Child::spawn(spawner, &SpawnParams { capabilities: 1, ..good }, &[timer; 2]);
    findings.excepted("2 grants in a table of 1", few_capabilities, ExceptionKind::Overloaded);
    let enough = Child::start(spawner, &SpawnParams { capabilities: 2, ..good }, &[timer; 2])?;
    findings.equal("2 grants in a table of 2", enough.ended()?, End::Exit(0));
    let memory = ("memory", copied(VirtualMemory::granted()?.handle()));
    let child = Child::start(spawner, &SpawnParams { frames: 2000, ..wanted("allocate") }, &[memory])?;
    findings.equal("memory until the limit", child.ended()?, End::Exit(0));
    let threads = [
        memory,
        ("threads", copied(ThreadSpawner::granted()?.handle())),
        ("control", copied(ThreadControl::granted()?.handle())),
        ("space", copied(ParkSpace::granted()?.handle())),
    ];
    let child = Child::start(spawner, &SpawnParams { threads: THREADS, ..wanted("threads") }, &threads)?;
    findings.equal("threads until the limit, beside the first", child.ended()?, End::Exit(THREADS as i32 - 1));
    Ok(())
}

/// A grant that moves leaves the parent when, and only when, the process was made.
pub fn moves(findings: &mut Findings) -> Result<(), CallError> {
    let spawner = ProcessSpawner::granted()?;
    let report = Report::new()?;
    let given = [("report", moved(report.memory.handle()))];
    let refused = Child::spawn(spawner, &SpawnParams { class: 9, ..wanted("exit 0") }, &given);
    findings.excepted("class 9", refused, ExceptionKind::InvalidArgument);
    findings.equal("the memory is still the parent's", report.memory.info()?.bytes, 4096);
    let refused = Child::spawn(spawner, &SpawnParams { frames: 4, ..wanted("exit 0") }, &given);
    findings.excepted("4 frames", refused, ExceptionKind::Overloaded);
    findings.equal("the memory is the parent's yet", report.memory.info()?.bytes, 4096);
    let twice = [given[0], given[0]];
    let refused = Child::spawn(spawner, &wanted("exit 0"), &twice);
    findings.refused("to move twice", refused, TransportError::BadCapabilities);
    findings.equal("the memory is the parent's after that", report.memory.info()?.bytes, 4096);
    let child = Child::start(spawner, &wanted("exit 0"), &given)?;
    findings.refused("the moved memory", report.memory.info(), TransportError::InvalidHandle);
    findings.equal("the child with the memory", child.ended()?, End::Exit(0));
    // The counterfactual: a copy stays.
    let report = Report::new()?;
    Child::start(spawner, &wanted("exit 0"), &[report.given()])?.ended()?;
    findings.equal("the copied memory", report.memory.info()?.bytes, 4096);
    ring::current().release(report.memory.handle())
}
