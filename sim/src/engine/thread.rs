//! A thread of the run: where it is in its task, and what is measured of it.

use super::measure::{Measured, Seldom};
use crate::ideal::GroupId;
use crate::workload::{
    Action, BarrierId, ConditionId, Event, MutexId, Phase, Rounds, SemaphoreId, SuspensionId, Task, TaskId, TimerId,
};
use kernel_core::sched::{self, ThreadId};
use tessera_hal::{CpuId, Duration, Instant};

/// A thread, by its place in the engine's list.
pub(super) type Index = usize;

/// What a blocked thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// A timer that is armed.
    Time(sched::TimerId),
    Mutex(MutexId),
    Condition {
        condition: ConditionId,
        mutex: MutexId,
    },
    Barrier(BarrierId),
    Suspension(SuspensionId),
    Semaphore(SemaphoreId),
}

/// What a thread is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It has not begun.
    Absent,
    /// It could run, and does not.
    Waiting { since: Instant },
    /// It runs.
    Running { cpu: CpuId, since: Instant },
    /// It cannot run.
    Blocked { since: Instant, reason: Reason },
    /// It has ended.
    Ended,
}

/// How far a thread is in its present event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The next event is to be begun.
    Next,
    /// So much is left to run.
    Run(Duration),
    /// It runs until this time has come.
    RunUntil(Instant),
}

/// Where a thread is in its task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cursor {
    phase: u32,
    event: u32,
    phase_rounds: u64,
    task_rounds: u64,
}

/// What comes next in a task.
pub(super) enum Upcoming<'a> {
    /// A phase begins; ask again afterwards.
    Phase(&'a Phase),
    Event(&'a Event),
    End,
}

/// What a task's jobs are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Jobs {
    /// Waits for this timer.
    Timer(TimerId),
    /// Rounds of the whole task.
    TaskRounds,
    /// Rounds of its phases.
    PhaseRounds,
}

impl Jobs {
    /// The outermost timer's waits, else the rounds of the task if there are several, else those of its phases.
    pub(super) fn of(task: &Task) -> Self {
        let timers = |is_outer: bool| {
            let phases = task.phases.iter().filter(move |phase| !is_outer || phase.rounds == Rounds::Times(1));
            phases.flat_map(|phase| &phase.events).find_map(|event| match event.action {
                Action::Timer { timer, .. } => Some(timer),
                _ => None,
            })
        };
        match timers(true).or_else(|| timers(false)) {
            Some(timer) => Self::Timer(timer),
            None if task.rounds != Rounds::Times(1) => Self::TaskRounds,
            None => Self::PhaseRounds,
        }
    }
}

/// A thread. What each slice needs stands in its first three cache lines: with a thousand threads, they are what costs.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Thread {
    pub state: State,
    /// How far it is in its present event.
    pub step: Step,
    pub group: GroupId,
    pub task: TaskId,
    /// Another thread, or the workload, has ended it, and it still runs.
    pub is_dying: bool,
    /// It sleeps until a timer releases it.
    pub awaits_release: bool,
    pub measured: Measured,
    pub cursor: Cursor,
    pub id: Option<ThreadId>,
    /// What its jobs are.
    pub jobs: Jobs,
    pub seldom: Box<Seldom>,
}

impl Cursor {
    /// Moves on in `task`. `completed` is called for each round that ends.
    pub(super) fn next<'a>(&mut self, task: &'a Task, mut completed: impl FnMut(Jobs)) -> Upcoming<'a> {
        loop {
            let phase = &task.phases[self.phase as usize];
            // Place 0 is the beginning of the phase itself.
            match self.event.checked_sub(1) {
                None => {
                    self.event = 1;
                    if self.phase_rounds == 0 {
                        return Upcoming::Phase(phase);
                    }
                }
                Some(event) if (event as usize) < phase.events.len() => {
                    self.event += 1;
                    return Upcoming::Event(&phase.events[event as usize]);
                }
                Some(_) => {
                    completed(Jobs::PhaseRounds);
                    self.event = 0;
                    self.phase_rounds = self.phase_rounds.saturating_add(1);
                    if is_over(phase.rounds, self.phase_rounds) && self.leave_phase(task, &mut completed) {
                        return Upcoming::End;
                    }
                }
            }
        }
    }

    /// Goes to the next phase; answers whether there is none.
    fn leave_phase(&mut self, task: &Task, completed: &mut impl FnMut(Jobs)) -> bool {
        self.phase_rounds = 0;
        self.phase += 1;
        if (self.phase as usize) < task.phases.len() {
            return false;
        }
        completed(Jobs::TaskRounds);
        self.phase = 0;
        self.task_rounds = self.task_rounds.saturating_add(1);
        is_over(task.rounds, self.task_rounds)
    }

    /// The event that was begun last.
    pub(super) fn event<'a>(&self, task: &'a Task) -> Option<&'a Event> {
        task.phases[self.phase as usize].events.get(self.event.checked_sub(2)? as usize)
    }
}

fn is_over(rounds: Rounds, done: u64) -> bool {
    matches!(rounds, Rounds::Times(times) if done >= times)
}
