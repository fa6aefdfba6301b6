//! SchedulingPolicyCap reaches another thread only together with that thread's handle, and fails closed after its end.

use crate::wanted;
use demos::{
    Findings,
    child::{Child, End},
    cpus::mask,
};
use tessera_rt::{
    CallError, Client, SchedulingPolicy, Timer,
    abi::{
        ring::TransportError,
        scheduling::{DEFAULT_WEIGHT, LatencyClass},
    },
    client::ProcessSpawner,
    message::{ExceptionKind, U64List},
    ring,
};

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let (policy, spawner) = (SchedulingPolicy::granted()?, ProcessSpawner::granted()?);
    let child = Child::start(spawner, &wanted("spin"), &[])?;
    let thread = child.main_thread()?;
    let handle = thread.handle();
    policy.set_weight_of(handle, 500)?;
    policy.set_latency_class_of(handle, LatencyClass::Batch as u16)?;
    policy.set_request_of(handle, 3_000_000)?;
    policy.set_affinity_of(handle, U64List::new(&mask(&[0])))?;
    let other = policy.snapshot_of(handle)?;
    findings.equal("the other's attributes", (other.weight, other.class), (500, LatencyClass::Batch as u16));
    findings.equal("the same by its handle", thread.snapshot()?.weight, 500);
    let own = policy.snapshot()?;
    findings.equal(
        "the caller's own attributes",
        (own.weight, own.class),
        (DEFAULT_WEIGHT, LatencyClass::Normal as u16),
    );
    let invalid = ExceptionKind::InvalidArgument;
    findings.excepted("a Timer as ThreadHandle", policy.set_weight_of(Timer::granted()?.handle(), 1), invalid);
    findings.excepted("weight 10001 for another", policy.set_weight_of(handle, 10_001), invalid);
    findings.excepted("weight 0 for another", policy.set_weight_of(handle, 0), invalid);
    findings.excepted("class 9 for another", policy.set_latency_class_of(handle, 9), invalid);
    findings.excepted("no CPU for another", policy.set_affinity_of(handle, U64List::new(&mask(&[]))), invalid);
    findings.refused("a handle of nothing", policy.set_weight_of(0xdead, 1), TransportError::InvalidHandle);
    findings.equal("after the refusals", policy.snapshot_of(handle)?.weight, 500);
    findings.equal("the child", child.killed()?, End::Killed);
    stale(findings, policy, spawner, handle)?;
    ring::current().release(handle)
}

/// The thread has ended; another one has its place, and must not feel anything.
fn stale(
    findings: &mut Findings,
    policy: SchedulingPolicy,
    spawner: ProcessSpawner,
    handle: u64,
) -> Result<(), CallError> {
    let heir = Child::start(spawner, &wanted("spin"), &[])?;
    let thread = heir.main_thread()?;
    let gone = ExceptionKind::Disconnected;
    findings.excepted("a weight after the end", policy.set_weight_of(handle, 7), gone);
    findings.excepted("a class after the end", policy.set_latency_class_of(handle, 0), gone);
    findings.excepted("a mask after the end", policy.set_affinity_of(handle, U64List::new(&mask(&[0]))), gone);
    findings.excepted("a request after the end", policy.set_request_of(handle, 1_000_000), gone);
    findings.excepted("a look after the end", policy.snapshot_of(handle), gone);
    let unchanged = (DEFAULT_WEIGHT, LatencyClass::Normal as u16);
    let (own, other) = (policy.snapshot()?, thread.snapshot()?);
    findings.equal("the caller", (own.weight, own.class), unchanged);
    findings.equal("the next process", (other.weight, other.class), unchanged);
    ring::current().release(thread.handle())?;
    findings.equal("the next process's end", heir.killed()?, End::Killed);
    Ok(())
}
