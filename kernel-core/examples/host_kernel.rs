//! A kernel that lives in a process: what a stranger writes to put `kernel-core` under their own threads.
//!
//! Its CPUs are threads of the operating system, its clock is the host's, its interrupts are looked for between two steps
//! of a program. Programs compute, sleep and end. `docs/src/reuse.md` goes through it method by method.
//!
//! `cargo run -p kernel-core --example host_kernel`

use kernel_core::sched::{Attributes, Config, Dispatcher, Next, Snapshot, ThreadId, Weight};
use std::cell::Cell;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use tessera_hal::{
    ArmError, Clockevent, CpuId, CpuTopology, Duration, Instant, InterruptState, IrqLine, RequestWord, Requests, Route,
    RouteError, SchedHal,
};

const CPUS: usize = 2;

thread_local! {
    static THIS_CPU: Cell<CpuId> = const { Cell::new(CpuId::BOOT) };
    static MASKED: Cell<bool> = const { Cell::new(false) };
}

/// One CPU: its request word, its one-shot timer, and the line on which kicks come.
#[derive(Default)]
struct HostCpu {
    word: RequestWord,
    armed: Mutex<Option<Instant>>,
    is_kicked: Mutex<bool>,
    kick: Condvar,
}

struct HostMachine {
    booted: std::time::Instant,
    cpus: [HostCpu; CPUS],
}

impl HostMachine {
    fn cpu(&self) -> &HostCpu {
        &self.cpus[self.this_cpu().index()]
    }

    /// Whether the one-shot has fired; it fires once.
    fn take_fire(&self) -> bool {
        let now = self.now();
        self.cpu().armed.lock().expect("not poisoned").take_if(|deadline| *deadline <= now).is_some()
    }
}

impl SchedHal for HostMachine {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.booted.elapsed().as_nanos() as u64)
    }

    fn cpu_count(&self) -> usize {
        CPUS
    }

    fn this_cpu(&self) -> CpuId {
        THIS_CPU.get()
    }

    fn topology(&self, cpu: CpuId) -> CpuTopology {
        CpuTopology { core: cpu.get(), cluster: 0, node: 0 }
    }

    // Nothing interrupts a host thread that looks for interrupts itself; only the nesting is kept.
    fn mask_interrupts(&self) -> InterruptState {
        if MASKED.replace(true) { InterruptState::Masked } else { InterruptState::Unmasked }
    }

    fn restore_interrupts(&self, state: InterruptState) {
        MASKED.set(state == InterruptState::Masked);
    }

    fn clockevent(&self) -> Clockevent {
        Clockevent { resolution: Duration::from_nanos(1), min: Duration::ZERO, max: Duration::from_secs(3_600) }
    }

    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        *self.cpu().armed.lock().expect("not poisoned") = Some(deadline);
        Ok(())
    }

    fn disarm(&self) {
        *self.cpu().armed.lock().expect("not poisoned") = None;
    }

    fn request_word(&self, cpu: CpuId) -> &RequestWord {
        &self.cpus[cpu.index()].word
    }

    fn send_kick_interrupt(&self, cpu: CpuId) {
        *self.cpus[cpu.index()].is_kicked.lock().expect("not poisoned") = true;
        self.cpus[cpu.index()].kick.notify_one();
    }

    fn route_irq(&self, line: IrqLine, _: Route) -> Result<Route, RouteError> {
        Err(RouteError::NoSuchLine(line))
    }

    fn idle(&self) {
        let armed = *self.cpu().armed.lock().expect("not poisoned");
        let longest = Duration::from_millis(10);
        let wait = armed.map_or(longest, |deadline| deadline.saturating_duration_since(self.now()).min(longest));
        let is_kicked = self.cpu().is_kicked.lock().expect("not poisoned");
        let wait = std::time::Duration::from_nanos(wait.as_nanos());
        let waited = self.cpu().kick.wait_timeout_while(is_kicked, wait, |is_kicked| !*is_kicked);
        *waited.expect("not poisoned").0 = false;
    }
}

/// A program: this often it computes for a moment, then sleeps for so long, so many times.
struct Program {
    name: &'static str,
    bursts: u32,
    steps: u32,
    sleep: Option<Duration>,
    done: Mutex<(u32, u32)>,
}

/// What a program wants after a step.
enum Step {
    GoOn,
    Sleep(Duration),
    End,
}

impl Program {
    fn step(&self) -> Step {
        std::hint::black_box((0..2_000_u64).fold(0, |sum, number| sum ^ std::hint::black_box(number)));
        let mut done = self.done.lock().expect("not poisoned");
        done.0 += 1;
        if done.0 < self.steps {
            return Step::GoOn;
        }
        *done = (0, done.1 + 1);
        match self.sleep {
            _ if done.1 == self.bursts => Step::End,
            Some(sleep) => Step::Sleep(sleep),
            None => Step::GoOn,
        }
    }
}

struct Kernel {
    machine: &'static HostMachine,
    dispatcher: Dispatcher<&'static HostMachine, 1>,
    /// By payload.
    programs: Vec<Program>,
    live: AtomicUsize,
    ended: Mutex<Vec<(&'static str, Snapshot<1>)>>,
}

impl Kernel {
    /// The loop of one CPU: serve what was asked for, then run what was decided.
    fn run_cpu(&self, cpu: CpuId) {
        THIS_CPU.set(cpu);
        let mut next = self.decide(|dispatcher| dispatcher.begin());
        while self.live.load(Ordering::Acquire) != 0 {
            if self.machine.cpu().word.is_pending() || self.timer_is_due() {
                next = self.serve();
                continue;
            }
            next = match next {
                Next::Run(thread) => self.run_step(thread),
                Next::Idle => {
                    self.machine.idle();
                    Next::Idle
                }
            };
        }
    }

    /// Decisions are made with interrupts masked.
    fn decide(&self, decision: impl FnOnce(&Dispatcher<&'static HostMachine, 1>) -> Next) -> Next {
        let before = self.machine.mask_interrupts();
        let next = decision(&self.dispatcher);
        self.machine.restore_interrupts(before);
        next
    }

    fn timer_is_due(&self) -> bool {
        self.machine.cpu().armed.lock().expect("not poisoned").is_some_and(|deadline| deadline <= self.machine.now())
    }

    fn serve(&self) -> Next {
        let word = &self.machine.cpu().word;
        let taken = word.take();
        let timer = if self.machine.take_fire() { Requests::TIMER } else { Requests::empty() };
        self.dispatcher.interrupt_entered();
        let next = self.decide(|dispatcher| {
            // A timer's payload is the thread that sleeps until it fires.
            dispatcher.serve(taken.requests | timer, &mut |payload| {
                let _ = dispatcher.wake(ThreadId::from_u64(payload));
            })
        });
        self.dispatcher.interrupt_left();
        word.acknowledge(taken);
        next
    }

    fn run_step(&self, thread: ThreadId) -> Next {
        let Ok(payload) = self.dispatcher.payload(thread) else { return self.decide(|d| d.reconsider()) };
        let program = &self.programs[payload as usize];
        match program.step() {
            Step::GoOn => Next::Run(thread),
            Step::Sleep(length) => self.decide(|dispatcher| {
                let until = self.machine.now().saturating_add(length);
                // `create` has reserved timers for each thread.
                let _ = dispatcher.arm_timer(until, thread.as_u64());
                dispatcher.block_current()
            }),
            Step::End => {
                let ended = self.dispatcher.snapshot(thread).map(|snapshot| (program.name, snapshot));
                self.ended.lock().expect("not poisoned").extend(ended);
                self.live.fetch_sub(1, Ordering::AcqRel);
                self.decide(|dispatcher| dispatcher.exit_current())
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let machine: &'static HostMachine =
        Box::leak(Box::new(HostMachine { booted: std::time::Instant::now(), cpus: Default::default() }));
    let program = |name, bursts, steps, sleep| Program { name, bursts, steps, sleep, done: Mutex::default() };
    let sleep = Some(Duration::from_millis(5));
    let programs =
        vec![program("heavy", 1, 1_000, None), program("light", 1, 1_000, None), program("sleeper", 10, 10, sleep)];
    let live = AtomicUsize::new(programs.len());
    let dispatcher = Dispatcher::new(machine, Config::new(CPUS))?;
    let kernel = Kernel { machine, dispatcher, programs, live, ended: Mutex::default() };
    for (index, weight) in [128, 64, 64].into_iter().enumerate() {
        let attributes = Attributes { weight: Weight::new(weight)?, ..Attributes::default() };
        let thread = kernel.dispatcher.create(attributes, index as u64)?;
        kernel.dispatcher.start(thread, None)?;
    }
    std::thread::scope(|scope| {
        for index in 0..CPUS {
            let kernel = &kernel;
            scope.spawn(move || kernel.run_cpu(CpuId::new(index as u16)));
        }
    });
    kernel.dispatcher.check_invariants()?;
    println!("{:10}{:>12}{:>12}{:>12}{:>12}", "PROGRAM", "RAN", "WAITED", "DISPATCHES", "BLOCKS");
    for (name, ended) in kernel.ended.lock().expect("not poisoned").iter() {
        let (ran, waited) = (ended.runtime.to_string(), ended.runnable.to_string());
        println!("{name:10}{ran:>12}{waited:>12}{:>12}{:>12}", ended.dispatches, ended.voluntary_blocks);
    }
    Ok(())
}
