//! The records that the kernel prints: JSON lines that begin with `{"tessera":"`.
//!
//! Times are nanoseconds of the guest's clock since the run began. Counts are since the start of what they count.

use serde::{Deserialize, Deserializer, de::Error};
use std::{collections::BTreeSet, fmt};

/// How a record's line begins.
pub const RECORD_START: &str = "{\"tessera\":\"";

/// One record.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "tessera", rename_all = "lowercase")]
pub enum Record {
    /// The machine is up, its programs are about to start.
    Boot(Boot),
    /// A thread, each second and at the end.
    Thread(Thread),
    /// A CPU, each second and at the end.
    Cpu(Cpu),
    /// A program ended.
    Exit(Exit),
    /// What threads had that no other record tells, at the end.
    Silent(Silent),
    /// What a thread of a trace is called.
    Traced(TracedThread),
    /// Some of what a CPU did, in a run that is traced.
    Trace(TraceEvents),
    /// The run ended.
    End(End),
    /// A kind that this version does not judge.
    #[serde(other)]
    Other,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Boot {
    /// What the machine says of itself.
    pub machine: String,
    /// CPUs that are online.
    pub cpus: u32,
    /// The policy's name.
    pub policy: String,
    /// The request of a normal thread.
    #[serde(default = "default_request")]
    pub base_request_ns: u64,
}

const fn default_request() -> u64 {
    tessera_abi::scheduling::DEFAULT_REQUEST_NS
}

/// A thread. A program has one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Thread {
    /// When.
    pub at_ns: u64,
    /// Whether it is the last record of this thread.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Its number, unique in the run.
    pub id: u64,
    /// `program.instance`.
    pub name: String,
    /// Where it runs or ran last.
    pub cpu: Option<u32>,
    /// Weight.
    pub weight: u32,
    /// Latency class.
    pub class: String,
    /// Request length.
    pub request_ns: u64,
    /// The online CPUs that its mask permits.
    pub affinity: CpuList,
    /// State.
    pub state: String,
    /// Time that it ran.
    pub runtime_ns: u64,
    /// The same, times 64 / weight.
    pub virtual_runtime_ns: u64,
    /// Time that it waited for a CPU.
    pub runnable_ns: u64,
    /// Longest wait for a CPU.
    pub longest_wait_ns: u64,
    /// The most dispatches of others between a wake-up and its own.
    pub most_passed_by: u64,
    /// Longest time charged at once.
    pub longest_charge_ns: u64,
    /// Dispatches.
    pub dispatches: u64,
    /// Dispatches outside the mask of that moment.
    pub dispatches_outside: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Blocks of its own will.
    pub voluntary_blocks: u64,
    /// Dispatches on another CPU than the one before.
    pub migrations: u64,
    /// The program's own count of work done.
    pub progress: u64,
}

impl Thread {
    /// Whether it is the thread with which its process began. Others have their number behind a colon.
    pub fn is_main(&self) -> bool {
        !self.name.contains(':')
    }

    /// The program that the thread belongs to.
    pub fn program(&self) -> &str {
        let process = self.name.split_once(':').map_or(self.name.as_str(), |(process, _)| process);
        match process.rsplit_once('.') {
            Some((program, instance)) if instance.bytes().all(|byte| byte.is_ascii_digit()) => program,
            _ => process,
        }
    }
}

/// A CPU.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Cpu {
    /// When.
    pub at_ns: u64,
    /// Whether it is the last record of this CPU.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Its number.
    pub id: u32,
    /// Time since it came online.
    pub elapsed_ns: u64,
    /// Who ran: threads.
    pub thread_ns: u64,
    /// Who ran: interrupts and switches.
    pub interrupt_ns: u64,
    /// Who ran: nobody.
    pub idle_ns: u64,
    /// Who paid: scheduling contexts.
    pub paid_context_ns: u64,
    /// Who paid: threads' fair shares.
    pub paid_fair_ns: u64,
    /// Who paid: nobody, kernel work.
    pub paid_unattributed_ns: u64,
    /// Who paid: nobody, idle.
    pub paid_idle_ns: u64,
    /// Timer interrupts.
    pub fires: u64,
    /// Timer interrupts for which a grid point was armed and due.
    pub grid_fires: u64,
    /// Inter-processor interrupts received.
    pub kicks_received: u64,
    /// Threads taken from other CPUs.
    pub steals: u64,
    /// Switches to another thread.
    pub switches: u64,
    /// Longest time charged at once.
    pub longest_charge_ns: u64,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Exit {
    /// The manifest entry.
    pub name: String,
    /// Which instance of it.
    pub instance: u32,
    /// The code it exited with.
    pub code: Option<i64>,
    /// What it did, if the kernel ended it.
    pub fault: Option<String>,
}

/// The threads of processes whose ends are not printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Silent {
    /// How many there were.
    pub threads: u64,
    /// How long all of them ran.
    pub runtime_ns: u64,
}

/// What a thread of a trace is called.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TracedThread {
    /// The scheduler's number of it.
    pub thread: u64,
    /// Its number in the other records.
    pub id: u64,
    /// Its name there.
    pub name: String,
}

/// Some of what a CPU did.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TraceEvents {
    /// The CPU.
    pub cpu: u16,
    /// How much its ring lost; in its first record.
    #[serde(default)]
    pub dropped: u64,
    /// What it did, in order.
    pub events: Vec<TraceEvent>,
}

/// An event: when, what, which thread, on which CPU's queue, from which, and how many wait then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct TraceEvent(pub u64, pub Traced, pub u64, pub u16, pub u16, pub u32);

/// What a CPU did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Traced {
    /// Runs the thread from here on.
    Run,
    /// Runs nobody from here on: an interrupt or a switch.
    Interrupt,
    /// Has nothing to run from here on.
    Idle,
    /// Its thread has blocked.
    Block,
    /// Has seen the end of the thread.
    Exit,
    /// Has put a new thread on a queue.
    Start,
    /// Its thread has woken another.
    Wake,
    /// An interrupt of it, a timer most often, has woken the thread.
    Fire,
    /// Has moved the thread from one queue to another.
    Move,
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct End {
    /// When.
    pub at_ns: u64,
    /// Why.
    pub reason: String,
    /// `success` or `failure`, as the kernel sees it.
    pub status: String,
}

/// A set of CPUs, as text such as `0,2-3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuList(pub BTreeSet<u32>);

/// The highest CPU number that a list may hold.
const HIGHEST_CPU: u32 = 4095;

impl CpuList {
    /// Reads `0,2-3`; `None` if it is no such list.
    pub fn parse(text: &str) -> Option<Self> {
        let mut cpus = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high): (u32, u32) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
            if low > high || high > HIGHEST_CPU {
                return None;
            }
            cpus.extend(low..=high);
        }
        Some(Self(cpus))
    }
}

impl<'de> Deserialize<'de> for CpuList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format_args!("'{text}' is no list of CPUs")))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(low) = rest.next() {
            let mut high = low;
            while rest.next_if_eq(&(high + 1)).is_some() {
                high += 1;
            }
            if low == high {
                write!(f, "{separator}{low}")?
            } else {
                write!(f, "{separator}{low}-{high}")?
            }
            separator = ",";
        }
        Ok(())
    }
}

/// A line that begins like a record and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub finding: String,
}

/// Reads a serial line; `None` if it is no record but a line for people.
pub fn parse(line: &str) -> Option<Result<Record, RecordError>> {
    let line = line.trim_end();
    line.starts_with(RECORD_START).then(|| {
        serde_json::from_str(line).map_err(|error| RecordError { line: line.into(), finding: error.to_string() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people_are_no_records() {
        assert_eq!(parse("hog.0: {\"tessera\":\"end\"}"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_truncated_record_is_an_error_and_an_unknown_kind_is_not() {
        assert!(parse("{\"tessera\":\"cpu\",\"at_ns\":1").unwrap().is_err());
        assert!(parse("{\"tessera\":\"end\",\"at_ns\":1}").unwrap().is_err());
        assert_eq!(parse("{\"tessera\":\"conformance\",\"held\":9}").unwrap(), Ok(Record::Other));
    }

    #[test]
    fn an_exit_is_a_code_or_a_fault() {
        let line = "{\"tessera\":\"exit\",\"name\":\"hog\",\"instance\":3,\"fault\":\"page fault\"}\r";
        let exit = Exit { name: "hog".into(), instance: 3, code: None, fault: Some("page fault".into()) };
        assert_eq!(parse(line).unwrap(), Ok(Record::Exit(exit)));
    }

    #[test]
    fn cpu_lists_survive_both_directions() {
        for text in ["", "0", "0-3", "0,2-3,64"] {
            assert_eq!(CpuList::parse(text).unwrap().to_string(), text);
        }
        for text in ["3-1", "x", "0-9999999"] {
            assert_eq!(CpuList::parse(text), None);
        }
    }
}
