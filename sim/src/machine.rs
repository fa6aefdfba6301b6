//! The machine in virtual time: the [`SchedHal`] that the dispatcher runs on.
//!
//! One thread is every CPU in turn: the engine sets the clock and says which CPU acts. Interrupts are never delivered
//! inside a call, so masking them is nothing to do. A clockevent and a kick are points in time that the engine looks at.
//! Clones are the same machine. All words are relaxed atomics, because the HAL must be `Sync`; nobody else writes them.

use crate::workload::Topology;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tessera_hal::{
    ArmError, Clockevent, CpuId, CpuTopology, Duration, Instant, InterruptState, IrqLine, Probe, RequestWord, Route,
    RouteError, SchedHal,
};

/// A point in time, or none, that others may set.
#[derive(Debug, Default)]
struct Point(AtomicU64);

impl Point {
    fn set(&self, at: Option<Instant>) {
        // One more than the time, so that zero is none. The end of time and the nanosecond before it are one point.
        self.0.store(at.map_or(0, |at| at.as_nanos().saturating_add(1)), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Instant> {
        NonZeroU64::new(self.0.load(Ordering::Relaxed)).map(|number| Instant::from_nanos(number.get() - 1))
    }
}

#[derive(Debug)]
struct SimCpu {
    word: RequestWord,
    armed: Point,
    kick: Point,
}

#[derive(Debug)]
struct Shared {
    now: AtomicU64,
    this_cpu: AtomicU16,
    kick_latency: Duration,
    topology: Topology,
    cpus: Box<[SimCpu]>,
    /// CPUs that were kicked and that the engine has not looked at since.
    kicked: Mutex<Vec<CpuId>>,
    any_kicked: AtomicBool,
    searches: AtomicU64,
    searched_lines: AtomicU64,
}

/// What CPUs that had nothing to run looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Searches {
    /// How often one looked for work elsewhere.
    pub count: u64,
    /// Cache lines of others that were read for it, in all.
    pub lines: u64,
}

/// A machine in virtual time. See the module.
#[derive(Clone, Debug)]
pub struct SimMachine(Arc<Shared>);

impl SimMachine {
    /// A machine of `cpus` CPUs that stand as `topology` says, whose kicks take `kick_latency`.
    pub fn new(cpus: usize, topology: Topology, kick_latency: Duration) -> Self {
        let cpu = || SimCpu { word: RequestWord::new(), armed: Point::default(), kick: Point::default() };
        Self(Arc::new(Shared {
            now: AtomicU64::new(0),
            this_cpu: AtomicU16::new(0),
            kick_latency,
            topology,
            cpus: std::iter::repeat_with(cpu).take(cpus).collect(),
            kicked: Mutex::new(Vec::new()),
            any_kicked: AtomicBool::new(false),
            searches: AtomicU64::new(0),
            searched_lines: AtomicU64::new(0),
        }))
    }

    /// The time from now on.
    pub fn set_now(&self, now: Instant) {
        self.0.now.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// From now on `cpu` acts.
    pub fn become_cpu(&self, cpu: CpuId) {
        self.0.this_cpu.store(cpu.get(), Ordering::Relaxed);
    }

    /// When the clockevent of `cpu` fires.
    pub fn armed(&self, cpu: CpuId) -> Option<Instant> {
        self.cpu(cpu).armed.get()
    }

    /// When a kick arrives at `cpu`.
    pub fn kick_at(&self, cpu: CpuId) -> Option<Instant> {
        self.cpu(cpu).kick.get()
    }

    /// The clockevent of `cpu` has fired.
    pub fn clear_armed(&self, cpu: CpuId) {
        self.cpu(cpu).armed.set(None);
    }

    /// `cpu` has looked at its request word: a kick on its way has nothing to say any more.
    pub fn clear_kick(&self, cpu: CpuId) {
        self.cpu(cpu).kick.set(None);
    }

    /// `cpu` is interrupted at once, by itself.
    pub fn interrupt(&self, cpu: CpuId) {
        self.cpu(cpu).kick.set(Some(self.now()));
    }

    /// A CPU that was kicked and that this has not answered yet.
    pub fn next_kicked(&self) -> Option<CpuId> {
        if !self.0.any_kicked.load(Ordering::Relaxed) {
            return None;
        }
        let next = self.kicked().pop();
        if next.is_none() {
            self.0.any_kicked.store(false, Ordering::Relaxed);
        }
        next
    }

    /// Whether any CPU has requests that it has not taken.
    pub fn has_requests(&self) -> bool {
        self.0.cpus.iter().any(|cpu| cpu.word.is_pending())
    }

    /// How often a CPU had nothing to run and looked for work elsewhere.
    pub fn searches(&self) -> Searches {
        Searches {
            count: self.0.searches.load(Ordering::Relaxed),
            lines: self.0.searched_lines.load(Ordering::Relaxed),
        }
    }

    fn kicked(&self) -> MutexGuard<'_, Vec<CpuId>> {
        self.0.kicked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cpu(&self, cpu: CpuId) -> &SimCpu {
        &self.0.cpus[cpu.index()]
    }
}

impl SchedHal for SimMachine {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    fn cpu_count(&self) -> usize {
        self.0.cpus.len()
    }

    fn this_cpu(&self) -> CpuId {
        CpuId::new(self.0.this_cpu.load(Ordering::Relaxed))
    }

    fn topology(&self, cpu: CpuId) -> CpuTopology {
        self.0.topology.place(cpu)
    }

    fn mask_interrupts(&self) -> InterruptState {
        InterruptState::Masked
    }

    fn restore_interrupts(&self, _state: InterruptState) {}

    fn clockevent(&self) -> Clockevent {
        let nanosecond = Duration::from_nanos(1);
        Clockevent { resolution: nanosecond, min: nanosecond, max: Duration::from_nanos(u64::MAX) }
    }

    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        self.cpu(self.this_cpu()).armed.set(Some(deadline.max(self.now())));
        Ok(())
    }

    fn disarm(&self) {
        self.cpu(self.this_cpu()).armed.set(None);
    }

    fn request_word(&self, cpu: CpuId) -> &RequestWord {
        &self.cpu(cpu).word
    }

    fn send_kick_interrupt(&self, cpu: CpuId) {
        self.cpu(cpu).kick.set(Some(self.now().saturating_add(self.0.kick_latency)));
        self.kicked().push(cpu);
        self.0.any_kicked.store(true, Ordering::Relaxed);
    }

    fn route_irq(&self, line: IrqLine, _route: Route) -> Result<Route, RouteError> {
        Err(RouteError::NoSuchLine(line))
    }

    fn idle(&self) {}

    #[inline(always)]
    fn probe(&self, probe: Probe) {
        let add = |counter: &AtomicU64, number: u64| {
            counter.store(counter.load(Ordering::Relaxed) + number, Ordering::Relaxed);
        };
        if let Probe::Searching { level, lines } = probe {
            add(&self.0.searches, u64::from(level == 0));
            add(&self.0.searched_lines, lines as u64);
        }
    }
}
