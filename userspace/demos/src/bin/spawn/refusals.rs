//! Bad values are refused, each with its own kind, and make nothing.

use crate::{children::count_capabilities, wanted};
use demos::{
    Findings,
    child::{Child, End},
    cpus::mask,
};
use tessera_rt::{
    CallError, Client, Timer,
    abi::{ring::TransportError, scheduling::MAX_REQUEST_NS, start::MAX_GRANTS},
    client::{ProcessHandle, ProcessSpawner, copied},
    generated::messages::{NarrowSpawnerParams, SpawnParams},
    message::{ExceptionKind, U64List},
    ring, start,
};

const LONG_NAME: &str = "a-name-of-more-than-forty-characters-is-too-long";
const LONG_GRANT: &str = "a-grant-of-more-than-31-characters";

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    // What a refusal kept of it would leave nothing for the last one.
    let [spawner] =
        ProcessSpawner::granted()?.narrow(&NarrowSpawnerParams { most_processes: 1, affinity: U64List::EMPTY })?;
    let spawner = ProcessSpawner::from_handle(spawner);
    let before = count_capabilities()?;
    let (nowhere, absent) = (mask(&[]), mask(&[0, 511]));
    let good = wanted("exit 0");
    let bad = [
        ("weight 10001", SpawnParams { weight: 10_001, ..good }),
        ("class 9", SpawnParams { class: 9, ..good }),
        ("an unknown binary", SpawnParams { binary: "nobody", ..good }),
        ("no name", SpawnParams { name: "", ..good }),
        ("a name with a space", SpawnParams { name: "a b", ..good }),
        ("a long name", SpawnParams { name: LONG_NAME, ..good }),
        ("a request of 101 ms", SpawnParams { request_ns: MAX_REQUEST_NS + 1_000_000, ..good }),
        ("a request of 1 ns", SpawnParams { request_ns: 1, ..good }),
        ("a mask without a CPU", SpawnParams { affinity: U64List::new(&nowhere), ..good }),
        ("a mask with CPU 511", SpawnParams { affinity: U64List::new(&absent), ..good }),
        ("a limit of 4097 threads", SpawnParams { threads: 4097, ..good }),
        ("a limit of 65537 capabilities", SpawnParams { capabilities: 65_537, ..good }),
    ];
    for (what, params) in bad {
        findings.excepted(what, Child::spawn(spawner, &params, &[]), ExceptionKind::InvalidArgument);
    }
    let timer = copied(Timer::granted()?.handle());
    findings.excepted(
        "a long grant name",
        Child::spawn(spawner, &good, &[(LONG_GRANT, timer)]),
        ExceptionKind::InvalidArgument,
    );
    findings.excepted(
        "two names for one grant",
        spawner.spawn(&SpawnParams { grant_names: "a b", ..good }, &[timer]),
        ExceptionKind::InvalidArgument,
    );
    findings.excepted("a grant without a name", spawner.spawn(&good, &[timer]), ExceptionKind::InvalidArgument);
    let too_many = spawner.spawn(&good, &[timer; MAX_GRANTS + 1]);
    findings.equal("17 grants", too_many.err(), Some(CallError::TooManyCapabilities(MAX_GRANTS + 1)));
    findings.refused(
        "a grant that is not held",
        Child::spawn(spawner, &good, &[("x", copied(0xdead))]),
        TransportError::InvalidHandle,
    );
    let all = [("g", timer); MAX_GRANTS];
    findings.equal("16 grants", Child::start(spawner, &good, &all)?.ended()?, End::Exit(0));
    findings.equal("capabilities, with what refusals left", count_capabilities()?, before);
    ring::current().release(spawner.handle())
}

/// A narrower spawner permits fewer processes, on fewer CPUs, and can be narrowed but not widened.
pub fn narrowed(findings: &mut Findings) -> Result<(), CallError> {
    let (spawner, first) = (ProcessSpawner::granted()?, mask(&[0]));
    let [narrow] = spawner.narrow(&NarrowSpawnerParams { most_processes: 2, affinity: U64List::new(&first) })?;
    let narrow = ProcessSpawner::from_handle(narrow);
    let params = wanted("spin");
    let one = Child::start(narrow, &params, &[])?;
    let two = Child::spawn(narrow, &params, &[])?;
    findings.excepted("a third process", Child::spawn(narrow, &params, &[]), ExceptionKind::Overloaded);
    let [narrower] = narrow.narrow(&NarrowSpawnerParams { most_processes: 9, affinity: U64List::EMPTY })?;
    let narrower = ProcessSpawner::from_handle(narrower);
    findings.excepted("one more by a derived spawner", Child::spawn(narrower, &params, &[]), ExceptionKind::Overloaded);
    findings.equal("one that was made and not started", two.killed()?, End::Killed);
    let three = Child::start(narrower, &params, &[])?;
    findings.equal("one that runs", three.killed()?, End::Killed);
    findings.equal("the first one", one.killed()?, End::Killed);
    if start::cpus() > 1 {
        let all = mask(&[0, 1]);
        let wider = narrow.narrow(&NarrowSpawnerParams { most_processes: 1, affinity: U64List::new(&all) });
        findings.excepted("a wider spawner", wider, ExceptionKind::InvalidArgument);
        let params = SpawnParams { affinity: U64List::new(&all), ..params };
        findings.excepted("a process on more CPUs", Child::spawn(narrow, &params, &[]), ExceptionKind::InvalidArgument);
        // The counterfactual: the spawner that it was derived from permits it.
        findings.equal("the same by the wide one", Child::spawn(spawner, &params, &[])?.killed()?, End::Killed);
    }
    let ring = ring::current();
    ring.release(narrower.handle())?;
    ring.release(narrow.handle())
}

/// Start, wait, kill and info, also twice and late.
pub fn handles(findings: &mut Findings) -> Result<(), CallError> {
    let spawner = ProcessSpawner::granted()?;
    let child = Child::spawn(spawner, &wanted("exit 42"), &[])?;
    let info = child.info()?;
    findings.equal("before its start", (info.state, info.threads, info.process_id), (0, 1, child.id));
    child.process.start()?;
    findings.equal("exit 42", child.wait()?, End::Exit(42));
    findings.excepted("a second start", child.process.start(), ExceptionKind::Failed);
    findings.equal("waiting again", child.wait()?, End::Exit(42));
    child.process.kill()?;
    findings.equal("a kill that is late", child.wait()?, End::Exit(42));
    let info = child.info()?;
    findings.equal("after its end", (info.state, info.threads, info.capabilities), (3, 0, 0));
    child.release()?;
    let outcome = ProcessHandle::from_handle(child.process.handle()).info();
    findings.refused("a handle that was given up", outcome, TransportError::InvalidHandle);
    let child = Child::start(spawner, &wanted("exit -5"), &[])?;
    findings.equal("exit -5", child.ended()?, End::Exit(-5));
    let child = Child::start(spawner, &wanted("fault"), &[])?;
    findings.equal("a privileged instruction", child.ended()?, End::Fault);
    let timer = ("timer", copied(Timer::granted()?.handle()));
    let child = Child::start(spawner, &wanted("sleep"), &[timer])?;
    findings.equal("a sleeper that was killed", child.killed()?, End::Killed);
    let child = Child::start(spawner, &wanted("spin"), &[])?;
    findings.check(child.info()?.state == 1, format_args!("a process that runs does not say so"));
    findings.equal("a spinner that was killed", child.killed()?, End::Killed);
    Ok(())
}
