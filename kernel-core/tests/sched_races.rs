//! Interleavings that a driver of one CPU at a time does not come by: something happens on another CPU in the middle
//! of an operation. The HAL's probe is where it breaks in.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::sched::{Attributes, Config, Dispatcher, Next, ThreadId};
use std::sync::{Arc, Mutex, OnceLock};
use tessera_hal::fake::FakeMachine;
use tessera_hal::{
    ArmError, Clockevent, CpuId, CpuSet, CpuTopology, Instant, InterruptState, IrqLine, Probe, RequestWord, Requests,
    Route, RouteError, SchedHal, Ticket,
};

type Interruption = Box<dyn FnOnce() + Send>;

/// A fake machine on which something happens at the next write to a CPU's published words by another one.
#[derive(Clone)]
struct Interposed {
    fake: FakeMachine,
    at_write_to: Arc<Mutex<Option<(CpuId, Interruption)>>>,
}

impl SchedHal for Interposed {
    fn now(&self) -> Instant {
        self.fake.now()
    }
    fn cpu_count(&self) -> usize {
        self.fake.cpu_count()
    }
    fn this_cpu(&self) -> CpuId {
        self.fake.this_cpu()
    }
    fn topology(&self, cpu: CpuId) -> CpuTopology {
        self.fake.topology(cpu)
    }
    fn mask_interrupts(&self) -> InterruptState {
        self.fake.mask_interrupts()
    }
    fn restore_interrupts(&self, state: InterruptState) {
        self.fake.restore_interrupts(state);
    }
    fn clockevent(&self) -> Clockevent {
        self.fake.clockevent()
    }
    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        self.fake.arm(deadline)
    }
    fn disarm(&self) {
        self.fake.disarm();
    }
    fn request_word(&self, cpu: CpuId) -> &RequestWord {
        self.fake.request_word(cpu)
    }
    fn send_kick_interrupt(&self, cpu: CpuId) {
        self.fake.send_kick_interrupt(cpu);
    }
    fn kick(&self, cpu: CpuId, requests: Requests) -> Ticket {
        self.fake.kick(cpu, requests)
    }
    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        self.fake.route_irq(line, route)
    }
    fn idle(&self) {
        self.fake.idle();
    }
    fn probe(&self, probe: Probe) {
        self.fake.probe(probe);
        let Probe::SharedWrite { owner: Some(owner) } = probe else { return };
        if owner == self.this_cpu() || self.fake.locks_held(self.this_cpu()) != 0 {
            return;
        }
        let due = self.at_write_to.lock().expect("no panic before").take_if(|(cpu, _)| *cpu == owner);
        if let Some((_, interruption)) = due {
            interruption();
        }
    }
}

static DISPATCHER: OnceLock<Dispatcher<Interposed>> = OnceLock::new();

fn serve(on: u16) -> Option<ThreadId> {
    let dispatcher = DISPATCHER.get().expect("it is set up");
    let fake = &dispatcher.hal().fake;
    let cpu = CpuId::new(on);
    fake.on(cpu, || {
        let before = fake.mask_interrupts();
        fake.take_kick(cpu);
        let taken = fake.request_word(cpu).take();
        let next = dispatcher.serve(taken.requests, &mut |_| ());
        fake.request_word(cpu).acknowledge(taken);
        fake.restore_interrupts(before);
        match next {
            Next::Run(thread) => Some(thread),
            Next::Idle => None,
        }
    })
}

fn settle() {
    for _ in 0..100 {
        let pending = |&cpu: &u16| DISPATCHER.get().expect("set up").hal().request_word(CpuId::new(cpu)).is_pending();
        match (0..3).find(pending) {
            Some(cpu) => _ = serve(cpu),
            None => return,
        }
    }
    panic!("CPUs keep asking each other");
}

#[test]
fn a_summons_that_reaches_a_cpu_after_it_found_other_work_is_passed_on() {
    let fake = FakeMachine::new(3);
    let hal = Interposed { fake: fake.clone(), at_write_to: Arc::default() };
    let breaks_in = hal.at_write_to.clone();
    let dispatcher = DISPATCHER.get_or_init(|| Dispatcher::new(hal, Config::new(3)).expect("a valid configuration"));
    for cpu in 0..3 {
        fake.on(CpuId::new(cpu), || assert_eq!(dispatcher.begin(), Next::Idle));
    }
    let create = |cpus: &[u16]| {
        let affinity: CpuSet = cpus.iter().map(|&cpu| CpuId::new(cpu)).collect();
        dispatcher.create(Attributes { affinity, ..Attributes::default() }, 0).expect("room")
    };
    let (busy, waits, other) = (create(&[0]), create(&[0]), create(&[1]));
    for thread in [busy, waits] {
        dispatcher.start(thread, None).expect("it lives");
    }
    settle();
    // CPU 0 summons CPU 1 for the one that waits. Before the summons is there, CPU 1 gets and runs a thread of its own.
    *breaks_in.lock().expect("no panic before") = Some((
        CpuId::new(1),
        Box::new(move || {
            fake.on(CpuId::new(2), || dispatcher.wake(other)).expect("it lives");
            assert_eq!(serve(1), Some(other));
        }),
    ));
    dispatcher.set_affinity(waits, CpuSet::first(3)).expect("it lives");
    assert!(breaks_in.lock().expect("no panic before").is_none(), "it broke in");
    settle();
    dispatcher.check_at_rest().expect("no CPU is idle while a thread waits");
    assert_eq!(dispatcher.cpu_snapshot(CpuId::new(2)).expect("it exists").current, Some(waits));
}
