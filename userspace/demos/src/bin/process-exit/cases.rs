//! One end at each point.

use crate::{Family, children::READY, wanted};
use core::sync::atomic::Ordering;
use demos::{
    Findings,
    child::{Child, End},
    cpus::mask,
};
use tessera_rt::{
    CallError, abi::ring::ParkOutcome, client::copied, generated::messages::SpawnParams, message::U64List, ring, start,
};

impl Family {
    /// Starts a child and waits until it says that it is about to do what it is for.
    pub fn start_ready(
        &self,
        params: &SpawnParams<'_>,
        last: tessera_rt::abi::transfer::TransferEntry,
    ) -> Result<Child, CallError> {
        let ready = &self.words[READY];
        let before = ready.load(Ordering::SeqCst);
        let child = Child::start(self.spawner, params, &self.given(last)?)?;
        while ready.load(Ordering::SeqCst) == before {
            let outcome = ring::current().park(self.space, ready, before, None)?;
            debug_assert!(outcome != ParkOutcome::TimedOut);
        }
        Ok(child)
    }
}

pub fn check(findings: &mut Findings, family: &Family) -> Result<(), CallError> {
    let last = start::cpus() - 1;
    let client = copied(family.client);
    for role in ["spin", "park", "sleep", "join", "threads", "memory"] {
        for cpu in [0, last] {
            let words = mask(&[cpu]);
            let params = SpawnParams { affinity: U64List::new(&words), ..wanted(role) };
            let child = family.start_ready(&params, client)?;
            findings.equal(role, child.killed()?, End::Killed);
        }
    }
    // Not started, and killed before the first instruction.
    let child = Child::spawn(family.spawner, &wanted("spin"), &family.given(client)?)?;
    findings.equal("one that was never started", child.killed()?, End::Killed);
    let child = Child::start(family.spawner, &wanted("spin"), &family.given(client)?)?;
    findings.equal("one that was just started", child.killed()?, End::Killed);
    // The handle is given up, nobody waits, and it ends all the same.
    let child = family.start_ready(&wanted("exit"), client)?;
    child.release()?;
    // With a child of its own.
    let child = family.start_ready(&wanted("parent"), client)?;
    let end = child.killed()?;
    findings.check([End::Killed, End::Exit(0)].contains(&end), format_args!("a parent ended with {end:?}"));
    let child = family.start_ready(&wanted("fault"), client)?;
    findings.equal("a fault", child.ended()?, End::Fault);
    Ok(())
}
