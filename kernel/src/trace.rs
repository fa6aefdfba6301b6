//! The trace of a run: what the dispatcher has recorded, printed when the run is over.
//!
//! While programs run nothing of it is printed, so the serial line disturbs nothing. `trace=on` on the command line makes
//! the rings (see [`kernel_core::sched::record`]); they keep the beginning of the run, and each CPU's first record says
//! how many later events found its ring full. Times are since the run began, as in all records.

use crate::{
    kernel::Kernel,
    line::{JsonObject, LINE_BYTES, Line},
    thread::Thread,
};
use core::fmt::{self, Write};
use hal::{CpuId, Machine};
use kernel_core::sched::record::{Arrival, Event, Happening};

/// Events that each CPU has room for, on a machine of few CPUs: more than ten seconds of any target.
const MOST_EVENTS: u32 = 1 << 15;
/// Events of all CPUs together: 24 MiB.
const EVENTS_IN_ALL: u32 = 1 << 20;

/// How many events each of so many CPUs gets room for.
pub fn events_per_cpu(cpus: usize) -> u32 {
    (EVENTS_IN_ALL / u32::try_from(cpus.max(1)).unwrap_or(u32::MAX)).min(MOST_EVENTS)
}

/// Bytes that no event, written as text, is longer than.
const EVENT_BYTES: usize = 96;

impl<M: Machine> Kernel<M> {
    /// Whether the run is traced.
    pub fn is_traced(&self) -> bool {
        self.dispatcher.recorder().is_some()
    }

    /// Says what a thread of the trace is called. Nothing if the run is not traced.
    pub fn name_in_trace(&self, thread: &Thread<M>) {
        if self.is_traced() {
            self.print(|line| {
                let mut record = JsonObject::record(line, "traced")?;
                record.value("thread", thread.id.as_u64())?;
                record.value("id", thread.serial)?;
                match thread.number {
                    0 => record.text("name", &thread.process.name)?,
                    number => record.text("name", format_args!("{}:{number}", thread.process.name))?,
                }
                record.end()
            });
        }
    }

    /// Prints the names of the threads that live, and all that was recorded. All CPUs have stopped.
    pub fn report_trace(&self) {
        let mut place = 0;
        while let Some((found, thread)) = self.threads.next_from(place).filter(|_| self.is_traced()) {
            self.name_in_trace(&thread);
            place = found + 1;
        }
        let Some(recorder) = self.dispatcher.recorder() else { return };
        for cpu in self.online.iter() {
            let mut events = recorder.events(cpu).peekable();
            self.print(|line| self.events_record(line, cpu, Some(recorder.dropped(cpu)), &mut events));
            while events.peek().is_some() {
                self.print(|line| self.events_record(line, cpu, None, &mut events));
            }
        }
    }

    /// Writes a record of as many events as a line has room for.
    fn events_record(
        &self,
        line: &mut Line,
        cpu: CpuId,
        dropped: Option<u64>,
        events: &mut dyn Iterator<Item = Event>,
    ) -> fmt::Result {
        write!(line, "{{\"tessera\":\"trace\",\"cpu\":{cpu}")?;
        if let Some(dropped) = dropped {
            write!(line, ",\"dropped\":{dropped}")?;
        }
        line.write_str(",\"events\":[")?;
        let mut separator = "";
        while line.as_bytes().len() + EVENT_BYTES < LINE_BYTES
            && let Some(event) = events.next()
        {
            line.write_str(separator)?;
            write_event(line, self.since_start(event.at), &event)?;
            separator = ",";
        }
        line.write_str("]}\n")
    }
}

/// `[when, what, thread, on which CPU's queue, from which, how many wait]`.
fn write_event(line: &mut Line, at: u64, event: &Event) -> fmt::Result {
    let none = CpuId::BOOT;
    let (what, thread, on, from) = match event.what {
        Happening::Runs(thread) => ("run", thread.as_u64(), none, none),
        Happening::Interrupted => ("interrupt", 0, none, none),
        Happening::Idles => ("idle", 0, none, none),
        Happening::Blocks(thread) => ("block", thread.as_u64(), none, none),
        Happening::Ends(thread) => ("exit", thread.as_u64(), none, none),
        Happening::Arrives { thread, on, how } => match how {
            Arrival::Started => ("start", thread.as_u64(), on, none),
            Arrival::WokenByThread => ("wake", thread.as_u64(), on, none),
            Arrival::WokenByInterrupt => ("fire", thread.as_u64(), on, none),
            Arrival::Moved { from } => ("move", thread.as_u64(), on, from),
        },
    };
    write!(line, "[{at},\"{what}\",{thread},{on},{from},{}]", event.waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hal::Instant;
    use kernel_core::sched::ThreadId;

    #[test]
    fn the_longest_event_has_room() {
        let (thread, cpu) = (ThreadId::from_u64(u64::MAX), CpuId::new(4095));
        let what = Happening::Arrives { thread, on: cpu, how: Arrival::Moved { from: cpu } };
        let mut line = Line::new();
        let event = Event { at: Instant::from_nanos(u64::MAX), what, waiting: u32::MAX };
        write_event(&mut line, u64::MAX, &event).unwrap();
        // With the comma before it, and the end of the record behind.
        assert!(line.as_bytes().len() + 1 + "]}\n".len() < EVENT_BYTES, "{} bytes", line.as_bytes().len());
    }

    #[test]
    fn large_machines_have_smaller_rings() {
        assert_eq!([1, 32, 64, 512].map(events_per_cpu), [1 << 15, 1 << 15, 1 << 14, 1 << 11]);
    }
}
