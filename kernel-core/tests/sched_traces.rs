//! Random traces of everything that can be done to the dispatcher, with the invariants checked after each step.
//!
//! `TESSERA_TRACE_STEPS` sets how many steps in all (default 40,000; a full run takes a million), `TESSERA_TRACE_SEED`
//! the seed. A failure prints the seed and the shortest trace that still fails.
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::{
    Attributes, Config, Dispatcher, LatencyClass, Next, Policy, Terminated, ThreadId, ThreadState, Wake,
};
use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use sched_driver::{cpu, us, weight};
use std::collections::{BTreeMap, BTreeSet};
use tessera_hal::fake::FakeMachine;
use tessera_hal::{CpuId, CpuSet, Requests, SchedHal};

const CPUS: usize = 4;
const STEPS_PER_TRACE: usize = 120;
const MAX_LIVE: usize = 24;

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Create { weight: u16, class: u8, cpus: u8, creator: u8 },
    Wake { by: u8, thread: u8 },
    Block { on: u8 },
    Yield { on: u8 },
    Exit { on: u8 },
    Handoff { on: u8, to: u8 },
    Reconsider { on: u8 },
    Terminate { by: u8, thread: u8 },
    SetWeight { by: u8, thread: u8, weight: u16 },
    SetClass { by: u8, thread: u8, class: u8 },
    SetRequest { by: u8, thread: u8, us: Option<u32> },
    SetAffinity { by: u8, thread: u8, cpus: u8 },
    Leave { by: u8, cpu: u8 },
    Join { by: u8, cpu: u8 },
    ArmTimer { on: u8, thread: u8, us: u16 },
    CancelTimer { by: u8, timer: u8 },
    Interrupt { on: u8, ns: u16 },
    Pass { us: u16 },
    Serve { on: u8 },
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    let weight = || prop_oneof![Just(1_u16), Just(64), Just(10_000), 1..=10_000_u16];
    prop_oneof![
        6 => (weight(), n(), n(), n())
            .prop_map(|(weight, class, cpus, creator)| Step::Create { weight, class, cpus, creator }),
        8 => (n(), n()).prop_map(|(by, thread)| Step::Wake { by, thread }),
        6 => n().prop_map(|on| Step::Block { on }),
        3 => n().prop_map(|on| Step::Yield { on }),
        1 => n().prop_map(|on| Step::Exit { on }),
        4 => (n(), n()).prop_map(|(on, to)| Step::Handoff { on, to }),
        2 => n().prop_map(|on| Step::Reconsider { on }),
        2 => (n(), n()).prop_map(|(by, thread)| Step::Terminate { by, thread }),
        3 => (n(), n(), weight()).prop_map(|(by, thread, weight)| Step::SetWeight { by, thread, weight }),
        2 => (n(), n(), n()).prop_map(|(by, thread, class)| Step::SetClass { by, thread, class }),
        2 => (n(), n(), proptest::option::of(0..200_000_u32))
            .prop_map(|(by, thread, us)| Step::SetRequest { by, thread, us }),
        4 => (n(), n(), n()).prop_map(|(by, thread, cpus)| Step::SetAffinity { by, thread, cpus }),
        1 => (n(), n()).prop_map(|(by, cpu)| Step::Leave { by, cpu }),
        2 => (n(), n()).prop_map(|(by, cpu)| Step::Join { by, cpu }),
        3 => (n(), n(), any::<u16>()).prop_map(|(on, thread, us)| Step::ArmTimer { on, thread, us }),
        1 => (n(), n()).prop_map(|(by, timer)| Step::CancelTimer { by, timer }),
        2 => (n(), any::<u16>()).prop_map(|(on, ns)| Step::Interrupt { on, ns }),
        8 => (0..20_000_u16).prop_map(|us| Step::Pass { us }),
        6 => n().prop_map(|on| Step::Serve { on }),
        6 => Just(Step::Settle),
    ]
}

/// The machine, and what the trace expects of it.
struct World {
    machine: FakeMachine,
    dispatcher: Dispatcher<FakeMachine>,
    running: Vec<Option<ThreadId>>,
    live: Vec<ThreadId>,
    dead: BTreeSet<ThreadId>,
    /// Threads whose next block must not block.
    tokens: BTreeSet<ThreadId>,
    timers: Vec<kernel_core::sched::TimerId>,
    runtimes: BTreeMap<ThreadId, u64>,
}

type Checked = Result<(), TestCaseError>;

impl World {
    fn new(policy: Policy) -> Self {
        let machine = FakeMachine::with_domains(1, 2, 2, 1);
        let config = Config { policy, ..Config::new(CPUS) };
        let dispatcher = Dispatcher::new(machine.clone(), config).expect("a valid configuration");
        let mut world = Self {
            machine,
            dispatcher,
            running: vec![None; CPUS],
            live: Vec::new(),
            dead: BTreeSet::new(),
            tokens: BTreeSet::new(),
            timers: Vec::new(),
            runtimes: BTreeMap::new(),
        };
        for index in 0..CPUS as u16 {
            world.decide(cpu(index), Dispatcher::begin);
        }
        world
    }

    fn cpu(number: u8) -> CpuId {
        cpu(u16::from(number) % CPUS as u16)
    }

    /// A set of CPUs that is not empty; often one that has just a single CPU.
    fn cpus(bits: u8) -> CpuSet {
        match bits % 16 {
            0 => CpuSet::of(cpu(u16::from(bits / 16) % CPUS as u16)),
            bits => (0..4).filter(|index| bits & (1 << index) != 0).map(cpu).collect(),
        }
    }

    fn thread(&self, number: u8) -> Option<ThreadId> {
        self.live.get(usize::from(number) % self.live.len().max(1)).copied()
    }

    fn on<R>(&self, cpu: CpuId, work: impl FnOnce(&Dispatcher<FakeMachine>) -> R) -> R {
        self.machine.on(cpu, || work(&self.dispatcher))
    }

    fn decide(&mut self, cpu: CpuId, decision: impl FnOnce(&Dispatcher<FakeMachine>) -> Next) {
        let next = self.machine.on(cpu, || {
            let before = self.machine.mask_interrupts();
            let next = decision(&self.dispatcher);
            self.machine.restore_interrupts(before);
            next
        });
        self.running[cpu.index()] = match next {
            Next::Run(thread) => Some(thread),
            Next::Idle => None,
        };
    }

    fn wake(&mut self, by: CpuId, thread: ThreadId) {
        if self.on(by, |dispatcher| dispatcher.wake(thread)) == Ok(Wake::TokenLeft) {
            self.tokens.insert(thread);
        }
    }

    fn serve(&mut self, cpu: CpuId) -> Checked {
        let fired = self.machine.take_fire(cpu);
        self.machine.take_kick(cpu);
        let taken = self.machine.request_word(cpu).take();
        let also = if fired { Requests::TIMER } else { Requests::empty() };
        let mut woken = Vec::new();
        self.on(cpu, Dispatcher::interrupt_entered);
        self.decide(cpu, |dispatcher| {
            dispatcher.serve(taken.requests | also, &mut |payload| {
                let thread = ThreadId::from_u64(payload);
                if dispatcher.wake(thread) == Ok(Wake::TokenLeft) {
                    woken.push(thread);
                }
            })
        });
        self.on(cpu, Dispatcher::interrupt_left);
        self.machine.request_word(cpu).acknowledge(taken);
        self.tokens.extend(woken);
        Ok(())
    }

    fn settle(&mut self) -> Checked {
        for _ in 0..1_000 {
            let wants = |&index: &u16| {
                self.machine.request_word(cpu(index)).is_pending()
                    || self.machine.armed(cpu(index)).is_some_and(|at| at <= self.machine.peek_now())
            };
            let Some(index) = (0..CPUS as u16).find(wants) else {
                return self.dispatcher.check_at_rest().map_err(|violation| TestCaseError::fail(violation.to_string()));
            };
            self.serve(cpu(index))?;
        }
        Err(TestCaseError::fail("CPUs keep asking each other"))
    }

    /// A decision after which `thread`, which was current, must be out of the books if it blocked without a token.
    fn block(&mut self, on: CpuId, decision: impl FnOnce(&Dispatcher<FakeMachine>) -> Next) -> Checked {
        let Some(thread) = self.running[on.index()] else {
            self.decide(on, decision);
            return Ok(());
        };
        let token = self.tokens.remove(&thread);
        self.decide(on, decision);
        if let Ok(snapshot) = self.dispatcher.snapshot(thread) {
            let blocked = snapshot.state == ThreadState::Blocked;
            prop_assert_eq!(blocked, !token, "invariant 5: token {}, state {:?}", token, snapshot.state);
        }
        Ok(())
    }

    fn create(&mut self, attributes: Attributes, creator: CpuId) -> Checked {
        match self.dispatcher.create(attributes, 1) {
            Err(_) => Ok(()),
            Ok(thread) => {
                prop_assert!(!self.dead.contains(&thread), "an id lives again");
                let snapshot = self.dispatcher.snapshot(thread).expect("it was just created");
                prop_assert_eq!((snapshot.runtime.as_nanos(), snapshot.dispatches, snapshot.migrations), (0, 0, 0));
                self.live.push(thread);
                self.on(creator, |dispatcher| dispatcher.start(thread, Some(creator))).expect("it lives");
                Ok(())
            }
        }
    }

    fn bury(&mut self, thread: ThreadId) -> Checked {
        self.live.retain(|&live| live != thread);
        self.tokens.remove(&thread);
        self.runtimes.remove(&thread);
        self.dead.insert(thread);
        prop_assert!(self.dispatcher.snapshot(thread).is_err(), "a dead thread has a snapshot");
        prop_assert!(self.dispatcher.wake(thread).is_err(), "a dead thread wakes");
        prop_assert!(self.dispatcher.set_weight(thread, weight(1)).is_err());
        Ok(())
    }

    fn apply(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Create { weight: number, class, cpus, creator } if self.live.len() < MAX_LIVE => self.create(
                Attributes {
                    weight: weight(number),
                    class: LatencyClass::ALL[usize::from(class) % 4],
                    request: None,
                    affinity: Self::cpus(cpus),
                },
                Self::cpu(creator),
            ),
            Step::Block { on } => self.block(Self::cpu(on), Dispatcher::block_current),
            Step::Yield { on } => {
                self.decide(Self::cpu(on), Dispatcher::yield_current);
                Ok(())
            }
            Step::Reconsider { on } => {
                self.decide(Self::cpu(on), Dispatcher::reconsider);
                Ok(())
            }
            Step::Exit { on } => {
                let thread = self.running[Self::cpu(on).index()];
                self.decide(Self::cpu(on), Dispatcher::exit_current);
                // One that was terminated meanwhile is dead already.
                thread.filter(|thread| self.live.contains(thread)).map_or(Ok(()), |thread| self.bury(thread))
            }
            Step::Pass { us: length } => {
                self.machine.advance(us(u64::from(length)));
                Ok(())
            }
            Step::Serve { on } => self.serve(Self::cpu(on)),
            Step::Settle => self.settle(),
            Step::Interrupt { on, ns } => {
                self.on(Self::cpu(on), Dispatcher::interrupt_entered);
                self.machine.advance(tessera_hal::Duration::from_nanos(u64::from(ns)));
                self.on(Self::cpu(on), Dispatcher::interrupt_left);
                Ok(())
            }
            Step::Leave { by, cpu } => {
                let _ = self.on(Self::cpu(by), |dispatcher| dispatcher.cpu_leave(Self::cpu(cpu)));
                Ok(())
            }
            Step::Join { by, cpu } => {
                self.on(Self::cpu(by), |dispatcher| dispatcher.cpu_join(Self::cpu(cpu))).expect("the CPU exists");
                Ok(())
            }
            Step::CancelTimer { by, timer } => {
                let timer = self.timers.get(usize::from(timer) % self.timers.len().max(1)).copied();
                timer.map(|timer| self.on(Self::cpu(by), |dispatcher| dispatcher.cancel_timer(timer)));
                Ok(())
            }
            ref other => self.apply_to_thread(other),
        }
    }

    fn apply_to_thread(&mut self, step: &Step) -> Checked {
        let number = match *step {
            Step::Wake { thread, .. }
            | Step::Handoff { to: thread, .. }
            | Step::Terminate { thread, .. }
            | Step::SetWeight { thread, .. }
            | Step::SetClass { thread, .. }
            | Step::SetRequest { thread, .. }
            | Step::SetAffinity { thread, .. }
            | Step::ArmTimer { thread, .. } => thread,
            _ => return Ok(()),
        };
        let Some(thread) = self.thread(number) else { return Ok(()) };
        match *step {
            Step::Wake { by, .. } => self.wake(Self::cpu(by), thread),
            Step::Handoff { on, .. } => {
                let receiver_blocks = self.dispatcher.snapshot(thread).is_ok_and(|s| s.state == ThreadState::Blocked);
                let on = Self::cpu(on);
                let giver = self.running[on.index()];
                if !receiver_blocks && giver != Some(thread) {
                    self.tokens.insert(thread);
                }
                if giver == Some(thread) {
                    // Handing over to oneself is a wake-up of oneself.
                    self.tokens.insert(thread);
                }
                return self.block(on, |dispatcher| dispatcher.handoff_to(thread));
            }
            Step::Terminate { by, .. } => {
                let ended = self.on(Self::cpu(by), |dispatcher| dispatcher.terminate(thread)).expect("it lives");
                let runs_on = self.running.iter().position(|&running| running == Some(thread));
                let expected = runs_on.map_or(Terminated::Gone, |index| Terminated::RunningOn(cpu(index as u16)));
                prop_assert_eq!(ended, expected);
                return self.bury(thread);
            }
            Step::SetWeight { by, weight: number, .. } => {
                self.on(Self::cpu(by), |dispatcher| dispatcher.set_weight(thread, weight(number))).expect("it lives");
                prop_assert_eq!(self.dispatcher.snapshot(thread).expect("it lives").weight, weight(number));
            }
            Step::SetClass { by, class, .. } => {
                let class = LatencyClass::ALL[usize::from(class) % 4];
                self.on(Self::cpu(by), |dispatcher| dispatcher.set_class(thread, class)).expect("it lives");
                prop_assert_eq!(self.dispatcher.snapshot(thread).expect("it lives").class, class);
            }
            Step::SetRequest { by, us: length, .. } => {
                let request = length.map(|length| us(u64::from(length)));
                let refused = request.is_some_and(|request| !(us(100)..=us(100_000)).contains(&request));
                let result = self.on(Self::cpu(by), |dispatcher| dispatcher.set_request(thread, request));
                prop_assert_eq!(result.is_err(), refused);
            }
            Step::SetAffinity { by, cpus, .. } => {
                let affinity = Self::cpus(cpus);
                if self.on(Self::cpu(by), |dispatcher| dispatcher.set_affinity(thread, affinity)).is_ok() {
                    prop_assert_eq!(self.dispatcher.snapshot(thread).expect("it lives").affinity, affinity);
                }
            }
            Step::ArmTimer { on, us: length, .. } => {
                let deadline = self.machine.peek_now().saturating_add(us(u64::from(length)));
                let armed = self.on(Self::cpu(on), |dispatcher| dispatcher.arm_timer(deadline, thread.as_u64()));
                self.timers.extend(armed);
            }
            _ => {}
        }
        Ok(())
    }

    /// What must hold after each step.
    fn check(&mut self) -> Checked {
        self.dispatcher.check_invariants().map_err(|violation| TestCaseError::fail(violation.to_string()))?;
        for &thread in &self.live {
            let snapshot = self.dispatcher.snapshot(thread).expect("it lives");
            prop_assert_eq!(snapshot.dispatches_outside, 0);
            let before = self.runtimes.insert(thread, snapshot.runtime.as_nanos()).unwrap_or(0);
            prop_assert!(before <= snapshot.runtime.as_nanos(), "run time went back");
            let runs = self.running.contains(&Some(thread));
            prop_assert_eq!(runs, snapshot.state == ThreadState::Current, "{:?}", snapshot.state);
        }
        Ok(())
    }
}

fn run_trace(policy: Policy, steps: &[Step]) -> Checked {
    let mut world = World::new(policy);
    for (index, step) in steps.iter().enumerate() {
        world.apply(step)?;
        world.check().map_err(|error| TestCaseError::fail(format!("after step {index}, {step:?}: {error}")))?;
    }
    world.settle()
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn run_traces(policy: Policy) {
    let steps = number_from_environment("TESSERA_TRACE_STEPS", 40_000) as usize;
    let seed = number_from_environment("TESSERA_TRACE_SEED", 2);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = RunnerConfig {
        cases: (steps / 2 / STEPS_PER_TRACE).max(1) as u32,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..RunnerConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let traces = proptest::collection::vec(step(), 1..2 * STEPS_PER_TRACE);
    match runner.run(&traces, |steps| run_trace(policy, &steps)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, trace)) => {
            let trace: String = trace.iter().map(|step| format!("\n  {step:?}")).collect();
            panic!("{policy:?}, TESSERA_TRACE_SEED={seed}: {reason}\nshortest trace:{trace}")
        }
        Err(TestError::Abort(reason)) => panic!("{policy:?}, TESSERA_TRACE_SEED={seed}: {reason}"),
    }
}

#[test]
fn the_invariants_hold_after_each_step_of_random_traces_with_wfq() {
    run_traces(Policy::Wfq);
}

#[test]
fn the_invariants_hold_after_each_step_of_random_traces_with_eevdf() {
    run_traces(Policy::Eevdf);
}
