//! [`FakeMachine`]: a machine for tests on the host, in virtual time.
//!
//! Nothing happens by itself. A driver says which CPU it is ([`FakeMachine::on`]), moves the clock, asks which
//! clockevent fires next, takes the interrupts that are pending and calls the scheduler as a kernel would. Threads of
//! a concurrent test each take the part of one CPU in the same way.
//!
//! The fake checks what a machine cannot: locks are taken in order and with interrupts masked, time does not go back,
//! masks are undone in the order in which they were done. Breaking one of these is a panic, since only a test sees it.
//! It also counts, per CPU: [`Counts`].

use crate::{
    ArmError, Clockevent, CpuId, CpuTopology, Duration, Instant, InterruptState, IrqLine, LockLedger, Probe,
    RequestWord, Requests, Route, RouteError, SchedHal, Ticket,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

// Which CPU this thread is. Under the checker, threads are coroutines of one OS thread.
#[cfg(not(shuttle))]
std::thread_local! {
    static THIS_CPU: Cell<CpuId> = const { Cell::new(CpuId::BOOT) };
}
#[cfg(shuttle)]
shuttle::thread_local! {
    static THIS_CPU: Cell<CpuId> = Cell::new(CpuId::BOOT);
}

/// How many device interrupt lines the fake has.
pub const FAKE_LINES: u32 = 24;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one CPU did since the counts were last reset.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        struct Counters {
            $($name: AtomicU64,)*
        }

        impl Counters {
            fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
            fn reset(&self) {
                $(self.$name.store(0, Ordering::Relaxed);)*
            }
        }
    };
}
counts! {
    /// Locks that it got, its own and others'.
    locks,
    /// Locks that it got and that guard another CPU's state.
    remote_locks,
    /// Words that others read, written on cache lines of its own or shared by several CPUs.
    shared_writes,
    /// Words written on another CPU's cache line, request words included.
    remote_writes,
    /// Kicks that it sent to others, coalesced ones included.
    kicks,
    /// Kick interrupts that it sent, to others or itself.
    kick_interrupts,
    /// Times that it programmed its clockevent.
    arms,
    /// Times that it stopped its clockevent.
    disarms,
    /// Times that it read the clock.
    clock_reads,
    /// Times that it masked interrupts.
    masks,
    /// Times that it idled.
    idles,
}

#[derive(Debug)]
struct FakeCpu {
    topology: CpuTopology,
    word: RequestWord,
    masked: AtomicBool,
    kick_pending: AtomicBool,
    broken_clockevent: AtomicBool,
    armed: Mutex<Option<Instant>>,
    ledger: LockLedger,
    counters: Counters,
}

#[derive(Debug)]
struct Shared {
    now: AtomicU64,
    /// Nanoseconds that pass with each reading of the clock.
    step: AtomicU64,
    clockevent: Mutex<Clockevent>,
    cpus: Vec<FakeCpu>,
    routes: Mutex<BTreeMap<IrqLine, Route>>,
}

/// A machine in virtual time. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct FakeMachine(Arc<Shared>);

impl FakeMachine {
    /// A machine of `cpus` CPUs, each a core of its own, in one cluster and one node.
    pub fn new(cpus: usize) -> Self {
        Self::with_topology(cpus, |cpu| CpuTopology { core: cpu.get(), cluster: 0, node: 0 })
    }

    /// A machine of `nodes` x `clusters` x `cores` x `threads` CPUs, numbered in that order.
    pub fn with_domains(nodes: u16, clusters: u16, cores: u16, threads: u16) -> Self {
        let cpus = usize::from(nodes) * usize::from(clusters) * usize::from(cores) * usize::from(threads);
        Self::with_topology(cpus, |cpu| {
            let core = cpu.get() / threads;
            let cluster = core / cores;
            CpuTopology { core, cluster, node: cluster / clusters }
        })
    }

    /// A machine of `cpus` CPUs that stand where `topology` says.
    pub fn with_topology(cpus: usize, topology: impl Fn(CpuId) -> CpuTopology) -> Self {
        let fake = |index| FakeCpu {
            topology: topology(CpuId::new(index as u16)),
            word: RequestWord::new(),
            masked: AtomicBool::new(false),
            kick_pending: AtomicBool::new(false),
            broken_clockevent: AtomicBool::new(false),
            armed: Mutex::new(None),
            ledger: LockLedger::default(),
            counters: Counters::default(),
        };
        let clockevent = Clockevent {
            resolution: Duration::from_nanos(1),
            min: Duration::from_nanos(1),
            max: Duration::from_secs(3600),
        };
        Self(Arc::new(Shared {
            now: AtomicU64::new(0),
            step: AtomicU64::new(0),
            clockevent: Mutex::new(clockevent),
            cpus: (0..cpus).map(fake).collect(),
            routes: Mutex::new((0..FAKE_LINES).map(|line| (IrqLine(line), Route::Masked)).collect()),
        }))
    }

    /// Runs `work` as `cpu`, on this thread.
    pub fn on<R>(&self, cpu: CpuId, work: impl FnOnce() -> R) -> R {
        let before = self.become_cpu(cpu);
        let result = work();
        THIS_CPU.with(|this| this.set(before));
        result
    }

    /// From now on this thread is `cpu`. Answers which one it was.
    pub fn become_cpu(&self, cpu: CpuId) -> CpuId {
        assert!(cpu.index() < self.0.cpus.len(), "the fake has no CPU {cpu}");
        THIS_CPU.with(|this| this.replace(cpu))
    }

    /// Moves the clock to `now`, which must not be in the past.
    pub fn set_now(&self, now: Instant) {
        let before = self.0.now.fetch_max(now.as_nanos(), Ordering::SeqCst);
        assert!(before <= now.as_nanos(), "the clock would go back from {before} to {} ns", now.as_nanos());
    }

    /// Moves the clock on by `length` and answers the new time.
    pub fn advance(&self, length: Duration) -> Instant {
        let before = self.0.now.fetch_add(length.as_nanos(), Ordering::SeqCst);
        Instant::from_nanos(before).saturating_add(length)
    }

    /// Lets `step` pass with each reading of the clock (zero at first), so that work takes time.
    pub fn set_clock_step(&self, step: Duration) {
        self.0.step.store(step.as_nanos(), Ordering::SeqCst);
    }

    /// The time, without counting as a reading.
    pub fn peek_now(&self) -> Instant {
        Instant::from_nanos(self.0.now.load(Ordering::SeqCst))
    }

    /// Changes what every clockevent can do.
    pub fn set_clockevent(&self, clockevent: Clockevent) {
        *lock(&self.0.clockevent) = clockevent;
    }

    /// Breaks the clockevent of `cpu` (arming it is an error from now on) or mends it.
    pub fn break_clockevent(&self, cpu: CpuId, broken: bool) {
        self.cpu(cpu).broken_clockevent.store(broken, Ordering::SeqCst);
    }

    /// When the clockevent of `cpu` will fire.
    pub fn armed(&self, cpu: CpuId) -> Option<Instant> {
        *lock(&self.cpu(cpu).armed)
    }

    /// The next clockevent to fire and its CPU; the lowest CPU first among equals.
    pub fn next_fire(&self) -> Option<(Instant, CpuId)> {
        (0..self.0.cpus.len() as u16).map(CpuId::new).filter_map(|cpu| Some((self.armed(cpu)?, cpu))).min()
    }

    /// Whether the clockevent of `cpu` is due. It is not armed any more then: the caller is its interrupt.
    pub fn take_fire(&self, cpu: CpuId) -> bool {
        let mut armed = lock(&self.cpu(cpu).armed);
        let due = armed.is_some_and(|deadline| deadline <= self.peek_now());
        if due {
            *armed = None;
        }
        due
    }

    /// Whether a kick interrupt is pending at `cpu`. It is not any more then: the caller is its interrupt.
    pub fn take_kick(&self, cpu: CpuId) -> bool {
        self.cpu(cpu).kick_pending.swap(false, Ordering::SeqCst)
    }

    /// Whether a kick interrupt is pending at `cpu`.
    pub fn has_kick(&self, cpu: CpuId) -> bool {
        self.cpu(cpu).kick_pending.load(Ordering::SeqCst)
    }

    /// Whether interrupts are masked on `cpu`.
    pub fn is_masked(&self, cpu: CpuId) -> bool {
        self.cpu(cpu).masked.load(Ordering::SeqCst)
    }

    /// How many locks `cpu` holds.
    pub fn locks_held(&self, cpu: CpuId) -> usize {
        self.cpu(cpu).ledger.held()
    }

    /// What `cpu` did since its counts were reset.
    pub fn counts(&self, cpu: CpuId) -> Counts {
        self.cpu(cpu).counters.read()
    }

    /// Starts the counts of every CPU again from zero.
    pub fn reset_counts(&self) {
        self.0.cpus.iter().for_each(|cpu| cpu.counters.reset());
    }

    /// What `work` does as `cpu`, counted.
    pub fn count_on<R>(&self, cpu: CpuId, work: impl FnOnce() -> R) -> (R, Counts) {
        self.cpu(cpu).counters.reset();
        let result = self.on(cpu, work);
        (result, self.counts(cpu))
    }

    fn cpu(&self, cpu: CpuId) -> &FakeCpu {
        &self.0.cpus[cpu.index()]
    }

    fn this(&self) -> &FakeCpu {
        self.cpu(self.this_cpu())
    }
}

impl SchedHal for FakeMachine {
    fn now(&self) -> Instant {
        count(&self.this().counters.clock_reads);
        let step = self.0.step.load(Ordering::SeqCst);
        Instant::from_nanos(self.0.now.fetch_add(step, Ordering::SeqCst) + step)
    }

    fn cpu_count(&self) -> usize {
        self.0.cpus.len()
    }

    fn this_cpu(&self) -> CpuId {
        THIS_CPU.with(Cell::get)
    }

    fn topology(&self, cpu: CpuId) -> CpuTopology {
        self.cpu(cpu).topology
    }

    fn mask_interrupts(&self) -> InterruptState {
        count(&self.this().counters.masks);
        match self.this().masked.swap(true, Ordering::SeqCst) {
            true => InterruptState::Masked,
            false => InterruptState::Unmasked,
        }
    }

    fn restore_interrupts(&self, state: InterruptState) {
        let cpu = self.this();
        assert!(cpu.masked.load(Ordering::SeqCst), "an outer mask was undone before an inner one");
        cpu.masked.store(state == InterruptState::Masked, Ordering::SeqCst);
    }

    fn clockevent(&self) -> Clockevent {
        *lock(&self.0.clockevent)
    }

    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        let cpu = self.this();
        count(&cpu.counters.arms);
        if cpu.broken_clockevent.load(Ordering::SeqCst) {
            return Err(ArmError::NoClockevent(self.this_cpu()));
        }
        let (now, can) = (self.peek_now(), self.clockevent());
        let nearest = now.saturating_add(can.min);
        // A deadline in the past fires at once, not after the shortest distance.
        let deadline = if deadline <= now { now } else { deadline.max(nearest) };
        *lock(&cpu.armed) = Some(deadline.min(now.saturating_add(can.max)));
        Ok(())
    }

    fn disarm(&self) {
        count(&self.this().counters.disarms);
        *lock(&self.this().armed) = None;
    }

    fn request_word(&self, cpu: CpuId) -> &RequestWord {
        &self.cpu(cpu).word
    }

    fn send_kick_interrupt(&self, cpu: CpuId) {
        count(&self.this().counters.kick_interrupts);
        self.cpu(cpu).kick_pending.store(true, Ordering::SeqCst);
    }

    fn kick(&self, cpu: CpuId, requests: Requests) -> Ticket {
        if cpu != self.this_cpu() {
            count(&self.this().counters.kicks);
            count(&self.this().counters.remote_writes);
        }
        let posted = self.request_word(cpu).post(requests);
        if posted.must_interrupt {
            self.send_kick_interrupt(cpu);
        }
        posted.ticket
    }

    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        match route {
            Route::Cpu(cpu) if cpu.index() >= self.0.cpus.len() => Err(RouteError::NoSuchCpu(cpu)),
            _ => lock(&self.0.routes)
                .get_mut(&line)
                .map(|current| core::mem::replace(current, route))
                .ok_or(RouteError::NoSuchLine(line)),
        }
    }

    fn idle(&self) {
        let cpu = self.this();
        count(&cpu.counters.idles);
        assert!(cpu.masked.load(Ordering::SeqCst), "idle is called with interrupts masked");
        #[cfg(not(shuttle))]
        std::thread::yield_now();
        #[cfg(shuttle)]
        shuttle::thread::yield_now();
    }

    fn probe(&self, probe: Probe) {
        let (this, cpu) = (self.this_cpu(), self.this());
        if let Err(violation) = cpu.ledger.observe(probe) {
            panic!("CPU {this}: {violation}");
        }
        match probe {
            Probe::Locking { owner, .. } | Probe::TryLocked { owner, .. } => {
                assert!(cpu.masked.load(Ordering::SeqCst), "CPU {this} takes a lock with interrupts unmasked");
                count(&cpu.counters.locks);
                if owner.is_some_and(|owner| owner != this) {
                    count(&cpu.counters.remote_locks);
                }
            }
            Probe::SharedWrite { owner: Some(owner) } if owner != this => count(&cpu.counters.remote_writes),
            Probe::SharedWrite { .. } => count(&cpu.counters.shared_writes),
            Probe::Unlocked { .. } | Probe::Searching { .. } => {}
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const OTHER: CpuId = CpuId::new(1);

    #[test]
    fn clockevents_fire_in_order_of_time_and_then_of_cpu() {
        let machine = FakeMachine::new(2);
        machine.on(OTHER, || machine.arm(Instant::from_nanos(50))).expect("it works");
        machine.on(CpuId::BOOT, || machine.arm(Instant::from_nanos(70))).expect("it works");
        assert_eq!(machine.next_fire(), Some((Instant::from_nanos(50), OTHER)));
        assert!(!machine.take_fire(OTHER));
        machine.set_now(Instant::from_nanos(70));
        assert!(machine.take_fire(OTHER) && !machine.take_fire(OTHER));
        assert_eq!(machine.next_fire(), Some((Instant::from_nanos(70), CpuId::BOOT)));
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once_and_a_distant_one_is_cut() {
        let machine = FakeMachine::new(1);
        machine.set_now(Instant::from_nanos(1000));
        machine.arm(Instant::ORIGIN).expect("it works");
        assert!(machine.take_fire(CpuId::BOOT));
        machine.arm(Instant::from_nanos(u64::MAX)).expect("it works");
        let longest = machine.clockevent().max;
        assert_eq!(machine.armed(CpuId::BOOT), Some(Instant::from_nanos(1000).saturating_add(longest)));
    }

    #[test]
    fn kicks_coalesce_until_they_are_taken() {
        let machine = FakeMachine::new(2);
        let (_, counts) = machine.count_on(CpuId::BOOT, || {
            let _ = machine.kick(OTHER, Requests::RESCHEDULE);
            let _ = machine.kick(OTHER, Requests::REARM);
        });
        assert_eq!((counts.kicks, counts.kick_interrupts, counts.remote_writes), (2, 1, 2));
        assert!(machine.take_kick(OTHER) && !machine.take_kick(OTHER));
        assert_eq!(machine.request_word(OTHER).take().requests, Requests::RESCHEDULE | Requests::REARM);
    }

    #[test]
    fn domains_nest_and_their_numbers_are_unique_over_the_machine() {
        let machine = FakeMachine::with_domains(2, 2, 2, 2);
        assert_eq!(machine.cpu_count(), 16);
        assert_eq!(machine.topology(CpuId::new(15)), CpuTopology { core: 7, cluster: 3, node: 1 });
        assert_eq!(machine.topology(CpuId::new(8)), CpuTopology { core: 4, cluster: 2, node: 1 });
    }

    #[test]
    fn routes_read_back_and_impossible_ones_are_refused() {
        let machine = FakeMachine::new(2);
        assert_eq!(machine.route_irq(IrqLine(4), Route::Cpu(OTHER)), Ok(Route::Masked));
        assert_eq!(machine.route_irq(IrqLine(4), Route::Masked), Ok(Route::Cpu(OTHER)));
        let absent = CpuId::new(2);
        assert_eq!(machine.route_irq(IrqLine(4), Route::Cpu(absent)), Err(RouteError::NoSuchCpu(absent)));
        let line = IrqLine(FAKE_LINES);
        assert_eq!(machine.route_irq(line, Route::Masked), Err(RouteError::NoSuchLine(line)));
    }

    #[test]
    fn a_broken_clockevent_is_an_error_that_names_its_cpu() {
        let machine = FakeMachine::new(2);
        machine.break_clockevent(OTHER, true);
        machine.on(OTHER, || {
            assert_eq!(machine.arm(Instant::from_nanos(1)), Err(ArmError::NoClockevent(OTHER)));
        });
        assert_eq!(machine.arm(Instant::from_nanos(1)), Ok(()));
    }
}
