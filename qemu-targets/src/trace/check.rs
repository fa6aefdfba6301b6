//! Whether a trace says the same as the accounts of its run.

use crate::log::RunLog;
use crate::records::{Thread, Traced};
use sim::trace::{Slice, Trace};
use std::collections::BTreeMap;
use std::fmt;
use tessera_hal::Instant;

/// What agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Slices of all CPUs.
    pub slices: usize,
    /// CPUs whose slices add up to the time of threads in their account.
    pub cpus: usize,
    /// Threads whose slices add up to the run time in their account.
    pub threads: usize,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slices, cpus, threads } = self;
        write!(f, "{slices} slices add up to the accounts of {cpus} CPUs and {threads} threads")
    }
}

/// Where a trace and the accounts say different things.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// There is no trace.
    #[error("nothing was traced")]
    Nothing,
    /// The rings were too small for the run.
    #[error("{dropped} events were lost: everything is there until {until_ns} ns only")]
    Dropped {
        /// How many events.
        dropped: u64,
        /// When the first was lost.
        until_ns: u64,
    },
    /// The run has no last accounts.
    #[error("the run has not printed its last accounts")]
    NoAccounts,
    /// A CPU runs something before what it ran before.
    #[error("CPU {cpu}: an event of {at_ns} ns follows a later one")]
    OutOfOrder {
        /// The CPU.
        cpu: u16,
        /// When.
        at_ns: u64,
    },
    /// Two slices of a thread, or of a CPU, overlap.
    #[error("{who} has two slices at {at_ns} ns")]
    Overlap {
        /// Whose.
        who: String,
        /// When.
        at_ns: u64,
    },
    /// Slices do not add up.
    #[error("{who}: slices of {slices_ns} ns, {account_ns} ns in the account")]
    Sum {
        /// Whose.
        who: String,
        /// What the slices add up to.
        slices_ns: u64,
        /// What the account says.
        account_ns: u64,
    },
}

/// Compares the trace of a run with its last accounts. A thread that has ended was accounted for a moment before its last
/// decision, so its slices may be longer; its CPU's sum still has to be exact.
pub fn check(log: &RunLog) -> Result<Agreement, Disagreement> {
    if log.trace.is_empty() {
        return Err(Disagreement::Nothing);
    }
    if let (dropped @ 1.., Some(until_ns)) = (log.trace.dropped(), log.trace.whole_until_ns()) {
        return Err(Disagreement::Dropped { dropped, until_ns });
    }
    check_order(log)?;
    let end = log.end.as_ref().ok_or(Disagreement::NoAccounts)?;
    let trace = log.trace.trace(end.at_ns);
    let slices: Vec<Slice> = trace.slices().collect();
    check_overlaps(&slices, |slice| slice.cpu.index(), |cpu| format!("CPU {cpu}"))?;
    check_overlaps(&slices, |slice| slice.thread.index(), |thread| trace.threads[thread].clone())?;
    let cpus = check_cpus(log, &slices)?;
    let threads = check_threads(log, &trace, &slices)?;
    Ok(Agreement { slices: slices.len(), cpus, threads })
}

fn check_order(log: &RunLog) -> Result<(), Disagreement> {
    for (&cpu, ring) in &log.trace.cpus {
        let own = ring.events.iter().filter(|event| matches!(event.1, Traced::Run | Traced::Interrupt | Traced::Idle));
        let mut last = 0;
        for event in own {
            if event.0 < last {
                return Err(Disagreement::OutOfOrder { cpu, at_ns: event.0 });
            }
            last = event.0;
        }
    }
    Ok(())
}

fn check_overlaps(
    slices: &[Slice],
    whose: impl Fn(&Slice) -> usize,
    name: impl Fn(usize) -> String,
) -> Result<(), Disagreement> {
    let mut ends = BTreeMap::<usize, Instant>::new();
    let mut slices = slices.to_vec();
    slices.sort_by_key(|slice| slice.begin);
    for slice in &slices {
        let end = ends.entry(whose(slice)).or_insert(slice.begin);
        if slice.begin < *end {
            return Err(Disagreement::Overlap { who: name(whose(slice)), at_ns: slice.begin.as_nanos() });
        }
        *end = slice.end;
    }
    Ok(())
}

fn sum(slices: &[Slice], is_wanted: impl Fn(&Slice) -> bool) -> u64 {
    let lengths = slices.iter().filter(|slice| is_wanted(slice));
    lengths.map(|slice| slice.end.saturating_duration_since(slice.begin).as_nanos()).sum()
}

fn check_cpus(log: &RunLog, slices: &[Slice]) -> Result<usize, Disagreement> {
    if log.cpus.is_empty() || log.cpus.values().any(|cpu| !cpu.is_final) {
        return Err(Disagreement::NoAccounts);
    }
    for cpu in log.cpus.values() {
        let slices_ns = sum(slices, |slice| slice.cpu.index() == cpu.id as usize);
        if slices_ns != cpu.thread_ns {
            return Err(Disagreement::Sum { who: format!("CPU {}", cpu.id), slices_ns, account_ns: cpu.thread_ns });
        }
    }
    Ok(log.cpus.len())
}

fn check_threads(log: &RunLog, trace: &Trace, slices: &[Slice]) -> Result<usize, Disagreement> {
    let accounts: Vec<&Thread> = log.threads.values().chain(&log.init).filter(|thread| thread.is_final).collect();
    for account in &accounts {
        let index = trace.threads.iter().position(|name| *name == account.name);
        let slices_ns = sum(slices, |slice| Some(slice.thread.index()) == index);
        let agrees = match account.state.as_str() {
            "exited" => slices_ns >= account.runtime_ns,
            _ => slices_ns == account.runtime_ns,
        };
        if !agrees {
            let who = account.name.clone();
            return Err(Disagreement::Sum { who, slices_ns, account_ns: account.runtime_ns });
        }
    }
    Ok(accounts.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{End, TraceEvent, TraceEvents, TracedThread};
    use crate::verdict::sample;

    /// A run of one CPU on which `piece.0` ran for 5 ns and `other.0` for 9, with what the trace says of it.
    fn run(events: &[TraceEvent], dropped: u64) -> RunLog {
        let mut log = sample::fairness(&[("piece", 64, 5), ("other", 64, 9)]);
        log.init = None;
        log.cpus.retain(|&id, _| id == 0);
        for cpu in log.cpus.values_mut() {
            (cpu.is_final, cpu.thread_ns) = (true, 14);
        }
        let threads: Vec<(u64, String)> = log.threads.values().map(|thread| (thread.id, thread.name.clone())).collect();
        for (id, name) in threads {
            log.trace.name(TracedThread { thread: 100 + id, id, name });
        }
        for (thread, runtime) in log.threads.values_mut().zip([5, 9]) {
            (thread.is_final, thread.runtime_ns, thread.state) = (true, runtime, "queued".to_owned());
        }
        log.trace.add(TraceEvents { cpu: 0, dropped, events: events.to_vec() });
        log.end = Some(End { at_ns: 50, reason: String::new(), status: String::new() });
        log
    }

    fn ids(log: &RunLog) -> Vec<u64> {
        log.threads.keys().map(|id| 100 + id).collect()
    }

    fn event(at: u64, what: Traced, thread: u64) -> TraceEvent {
        TraceEvent(at, what, thread, 0, 0, 0)
    }

    fn good() -> Vec<TraceEvent> {
        let ids = ids(&run(&[], 0));
        vec![
            event(10, Traced::Run, ids[0]),
            event(15, Traced::Run, ids[1]),
            event(20, Traced::Interrupt, 0),
            event(30, Traced::Run, ids[1]),
            event(34, Traced::Idle, 0),
        ]
    }

    #[test]
    fn a_trace_that_says_what_the_accounts_say_agrees() {
        assert_eq!(check(&run(&good(), 0)), Ok(Agreement { slices: 3, cpus: 1, threads: 2 }));
    }

    #[test]
    fn every_lie_is_found() {
        let mut missing = good();
        missing.remove(2);
        let expected = Disagreement::Sum { who: "CPU 0".to_owned(), slices_ns: 24, account_ns: 14 };
        assert_eq!(check(&run(&missing, 0)), Err(expected), "an interrupt that is left out is the thread's time");
        let mut other = good();
        other[1] = event(14, Traced::Run, other[1].2);
        assert!(matches!(check(&run(&other, 0)), Err(Disagreement::Sum { slices_ns: 4 | 10, .. })));
        let mut early = good();
        early[3] = event(19, Traced::Run, early[3].2);
        assert_eq!(check(&run(&early, 0)), Err(Disagreement::OutOfOrder { cpu: 0, at_ns: 19 }));
        let dropped = Disagreement::Dropped { dropped: 7, until_ns: 34 };
        assert_eq!(check(&run(&good(), 7)), Err(dropped));
        assert_eq!(check(&run(&[], 0)), Err(Disagreement::Nothing));
        let mut unfinished = run(&good(), 0);
        unfinished.cpus.values_mut().for_each(|cpu| cpu.is_final = false);
        assert_eq!(check(&unfinished), Err(Disagreement::NoAccounts));
    }

    #[test]
    fn a_thread_on_two_cpus_at_once_is_found() {
        let mut log = run(&good(), 0);
        let (thread, name) = (ids(&log)[0], log.threads.values().next().unwrap().name.clone());
        let events = vec![event(12, Traced::Run, thread), event(13, Traced::Idle, 0)];
        log.trace.add(TraceEvents { cpu: 1, dropped: 0, events });
        assert_eq!(check(&log), Err(Disagreement::Overlap { who: name, at_ns: 12 }));
    }

    #[test]
    fn one_that_has_ended_may_have_run_a_moment_longer_and_not_shorter() {
        let ended = |runtime: u64| {
            let mut log = run(&good(), 0);
            let thread = log.threads.values_mut().next().unwrap();
            (thread.state, thread.runtime_ns) = ("exited".to_owned(), runtime);
            check(&log).is_ok()
        };
        assert_eq!([4, 5, 6].map(ended), [true, true, false]);
    }
}
