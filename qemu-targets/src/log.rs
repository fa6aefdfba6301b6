//! What a run has said so far: the latest record of each thread and CPU, every exit, and what could not be read.

use crate::records::{Boot, Cpu, End, Exit, Record, RecordError, Silent, Thread, parse};
use crate::trace::TraceLog;
use std::collections::BTreeMap;

/// The program that the kernel starts. It is no part of what a target asks for.
const INIT: &str = "init";

/// The records of a run.
#[derive(Clone, Debug, Default)]
pub struct RunLog {
    /// The machine, once it has booted.
    pub boot: Option<Boot>,
    /// The latest record of each thread, by its number; not of init's.
    pub threads: BTreeMap<u64, Thread>,
    /// The latest record of init, which starts everything and then waits.
    pub init: Option<Thread>,
    /// The latest record of each CPU.
    pub cpus: BTreeMap<u32, Cpu>,
    /// Every program that has ended, in order; not init.
    pub exits: Vec<Exit>,
    /// The end of init.
    pub init_exit: Option<Exit>,
    /// What threads had that were not reported.
    pub silent: Silent,
    /// What the CPUs did, if the run is traced.
    pub trace: TraceLog,
    /// The end of the run.
    pub end: Option<End>,
    /// Lines for people, in order.
    pub texts: Vec<String>,
    /// Lines that begin like a record and are none.
    pub malformed: Vec<RecordError>,
}

/// What a line was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fed {
    /// A line for people.
    Text,
    /// A record, not the last one of a report.
    Record,
    /// The last record of a report: a good moment to show the table.
    ReportComplete,
}

impl RunLog {
    /// Takes a serial line.
    pub fn feed(&mut self, line: &str) -> Fed {
        match parse(line) {
            None => {
                self.texts.push(line.to_owned());
                Fed::Text
            }
            Some(Ok(record)) => self.take(record),
            Some(Err(error)) => {
                self.malformed.push(error);
                Fed::Record
            }
        }
    }

    fn take(&mut self, record: Record) -> Fed {
        match record {
            Record::Boot(boot) => self.boot = Some(boot),
            // The boot CPU may print what it has seen of a thread after that thread's CPU has printed its last record.
            Record::Thread(thread) if self.has_ended(&thread) => {}
            Record::Thread(thread) if thread.program() == INIT => self.init = Some(thread),
            Record::Thread(thread) => drop(self.threads.insert(thread.id, thread)),
            Record::Cpu(cpu) => {
                let is_last = self.boot.as_ref().is_some_and(|boot| cpu.id + 1 == boot.cpus);
                self.cpus.insert(cpu.id, cpu);
                return if is_last { Fed::ReportComplete } else { Fed::Record };
            }
            Record::Exit(exit) if exit.name == INIT => self.init_exit = Some(exit),
            Record::Exit(exit) => self.exits.push(exit),
            Record::Silent(silent) => self.silent = silent,
            Record::Traced(thread) => self.trace.name(thread),
            Record::Trace(events) => self.trace.add(events),
            Record::End(end) => self.end = Some(end),
            Record::Other => {}
        }
        Fed::Record
    }

    /// The request of a normal thread.
    pub fn base_request_ns(&self) -> u64 {
        self.boot.as_ref().map_or(tessera_abi::scheduling::DEFAULT_REQUEST_NS, |boot| boot.base_request_ns)
    }

    /// Whether the last record of this thread was seen, and this one is not it.
    fn has_ended(&self, thread: &Thread) -> bool {
        let known = self.threads.get(&thread.id).or(self.init.as_ref().filter(|init| init.id == thread.id));
        !thread.is_final && known.is_some_and(|last| last.is_final)
    }

    /// The threads of manifest entries: the first thread of each instance, not those that it has made itself.
    pub fn main_threads(&self) -> impl Iterator<Item = &Thread> {
        self.threads.values().filter(|thread| thread.is_main())
    }

    /// The longest time that any CPU or thread was charged at once.
    pub fn longest_charge_ns(&self) -> u64 {
        let cpus = self.cpus.values().map(|cpu| cpu.longest_charge_ns);
        cpus.chain(self.threads.values().map(|thread| thread.longest_charge_ns)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::sample;

    #[test]
    fn a_late_record_of_a_thread_that_has_ended_does_not_replace_its_last_one() {
        let mut log = RunLog::default();
        let last = sample::thread(7, "piece.0", 64, 5, 9);
        let late = Thread { is_final: false, runtime_ns: 3, ..last.clone() };
        log.take(Record::Thread(late.clone()));
        assert!(!log.threads[&7].is_final);
        log.take(Record::Thread(last));
        log.take(Record::Thread(late));
        assert!(log.threads[&7].is_final);
        assert_eq!(log.threads[&7].runtime_ns, 5);
    }

    #[test]
    fn a_late_record_of_init_does_not_replace_its_last_one_either() {
        let mut log = RunLog::default();
        let last = sample::thread(2, "init.0", 64, 5, 9);
        log.take(Record::Thread(last.clone()));
        log.take(Record::Thread(Thread { is_final: false, ..last }));
        assert!(log.init.is_some_and(|init| init.is_final) && log.threads.is_empty());
    }
}
