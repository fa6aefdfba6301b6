//! Processes: an address space, capabilities, threads and limits.
//!
//! A process is made, started, ends once (by `exit`, a fault, the end of its last thread, or a kill) and is over when
//! everything that it had is free again. [`crate::spawn`] makes them, [`crate::exit`] takes them apart. Lock level of the
//! fields: leaf, but for the space.

use crate::{
    console::ProgramOutput,
    ipc::Endpoint,
    kernel::Kernel,
    memory::{address_space::AddressSpace, direct},
    object::Capability,
    spawn::SpawnerCharge,
    thread::{EndWaiters, Thread},
};
use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};
use hal::{CpuSet, Fault, Frame, Machine, VirtualAddress};
use kernel_core::{cap::Table, limits::Quota};
use spin::{Mutex, Once};
use tessera_abi::limits;

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It called `exit`, or its last thread ended.
    Exit(i32),
    /// It did what it may not.
    Fault(Fault),
    /// Somebody with its handle has ended it.
    Killed,
}

/// `name.instance`: what the program is called in every line.
#[derive(Clone, Debug)]
pub struct Name {
    /// From its spawner.
    pub program: Box<str>,
    /// Which of the instances.
    pub instance: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.program, self.instance)
    }
}

/// Where a process stands in its life. The numbers are those of `ProcessInfo.state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Stage {
    /// Made, not started.
    Made = 0,
    /// Its threads run.
    Running = 1,
    /// It has ended; what it had is being freed.
    Ending = 2,
    /// Everything is free.
    Over = 3,
}

/// What a process may use.
pub struct Quotas {
    /// Frames that were promised to it.
    pub frames: Arc<Quota>,
    /// Threads.
    pub threads: Quota,
    /// Endpoints that it made.
    pub endpoints: Quota,
    /// Words that its threads wait on.
    pub parks: Quota,
}

impl Quotas {
    /// Nothing used yet.
    pub fn new(frames: u32, threads: u32) -> Self {
        Self {
            frames: Arc::new(Quota::new(frames)),
            threads: Quota::new(threads),
            endpoints: Quota::new(limits::ENDPOINTS),
            parks: Quota::new(limits::PARKS),
        }
    }
}

/// The threads of a process.
pub struct Threads<M: Machine> {
    /// Those that live.
    pub live: Vec<Arc<Thread<M>>>,
    /// Threads that are being made.
    pub coming: u32,
    /// Rings of threads that have ended: they stay mapped for the next ones.
    pub free_rings: Vec<VirtualAddress>,
    /// The number of the next one.
    pub next_number: u32,
}

impl<M: Machine> Default for Threads<M> {
    fn default() -> Self {
        Self { live: Vec::new(), coming: 0, free_rings: Vec::new(), next_number: 0 }
    }
}

/// A process.
pub struct Process<M: Machine> {
    /// Its number, never used again.
    pub id: u64,
    /// The process that made it; 0: the kernel.
    pub parent: u64,
    /// What it is called.
    pub name: Name,
    /// Its end is not printed.
    pub silent: bool,
    /// The CPUs that its threads may use.
    pub cpus: CpuSet,
    /// Its memory.
    pub space: AddressSpace<M>,
    /// Its capabilities.
    pub capabilities: Mutex<Table<Capability<M>>>,
    /// What it may use. Lives on with what it has made for others.
    pub quotas: Arc<Quotas>,
    /// Its output between newlines.
    pub output: Mutex<ProgramOutput>,
    /// Its threads.
    pub threads: Mutex<Threads<M>>,
    /// The thread that it starts with. Gone when everything is free: the two hold each other.
    pub main_thread: Mutex<Option<Arc<Thread<M>>>>,
    /// How it ended.
    pub ending: Once<Ending>,
    /// The handle of it, as long as somebody holds one.
    pub(crate) handle: Mutex<Weak<ProcessHandle<M>>>,
    /// Endpoints that it has given away and may have calls of: they end with it.
    pub(crate) left_endpoints: Mutex<LeftEndpoints<M>>,
    /// Those that wait for its end.
    pub waiters: EndWaiters,
    /// Its last count of work done.
    pub last_progress: Once<u64>,
    pub(crate) start_page: Frame,
    pub(crate) stage: AtomicU8,
    /// Somebody has decided how it ends.
    pub(crate) is_ending: AtomicBool,
    /// Threads that were not retired yet.
    pub(crate) unretired: AtomicU32,
    /// Its place among those of its spawner.
    pub(crate) charge: Mutex<Option<SpawnerCharge>>,
}

/// The most endpoints that a process can give away while they exist.
pub const MOST_LEFT_ENDPOINTS: usize = 64;

/// Endpoints whose server's side was moved away.
pub type LeftEndpoints<M> = heapless::Vec<Weak<Endpoint<M>>, MOST_LEFT_ENDPOINTS>;

/// What capabilities for a process hold: all of one process share it. A process that was never started ends with it,
/// because nobody can start it any more.
pub struct ProcessHandle<M: Machine> {
    kernel: &'static Kernel<M>,
    process: Arc<Process<M>>,
}

impl<M: Machine> ProcessHandle<M> {
    /// The process.
    pub const fn process(&self) -> &Arc<Process<M>> {
        &self.process
    }
}

impl<M: Machine> Drop for ProcessHandle<M> {
    fn drop(&mut self) {
        if self.process.stage() == Stage::Made {
            self.kernel.end_process(&self.process, Ending::Killed);
        }
    }
}

impl<M: Machine> Process<M> {
    /// The handle that capabilities for this process hold.
    pub fn handle(self: &Arc<Self>, kernel: &'static Kernel<M>) -> Arc<ProcessHandle<M>> {
        let mut handle = self.handle.lock();
        handle.upgrade().unwrap_or_else(|| {
            let new = Arc::new(ProcessHandle { kernel, process: self.clone() });
            *handle = Arc::downgrade(&new);
            new
        })
    }

    /// Remembers an endpoint whose server's side the process gives away: calls that it has received there end with it, and
    /// its table does not name the endpoint any more. `false`: it has given too many away.
    pub fn remember_left(&self, endpoint: &Arc<Endpoint<M>>) -> bool {
        let mut left = self.left_endpoints.lock();
        if left.iter().any(|other| core::ptr::eq(other.as_ptr(), Arc::as_ptr(endpoint))) {
            return true;
        }
        if left.is_full() {
            left.retain(|other| other.upgrade().is_some_and(|other| !other.is_closed()));
        }
        // Weakly: an endpoint that nobody can reach any more is gone, and counts as gone.
        left.push(Arc::downgrade(endpoint)).is_ok()
    }

    /// Where it stands in its life.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Made,
            1 => Stage::Running,
            2 => Stage::Ending,
            _ => Stage::Over,
        }
    }

    /// Whether it has ended or is about to.
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// The program's own count of work done; the last one after its end.
    pub fn progress(&self, machine: &M) -> u64 {
        match self.last_progress.get() {
            Some(&progress) => progress,
            None => direct::word64(machine, self.start_page, 0).load(Ordering::Relaxed),
        }
    }
}
