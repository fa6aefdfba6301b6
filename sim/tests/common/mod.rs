//! What the tests share.
#![allow(dead_code)] // Each test binary uses another part.

use kernel_core::sched::Policy;
use sim::engine::{self, Fault, Outcome};
use sim::result::TaskReport;
use sim::workload::{Options, Workload, read};

pub const POLICIES: [Policy; 2] = [Policy::Wfq, Policy::Eevdf];

pub fn workload(text: &str) -> Workload {
    match read(text.as_bytes(), &Options::default()) {
        Ok(workload) => workload,
        Err(error) => panic!("{error}\n{text}"),
    }
}

pub fn options(policy: Policy) -> engine::Options {
    engine::Options { policy, seed: 1, check: true, trace: true }
}

/// Runs a valid workload; nothing may be violated.
pub fn run(text: &str, policy: Policy) -> Outcome {
    match try_run(text, policy) {
        Ok(outcome) => {
            assert_eq!(outcome.violations, Vec::<String>::new(), "{text}");
            outcome
        }
        Err(fault) => panic!("{fault}\n{text}"),
    }
}

pub fn try_run(text: &str, policy: Policy) -> Result<Outcome, Fault> {
    engine::run(&workload(text), &options(policy), &mut |_| ())
}

/// The task of this name.
pub fn task<'a>(outcome: &'a Outcome, name: &str) -> &'a TaskReport {
    outcome.report.tasks.iter().find(|task| task.name == name).unwrap_or_else(|| panic!("no task {name}"))
}
