//! A small deterministic driver: it is every CPU of a fake machine in turn, runs programs in virtual time, and calls the
//! real dispatcher as a kernel would.
//!
//! A program is how long a thread runs and then sleeps, for ever; a hog never sleeps. What a thread really got is
//! counted here too (`got`), as a second witness beside the dispatcher's books.
#![allow(dead_code)] // Each test binary uses another part.

use kernel_core::sched::{Attributes, Config, Dispatcher, Next, Policy, ThreadId, Weight};
use std::collections::BTreeMap;
use tessera_hal::fake::FakeMachine;
use tessera_hal::{CpuId, CpuSet, Duration, Instant, Requests, SchedHal};

pub const POLICIES: [Policy; 2] = [Policy::Wfq, Policy::Eevdf];

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

pub fn cpu(index: u16) -> CpuId {
    CpuId::new(index)
}

pub fn weight(weight: u16) -> Weight {
    Weight::new(weight).expect("a weight in range")
}

/// Attributes with this weight on these CPUs.
pub fn on(cpus: &[u16], number: u16) -> Attributes {
    Attributes { weight: weight(number), affinity: cpus.iter().map(|&index| cpu(index)).collect(), ..anywhere(number) }
}

/// Attributes with this weight on any CPU.
pub fn anywhere(number: u16) -> Attributes {
    Attributes { weight: weight(number), ..Attributes::default() }
}

/// What a thread does.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// Runs for ever.
    Hog,
    /// Runs, sleeps, and again.
    Sleeper { run: Duration, sleep: Duration },
    /// Runs this long, then ends.
    Job(Duration),
}

struct Thread {
    program: Program,
    /// Until it blocks or ends.
    rest: Option<Duration>,
    got: Duration,
    woken_at: Option<Instant>,
    latencies: Vec<Duration>,
    /// How many others were dispatched on its CPU since it was woken.
    passed_by: usize,
    most_passed_by: usize,
}

/// The machine, the dispatcher, and what runs.
pub struct Driver {
    pub machine: FakeMachine,
    pub dispatcher: Dispatcher<FakeMachine>,
    pub running: Vec<Option<ThreadId>>,
    /// Who was dispatched on each CPU, in order: put there, or left there for another request.
    pub log: Vec<(CpuId, ThreadId)>,
    /// How many that were on each CPU.
    dispatches: Vec<u64>,
    threads: BTreeMap<ThreadId, Thread>,
    /// Check the invariants after every step.
    pub checked: bool,
    started: Vec<bool>,
}

impl Driver {
    pub fn new(cpus: usize, policy: Policy) -> Self {
        Self::with(FakeMachine::new(cpus), Config { policy, ..Config::new(cpus) })
    }

    pub fn with(machine: FakeMachine, config: Config) -> Self {
        let cpus = machine.cpu_count();
        let dispatcher = Dispatcher::new(machine.clone(), config).expect("a valid configuration");
        let mut driver = Self {
            machine,
            dispatcher,
            running: vec![None; cpus],
            log: Vec::new(),
            dispatches: vec![0; cpus],
            threads: BTreeMap::new(),
            checked: true,
            started: vec![false; cpus],
        };
        for index in 0..cpus {
            driver.decide(cpu(index as u16), |dispatcher| dispatcher.begin());
        }
        driver
    }

    pub fn cpus(&self) -> impl Iterator<Item = CpuId> + use<> {
        (0..self.running.len() as u16).map(CpuId::new)
    }

    pub fn now(&self) -> Instant {
        self.machine.peek_now()
    }

    /// One decision of one CPU.
    pub fn decide(&mut self, on: CpuId, decision: impl FnOnce(&Dispatcher<FakeMachine>) -> Next) {
        let before = self.machine.on(on, || self.machine.mask_interrupts());
        let next = self.machine.on(on, || decision(&self.dispatcher));
        self.machine.on(on, || self.machine.restore_interrupts(before));
        let ran = self.running[on.index()];
        self.running[on.index()] = match next {
            Next::Run(thread) => {
                let dispatches = self.dispatcher.glance(on).expect("it exists").dispatches;
                if core::mem::replace(&mut self.dispatches[on.index()], dispatches) != dispatches {
                    self.log.push((on, thread));
                }
                Some(thread)
            }
            Next::Idle => None,
        };
        self.count_passes(ran, self.running[on.index()]);
        if let Some(thread) = self.running[on.index()].and_then(|thread| self.threads.get_mut(&thread))
            && let Some(woken_at) = thread.woken_at.take()
        {
            thread.latencies.push(self.machine.peek_now().saturating_duration_since(woken_at));
            thread.most_passed_by = thread.most_passed_by.max(core::mem::take(&mut thread.passed_by));
        }
        assert!(self.machine.locks_held(on) == 0);
        if self.checked {
            self.dispatcher.check_invariants().expect("the invariants hold");
        }
    }

    fn count_passes(&mut self, before: Option<ThreadId>, now: Option<ThreadId>) {
        if now.is_none() || before == now {
            return;
        }
        for (&id, thread) in &mut self.threads {
            if thread.woken_at.is_some() && Some(id) != now {
                thread.passed_by += 1;
            }
        }
    }

    /// Something a CPU does that is no decision; then kicks are served.
    pub fn act<R>(&mut self, on: CpuId, action: impl FnOnce(&Dispatcher<FakeMachine>) -> R) -> R {
        let result = self.machine.on(on, || action(&self.dispatcher));
        self.settle();
        result
    }

    pub fn spawn(&mut self, attributes: Attributes, program: Program) -> ThreadId {
        self.spawn_by(None, attributes, program)
    }

    pub fn spawn_by(&mut self, creator: Option<CpuId>, attributes: Attributes, program: Program) -> ThreadId {
        let thread = self.dispatcher.create(attributes, 7).expect("room for a thread");
        let rest = match program {
            Program::Hog => None,
            Program::Sleeper { run, .. } => Some(run),
            Program::Job(length) => Some(length),
        };
        let state = Thread {
            program,
            rest,
            got: Duration::ZERO,
            woken_at: None,
            latencies: Vec::new(),
            passed_by: 0,
            most_passed_by: 0,
        };
        self.threads.insert(thread, state);
        self.act(creator.unwrap_or(CpuId::BOOT), |dispatcher| dispatcher.start(thread, creator))
            .expect("the thread is new");
        thread
    }

    /// What the thread really got.
    pub fn got(&self, thread: ThreadId) -> Duration {
        self.threads[&thread].got
    }

    /// From each wake-up to the dispatch.
    pub fn latencies(&self, thread: ThreadId) -> &[Duration] {
        &self.threads[&thread].latencies
    }

    /// The most dispatches of others between a wake-up and the dispatch that it led to (on a machine of one CPU).
    pub fn most_passed_by(&self, thread: ThreadId) -> usize {
        self.threads[&thread].most_passed_by
    }

    /// Serves all request words, until nobody wants anything.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some(on) = self.cpus().find(|&on| self.machine.request_word(on).is_pending()) else {
                if self.checked {
                    self.dispatcher.check_at_rest().expect("the invariants hold at rest");
                }
                return;
            };
            self.serve(on, Requests::empty());
        }
        panic!("CPUs keep asking each other");
    }

    fn serve(&mut self, on: CpuId, also: Requests) {
        self.machine.take_kick(on);
        let taken = self.machine.on(on, || self.machine.request_word(on).take());
        self.machine.on(on, || self.dispatcher.interrupt_entered());
        let machine = self.machine.clone();
        let threads = &mut self.threads;
        let now = machine.peek_now();
        let mut next = None;
        machine.on(on, || {
            let before = machine.mask_interrupts();
            let dispatcher = &self.dispatcher;
            next = Some(dispatcher.serve(taken.requests | also, &mut |payload| {
                let thread = ThreadId::from_u64(payload);
                if dispatcher.wake(thread).is_ok()
                    && let Some(state) = threads.get_mut(&thread)
                {
                    state.woken_at = Some(now);
                }
            }));
            machine.restore_interrupts(before);
        });
        machine.request_word(on).acknowledge(taken);
        self.decide(on, |_| next.expect("serve has answered"));
        self.machine.on(on, || self.dispatcher.interrupt_left());
    }

    /// Runs everything for `length` of virtual time.
    pub fn run(&mut self, length: Duration) {
        let end = self.now().saturating_add(length);
        self.settle();
        let mut steps_at_once = 0;
        while self.now() < end {
            let before = self.now();
            let next = [Some(end), self.machine.next_fire().map(|(at, _)| at), self.first_program_end()]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(end)
                .max(self.now());
            self.pass(next);
            for on in self.cpus() {
                self.end_programs(on);
                if self.machine.take_fire(on) {
                    self.serve(on, Requests::TIMER);
                }
            }
            self.settle();
            steps_at_once = if self.now() == before { steps_at_once + 1 } else { 0 };
            assert!(steps_at_once < 10_000, "time does not go on: something is always due at once");
        }
    }

    fn pass(&mut self, until: Instant) {
        let passed = until.saturating_duration_since(self.now());
        for thread in self.running.iter().flatten() {
            if let Some(thread) = self.threads.get_mut(thread) {
                thread.got = thread.got.saturating_add(passed);
                thread.rest = thread.rest.map(|rest| rest.saturating_sub(passed));
            }
        }
        self.machine.set_now(until);
    }

    fn first_program_end(&self) -> Option<Instant> {
        let rests = self.running.iter().flatten().filter_map(|thread| self.threads.get(thread)?.rest);
        rests.min().map(|rest| self.now().saturating_add(rest))
    }

    fn end_programs(&mut self, on: CpuId) {
        let Some(id) = self.running[on.index()] else { return };
        let now = self.now();
        let Some(thread) = self.threads.get_mut(&id).filter(|thread| thread.rest == Some(Duration::ZERO)) else {
            return;
        };
        match thread.program {
            Program::Hog => {}
            Program::Job(_) => self.decide(on, |dispatcher| dispatcher.exit_current()),
            Program::Sleeper { run, sleep } => {
                thread.rest = Some(run);
                self.decide(on, |dispatcher| {
                    dispatcher.arm_timer(now.saturating_add(sleep), id.as_u64()).expect("a timer is reserved");
                    dispatcher.block_current()
                });
            }
        }
    }
}

/// The share of `part` in `whole`, in millionths.
pub fn share(part: Duration, whole: Duration) -> u64 {
    (u128::from(part.as_nanos()) * 1_000_000 / u128::from(whole.as_nanos().max(1))) as u64
}

/// CPUs 0..count.
pub fn first(count: usize) -> CpuSet {
    CpuSet::first(count)
}
