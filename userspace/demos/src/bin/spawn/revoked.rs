//! A revoked capability is good for nothing, wherever its copies are.

use crate::{Report, children::word, wanted};
use core::sync::atomic::Ordering;
use demos::{
    Findings,
    child::{Child, End},
};
use tessera_rt::{
    CallError, Client, SchedulingPolicy,
    abi::{ring::TransportError, scheduling::DEFAULT_WEIGHT},
    client::{CapabilityTable, ParkSpace, ProcessSpawner, Revoker, copied},
    generated::messages::NextCapabilityParams,
    ring,
};

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let (table, policy, ring) = (CapabilityTable::granted()?, SchedulingPolicy::granted()?, ring::current());
    let [copy, revoker] = table.revocable(&[copied(policy.handle())])?;
    let [copy_of_copy, late_revoker] = table.revocable(&[copied(copy)])?;
    let revocable = SchedulingPolicy::from_handle(copy);
    revocable.set_weight(DEFAULT_WEIGHT)?;
    SchedulingPolicy::from_handle(copy_of_copy).set_weight(DEFAULT_WEIGHT)?;
    let kept = child_changes(findings, copied(policy.handle()), None)?;
    findings.equal("the counterfactual: what nobody revoked", kept, (1, 200));
    let lost = child_changes(findings, copied(copy), Some(Revoker::from_handle(revoker)))?;
    findings.equal("a child's revoked copy", lost, (TransportError::Revoked as u32, 100));
    findings.refused("the revoked copy", revocable.set_weight(9), TransportError::Revoked);
    let derived = SchedulingPolicy::from_handle(copy_of_copy).set_weight(9);
    findings.refused("a copy that was derived from it", derived, TransportError::Revoked);
    let granted = Child::spawn(ProcessSpawner::granted()?, &wanted("exit 0"), &[("policy", copied(copy))]);
    findings.refused("a revoked grant", granted, TransportError::Revoked);
    findings.equal("the caller's weight", policy.snapshot()?.weight, DEFAULT_WEIGHT);
    findings.equal("its record says so", is_revoked(table, copy)?, Some(true));
    findings.equal("and that of the original does not", is_revoked(table, policy.handle())?, Some(false));
    // Revoking again is no error: it is good for nothing already.
    Revoker::from_handle(revoker).revoke()?;
    [copy, revoker, copy_of_copy, late_revoker].into_iter().try_for_each(|handle| ring.release(handle))
}

/// A child that changes its weight twice; before the second time `revoker` revokes what it does so with. What the second
/// change gave, and its weight afterwards.
fn child_changes(
    findings: &mut Findings,
    policy: tessera_rt::abi::transfer::TransferEntry,
    revoker: Option<Revoker>,
) -> Result<(u32, u16), CallError> {
    let (report, ring, space) = (Report::new()?, ring::current(), ParkSpace::granted()?.handle());
    let given = [report.given(), ("policy", policy), ("space", copied(space))];
    let child = Child::start(ProcessSpawner::granted()?, &wanted("change"), &given)?;
    let (turn, change) = (&report.words[word::TURN], &report.words[word::CHANGE]);
    while turn.load(Ordering::SeqCst) != 1 {
        ring.park(space, turn, 0, None)?;
    }
    revoker.map_or(Ok(()), |revoker| revoker.revoke())?;
    turn.store(2, Ordering::SeqCst);
    ring.unpark(space, turn, 1)?;
    while change.load(Ordering::SeqCst) == 0 {
        // Its word for the change comes before the unpark of the other one, so looking again now and then is enough.
        ring.park(space, turn, 2, Some(tessera_rt::time::now_ns().unwrap_or(0) + 1_000_000))?;
    }
    let thread = child.main_thread()?;
    let weight = thread.snapshot()?.weight;
    ring.release(thread.handle())?;
    findings.equal("the child", child.killed()?, End::Killed);
    ring.release(report.memory.handle())?;
    Ok((change.load(Ordering::SeqCst), weight))
}

fn is_revoked(table: CapabilityTable, handle: u64) -> Result<Option<bool>, CallError> {
    let mut after = 0;
    loop {
        let record = table.next(&NextCapabilityParams { process_id: 0, after })?;
        if record.found == 0 || record.handle == handle {
            return Ok((record.found != 0).then_some(record.revoked != 0));
        }
        after = u64::from(record.slot) + 1;
    }
}
