//! Chrome's trace format, which Perfetto reads too: a JSON object with `traceEvents`.
//!
//! Process 1 is "cpus", its threads are the CPUs. Slices are complete events, wake-ups by a thread are arrows (flow
//! events) from the waker's slice to the slice that they led to, wake-ups by a timer are instants, as are blocks, ends
//! and moves, and how many are runnable, the running thread among them, is a counter per CPU. Times are in microseconds with three decimals, so nothing is
//! rounded; an arrow begins a nanosecond before the wake-up, unless the slice that caused it began only then, so that it
//! begins within that slice.

use super::{Event, Mark, Slice, Trace, Waker};
use std::collections::HashMap;
use std::io::{self, Write};
use tessera_hal::{CpuId, Duration, Instant};

/// Writes the trace.
pub fn write(trace: &Trace, to: &mut impl Write) -> io::Result<()> {
    let names: Vec<String> = trace.threads.iter().map(|name| quoted(name)).collect();
    let mut writer = Writer { to, names, wakes: HashMap::new(), begun: vec![Instant::ORIGIN; trace.cpus], arrows: 0 };
    writeln!(writer.to, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    write!(writer.to, "{{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{{\"name\":\"cpus\"}}}}")?;
    for cpu in 0..trace.cpus {
        writer.line(format_args!(
            "{{\"ph\":\"M\",\"pid\":1,\"tid\":{cpu},\"name\":\"thread_name\",\"args\":{{\"name\":\"CPU {cpu}\"}}}}"
        ))?;
        writer.line(format_args!(
            "{{\"ph\":\"M\",\"pid\":1,\"tid\":{cpu},\"name\":\"thread_sort_index\",\"args\":{{\"sort_index\":{cpu}}}}}"
        ))?;
    }
    writer.events(trace)?;
    writeln!(writer.to, "\n]}}")
}

struct Writer<'a, W> {
    to: &'a mut W,
    /// The threads' names, quoted.
    names: Vec<String>,
    /// Wake-ups that have not led to a slice yet, by thread: when, and by whose CPU.
    wakes: HashMap<usize, (Instant, CpuId)>,
    /// When the present slice of each CPU began.
    begun: Vec<Instant>,
    arrows: u64,
}

impl<W: Write> Writer<'_, W> {
    fn line(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        write!(self.to, ",\n{text}")
    }

    fn events(&mut self, trace: &Trace) -> io::Result<()> {
        let mut slices = trace.slices().peekable();
        for event in &trace.events {
            // A slice is known when it ends. It is written before what happened at or after its end, so that a wake-up
            // within it leads to a later one.
            while let Some(slice) = slices.next_if(|slice| slice.end <= time(event)) {
                self.slice(&slice)?;
            }
            match *event {
                Event::Wake { at, thread, waker: Waker::Thread(cpu) } => {
                    // A waker that blocks or ends at once must have its arrow from its own slice, not from the next.
                    let is_inside = self.begun.get(cpu.index()).is_some_and(|&begun| begun < at);
                    let from = if is_inside { at.saturating_sub(Duration::from_nanos(1)) } else { at };
                    self.wakes.insert(thread.index(), (from, cpu));
                }
                Event::Begin { at, cpu, .. } => {
                    if let Some(begun) = self.begun.get_mut(cpu.index()) {
                        *begun = at;
                    }
                }
                Event::Wake { at, thread, waker: Waker::Timer(cpu) } => {
                    self.instant(at, cpu, ("timer", "wake"), format_args!("\"wakes\":{}", self.name(thread.index())))?;
                }
                Event::Mark { at, cpu, thread, mark } => self.mark(at, cpu, thread.index(), mark)?,
                Event::Runnable { at, cpu, threads } => self.line(format_args!(
                    "{{\"ph\":\"C\",\"pid\":1,\"name\":\"runnable CPU {cpu}\",\"ts\":{},\"args\":{{\"runnable\":{threads}}}}}",
                    Microseconds(at.as_nanos()),
                ))?,
                Event::Wake { .. } | Event::End { .. } => {}
            }
        }
        slices.try_for_each(|slice| self.slice(&slice))
    }

    fn slice(&mut self, slice: &Slice) -> io::Result<()> {
        let Slice { thread, cpu, begin, end } = *slice;
        let length = end.saturating_duration_since(begin).as_nanos();
        let name = self.names.get(thread.index()).map_or("\"?\"", String::as_str);
        write!(
            self.to,
            ",\n{{\"ph\":\"X\",\"pid\":1,\"tid\":{cpu},\"name\":{name},\"cat\":\"slice\",\"ts\":{},\"dur\":{}}}",
            Microseconds(begin.as_nanos()),
            Microseconds(length),
        )?;
        match self.wakes.remove(&thread.index()) {
            Some((at, waker)) => self.arrow(at, waker, begin, cpu),
            None => Ok(()),
        }
    }

    fn arrow(&mut self, at: Instant, waker: CpuId, begin: Instant, cpu: CpuId) -> io::Result<()> {
        let id = self.arrows;
        self.arrows += 1;
        for (kind, cpu, at) in [("\"s\"", waker, at), ("\"f\",\"bp\":\"e\"", cpu, begin)] {
            self.line(format_args!(
                "{{\"ph\":{kind},\"id\":{id},\"pid\":1,\"tid\":{cpu},\"name\":\"wake\",\"cat\":\"wake\",\"ts\":{}}}",
                Microseconds(at.as_nanos()),
            ))?;
        }
        Ok(())
    }

    fn name(&self, thread: usize) -> String {
        self.names.get(thread).map_or("\"?\"", String::as_str).to_owned()
    }

    fn mark(&mut self, at: Instant, cpu: CpuId, thread: usize, mark: Mark) -> io::Result<()> {
        let thread = self.name(thread);
        match mark {
            Mark::Blocks => self.instant(at, cpu, ("block", "end"), format_args!("\"thread\":{thread}")),
            Mark::Ends => self.instant(at, cpu, ("exit", "end"), format_args!("\"thread\":{thread}")),
            Mark::Moves { from } => {
                self.instant(at, cpu, ("move", "move"), format_args!("\"thread\":{thread},\"from\":{from}"))
            }
        }
    }

    fn instant(
        &mut self,
        at: Instant,
        cpu: CpuId,
        (name, category): (&str, &str),
        arguments: std::fmt::Arguments<'_>,
    ) -> io::Result<()> {
        self.line(format_args!(
            "{{\"ph\":\"i\",\"s\":\"t\",\"pid\":1,\"tid\":{cpu},\"name\":\"{name}\",\"cat\":\"{category}\",\"ts\":{},\
             \"args\":{{{arguments}}}}}",
            Microseconds(at.as_nanos()),
        ))
    }
}

fn time(event: &Event) -> Instant {
    match *event {
        Event::Begin { at, .. }
        | Event::End { at, .. }
        | Event::Wake { at, .. }
        | Event::Mark { at, .. }
        | Event::Runnable { at, .. } => at,
    }
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// Nanoseconds, written as microseconds with three decimals.
struct Microseconds(u64);

impl std::fmt::Display for Microseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
