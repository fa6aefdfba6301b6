//! How the system looks in text: rows of tables, durations, and why a thread is not running.

use super::command::Tid;
use core::fmt;
use tessera_rt::{
    abi::scheduling::LatencyClass,
    generated::{
        interfaces,
        messages::{CapabilityRecord, ProcessRecord, ThreadRecord, WhyResults},
    },
};

/// Nanoseconds, with three digits and their unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nanoseconds(pub u64);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1_000_000 => (1_000, "us"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        write!(f, "{}.{:03} {name}", self.0 / unit, self.0 % unit * 1000 / unit)
    }
}

/// A part of a whole, in percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Percent {
    /// The part.
    pub part: u64,
    /// The whole.
    pub whole: u64,
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = u128::from(self.part) * 10_000 / u128::from(self.whole.max(1));
        write!(f, "{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

/// A thread's id as the operator names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadName(pub u64);

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 as u32, self.0 >> 32)
    }
}

/// Whether the operator means the thread with this id.
pub fn means(tid: Tid, id: u64) -> bool {
    tid.slot == id as u32 && tid.generation.is_none_or(|generation| u64::from(generation) == id >> 32)
}

/// The name of a thread's state.
pub const fn thread_state(ordinal: u16) -> &'static str {
    match ordinal {
        0 => "blocked",
        1 => "waking",
        2 => "queued",
        3 => "released later",
        4 => "handed a slice",
        5 => "running",
        6 => "exiting",
        _ => "unknown",
    }
}

/// The name of a process's state.
pub const fn process_state(ordinal: u16) -> &'static str {
    match ordinal {
        0 => "made",
        1 => "running",
        2 => "ending",
        3 => "ended",
        _ => "unknown",
    }
}

fn class(ordinal: u16) -> &'static str {
    LatencyClass::from_ordinal(ordinal).map_or("unknown", LatencyClass::name)
}

/// The head of the table of processes.
pub const PROCESS_HEAD: &str = "  PID PARENT STATE    THREADS   FRAMES   CAPS NAME";

/// A row of the table of processes.
pub struct ProcessRow<'a>(pub &'a ProcessRecord<'a>);

impl fmt::Display for ProcessRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcessRecord { process_id, parent_id, state, threads, frames, capabilities, name, .. } = self.0;
        let state = process_state(*state);
        write!(f, "{process_id:>5} {parent_id:>6} {state:<8} {threads:>7} {frames:>8} {capabilities:>6} {name}")
    }
}

/// The head of the table of threads.
pub const THREAD_HEAD: &str =
    "     TID   PID STATE          CPU WEIGHT CLASS            RUN TIME LONGEST WAIT   MIGR NAME";

/// A row of the table of threads.
pub struct ThreadRow<'a>(pub &'a ThreadRecord<'a>);

impl fmt::Display for ThreadRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ThreadRecord { thread_id, process_id, state, cpu, weight, runtime_ns, longest_wait_ns, migrations, .. } =
            self.0;
        // Padding is for texts, so what has a form of its own becomes one first.
        let tid = alloc::format!("{}", ThreadName(*thread_id));
        let ran = alloc::format!("{}", Nanoseconds(*runtime_ns));
        let waited = alloc::format!("{}", Nanoseconds(*longest_wait_ns));
        let (state, class, name) = (thread_state(*state), class(self.0.class), self.0.name);
        write!(
            f,
            "{tid:>8} {process_id:>5} {state:<14} {cpu:>3} {weight:>6} {class:<11} {ran:>13} {waited:>12} {migrations:>6} {name}"
        )
    }
}

/// The head of the table of capabilities.
pub const CAPABILITY_HEAD: &str = " SLOT           HANDLE INTERFACE";

/// A row of the table of capabilities.
pub struct CapabilityRow<'a>(pub &'a CapabilityRecord);

impl fmt::Display for CapabilityRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CapabilityRecord { slot, handle, interface, badge, revoked, .. } = self.0;
        write!(f, "{slot:>5} {handle:>#16x} ")?;
        match interfaces::name(*interface) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{interface:#x}")?,
        }
        if *badge != 0 {
            write!(f, ", badge {badge:#x}")?;
        }
        if *revoked != 0 { f.write_str(", revoked") } else { Ok(()) }
    }
}

/// Why a thread is not running.
pub struct Why<'a> {
    /// What the kernel says.
    pub results: &'a WhyResults<'a>,
    /// The time, nanoseconds since boot.
    pub now_ns: u64,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WhyResults { state, cpu, ahead, ahead_is_least, since_ns, waits_for, .. } = self.results;
        match state {
            5 => write!(f, "it is running on CPU {cpu}")?,
            2 => write!(f, "queued on CPU {cpu}")?,
            other => write!(f, "{}; it ran last on CPU {cpu}", thread_state(*other))?,
        }
        if *since_ns != 0 {
            write!(f, ", for {}", Nanoseconds(self.now_ns.saturating_sub(*since_ns)))?;
        }
        if *state == 2 {
            let least = if *ahead_is_least != 0 { "at least " } else { "" };
            write!(f, ", {least}{ahead} ahead of it")?;
        }
        if waits_for.is_empty() { Ok(()) } else { write!(f, ", waits for: {waits_for}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn durations_have_three_digits_and_their_unit() {
        for (ns, text) in [
            (0, "0.000 us"),
            (1_234, "1.234 us"),
            (999_999, "999.999 us"),
            (1_000_000, "1.000 ms"),
            (2_500_000_000, "2.500 s"),
            (u64::MAX, "18446744073.709 s"),
        ] {
            assert_eq!(Nanoseconds(ns).to_string(), text);
        }
        assert_eq!(Percent { part: 1, whole: 3 }.to_string(), "33.33");
        assert_eq!(Percent { part: u64::MAX, whole: u64::MAX }.to_string(), "100.00");
        assert_eq!(Percent { part: 0, whole: 0 }.to_string(), "0.00");
    }

    #[test]
    fn rows_stand_under_their_heads() {
        let process = ProcessRecord { process_id: 5, parent_id: 1, state: 1, name: "hog.0", ..Default::default() };
        let row = ProcessRow(&process).to_string();
        assert_eq!(row.find("hog.0"), PROCESS_HEAD.find("NAME"));
        assert_eq!(row.find("running"), PROCESS_HEAD.find("STATE"));
        let thread = ThreadRecord { thread_id: 2 << 32 | 3, state: 2, name: "hog.0", ..Default::default() };
        let row = ThreadRow(&thread).to_string();
        assert_eq!(row.find("hog.0"), THREAD_HEAD.find("NAME"));
        assert_eq!(row.find("queued"), THREAD_HEAD.find("STATE"));
        assert!(row.trim_start().starts_with("3:2 "));
        let capability = CapabilityRecord { interface: interfaces::timer::ID, revoked: 1, ..Default::default() };
        let row = CapabilityRow(&capability).to_string();
        assert_eq!(row.find("Timer, revoked"), CAPABILITY_HEAD.find("INTERFACE"));
    }

    #[test]
    fn a_slot_alone_means_whoever_has_it() {
        let id = 2 << 32 | 3;
        assert!(means(Tid { slot: 3, generation: None }, id) && means(Tid { slot: 3, generation: Some(2) }, id));
        assert!(!means(Tid { slot: 3, generation: Some(1) }, id) && !means(Tid { slot: 4, generation: None }, id));
    }

    #[test]
    fn why_says_state_queue_who_is_ahead_and_since_when() {
        let queued =
            WhyResults { found: 1, state: 2, cpu: 1, ahead: 4, ahead_is_least: 1, since_ns: 1_000_000, waits_for: "" };
        let why = Why { results: &queued, now_ns: 4_000_000 }.to_string();
        assert_eq!(why, "queued on CPU 1, for 3.000 ms, at least 4 ahead of it");
        let blocked = WhyResults { found: 1, waits_for: "a timer", ..Default::default() };
        let why = Why { results: &blocked, now_ns: 4_000_000 }.to_string();
        assert_eq!(why, "blocked; it ran last on CPU 0, waits for: a timer");
        let running = WhyResults { found: 1, state: 5, cpu: 3, ..Default::default() };
        assert_eq!(Why { results: &running, now_ns: 0 }.to_string(), "it is running on CPU 3");
    }
}
