//! Whether a run gave what its target expects. Two witnesses: the kernel's accounting and the programs' own progress.
//!
//! Bounds. Where instructions are counted (icount) run times must be within 0.5 % of the fair share. Otherwise within
//! the longest request plus the longest single charge that was seen in this very run: a policy may be behind the fluid
//! ideal by one request, and a virtual CPU that its host stopped is charged for it at once. A host that stops the CPU on which
//! programs are started keeps the last one back: what lay between the first and the last start comes on top. Threads that may use several
//! CPUs get 10 % more, and what interrupts took from these CPUs unevenly, because balancing acts on whole threads. No
//! bound is a time on the wall.

mod accounting;
mod endings;
mod fairness;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use crate::{log::RunLog, target::Target};
use std::fmt;

/// How a run was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// CPUs of the machine.
    pub cpus: u16,
    /// Whether instructions were counted, so that times are exact.
    pub exact: bool,
    /// The part of its time in which a busy virtual CPU waited for one of the host's.
    pub waited: f64,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is as expected.
    pub good: bool,
    /// What was seen, and what was expected.
    pub text: String,
}

/// All that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether everything is as expected, and something was looked at.
    pub fn passed(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|finding| finding.good)
    }

    fn note(&mut self, good: bool, text: impl Into<String>) {
        self.findings.push(Finding { good, text: text.into() });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{:<7} {}", if finding.good { "ok" } else { "FAILED" }, finding.text)?;
        }
        let bad = self.findings.iter().filter(|finding| !finding.good).count();
        match (bad, self.findings.len()) {
            (_, 0) => writeln!(f, "verdict: FAILED, nothing was seen"),
            (0, all) => writeln!(f, "verdict: good, {all} findings"),
            (bad, all) => writeln!(f, "verdict: FAILED, {bad} of {all} findings"),
        }
    }
}

/// Judges a run.
pub fn judge(log: &RunLog, target: &Target, conditions: Conditions) -> Verdict {
    let mut verdict = Verdict::default();
    endings::judge(log, target, conditions, &mut verdict);
    accounting::judge(log, &mut verdict);
    fairness::judge(log, target, conditions, &mut verdict);
    verdict
}
