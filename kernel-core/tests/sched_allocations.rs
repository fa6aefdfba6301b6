//! Invariant 3: waking, stealing, firing timers, handing over and exiting allocate nothing.
//!
//! A test binary of its own, since it counts what the whole process allocates.
#![cfg(not(any(loom, shuttle)))]

mod counting;

use counting::allocations;
use kernel_core::sched::{Attributes, Config, Dispatcher, Next, ThreadId};
use tessera_hal::fake::FakeMachine;
use tessera_hal::{CpuId, CpuSet, Duration, Requests, SchedHal};

const CPUS: u16 = 2;

struct Machine {
    fake: FakeMachine,
    dispatcher: Dispatcher<FakeMachine>,
    running: [Option<ThreadId>; CPUS as usize],
    /// Operations of the kinds that are counted.
    operations: u64,
    steals: u64,
}

impl Machine {
    fn new() -> Self {
        let fake = FakeMachine::new(usize::from(CPUS));
        let dispatcher = Dispatcher::new(fake.clone(), Config::new(usize::from(CPUS))).expect("a valid configuration");
        let mut machine = Self { fake, dispatcher, running: [None; CPUS as usize], operations: 0, steals: 0 };
        for index in 0..CPUS {
            machine.decide(index, Dispatcher::begin);
        }
        machine
    }

    fn decide(&mut self, index: u16, decision: impl FnOnce(&Dispatcher<FakeMachine>) -> Next) {
        self.fake.become_cpu(CpuId::new(index));
        let before = self.fake.mask_interrupts();
        self.running[usize::from(index)] = match decision(&self.dispatcher) {
            Next::Run(thread) => Some(thread),
            Next::Idle => None,
        };
        self.fake.restore_interrupts(before);
    }

    /// Serves kicks and timers of all CPUs.
    fn settle(&mut self) {
        for index in 0..CPUS {
            let cpu = CpuId::new(index);
            self.fake.take_kick(cpu);
            let mut requests = self.fake.request_word(cpu).take().requests;
            requests.set(Requests::TIMER, self.fake.take_fire(cpu));
            if !requests.is_empty() {
                self.operations += 1;
                self.decide(index, |dispatcher| {
                    dispatcher.serve(requests, &mut |payload| {
                        let _ = dispatcher.wake(ThreadId::from_u64(payload));
                    })
                });
            }
        }
    }

    /// One round of everything that must not allocate.
    fn round(&mut self, threads: &[ThreadId]) {
        for &thread in threads {
            let _ = self.dispatcher.wake(thread);
            self.operations += 1;
        }
        self.settle();
        for index in 0..CPUS {
            if let Some(thread) = self.running[usize::from(index)] {
                self.fake.become_cpu(CpuId::new(index));
                let deadline = self.fake.peek_now().saturating_add(Duration::from_micros(150));
                let timer = self.dispatcher.arm_timer(deadline, thread.as_u64());
                assert!(timer.is_ok(), "timers were reserved");
            }
            let receiver = threads[usize::from(index)];
            self.decide(index, |dispatcher| dispatcher.handoff_to(receiver));
            self.operations += 2;
        }
        self.fake.advance(Duration::from_micros(700));
        self.settle();
        self.decide(0, Dispatcher::block_current);
        self.decide(0, Dispatcher::block_current);
        self.decide(1, Dispatcher::yield_current);
        self.fake.advance(Duration::from_micros(2_500));
        self.settle();
    }

    fn count_steals(&mut self) {
        let steals = |index| self.dispatcher.cpu_snapshot(CpuId::new(index)).expect("it exists").steals;
        self.steals = (0..CPUS).map(steals).sum();
    }
}

#[test]
fn a_hundred_thousand_operations_allocate_nothing() {
    let mut machine = Machine::new();
    let create = |machine: &Machine, attributes| machine.dispatcher.create(attributes, 0).expect("room");
    let anywhere: Vec<_> = (0..6).map(|_| create(&machine, Attributes::default())).collect();
    let pinned = Attributes { affinity: CpuSet::of(CpuId::BOOT), ..Attributes::default() };
    let heirs: Vec<_> = (0..2_000).map(|_| create(&machine, pinned)).collect();
    assert!(allocations() > 0, "the counter counts");
    let before = allocations();
    for &thread in &anywhere {
        machine.dispatcher.start(thread, Some(CpuId::BOOT)).expect("it lives");
    }
    let mut heirs = heirs.into_iter();
    while machine.operations < 100_000 {
        machine.round(&anywhere);
        if let Some(heir) = heirs.next() {
            // A thread that starts, runs and ends.
            machine.dispatcher.start(heir, None).expect("it lives");
            for _ in 0..20 {
                machine.settle();
                if machine.running[0] == Some(heir) {
                    machine.decide(0, Dispatcher::exit_current);
                    machine.operations += 1;
                    break;
                }
                machine.decide(0, Dispatcher::yield_current);
            }
        }
    }
    machine.count_steals();
    assert_eq!(allocations() - before, 0, "after {} operations", machine.operations);
    assert!(machine.steals > 100, "threads were stolen {} times", machine.steals);
}
