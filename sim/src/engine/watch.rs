//! What is looked at after each step, on demand: invariants, and how many are runnable.

use super::Engine;
use super::Options;
use super::cpu::Cpu;
use super::thread::Thread;
use crate::trace::Event;
use kernel_core::sched::CpuSnapshot;
use tessera_hal::{CpuId, Duration};

/// Violations that are kept in words.
const KEPT: usize = 20;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Watch {
    /// How many checks there were.
    pub checked: u64,
    /// How many of them failed.
    pub violations: u64,
    /// The first of those.
    pub messages: Vec<String>,
    /// How many were runnable on each CPU at the last look.
    runnable: Vec<usize>,
}

impl Watch {
    fn check(&mut self, holds: Result<(), String>) {
        self.checked += 1;
        if let Err(message) = holds {
            self.violations += 1;
            if self.messages.len() < KEPT {
                self.messages.push(message);
            }
        }
    }

    /// The dispatcher's books and the engine's must agree on a thread.
    pub(super) fn compare_runtime(&mut self, options: &Options, thread: &Thread, theirs: Duration) {
        let ours = thread.measured.runtime;
        let is_running = matches!(thread.state, super::thread::State::Running { .. });
        if options.check && !is_running {
            let message = || format!("{} ran for {ours}, the scheduler counted {theirs}", thread.seldom.name);
            self.check(if ours == theirs { Ok(()) } else { Err(message()) });
        }
    }

    /// The dispatcher's books and the engine's must agree on a CPU.
    pub(super) fn compare_cpu(&mut self, options: &Options, id: CpuId, cpu: &Cpu, theirs: &CpuSnapshot) {
        if options.check {
            let ours = (cpu.busy, cpu.idle, cpu.overhead);
            let theirs = (theirs.ran.thread, theirs.ran.idle, theirs.ran.interrupt_and_switch);
            let message =
                || format!("CPU {id} was busy, idle and interrupted {ours:?}, the scheduler counted {theirs:?}");
            self.check(if ours == theirs { Ok(()) } else { Err(message()) });
        }
    }
}

impl<const W: usize> Engine<'_, W> {
    /// Looks at everything, as far as it was asked for.
    pub(super) fn look(&mut self) {
        if self.options.check {
            // What spans several queues holds once every request has been served.
            let holds = match self.machine.has_requests() {
                true => self.dispatcher.check_invariants(),
                false => self.dispatcher.check_at_rest(),
            };
            let now = self.now;
            let time = || Duration::from_nanos(now.as_nanos());
            self.watch.check(holds.map_err(|violation| format!("after {}: {violation}", time())));
        }
        if self.trace.is_some() {
            self.record_runnable();
        }
    }

    fn record_runnable(&mut self) {
        self.watch.runnable.resize(self.cpus.len(), 0);
        for cpu in self.cpu_ids() {
            let Ok(glance) = self.dispatcher.glance(cpu) else { continue };
            let threads = glance.waiting + usize::from(self.cpus[cpu.index()].current.is_some());
            let before = std::mem::replace(&mut self.watch.runnable[cpu.index()], threads);
            if before != threads {
                self.record(Event::Runnable { at: self.now, cpu, threads });
            }
        }
    }
}
