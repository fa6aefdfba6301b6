//! What happened, as a plain stream of events: slices, wake-ups and how many are runnable.
//!
//! The simulator records it; a booted kernel's rings are turned into one too (`cargo xtask run --trace`). [`chrome`] writes it for Perfetto and
//! Chrome, [`crate::plot`] draws it. Events come in order of time; those of one CPU alternate between the beginning and
//! the end of slices.

pub mod chrome;

use tessera_hal::{CpuId, Instant};

/// A thread of a trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadIndex(u32);

impl ThreadIndex {
    /// The thread at this place of the trace's names.
    pub const fn new(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its place in the trace's names.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Who woke a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waker {
    /// The thread that ran on this CPU.
    Thread(CpuId),
    /// A timer of this CPU.
    Timer(CpuId),
    /// Nobody in particular: it began.
    Start,
}

/// What became of a thread, beside running and waking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// It blocked.
    Blocks,
    /// It ended.
    Ends,
    /// It was moved to this CPU's queue.
    Moves {
        /// From whose.
        from: CpuId,
    },
}

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A thread begins to run.
    Begin {
        /// When.
        at: Instant,
        /// Where.
        cpu: CpuId,
        /// Who.
        thread: ThreadIndex,
    },
    /// The thread that runs stops.
    End {
        /// When.
        at: Instant,
        /// Where.
        cpu: CpuId,
    },
    /// A thread becomes runnable.
    Wake {
        /// When.
        at: Instant,
        /// Who.
        thread: ThreadIndex,
        /// By whom.
        waker: Waker,
    },
    /// A thread blocks, ends or is moved. A booted kernel records it; of a simulated run slices and wake-ups tell it.
    Mark {
        /// When.
        at: Instant,
        /// Where.
        cpu: CpuId,
        /// Who.
        thread: ThreadIndex,
        /// What.
        mark: Mark,
    },
    /// So many are runnable on a CPU from now on: the thread that it runs, or whose time an interrupt or a switch takes,
    /// and those that wait on its queue.
    Runnable {
        /// When.
        at: Instant,
        /// Where.
        cpu: CpuId,
        /// How many.
        threads: usize,
    },
}

/// A thread on a CPU, without interruption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Who.
    pub thread: ThreadIndex,
    /// Where.
    pub cpu: CpuId,
    /// From when.
    pub begin: Instant,
    /// To when; later than `begin`.
    pub end: Instant,
}

/// A recorded run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// How many CPUs there are.
    pub cpus: usize,
    /// The names of the threads.
    pub threads: Vec<String>,
    /// When it ended. What is open then ends then.
    pub end: Instant,
    /// What happened.
    pub events: Vec<Event>,
}

impl Trace {
    /// An empty trace.
    pub const fn new(cpus: usize) -> Self {
        Self { cpus, threads: Vec::new(), end: Instant::ORIGIN, events: Vec::new() }
    }

    /// Adds a thread.
    pub fn thread(&mut self, name: String) -> ThreadIndex {
        self.threads.push(name);
        ThreadIndex::new(self.threads.len() - 1)
    }

    /// Every slice that is longer than nothing, by the time of its end.
    pub fn slices(&self) -> impl Iterator<Item = Slice> + '_ {
        let mut open = vec![None; self.cpus];
        let finals = (0..self.cpus).map(|cpu| Event::End { at: self.end, cpu: CpuId::new(cpu as u16) });
        self.events.iter().copied().chain(finals).filter_map(move |event| match event {
            Event::Begin { at, cpu, thread } => {
                *open.get_mut(cpu.index())? = Some((at, thread));
                None
            }
            Event::End { at, cpu } => {
                let (begin, thread) = open.get_mut(cpu.index())?.take()?;
                (begin < at).then_some(Slice { thread, cpu, begin, end: at })
            }
            Event::Wake { .. } | Event::Mark { .. } | Event::Runnable { .. } => None,
        })
    }
}
