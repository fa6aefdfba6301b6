//! The trace of a booted kernel: what its rings held, as the stream of events that the simulator's library writes and
//! draws.
//!
//! [`check`] compares it with the accounts that the kernel printed at the end of the same run.

mod check;

pub use check::{Agreement, Disagreement, check};

use crate::records::{TraceEvent, TraceEvents, Traced, TracedThread};
use sim::trace::{Event, Mark, ThreadIndex, Trace, Waker};
use std::collections::BTreeMap;
use tessera_hal::{CpuId, Instant};

/// What one CPU did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuEvents {
    /// How much its ring lost, after what is here.
    pub dropped: u64,
    /// What it did, in order.
    pub events: Vec<TraceEvent>,
}

/// What all CPUs did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceLog {
    cpus: BTreeMap<u16, CpuEvents>,
    /// By the scheduler's number of a thread.
    threads: BTreeMap<u64, TracedThread>,
}

impl TraceLog {
    /// Takes a thread's name.
    pub fn name(&mut self, thread: TracedThread) {
        self.threads.insert(thread.thread, thread);
    }

    /// Takes some events.
    pub fn add(&mut self, record: TraceEvents) {
        let cpu = self.cpus.entry(record.cpu).or_default();
        cpu.dropped += record.dropped;
        cpu.events.extend(record.events);
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.cpus.values().map(|cpu| cpu.events.len()).sum()
    }

    /// Whether nothing was traced.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events were lost.
    pub fn dropped(&self) -> u64 {
        self.cpus.values().map(|cpu| cpu.dropped).sum()
    }

    /// Up to when everything is there, if something was lost: where the first ring was full.
    pub fn whole_until_ns(&self) -> Option<u64> {
        let full = self.cpus.values().filter(|cpu| cpu.dropped > 0);
        full.filter_map(|cpu| cpu.events.last().map(|event| event.0)).min()
    }

    /// The trace of a run that ended at `end_ns`, as far as it is whole.
    pub fn trace(&self, end_ns: u64) -> Trace {
        let end_ns = self.whole_until_ns().map_or(end_ns, |whole| whole.min(end_ns));
        let mut named: Vec<&TracedThread> = self.threads.values().collect();
        named.sort_by_key(|thread| thread.id);
        let cpus = self.cpus.last_key_value().map_or(0, |(&last, _)| usize::from(last) + 1);
        let mut stream = Stream::new(cpus);
        for thread in named {
            let index = stream.trace.thread(thread.name.clone());
            stream.threads.insert(thread.thread, index);
        }
        // Each ring is nearly in order and the sort is stable, so of equal times each ring's order stays.
        let all = self.cpus.iter().flat_map(|(&cpu, events)| events.events.iter().map(move |event| (cpu, *event)));
        let mut all: Vec<(u16, TraceEvent)> = all.filter(|(_, event)| event.0 <= end_ns).collect();
        all.sort_by_key(|(_, event)| event.0);
        all.iter().for_each(|&(cpu, event)| stream.take(CpuId::new(cpu), event));
        stream.trace.end = Instant::from_nanos(end_ns);
        stream.trace
    }
}

/// A trace that is being put together.
struct Stream {
    trace: Trace,
    threads: BTreeMap<u64, ThreadIndex>,
    cpus: Vec<Cpu>,
}

/// What is known of a CPU at the present point of the stream.
#[derive(Clone, Debug, Default)]
struct Cpu {
    /// Whether a slice is open.
    is_open: bool,
    /// The thread that it runs or, during an interrupt or a switch, ran last, as far as that can still run.
    current: Option<u64>,
    /// How many wait on its queue.
    waiting: usize,
    /// How many were runnable when that was last told.
    told: usize,
}

impl Stream {
    fn new(cpus: usize) -> Self {
        Self { trace: Trace::new(cpus), threads: BTreeMap::new(), cpus: vec![Cpu::default(); cpus] }
    }

    fn take(&mut self, cpu: CpuId, TraceEvent(at, what, thread, on, from, waiting): TraceEvent) {
        let (at, on, from) = (Instant::from_nanos(at), CpuId::new(on), CpuId::new(from));
        match what {
            Traced::Run | Traced::Interrupt | Traced::Idle => {
                self.end(at, cpu);
                if what == Traced::Run {
                    let index = self.thread(thread);
                    self.trace.events.push(Event::Begin { at, cpu, thread: index });
                }
                if let Some(state) = self.cpus.get_mut(cpu.index()) {
                    state.is_open = what == Traced::Run;
                    state.current = match what {
                        Traced::Run => Some(thread),
                        Traced::Interrupt => state.current,
                        _ => None,
                    };
                }
                self.wait(at, cpu, waiting as usize);
            }
            Traced::Block => self.leave(at, cpu, thread, Mark::Blocks),
            Traced::Exit => self.leave(at, cpu, thread, Mark::Ends),
            Traced::Start | Traced::Wake | Traced::Fire => {
                let thread = self.thread(thread);
                let waker = match what {
                    Traced::Start => Waker::Start,
                    Traced::Wake => Waker::Thread(cpu),
                    _ => Waker::Timer(cpu),
                };
                self.trace.events.push(Event::Wake { at, thread, waker });
                self.wait(at, on, waiting as usize);
            }
            Traced::Move => {
                self.mark(at, on, thread, Mark::Moves { from });
                let left = self.cpus.get(from.index()).map_or(0, |state| state.waiting.saturating_sub(1));
                self.wait(at, from, left);
                self.wait(at, on, waiting as usize);
            }
        }
    }

    /// One that ended before its name was printed has only a number.
    fn thread(&mut self, number: u64) -> ThreadIndex {
        let trace = &mut self.trace;
        *self.threads.entry(number).or_insert_with(|| trace.thread(format!("thread {number:#x}")))
    }

    fn mark(&mut self, at: Instant, cpu: CpuId, thread: u64, mark: Mark) {
        let thread = self.thread(thread);
        self.trace.events.push(Event::Mark { at, cpu, thread, mark });
    }

    /// A thread cannot run any more. One that ends need not be the one that its CPU runs.
    fn leave(&mut self, at: Instant, cpu: CpuId, thread: u64, mark: Mark) {
        self.mark(at, cpu, thread, mark);
        if let Some(state) = self.cpus.get_mut(cpu.index()) {
            state.current.take_if(|current| *current == thread);
            let waiting = state.waiting;
            self.wait(at, cpu, waiting);
        }
    }

    fn end(&mut self, at: Instant, cpu: CpuId) {
        if self.cpus.get(cpu.index()).is_some_and(|state| state.is_open) {
            self.trace.events.push(Event::End { at, cpu });
        }
    }

    /// So many wait on a CPU's queue from now on.
    fn wait(&mut self, at: Instant, cpu: CpuId, waiting: usize) {
        let Some(state) = self.cpus.get_mut(cpu.index()) else { return };
        state.waiting = waiting;
        let threads = waiting + usize::from(state.current.is_some());
        if std::mem::replace(&mut state.told, threads) != threads {
            self.trace.events.push(Event::Runnable { at, cpu, threads });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::RunLog;

    fn log(lines: &[&str]) -> TraceLog {
        let mut log = RunLog::default();
        for line in lines {
            log.feed(line);
        }
        assert!(log.malformed.is_empty(), "{:?}", log.malformed);
        log.trace
    }

    fn at(nanoseconds: u64) -> Instant {
        Instant::from_nanos(nanoseconds)
    }

    #[test]
    fn the_rings_become_one_stream_in_order_of_time() {
        let log = log(&[
            r#"{"tessera":"traced","thread":77,"id":2,"name":"late.0"}"#,
            r#"{"tessera":"traced","thread":99,"id":1,"name":"early.0"}"#,
            r#"{"tessera":"trace","cpu":0,"dropped":0,"events":[[5,"run",99,0,0,0],[30,"wake",77,1,0,1]]}"#,
            r#"{"tessera":"trace","cpu":0,"events":[[40,"block",99,0,0,0],[40,"idle",0,0,0,0]]}"#,
            r#"{"tessera":"trace","cpu":1,"dropped":0,"events":[[10,"idle",0,0,0,0],[35,"run",77,0,0,0]]}"#,
        ]);
        let trace = log.trace(50);
        let (early, late) = (ThreadIndex::new(0), ThreadIndex::new(1));
        let [boot, other] = [0, 1].map(CpuId::new);
        assert_eq!(trace.threads, ["early.0", "late.0"]);
        let expected = [
            Event::Begin { at: at(5), cpu: boot, thread: early },
            Event::Runnable { at: at(5), cpu: boot, threads: 1 },
            Event::Wake { at: at(30), thread: late, waker: Waker::Thread(boot) },
            Event::Runnable { at: at(30), cpu: other, threads: 1 },
            Event::Begin { at: at(35), cpu: other, thread: late },
            Event::Mark { at: at(40), cpu: boot, thread: early, mark: Mark::Blocks },
            Event::Runnable { at: at(40), cpu: boot, threads: 0 },
            Event::End { at: at(40), cpu: boot },
        ];
        assert_eq!(trace.events, expected);
        let slices: Vec<_> = trace.slices().map(|slice| (slice.thread, slice.begin, slice.end)).collect();
        assert_eq!(slices, [(early, at(5), at(40)), (late, at(35), at(50))]);
    }

    /// When, on which CPU and how many.
    fn runnable(trace: &Trace) -> Vec<(u64, usize, usize)> {
        let counts = trace.events.iter().filter_map(|event| match event {
            Event::Runnable { at, cpu, threads } => Some((at.as_nanos(), cpu.index(), *threads)),
            _ => None,
        });
        counts.collect()
    }

    #[test]
    fn the_running_thread_is_runnable_until_it_blocks_or_ends_an_interrupt_changes_nothing() {
        let log = log(&[
            r#"{"tessera":"trace","cpu":0,"events":[[1,"start",7,0,0,1],[2,"start",8,0,0,2],[3,"run",7,0,0,1]]}"#,
            r#"{"tessera":"trace","cpu":0,"events":[[5,"interrupt",0,0,0,1],[6,"run",8,0,0,1]]}"#,
            r#"{"tessera":"trace","cpu":0,"events":[[7,"block",8,0,0,1],[7,"run",7,0,0,0],[8,"exit",9,0,0,0]]}"#,
            r#"{"tessera":"trace","cpu":0,"events":[[9,"exit",7,0,0,0],[9,"idle",0,0,0,0]]}"#,
        ]);
        assert_eq!(runnable(&log.trace(10)), [(1, 0, 1), (2, 0, 2), (7, 0, 1), (9, 0, 0)]);
    }

    #[test]
    fn a_move_is_one_less_there_and_one_more_here() {
        let log = log(&[
            r#"{"tessera":"trace","cpu":0,"events":[[1,"start",7,0,0,1],[2,"start",8,0,0,2]]}"#,
            r#"{"tessera":"trace","cpu":1,"events":[[3,"move",8,1,0,1]]}"#,
        ]);
        let trace = log.trace(9);
        assert_eq!(runnable(&trace), [(1, 0, 1), (2, 0, 2), (3, 0, 1), (3, 1, 1)]);
        assert_eq!(trace.threads, ["thread 0x7", "thread 0x8"]);
    }

    #[test]
    fn a_trace_ends_where_the_first_ring_was_full() {
        let log = log(&[
            r#"{"tessera":"trace","cpu":0,"dropped":3,"events":[[5,"run",1,0,0,0],[20,"idle",0,0,0,0]]}"#,
            r#"{"tessera":"trace","cpu":1,"dropped":0,"events":[[5,"run",2,0,0,0],[90,"idle",0,0,0,0]]}"#,
        ]);
        assert_eq!((log.len(), log.dropped(), log.whole_until_ns()), (4, 3, Some(20)));
        let trace = log.trace(100);
        assert_eq!(trace.end, at(20));
        assert!(trace.slices().all(|slice| slice.end <= at(20)));
    }
}
