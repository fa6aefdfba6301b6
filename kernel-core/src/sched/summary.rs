//! What CPUs know of each other without a lock: published words, the idle and the waiting set, and domains.
//!
//! Each CPU publishes a few words on a cache line of its own, under its queue lock; readers take them as hints. The
//! two sets ([`SharedSet`]) are written only when a CPU goes idle or busy, or when the first stealable thread starts or
//! the last one stops waiting; they are read before any CPU's own words.
//!
//! The sets carry the promise that no work is overlooked. An idle CPU enters the idle set *and then* looks for waiting
//! work; whoever leaves work waiting enters the waiting set *and then* looks for an idle CPU. All of these are
//! sequentially consistent, so at least one of the two sees the other. An idle CPU is kicked by the one who takes it
//! out of the set, so each is kicked once.

use super::pace::Pace;
use super::vtime::{VirtualSpan, VirtualTime};
use crate::sync::shim::{AtomicU64, Ordering};
use crate::sync::{Pack, SharedSet};
use alloc::boxed::Box;
use tessera_hal::{CpuId, CpuSet, SchedHal};

/// What one CPU lets others read.
pub(super) struct Published {
    load: AtomicU64,
    virtual_time: AtomicU64,
    lateness: AtomicU64,
    pace: AtomicU64,
    /// Kicks that this CPU has sent.
    kicks_sent: AtomicU64,
    /// Not zero: somebody took this CPU out of the idle set so that it comes for work.
    summoned: AtomicU64,
    /// How many looked for work in its queue and found it locked, since it last decided.
    turned_away: AtomicU64,
}

impl Published {
    pub(super) fn new() -> Self {
        Self {
            load: AtomicU64::new(0),
            virtual_time: AtomicU64::new(0),
            lateness: AtomicU64::new(0),
            pace: AtomicU64::new(Pace::UNKNOWN.pack()),
            kicks_sent: AtomicU64::new(0),
            summoned: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Under the CPU's queue lock.
    pub(super) fn publish(&self, load: u64, virtual_time: VirtualTime, pace: Pace, lateness: VirtualSpan) {
        self.load.store(load, Ordering::Relaxed);
        self.virtual_time.store(virtual_time.as_nanos(), Ordering::Release);
        self.pace.store(pace.pack(), Ordering::Relaxed);
        self.lateness.store(lateness.as_nanos().cast_unsigned(), Ordering::Relaxed);
    }

    /// Only V, which must be known before a thread that left is seen blocked. Under the CPU's queue lock.
    pub(super) fn publish_virtual_time(&self, virtual_time: VirtualTime) {
        self.virtual_time.store(virtual_time.as_nanos(), Ordering::Release);
    }

    /// The CPU, which the caller took out of the idle set and will kick, is to look for work elsewhere.
    pub(super) fn summon(&self) {
        self.summoned.store(1, Ordering::Release);
    }

    /// Whether it was summoned since it last asked. Only the CPU itself.
    pub(super) fn take_summons(&self) -> bool {
        self.summoned.load(Ordering::Acquire) != 0 && self.summoned.swap(0, Ordering::AcqRel) != 0
    }

    /// Somebody who looked for work found the CPU's queue locked, and leaves. Whoever hears of it sees it in the idle set,
    /// if it entered that before.
    pub(super) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Release);
    }

    /// How many were turned away since it was last asked. Only the CPU itself.
    pub(super) fn take_turned_away(&self) -> u32 {
        match self.turned_away.load(Ordering::Relaxed) {
            0 => 0,
            _ => u32::try_from(self.turned_away.swap(0, Ordering::Acquire)).unwrap_or(u32::MAX),
        }
    }

    /// This CPU sends a kick.
    pub(super) fn count_kick(&self) {
        self.kicks_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn kicks_sent(&self) -> u64 {
        self.kicks_sent.load(Ordering::Relaxed)
    }

    /// The weights of its queued and current threads.
    pub(super) fn load(&self) -> u64 {
        self.load.load(Ordering::Relaxed)
    }

    /// V of its queue.
    pub(super) fn virtual_time(&self) -> VirtualTime {
        VirtualTime::from_nanos(self.virtual_time.load(Ordering::Acquire))
    }

    /// Where its queue is on the clock that all share.
    pub(super) fn pace(&self) -> Pace {
        Pace::unpack(self.pace.load(Ordering::Relaxed))
    }

    /// How far the first thread that may be stolen is behind V, in reference-weight ns.
    pub(super) fn lateness(&self) -> VirtualSpan {
        VirtualSpan::from_nanos(self.lateness.load(Ordering::Relaxed).cast_signed())
    }
}

/// Levels of nearness: SMT siblings, shared cache, node, machine.
pub(super) const LEVELS: usize = 4;

/// Which CPUs are near which.
pub(super) struct Domains<const WORDS: usize> {
    /// For each CPU, the ring of CPUs that each level adds, nearest first; together all CPUs but itself.
    rings: Box<[[CpuSet<WORDS>; LEVELS]]>,
}

impl<const WORDS: usize> Domains<WORDS> {
    /// Reads the topology. Allocates.
    pub(super) fn new(hal: &impl SchedHal) -> Self {
        let cpus = || (0..hal.cpu_count()).map(|index| CpuId::new(index as u16));
        Self { rings: cpus().map(|cpu| Self::rings_of(hal, cpu, cpus())).collect() }
    }

    fn rings_of(hal: &impl SchedHal, cpu: CpuId, all: impl Iterator<Item = CpuId>) -> [CpuSet<WORDS>; LEVELS] {
        let mut rings = [CpuSet::EMPTY; LEVELS];
        let mine = hal.topology(cpu);
        for other in all.filter(|&other| other != cpu) {
            let theirs = hal.topology(other);
            let level = match () {
                () if theirs.core == mine.core => 0,
                () if theirs.cluster == mine.cluster => 1,
                () if theirs.node == mine.node => 2,
                () => 3,
            };
            rings[level].insert(other);
        }
        rings
    }

    /// The CPUs around `cpu`, nearest ring first, without itself.
    pub(super) fn rings(&self, cpu: CpuId) -> &[CpuSet<WORDS>; LEVELS] {
        &self.rings[cpu.index()]
    }
}

/// A set of CPUs that changes seldom: which ones take part.
pub(super) struct OnlineSet<const WORDS: usize>(SharedSet<WORDS>);

impl<const WORDS: usize> OnlineSet<WORDS> {
    pub(super) fn new(hal: &impl SchedHal, online: &CpuSet<WORDS>) -> Self {
        let set = SharedSet::new();
        for cpu in online.iter() {
            set.insert(hal, cpu);
        }
        Self(set)
    }

    pub(super) fn among(&self, mask: &CpuSet<WORDS>) -> CpuSet<WORDS> {
        self.0.among(mask)
    }

    pub(super) fn contains(&self, cpu: CpuId) -> bool {
        self.0.contains(cpu)
    }

    pub(super) fn insert(&self, hal: &impl SchedHal, cpu: CpuId) -> bool {
        self.0.insert(hal, cpu)
    }

    pub(super) fn remove(&self, hal: &impl SchedHal, cpu: CpuId) -> bool {
        self.0.remove(hal, cpu)
    }
}
