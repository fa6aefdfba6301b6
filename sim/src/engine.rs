//! The engine: events in virtual time around the dispatcher.
//!
//! Each CPU has one next point: its program's next step, its clockevent, a kick that arrives, or the end of an
//! interrupt or of a switch. The engine takes the first of all points, sets the clock, and lets that CPU do what a
//! kernel would: serve requests, call the dispatcher, and run what it decides. Among points of one time the workload's
//! own come first (threads that begin, change or are ended), then the lower CPU.

mod agenda;
mod cpu;
mod fault;
mod lifecycle;
mod measure;
mod noise;
mod report;
mod resources;
mod steps;
mod switch;
mod thread;
mod watch;

pub use fault::{Fault, FaultKind};
pub use report::Outcome;

use crate::ideal::Fluid;
use crate::machine::SimMachine;
use crate::trace::Trace;
use crate::workload::{Topology, Workload};
use agenda::Agenda;
use cpu::Cpu;
use kernel_core::sched::{Config, Dispatcher, Policy};
use lifecycle::{Numbering, Plan};
use resources::Resources;
use tessera_hal::{CpuId, CpuSet, Instant};
use thread::Thread;

/// How a workload is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How queues are ordered.
    pub policy: Policy,
    /// What is random comes from this.
    pub seed: u64,
    /// Check the invariants after each step.
    pub check: bool,
    /// Record what happens.
    pub trace: bool,
}

/// Runs a workload. `progress` is told the time now and then.
pub fn run(workload: &Workload, options: &Options, progress: &mut dyn FnMut(Instant)) -> Result<Outcome, Fault> {
    // The set's size is a type, and small sets are fast.
    match workload.machine.cpus {
        ..=64 => Engine::<1>::new(workload, options)?.run(progress),
        65..=1024 => Engine::<16>::new(workload, options)?.run(progress),
        _ => Engine::<64>::new(workload, options)?.run(progress),
    }
}

/// Steps between two calls of `progress`.
const STEPS_PER_PROGRESS: u64 = 1 << 14;

/// See the module.
struct Engine<'a, const W: usize> {
    workload: &'a Workload,
    options: Options,
    machine: SimMachine,
    dispatcher: Dispatcher<SimMachine, W>,
    now: Instant,
    agenda: Agenda,
    cpus: Vec<Cpu>,
    threads: Vec<Thread>,
    resources: Resources,
    plan: Plan,
    numbering: Numbering,
    ideal: Fluid,
    trace: Option<Trace>,
    /// Payloads of timers that have just fired.
    fired: Vec<u64>,
    wakes: measure::WakeLog,
    /// Threads that have begun and not ended.
    live: usize,
    /// Those of them that no timer will wake.
    waiting_for_others: usize,
    /// Program steps since the clock last moved.
    steps_at_once: u64,
    /// Decisions, wake-ups and changes that the dispatcher was asked for.
    events: u64,
    watch: watch::Watch,
}

impl<'a, const W: usize> Engine<'a, W> {
    fn new(workload: &'a Workload, options: &Options) -> Result<Self, Fault> {
        let spec = &workload.machine;
        let topology = spec.topology.unwrap_or(Topology::flat(spec.cpus));
        let machine = SimMachine::new(spec.cpus, topology, spec.kick_latency);
        let config = Config::<W> { policy: options.policy, online: CpuSet::first(spec.cpus), ..Config::new(spec.cpus) };
        let dispatcher = Dispatcher::new(machine.clone(), config).map_err(Fault::refused)?;
        let cpu = |index| Cpu::new(spec.noise.map(|noise| noise::Source::new(&noise, options.seed, index)));
        Ok(Self {
            workload,
            options: *options,
            machine,
            dispatcher,
            now: Instant::ORIGIN,
            agenda: Agenda::new(spec.cpus),
            cpus: (0..spec.cpus).map(cpu).collect(),
            threads: Vec::new(),
            resources: Resources::new(workload),
            plan: Plan::new(workload),
            numbering: Numbering::new(workload),
            ideal: Fluid::new(spec.cpus),
            trace: options.trace.then(|| Trace::new(spec.cpus)),
            fired: Vec::new(),
            wakes: measure::WakeLog::default(),
            live: 0,
            waiting_for_others: 0,
            steps_at_once: 0,
            events: 0,
            watch: watch::Watch::default(),
        })
    }

    fn run(mut self, progress: &mut dyn FnMut(Instant)) -> Result<Outcome, Fault> {
        for cpu in self.cpu_ids() {
            self.machine.become_cpu(cpu);
            let next = self.dispatcher.begin();
            self.enter(cpu, next)?;
            self.refresh(cpu);
        }
        let mut steps: u64 = 0;
        while let Some(at) = self.next_point()? {
            self.set_clock(at);
            self.step()?;
            if self.options.check || self.trace.is_some() {
                self.look();
            }
            steps += 1;
            if steps.is_multiple_of(STEPS_PER_PROGRESS) {
                progress(self.now);
            }
        }
        Ok(self.finish())
    }

    /// When something happens next; none once the run is over.
    fn next_point(&mut self) -> Result<Option<Instant>, Fault> {
        self.tidy_plan();
        if self.live == 0 && self.plan.is_empty() {
            return Ok(None);
        }
        if self.workload.duration.is_none() && self.plan.is_empty() && self.waiting_for_others == self.live {
            return Err(self.deadlock());
        }
        let first = match (self.plan.first(), self.agenda.first()) {
            (Some(planned), Some((point, _))) => Some(planned.min(point)),
            (Some(planned), None) => Some(planned),
            (None, point) => point.map(|(at, _)| at),
        };
        // What came during an interrupt or a switch is looked at late.
        let first = first.map(|at| at.max(self.now));
        Ok(first.filter(|&at| self.end().is_none_or(|end| at < end)))
    }

    /// When the run is over, whoever still lives.
    fn end(&self) -> Option<Instant> {
        self.workload.duration.map(|duration| Instant::ORIGIN.saturating_add(duration))
    }

    fn set_clock(&mut self, now: Instant) {
        if now != self.now {
            self.now = now;
            self.steps_at_once = 0;
            self.machine.set_now(now);
        }
    }

    /// Does what comes first at this time.
    fn step(&mut self) -> Result<(), Fault> {
        if self.plan.first().is_some_and(|planned| planned <= self.now) {
            return self.act_on_plan();
        }
        if let Some((_, cpu)) = self.agenda.first() {
            self.machine.become_cpu(cpu);
            self.act(cpu)?;
            self.refresh(cpu);
        }
        Ok(())
    }

    fn cpu_ids(&self) -> impl Iterator<Item = CpuId> + use<W> {
        (0..self.cpus.len()).map(|index| CpuId::new(index as u16))
    }
}
