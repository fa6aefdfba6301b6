//! A child has exactly the grants and the attributes that its parent named, before its first instruction.

use crate::{Report, children::word, policy, wanted};
use demos::{
    Findings,
    child::{Child, End, Given},
    cpus::mask,
};
use tessera_rt::{
    CallError, Client,
    abi::scheduling::{DEFAULT_WEIGHT, LatencyClass},
    client::{CapabilityTable, ProcessSpawner, copied},
    generated::messages::SpawnParams,
    message::U64List,
    start,
};

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let last = start::cpus() - 1;
    let cases = [
        (0, LatencyClass::Normal, DEFAULT_WEIGHT, 0),
        (1, LatencyClass::Batch, 1, last),
        (10_000, LatencyClass::Interactive, 10_000, 0),
        (300, LatencyClass::IpcServer, 300, last),
    ];
    for (instance, (weight, class, expected, cpu)) in cases.into_iter().enumerate() {
        let words = mask(&[cpu]);
        let params = SpawnParams {
            weight,
            class: class as u16,
            instance: instance as u32,
            affinity: U64List::new(&words),
            ..wanted("report report policy table")
        };
        let report = run(findings, &params)?;
        findings.equal("the weight", report.read(word::WEIGHT), expected.into());
        findings.equal("the class", report.read(word::CLASS), class as u32);
        findings.equal("the instance", report.read(word::INSTANCE), instance as u32);
        let is_there = [cpu, u32::MAX].contains(&report.read(word::CPU));
        findings.check(is_there, format_args!("asked for CPU {cpu}, ran on {}", report.read(word::CPU)));
        let refused = report.read(word::WIDER_REFUSED);
        findings.equal("a wider mask was refused", refused, (start::cpus() > 1).into());
    }
    let first = mask(&[0]);
    // Nothing is left from those before: defaults again.
    let report =
        run(findings, &SpawnParams { affinity: U64List::new(&first), ..wanted("report report policy table") })?;
    findings.equal("the default weight", report.read(word::WEIGHT), DEFAULT_WEIGHT.into());
    findings.equal("the default class", report.read(word::CLASS), LatencyClass::Normal as u32);
    // The counterfactual: with another list of grants the child says so.
    let params = SpawnParams { affinity: U64List::new(&first), ..wanted("report report policy table extra") };
    let report = start_and_wait(findings, &params)?;
    findings.equal("a grant that was not given was found", report.read(word::GRANTS_MATCH), 0);
    Ok(())
}

fn run(findings: &mut Findings, params: &SpawnParams<'_>) -> Result<Report, CallError> {
    let report = start_and_wait(findings, params)?;
    findings.equal("the grants are those that were named", report.read(word::GRANTS_MATCH), 1);
    findings.equal("capabilities in the child's table", report.read(word::CAPABILITIES), 3);
    Ok(report)
}

fn start_and_wait(findings: &mut Findings, params: &SpawnParams<'_>) -> Result<Report, CallError> {
    let report = Report::new()?;
    let table = ("table", copied(CapabilityTable::granted()?.handle()));
    let given: [Given<'_>; 3] = [report.given(), policy()?, table];
    let child = Child::start(ProcessSpawner::granted()?, params, &given)?;
    findings.equal("the child's end", child.ended()?, End::Exit(0));
    Ok(report)
}
