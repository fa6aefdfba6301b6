//! [`Dispatcher`]: the scheduler of a machine. It takes locks, calls the HAL and moves threads between states; what is
//! due first, and where, is decided by the plain functions of the other modules.
//!
//! * Decisions ([`Dispatcher::begin`], [`Dispatcher::block_current`], [`Dispatcher::serve`] ...) are made by each CPU
//!   for itself, by its thread of control, with interrupts masked. They lock this CPU's queue and no other, except
//!   while they look for work elsewhere (by `try_lock`, with no lock held).
//! * Everything else may be called on any CPU. Nothing but [`Dispatcher::create`], [`Dispatcher::new`] and
//!   [`Dispatcher::reserve_timers`] allocates; nothing blocks; locks are held for O(log n) steps.
//! * The context of a thread must be complete in memory before a decision that may take it off the CPU: another CPU
//!   may run it as soon as the decision has published that it is blocked or queued.
//!
//! A wake-up that comes between the caller's last look at its condition and [`Dispatcher::block_current`] leaves a
//! token that the block consumes; blocking and leaving a token are single steps on one word (the home word), so there
//! is no moment at which a wake-up finds a thread neither blocked nor able to see the token.

mod change;
mod decide;
mod glance;
mod place;
mod position;
mod recording;
mod report;
mod timers;

pub use glance::Glance;
pub use position::{MOST_AHEAD, Position};
pub use report::{CpuSnapshot, Snapshot};

use super::entity::{Attributes, Entity, ThreadId};
use super::next_event::{Sources, grid_point_after};
use super::policy::{Policy, class_request};
use super::queue::RunQueue;
use super::record::Recorder;
use super::summary::{Domains, OnlineSet, Published};
use super::vtime::VirtualSpan;
use crate::slab::{InsertError, Slab, Slot, Stale};
use crate::sync::level::Queue;
use crate::sync::shim::{AtomicU32, Ordering};
use crate::sync::{Padded, SharedSet, SpinGuard, SpinLock};
use crate::timer::Timers;
use alloc::boxed::Box;
use core::fmt;
use tessera_abi::scheduling::{DEFAULT_REQUEST_NS, GRID_NS, LatencyClass, MAX_REQUEST_NS, MIN_REQUEST_NS};
use tessera_hal::{CpuId, CpuSet, Duration, Instant, Probe, Requests, SchedHal};

/// Threads that can live at once.
pub const MAX_THREADS: u32 = 1 << 20;
/// Timers that each thread may count on.
pub const TIMERS_PER_THREAD: u32 = 8;

/// How a dispatcher is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config<const WORDS: usize = 8> {
    /// How queues are ordered.
    pub policy: Policy,
    /// The request of a normal thread; 100 us to 100 ms.
    pub base_request: Duration,
    /// The period of the grid on busy CPUs; 1 ms to 1 s.
    pub grid: Duration,
    /// The CPUs that take part.
    pub online: CpuSet<WORDS>,
}

impl<const WORDS: usize> Config<WORDS> {
    /// EEVDF, 2 ms, a 10 ms grid, and the first `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        Self {
            policy: Policy::default(),
            base_request: Duration::from_nanos(DEFAULT_REQUEST_NS),
            grid: Duration::from_nanos(GRID_NS),
            online: CpuSet::first(cpus),
        }
    }
}

/// Why a dispatcher could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The machine has more CPUs than a CPU set can name.
    TooManyCpus {
        /// The machine's.
        cpus: usize,
        /// The set's.
        capacity: usize,
    },
    /// No CPU is online.
    NoCpuOnline,
    /// A CPU is online that the machine does not have.
    NoSuchCpu(CpuId),
    /// The base request is not within 100 us to 100 ms.
    BaseRequest(Duration),
    /// The grid's period is not within 1 ms to 1 s.
    Grid(Duration),
    /// There is no memory for the first timers.
    OutOfMemory,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyCpus { cpus, capacity } => write!(f, "{cpus} CPUs, but a set holds {capacity}"),
            Self::NoCpuOnline => write!(f, "no CPU is online"),
            Self::NoSuchCpu(cpu) => write!(f, "CPU {cpu} is to be online and does not exist"),
            Self::BaseRequest(request) => write!(f, "base request {request} is not within 100 us to 100 ms"),
            Self::Grid(grid) => write!(f, "grid period {grid} is not within 1 ms to 1 s"),
            Self::OutOfMemory => write!(f, "no memory for timers"),
        }
    }
}

/// The id names no thread, or no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaleThread(pub ThreadId);

impl fmt::Display for StaleThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} does not exist any more", self.0)
    }
}

/// Why an attribute was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttributeError {
    /// The thread is gone.
    Stale(StaleThread),
    /// No CPU of the affinity is online.
    NoCpuOnline,
    /// A request that is not within 100 us to 100 ms.
    Request(Duration),
}

impl From<StaleThread> for AttributeError {
    fn from(stale: StaleThread) -> Self {
        Self::Stale(stale)
    }
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(stale) => stale.fmt(f),
            Self::NoCpuOnline => write!(f, "no CPU of the affinity is online"),
            Self::Request(request) => write!(f, "request {request} is not within 100 us to 100 ms"),
        }
    }
}

/// Why a thread could not be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateError {
    /// No CPU of the affinity is online.
    NoCpuOnline,
    /// A request that is not within 100 us to 100 ms.
    Request(Duration),
    /// As many threads live as may.
    TooManyThreads {
        /// How many that is.
        limit: u32,
    },
    /// There is no memory.
    OutOfMemory,
}

impl From<InsertError> for CreateError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Full { limit } => Self::TooManyThreads { limit },
            InsertError::OutOfMemory => Self::OutOfMemory,
        }
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCpuOnline => AttributeError::NoCpuOnline.fmt(f),
            Self::Request(request) => AttributeError::Request(*request).fmt(f),
            Self::TooManyThreads { limit } => write!(f, "all {limit} threads are in use"),
            Self::OutOfMemory => write!(f, "no memory for another thread"),
        }
    }
}

/// Why a CPU cannot leave or join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuError {
    /// The machine does not have it.
    NoSuchCpu(CpuId),
    /// It is the last one that is online.
    LastOnline(CpuId),
}

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCpu(cpu) => write!(f, "CPU {cpu} does not exist"),
            Self::LastOnline(cpu) => write!(f, "CPU {cpu} is the last one online"),
        }
    }
}

impl core::error::Error for ConfigError {}
impl core::error::Error for StaleThread {}
impl core::error::Error for AttributeError {}
impl core::error::Error for CreateError {}
impl core::error::Error for CpuError {}

/// What this CPU does next.
#[must_use = "the CPU must do what was decided"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Run this thread, maybe the same as before.
    Run(ThreadId),
    /// Wait for an interrupt. If something came up meanwhile the request word is already set.
    Idle,
}

/// What a wake-up did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// The thread waits on this CPU's queue now.
    Queued(CpuId),
    /// The thread was not blocked: its next block returns at once.
    TokenLeft,
}

/// What became of a thread that was to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terminated {
    /// It will not run any more.
    Gone,
    /// It runs on this CPU, which was kicked and will take it off when it serves the kick. The id is stale already.
    RunningOn(CpuId),
}

struct Cpu {
    queue: Padded<SpinLock<RunQueue, Queue>>,
    published: Padded<Published>,
}

type Guard<'a, H> = SpinGuard<'a, RunQueue, H>;

/// The scheduler of a machine of up to `64 * WORDS` CPUs. See the module.
pub struct Dispatcher<H: SchedHal, const WORDS: usize = 8> {
    hal: H,
    config: Config<WORDS>,
    pub(super) threads: Slab<Entity<WORDS>>,
    pub(super) timers: Timers,
    live_threads: AtomicU32,
    cpus: Box<[Cpu]>,
    pub(super) domains: Domains<WORDS>,
    pub(super) online: OnlineSet<WORDS>,
    /// CPUs that have nothing to run and that nobody has kicked yet.
    pub(super) idle: SharedSet<WORDS>,
    /// CPUs on whose queue somebody waits who may run elsewhere.
    pub(super) waiting: SharedSet<WORDS>,
    /// What happens is recorded.
    recorder: Option<Recorder>,
}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// A dispatcher for all CPUs of the machine. Allocates.
    pub fn new(hal: H, config: Config<WORDS>) -> Result<Self, ConfigError> {
        validate(&hal, &config)?;
        let cpus = (0..hal.cpu_count()).map(|index| {
            let cpu = CpuId::new(index as u16);
            let queue = RunQueue::new(cpu, config.policy, config.online.contains(cpu));
            Cpu { queue: Padded::new(SpinLock::of_cpu(cpu, queue)), published: Padded::new(Published::new()) }
        });
        let timers = Timers::new(MAX_THREADS);
        timers.reserve(TIMERS_PER_THREAD).map_err(|_| ConfigError::OutOfMemory)?;
        Ok(Self {
            config,
            threads: Slab::new(MAX_THREADS),
            timers,
            live_threads: AtomicU32::new(0),
            cpus: cpus.collect(),
            domains: Domains::new(&hal),
            online: OnlineSet::new(&hal, &config.online),
            idle: SharedSet::new(),
            waiting: SharedSet::new(),
            recorder: None,
            hal,
        })
    }

    /// The machine.
    pub fn hal(&self) -> &H {
        &self.hal
    }

    /// How it was set up.
    pub fn config(&self) -> &Config<WORDS> {
        &self.config
    }

    /// Creates a thread: blocked, with these attributes, nothing of its slot's past, and memory for its timers.
    /// `payload` is the caller's, see [`Dispatcher::payload`]. May allocate; any CPU, not in an interrupt.
    pub fn create(&self, attributes: Attributes<WORDS>, payload: u64) -> Result<ThreadId, CreateError> {
        if let Some(request) = attributes.request {
            check_request(request).map_err(|_| CreateError::Request(request))?;
        }
        if self.online.among(&attributes.affinity).is_empty() {
            return Err(CreateError::NoCpuOnline);
        }
        let request = self.class_request(attributes.class);
        let live = self.live_threads.fetch_add(1, Ordering::Relaxed) + 1;
        self.timers
            .reserve(live.saturating_mul(TIMERS_PER_THREAD))
            .and_then(|()| self.threads.insert(|entity, id| entity.set_up(id, &attributes, request, payload)))
            .map(ThreadId::of)
            .map_err(|error| {
                self.live_threads.fetch_sub(1, Ordering::Relaxed);
                error.into()
            })
    }

    /// What `create` was given. Takes no lock.
    pub fn payload(&self, thread: ThreadId) -> Result<u64, StaleThread> {
        let entity = || self.threads.get(thread.entity()).map_err(|Stale| StaleThread(thread));
        let payload = entity()?.payload();
        // The slot may have been reused since the look-up, and the payload may be the next thread's.
        entity().map(|_| payload)
    }

    pub(super) fn class_request(&self, class: LatencyClass) -> Duration {
        class_request(class, self.config.base_request)
    }

    pub(super) fn lock(&self, cpu: CpuId) -> Guard<'_, H> {
        self.cpus[cpu.index()].queue.lock(&self.hal)
    }

    pub(super) fn try_lock(&self, cpu: CpuId) -> Option<Guard<'_, H>> {
        self.cpus[cpu.index()].queue.try_lock(&self.hal)
    }

    pub(super) fn published(&self, cpu: CpuId) -> &Published {
        &self.cpus[cpu.index()].published
    }

    pub(super) fn cpu_ids(&self) -> impl Iterator<Item = CpuId> + use<H, WORDS> {
        (0..self.cpus.len()).map(|index| CpuId::new(index as u16))
    }

    pub(super) fn id(&self, slot: Slot) -> ThreadId {
        ThreadId::of(self.threads[slot].id(slot))
    }

    /// Lets others see what has become of a queue. Under its lock.
    pub(super) fn publish(&self, queue: &mut RunQueue) {
        let lateness = queue.lateness(&self.threads);
        self.hal.probe(Probe::SharedWrite { owner: Some(queue.cpu) });
        let (load, virtual_time) = (queue.mean.weights(), queue.mean.virtual_time());
        let pace = queue.shift.pace(virtual_time);
        self.published(queue.cpu).publish(load, virtual_time, pace, lateness.unwrap_or(VirtualSpan::ZERO));
        if lateness.is_some() != queue.in_waiting_set {
            queue.in_waiting_set = lateness.is_some();
            match queue.in_waiting_set {
                true => self.waiting.insert(&self.hal, queue.cpu),
                false => self.waiting.remove(&self.hal, queue.cpu),
            };
        }
    }

    /// Programs this CPU's clockevent for `next_event`: the only place that does. Under this CPU's queue lock.
    pub(super) fn reprogram(&self, queue: &mut RunQueue, now: Instant) {
        let competed = queue.current.filter(|_| !queue.tree.is_empty());
        let needs_grid = queue.current.is_some() || queue.search_again;
        queue.armed = Sources {
            slice_end: competed.map(|current| current.slice_end),
            release: queue.release.next_refill(),
            timer: queue.timers.next_deadline(&self.timers),
            // A point that has come stands until its fire was served: a decision in between must not skip its jobs.
            grid: needs_grid
                .then(|| queue.armed.grid.unwrap_or_else(|| grid_point_after(now, queue.cpu, self.config.grid))),
            ..Sources::NONE
        };
        let first = queue.armed.first();
        if first == queue.programmed {
            return;
        }
        queue.programmed = first;
        match first.map(|deadline| self.hal.arm(deadline)) {
            None => self.hal.disarm(),
            Some(Ok(())) => {}
            Some(Err(_)) => {
                // Not programmed after all: the next decision tries again.
                queue.programmed = None;
                queue.counters.arm_failures += 1;
            }
        }
    }

    /// Asks another CPU, or this one, for something.
    pub(super) fn request(&self, cpu: CpuId, requests: Requests) {
        if cpu == self.hal.this_cpu() {
            // No interrupt: this CPU looks at its word before it enters user mode or idles.
            let _ = self.hal.request_word(cpu).post(requests);
        } else {
            self.published(self.hal.this_cpu()).count_kick();
            let _ = self.hal.kick(cpu, requests);
        }
    }
}

fn validate<const WORDS: usize>(hal: &impl SchedHal, config: &Config<WORDS>) -> Result<(), ConfigError> {
    let (cpus, capacity) = (hal.cpu_count(), CpuSet::<WORDS>::CAPACITY);
    if cpus > capacity {
        return Err(ConfigError::TooManyCpus { cpus, capacity });
    }
    if let Some(absent) = config.online.difference(&CpuSet::first(cpus)).lowest() {
        return Err(ConfigError::NoSuchCpu(absent));
    }
    if config.online.is_empty() {
        return Err(ConfigError::NoCpuOnline);
    }
    check_request(config.base_request).map_err(|_| ConfigError::BaseRequest(config.base_request))?;
    match config.grid.as_nanos() {
        1_000_000..=1_000_000_000 => Ok(()),
        _ => Err(ConfigError::Grid(config.grid)),
    }
}

/// Whether a request is within the range of the ABI.
fn check_request(request: Duration) -> Result<(), AttributeError> {
    match request.as_nanos() {
        MIN_REQUEST_NS..=MAX_REQUEST_NS => Ok(()),
        _ => Err(AttributeError::Request(request)),
    }
}
