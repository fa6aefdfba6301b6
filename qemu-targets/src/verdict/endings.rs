//! Whether the run was whole and ended as it must, with every program's end seen and no other.

use super::{Conditions, Verdict};
use crate::{
    log::RunLog,
    records::{Exit, Thread},
    target::{BusyCpus, ExpectedEnd, ExpectedExit, Target},
};

pub fn judge(log: &RunLog, target: &Target, conditions: Conditions, verdict: &mut Verdict) {
    for error in &log.malformed {
        verdict.note(false, format!("a record cannot be read ({}): {}", error.finding, error.line));
    }
    match &log.boot {
        Some(boot) => verdict.note(
            boot.cpus == u32::from(conditions.cpus),
            format!("{} of {} CPUs are online, policy {}", boot.cpus, conditions.cpus, boot.policy),
        ),
        None => verdict.note(false, "the machine has not said that it booted"),
    }
    end_of_run(log, target, verdict);
    threads(log, target, conditions, verdict);
    if target.expect.busy_cpus == BusyCpus::Half {
        busy_cpus(log, conditions, verdict);
    }
    for expected in &target.expect.exit {
        expected_exit(log, target, conditions, expected, verdict);
    }
    for name in &target.expect.runs_on {
        runs_on(log, target, conditions, name, verdict);
    }
    says(log, target, verdict);
    // What programs have started themselves is theirs to judge.
    let ours = |exit: &&Exit| target.manifest.programs.iter().any(|program| program.name() == exit.name);
    let expected = |exit: &Exit| target.expect.exit.iter().any(|expected| expected.name == exit.name);
    for exit in log.exits.iter().filter(ours).filter(|exit| !expected(exit)) {
        verdict.note(false, format!("{}.{} ended unexpectedly: {}", exit.name, exit.instance, describe(exit)));
    }
}

/// What the console must show, in order; each text is looked for behind the one before.
fn says(log: &RunLog, target: &Target, verdict: &mut Verdict) {
    let mut lines = log.texts.iter();
    for text in &target.expect.says {
        let found = lines.any(|line| line.contains(text.as_str()));
        verdict.note(found, format!("the console {} '{text}'", if found { "shows" } else { "does not show" }));
        if !found {
            return;
        }
    }
}

fn end_of_run(log: &RunLog, target: &Target, verdict: &mut Verdict) {
    let Some(end) = &log.end else {
        verdict.note(false, "the run has not reached its end");
        return;
    };
    let wanted = match target.expect.end {
        ExpectedEnd::Time => "time is up",
        ExpectedEnd::AllExited => "all programs have exited",
    };
    let good = end.reason == wanted && end.status == "success";
    let text = format!("the run ended after {:.3} s: {} ({})", end.at_ns as f64 / 1e9, end.reason, end.status);
    verdict.note(good, if good { text } else { format!("{text}, expected: {wanted} (success)") });
}

/// Every instance of every program must have reported at the end.
fn threads(log: &RunLog, target: &Target, conditions: Conditions, verdict: &mut Verdict) {
    let wanted: usize =
        target.manifest.programs.iter().map(|program| usize::from(program.count.resolve(conditions.cpus))).sum();
    let ours = |thread: &&Thread| target.manifest.programs.iter().any(|program| program.name() == thread.program());
    let reported = log.main_threads().filter(ours).filter(|thread| thread.is_final).count();
    verdict.note(reported == wanted, format!("{reported} of {wanted} threads reported at the end"));
}

fn busy_cpus(log: &RunLog, conditions: Conditions, verdict: &mut Verdict) {
    let busy = log.cpus.values().filter(|cpu| cpu.thread_ns > 0).count();
    let wanted = usize::from(conditions.cpus).div_ceil(2);
    verdict.note(busy >= wanted, format!("{busy} of {} CPUs ran threads, at least {wanted} must", conditions.cpus));
}

fn runs_on(log: &RunLog, target: &Target, conditions: Conditions, name: &str, verdict: &mut Verdict) {
    let wanted = target.instances(name, conditions.cpus);
    let alive = |thread: &&Thread| {
        thread.is_main() && thread.program() == name && thread.state != "exited" && thread.progress > 0
    };
    let seen = log.threads.values().filter(alive).count();
    verdict.note(seen == wanted, format!("{seen} of {wanted} instances of {name} ran on and made progress"));
}

fn expected_exit(
    log: &RunLog,
    target: &Target,
    conditions: Conditions,
    expected: &ExpectedExit,
    verdict: &mut Verdict,
) {
    let wanted = target.instances(&expected.name, conditions.cpus);
    let exits: Vec<&Exit> = log.exits.iter().filter(|exit| exit.name == expected.name).collect();
    let how = match expected.fault.as_slice() {
        [] => format!("with code {}", expected.code.unwrap_or(0)),
        faults => format!("by a fault '{}...'", faults.join("...' or '")),
    };
    let mut instances: Vec<u32> = exits.iter().map(|exit| exit.instance).collect();
    instances.sort_unstable();
    instances.dedup();
    let good = exits.iter().filter(|exit| matches(exit, expected)).count();
    let all = good == wanted && exits.len() == wanted && instances.len() == wanted;
    let text = format!("{good} of {wanted} instances of {} ended {how}", expected.name);
    match exits.iter().find(|exit| !matches(exit, expected)) {
        Some(other) => verdict.note(false, format!("{text}; instance {}: {}", other.instance, describe(other))),
        None => verdict.note(all, text),
    }
}

fn matches(exit: &Exit, expected: &ExpectedExit) -> bool {
    match &exit.fault {
        Some(fault) => expected.fault.iter().any(|beginning| fault.starts_with(beginning.as_str())),
        None => expected.fault.is_empty() && exit.code == Some(expected.code.unwrap_or(0)),
    }
}

fn describe(exit: &Exit) -> String {
    match (&exit.fault, exit.code) {
        (Some(fault), _) => fault.clone(),
        (None, Some(code)) => format!("code {code}"),
        (None, None) => "neither code nor fault".into(),
    }
}
