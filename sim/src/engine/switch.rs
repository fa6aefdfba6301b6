//! What a CPU does at its points: interrupts, decisions, and changes of the running thread.

use super::Engine;
use super::cpu::Mode;
use super::fault::Fault;
use super::steps::Advance;
use super::thread::{Index, State, Step};
use crate::trace::{Event, ThreadIndex, Waker};
use kernel_core::sched::Next;
use tessera_hal::{CpuId, Instant, Requests, SchedHal};

impl<const W: usize> Engine<'_, W> {
    /// Does what is due on `cpu`: first what its program does, then interrupts.
    pub(super) fn act(&mut self, cpu: CpuId) -> Result<(), Fault> {
        let state = &self.cpus[cpu.index()];
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
        match state.mode {
            Mode::Overhead { .. } => self.end_overhead(cpu),
            Mode::Thread { .. } if is_due(state.step_end) => self.go_on(cpu),
            _ if is_due(self.machine.armed(cpu)) || is_due(self.machine.kick_at(cpu)) => self.interrupt(cpu),
            _ if is_due(state.noise.as_ref().map(super::noise::Source::next)) => {
                self.begin_noise(cpu);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Says when `cpu`, and those that it kicked, have something to do next.
    pub(super) fn refresh(&mut self, cpu: CpuId) {
        self.agenda.set(cpu, self.next_of(cpu));
        while let Some(kicked) = self.machine.next_kicked() {
            self.agenda.set(kicked, self.next_of(kicked));
        }
    }

    fn next_of(&self, cpu: CpuId) -> Option<Instant> {
        let state = &self.cpus[cpu.index()];
        if let Mode::Overhead { until, .. } = state.mode {
            return Some(until);
        }
        let first = earlier(state.step_end, self.machine.armed(cpu));
        let first = earlier(first, self.machine.kick_at(cpu));
        match &state.noise {
            None => first,
            Some(noise) => earlier(first, Some(noise.next())),
        }
    }

    fn begin_noise(&mut self, cpu: CpuId) {
        let Some(noise) = &mut self.cpus[cpu.index()].noise else { return };
        let until = self.now.saturating_add(noise.take());
        self.begin_overhead(cpu, until);
    }

    /// Time is nobody's until `until`.
    fn begin_overhead(&mut self, cpu: CpuId, until: Instant) {
        self.stop(cpu);
        self.dispatcher.interrupt_entered();
        self.cpus[cpu.index()].turn(Mode::Overhead { since: self.now, until }, self.now);
    }

    /// An interrupt or a switch is over; what has come meanwhile is served first.
    fn end_overhead(&mut self, cpu: CpuId) -> Result<(), Fault> {
        self.dispatcher.interrupt_left();
        self.cpus[cpu.index()].turn(Mode::Idle { since: self.now }, self.now);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
        if is_due(self.machine.armed(cpu)) || self.machine.request_word(cpu).is_pending() {
            return self.interrupt(cpu);
        }
        match self.cpus[cpu.index()].current {
            Some(thread) => {
                self.start(cpu, thread);
                self.go_on(cpu)
            }
            None => Ok(()),
        }
    }

    /// The clockevent fires, or a kick arrives.
    fn interrupt(&mut self, cpu: CpuId) -> Result<(), Fault> {
        let mut requests = Requests::empty();
        if self.machine.armed(cpu).is_some_and(|at| at <= self.now) {
            self.machine.clear_armed(cpu);
            requests = Requests::TIMER;
        }
        let next = self.serve(cpu, requests);
        self.enter(cpu, next)
    }

    /// Serves the CPU's requests, and `also`, until there are none.
    pub(super) fn serve(&mut self, cpu: CpuId, also: Requests) -> Next {
        let mut also = also;
        loop {
            self.machine.clear_kick(cpu);
            let taken = self.machine.request_word(cpu).take();
            let Self { dispatcher, threads, fired, .. } = self;
            let next = dispatcher.serve(taken.requests | also, &mut |payload| {
                // One that has ended meanwhile has no timer: they are cancelled.
                if let Some(id) = threads.get(payload as usize).and_then(|thread| thread.id) {
                    let _ = dispatcher.wake(id);
                }
                fired.push(payload);
            });
            self.machine.request_word(cpu).acknowledge(taken);
            let fired = std::mem::take(&mut self.fired);
            let fired_now = fired.len() as u64;
            for &thread in &fired {
                self.woken(thread as Index, Waker::Timer(cpu));
            }
            self.fired = fired;
            self.fired.clear();
            self.events += 1 + fired_now;
            also = Requests::empty();
            if !self.machine.request_word(cpu).is_pending() {
                return next;
            }
        }
    }

    /// Does what was decided, and what follows from it, until a thread runs, a switch takes its time or nobody is left.
    pub(super) fn enter(&mut self, cpu: CpuId, next: Next) -> Result<(), Fault> {
        let mut next = next;
        loop {
            if self.machine.request_word(cpu).is_pending() {
                next = self.serve(cpu, Requests::empty());
            }
            if !self.switch_to(cpu, next) {
                return Ok(());
            }
            match self.advance(cpu)? {
                Advance::Busy => return Ok(()),
                Advance::Decided(decision) => next = decision,
            }
        }
    }

    /// The current thread goes on with its program.
    fn go_on(&mut self, cpu: CpuId) -> Result<(), Fault> {
        match self.advance(cpu)? {
            Advance::Busy => Ok(()),
            Advance::Decided(next) => self.enter(cpu, next),
        }
    }

    /// Makes the decided thread the running one; answers whether it runs already.
    fn switch_to(&mut self, cpu: CpuId, next: Next) -> bool {
        let target = match next {
            Next::Run(id) => self.dispatcher.payload(id).ok().map(|payload| payload as Index),
            Next::Idle => None,
        };
        let before = self.cpus[cpu.index()].current;
        self.count_in_a_row(cpu, target, before);
        if before != target {
            self.stop(cpu);
            if let Some(left) = before {
                self.bury(left);
            }
            let state = &mut self.cpus[cpu.index()];
            state.current = target;
            if target.is_some() {
                state.switches += 1;
                let cost = self.workload.machine.switch_cost;
                if !cost.is_zero() {
                    self.begin_overhead(cpu, self.now.saturating_add(cost));
                    return false;
                }
            }
        }
        match target {
            Some(thread) => {
                self.start(cpu, thread);
                true
            }
            None => false,
        }
    }

    /// Counts the requests that one thread is served in a row while others wait.
    fn count_in_a_row(&mut self, cpu: CpuId, target: Option<Index>, before: Option<Index>) {
        let Some(thread) = target else { return };
        let Ok(glance) = self.dispatcher.glance(cpu) else { return };
        let state = &mut self.cpus[cpu.index()];
        if target != before || glance.waiting == 0 {
            state.in_a_row = 0;
        }
        if glance.waiting > 0 && glance.dispatches != state.dispatches {
            state.in_a_row += 1;
            let longest = &mut self.threads[thread].measured.max_consecutive;
            *longest = (*longest).max(state.in_a_row);
        }
        state.dispatches = glance.dispatches;
    }

    /// The thread runs from now on, if it does not yet.
    fn start(&mut self, cpu: CpuId, index: Index) {
        let state = &mut self.cpus[cpu.index()];
        if matches!(state.mode, Mode::Thread { .. }) {
            return;
        }
        let now = self.now;
        state.turn(Mode::Thread { since: now }, now);
        state.stepped_to = now;
        let thread = &mut self.threads[index];
        if let State::Waiting { since } = thread.state
            && thread.measured.begin_run(now.saturating_duration_since(since))
        {
            thread.seldom.first_dispatch = Some(now.saturating_duration_since(thread.seldom.arrived));
        }
        thread.state = State::Running { cpu, since: now };
        if let Some(woken_at) = thread.measured.woken_at.take() {
            self.wakes.push(index, now.saturating_duration_since(woken_at));
        }
        self.sample_lag(index);
        self.record(Event::Begin { at: now, cpu, thread: ThreadIndex::new(index) });
    }

    /// The thread that runs on `cpu`, if one does, stops and waits.
    pub(super) fn stop(&mut self, cpu: CpuId) {
        let state = &self.cpus[cpu.index()];
        let (Mode::Thread { .. }, Some(index)) = (state.mode, state.current) else { return };
        self.bring_step(cpu);
        let now = self.now;
        let state = &mut self.cpus[cpu.index()];
        state.step_end = None;
        let ran = state.turn(Mode::Idle { since: now }, now);
        let thread = &mut self.threads[index];
        thread.measured.end_run(cpu, ran, &mut thread.seldom);
        thread.state = State::Waiting { since: now };
        self.sample_lag(index);
        self.record(Event::End { at: now, cpu });
    }

    /// Takes what the current thread has run off its step.
    pub(super) fn bring_step(&mut self, cpu: CpuId) {
        let state = &mut self.cpus[cpu.index()];
        let passed = self.now.saturating_duration_since(state.stepped_to);
        state.stepped_to = self.now;
        let Some(thread) = state.current else { return };
        if let Step::Run(left) = &mut self.threads[thread].step {
            *left = left.saturating_sub(passed);
        }
    }

    pub(super) fn sample_lag(&mut self, thread: Index) {
        let thread = &mut self.threads[thread];
        let service = self.ideal.service(thread.group, self.now);
        thread.measured.lag.sample(service, thread.measured.runtime);
    }

    pub(super) fn record(&mut self, event: Event) {
        if let Some(trace) = &mut self.trace {
            trace.events.push(event);
        }
    }
}

/// The earlier of two points, as far as there are any.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
