//! What threads do: the events of their tasks.

use super::Engine;
use super::fault::{Fault, FaultKind};
use super::measure::Release;
use super::resources::{Locked, NotHeld};
use super::thread::{Index, Jobs, Reason, State, Step, Thread, Upcoming};
use crate::trace::Waker;
use crate::workload::{Action, ConditionId, MAX_THREADS, MutexId, TaskId, TimerId, TimerMode};
use kernel_core::sched::Next;
use std::collections::VecDeque;
use tessera_hal::{CpuId, Duration, Instant, Requests, SchedHal};

/// Steps that are taken at one time before it is said that none passes: so many, and so many more for each thread.
const STEPS_AT_ONCE: u64 = 1_000_000;
const STEPS_OF_EACH: u64 = 1_000;

/// Where a thread's program has got to.
pub(super) enum Advance {
    /// It runs.
    Busy,
    /// The dispatcher was asked, and decided this.
    Decided(Next),
}

impl<const W: usize> Engine<'_, W> {
    /// Lets the current thread of `cpu` go on until it runs for some time or the dispatcher has to decide.
    pub(super) fn advance(&mut self, cpu: CpuId) -> Result<Advance, Fault> {
        self.bring_step(cpu);
        let Some(index) = self.cpus[cpu.index()].current else { return Ok(Advance::Decided(Next::Idle)) };
        loop {
            if self.threads[index].is_dying {
                return Ok(self.decide(|engine| engine.dispatcher.reconsider()));
            }
            if let Some(end) = self.step_end(index) {
                self.cpus[cpu.index()].step_end = Some(end);
                return Ok(Advance::Busy);
            }
            self.steps_at_once += 1;
            if self.steps_at_once > STEPS_AT_ONCE + STEPS_OF_EACH * self.live as u64 {
                return Err(self.fault(index, FaultKind::NoTimePasses));
            }
            if let Some(decision) = self.next_step(cpu, index)? {
                return Ok(decision);
            }
            // What it did may have woken somebody who is due before it.
            if self.machine.request_word(cpu).is_pending() {
                self.cpus[cpu.index()].step_end = None;
                return Ok(Advance::Decided(self.serve(cpu, Requests::empty())));
            }
        }
    }

    /// When the present step of a thread that runs ends; none if it is over.
    fn step_end(&mut self, index: Index) -> Option<Instant> {
        let thread = &mut self.threads[index];
        let end = match thread.step {
            Step::Next => None,
            Step::Run(left) => Some(self.now.saturating_add(left)),
            Step::RunUntil(end) => Some(end),
        };
        let end = end.filter(|&end| end > self.now);
        if end.is_none() {
            thread.step = Step::Next;
        }
        end
    }

    /// Begins the next event; an answer if the dispatcher has decided because of it.
    fn next_step(&mut self, cpu: CpuId, index: Index) -> Result<Option<Advance>, Fault> {
        let workload = self.workload;
        let thread = &mut self.threads[index];
        let task = workload.task(thread.task);
        let jobs = thread.jobs;
        let measured = &mut thread.measured;
        let upcoming = thread.cursor.next(task, |done| measured.jobs += u64::from(done == jobs));
        match upcoming {
            Upcoming::Phase(phase) => self.begin_phase(index, phase).map(|()| None),
            Upcoming::Event(event) => self.perform(cpu, index, event.action),
            Upcoming::End => Ok(Some(self.exit(cpu, index))),
        }
    }

    fn perform(&mut self, cpu: CpuId, index: Index, action: Action) -> Result<Option<Advance>, Fault> {
        let waker = Waker::Thread(cpu);
        match action {
            Action::Run(length) => self.threads[index].step = Step::Run(length),
            Action::RunFor(length) => self.threads[index].step = Step::RunUntil(self.now.saturating_add(length)),
            Action::Sleep(length) => return self.sleep_until(cpu, index, self.now.saturating_add(length)),
            Action::Timer { timer, period, mode } => return self.wait_for_timer(cpu, index, timer, period, mode),
            Action::Lock(mutex) => match self.resources.lock(mutex, index) {
                Locked::Taken => {}
                Locked::MustWait => return Ok(Some(self.block(cpu, index, Reason::Mutex(mutex)))),
                Locked::Twice => return Err(self.fault(index, FaultKind::LockedTwice(self.mutex_name(mutex)))),
            },
            Action::Unlock(mutex) => {
                let unlocked = self.resources.unlock(mutex, index);
                let next = unlocked.map_err(|NotHeld| self.fault(index, FaultKind::NotHeld(self.mutex_name(mutex))))?;
                self.wake_all(next, waker);
            }
            Action::Wait { condition, mutex } => return self.wait(cpu, index, condition, mutex),
            Action::Signal(condition) => self.signal(condition, waker),
            Action::Broad(condition) => while self.signal_one(condition, waker) {},
            Action::Sync { condition, mutex } => {
                self.signal(condition, waker);
                return self.wait(cpu, index, condition, mutex);
            }
            Action::Barrier(barrier) => match self.resources.reach(barrier, index) {
                Some(others) => self.wake_all(others, waker),
                None => return Ok(Some(self.block(cpu, index, Reason::Barrier(barrier)))),
            },
            Action::Suspend(suspension) => {
                self.resources.suspend(suspension, index);
                return Ok(Some(self.block(cpu, index, Reason::Suspension(suspension))));
            }
            Action::Resume(suspension) => {
                let others = self.resources.resume(suspension);
                self.wake_all(others, waker);
            }
            Action::SemWait(semaphore) => {
                if !self.resources.take(semaphore, index) {
                    return Ok(Some(self.block(cpu, index, Reason::Semaphore(semaphore))));
                }
            }
            Action::SemPost(semaphore) => {
                let next = self.resources.give(semaphore);
                self.wake_all(next, waker);
            }
            Action::Yield => return Ok(Some(self.decide(|engine| engine.dispatcher.yield_current()))),
            Action::Fork(task) => self.fork(cpu, index, task)?,
        }
        Ok(None)
    }

    fn mutex_name(&self, mutex: MutexId) -> String {
        self.workload.names.mutexes[mutex.index()].clone()
    }

    fn fork(&mut self, cpu: CpuId, index: Index, task: TaskId) -> Result<(), Fault> {
        if self.threads.len() >= MAX_THREADS {
            return Err(self.fault(index, FaultKind::TooManyThreads));
        }
        self.begin_thread(task, Some(cpu))
    }

    fn wait_for_timer(
        &mut self,
        cpu: CpuId,
        index: Index,
        timer: TimerId,
        period: Duration,
        mode: TimerMode,
    ) -> Result<Option<Advance>, Fault> {
        let now = self.now;
        let is_unique = self.workload.names.is_unique(timer);
        let thread = &mut self.threads[index];
        let start = thread.seldom.arrived;
        let point = if is_unique {
            let place = thread.seldom.timers.iter().position(|&(known, _)| known == timer).unwrap_or_else(|| {
                thread.seldom.timers.push((timer, start));
                thread.seldom.timers.len() - 1
            });
            &mut thread.seldom.timers[place].1
        } else {
            self.resources.timer(timer).get_or_insert(start)
        };
        *point = point.saturating_add(period);
        let is_late = *point <= now;
        let was_missed = *point < now;
        if is_late && mode == TimerMode::Relative {
            *point = now;
        }
        let release = Release { timer, at: *point, period, was_missed };
        let thread = &mut self.threads[index];
        if is_late {
            released(thread, release);
            return Ok(None);
        }
        thread.awaits_release = true;
        thread.seldom.release = Some(release);
        self.sleep_until(cpu, index, release.at)
    }

    fn sleep_until(&mut self, cpu: CpuId, index: Index, until: Instant) -> Result<Option<Advance>, Fault> {
        let armed = self.dispatcher.arm_timer(until, index as u64);
        let timer = armed.map_err(|error| self.fault(index, FaultKind::Refused(error.to_string())))?;
        Ok(Some(self.block(cpu, index, Reason::Time(timer))))
    }

    fn wait(
        &mut self,
        cpu: CpuId,
        index: Index,
        condition: ConditionId,
        mutex: MutexId,
    ) -> Result<Option<Advance>, Fault> {
        let waits = self.resources.wait(condition, mutex, index);
        let next = waits.map_err(|NotHeld| self.fault(index, FaultKind::WaitsWithout(self.mutex_name(mutex))))?;
        self.wake_all(next, Waker::Thread(cpu));
        Ok(Some(self.block(cpu, index, Reason::Condition { condition, mutex })))
    }

    fn signal(&mut self, condition: ConditionId, waker: Waker) {
        self.signal_one(condition, waker);
    }

    /// Lets the first who waits at a condition go on, once it has its mutex; answers whether there was one.
    fn signal_one(&mut self, condition: ConditionId, waker: Waker) -> bool {
        let Some((thread, mutex)) = self.resources.signal(condition) else { return false };
        match self.resources.lock(mutex, thread) {
            Locked::Taken | Locked::Twice => self.wake(thread, waker),
            Locked::MustWait => {
                if let State::Blocked { reason, .. } = &mut self.threads[thread].state {
                    *reason = Reason::Mutex(mutex);
                }
            }
        }
        true
    }

    fn wake_all(&mut self, threads: impl IntoIterator<Item = Index>, waker: Waker) {
        let threads: VecDeque<Index> = threads.into_iter().collect();
        threads.into_iter().for_each(|thread| self.wake(thread, waker));
    }

    /// Wakes a blocked thread.
    fn wake(&mut self, index: Index, waker: Waker) {
        if let Some(id) = self.threads[index].id {
            self.events += 1;
            let _ = self.dispatcher.wake(id);
            self.woken(index, waker);
        }
    }

    /// What follows from the wake-up of a thread.
    pub(super) fn woken(&mut self, index: Index, waker: Waker) {
        let now = self.now;
        let thread = &mut self.threads[index];
        let State::Blocked { since, reason } = thread.state else { return };
        self.waiting_for_others -= usize::from(!matches!(reason, Reason::Time(_)));
        thread.measured.slept = thread.measured.slept.saturating_add(now.saturating_duration_since(since));
        thread.state = State::Waiting { since: now };
        thread.measured.woken_at = Some(now);
        if std::mem::take(&mut thread.awaits_release)
            && let Some(release) = thread.seldom.release.take()
        {
            released(thread, release);
        }
        self.become_runnable(index, waker);
    }

    /// The current thread of `cpu` blocks.
    fn block(&mut self, cpu: CpuId, index: Index, reason: Reason) -> Advance {
        self.stop(cpu);
        let now = self.now;
        self.threads[index].state = State::Blocked { since: now, reason };
        self.waiting_for_others += usize::from(!matches!(reason, Reason::Time(_)));
        self.become_unrunnable(index);
        self.decide(|engine| engine.dispatcher.block_current())
    }

    pub(super) fn decide(&mut self, decision: impl FnOnce(&Self) -> Next) -> Advance {
        self.events += 1;
        Advance::Decided(decision(self))
    }
}

/// A timer has released a thread: a job is done, and another begins.
fn released(thread: &mut Thread, release: Release) {
    if thread.jobs == Jobs::Timer(release.timer) {
        thread.measured.jobs += 1;
        thread.seldom.release(&release);
    }
}
