//! What threads wait at. All queues are first in, first out; a mutex is handed to the one who has waited longest.

use super::thread::Index;
use crate::workload::{Action, BarrierId, ConditionId, MutexId, SemaphoreId, SuspensionId, TimerId, Workload};
use indexmap::IndexSet;
use std::collections::VecDeque;
use tessera_hal::Instant;

#[derive(Debug, Default)]
struct Mutex {
    owner: Option<Index>,
    waiters: VecDeque<Index>,
}

#[derive(Debug, Default)]
struct Barrier {
    /// How many must come.
    users: usize,
    waiters: Vec<Index>,
}

#[derive(Debug, Default)]
struct Semaphore {
    count: u64,
    waiters: VecDeque<Index>,
}

/// All that threads share.
#[derive(Debug)]
pub(super) struct Resources {
    mutexes: Vec<Mutex>,
    /// Those who wait, and the mutex that each needs to go on.
    conditions: Vec<VecDeque<(Index, MutexId)>>,
    barriers: Vec<Barrier>,
    suspensions: Vec<VecDeque<Index>>,
    semaphores: Vec<Semaphore>,
    /// What shared timers fire next.
    timers: Vec<Option<Instant>>,
}

/// What became of somebody who wanted a mutex.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Locked {
    Taken,
    MustWait,
    /// It has the mutex already.
    Twice,
}

/// The mutex is not held by who should hold it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotHeld;

impl Resources {
    pub(super) fn new(workload: &Workload) -> Self {
        let names = &workload.names;
        fn many<T: Default>(names: &IndexSet<String>) -> Vec<T> {
            names.iter().map(|_| T::default()).collect()
        }
        let mut barriers: Vec<Barrier> = many(&names.barriers);
        for task in &workload.tasks {
            for event in task.events() {
                if let Action::Barrier(barrier) = event.action {
                    barriers[barrier.index()].users += task.instances;
                }
            }
        }
        Self {
            mutexes: many(&names.mutexes),
            conditions: many(&names.conditions),
            barriers,
            suspensions: many(&names.suspensions),
            semaphores: many(&names.semaphores),
            timers: many(&names.timers),
        }
    }

    pub(super) fn lock(&mut self, mutex: MutexId, thread: Index) -> Locked {
        let mutex = &mut self.mutexes[mutex.index()];
        match mutex.owner {
            None => {
                mutex.owner = Some(thread);
                Locked::Taken
            }
            Some(owner) if owner == thread => Locked::Twice,
            Some(_) => {
                mutex.waiters.push_back(thread);
                Locked::MustWait
            }
        }
    }

    /// Gives a mutex back; answers who has it now and goes on.
    pub(super) fn unlock(&mut self, mutex: MutexId, thread: Index) -> Result<Option<Index>, NotHeld> {
        let mutex = &mut self.mutexes[mutex.index()];
        if mutex.owner != Some(thread) {
            return Err(NotHeld);
        }
        mutex.owner = mutex.waiters.pop_front();
        Ok(mutex.owner)
    }

    /// Waits at a condition; answers who has the mutex now and goes on.
    pub(super) fn wait(
        &mut self,
        condition: ConditionId,
        mutex: MutexId,
        thread: Index,
    ) -> Result<Option<Index>, NotHeld> {
        let next = self.unlock(mutex, thread)?;
        self.conditions[condition.index()].push_back((thread, mutex));
        Ok(next)
    }

    /// The first who waits at a condition, and the mutex that it needs to go on; it waits there no more.
    pub(super) fn signal(&mut self, condition: ConditionId) -> Option<(Index, MutexId)> {
        self.conditions[condition.index()].pop_front()
    }

    /// Somebody comes to a barrier. `None`: it must wait; else those who waited, and all go on.
    pub(super) fn reach(&mut self, barrier: BarrierId, thread: Index) -> Option<Vec<Index>> {
        let barrier = &mut self.barriers[barrier.index()];
        if barrier.waiters.len() + 1 >= barrier.users {
            return Some(std::mem::take(&mut barrier.waiters));
        }
        barrier.waiters.push(thread);
        None
    }

    pub(super) fn suspend(&mut self, suspension: SuspensionId, thread: Index) {
        self.suspensions[suspension.index()].push_back(thread);
    }

    /// All who are suspended there.
    pub(super) fn resume(&mut self, suspension: SuspensionId) -> VecDeque<Index> {
        std::mem::take(&mut self.suspensions[suspension.index()])
    }

    /// Takes one from a semaphore; answers whether there was one.
    pub(super) fn take(&mut self, semaphore: SemaphoreId, thread: Index) -> bool {
        let semaphore = &mut self.semaphores[semaphore.index()];
        let taken = semaphore.count > 0;
        if taken {
            semaphore.count -= 1;
        } else {
            semaphore.waiters.push_back(thread);
        }
        taken
    }

    /// Gives one to a semaphore; answers who gets it at once.
    pub(super) fn give(&mut self, semaphore: SemaphoreId) -> Option<Index> {
        let semaphore = &mut self.semaphores[semaphore.index()];
        let waiter = semaphore.waiters.pop_front();
        if waiter.is_none() {
            semaphore.count += 1;
        }
        waiter
    }

    /// What a shared timer fires next.
    pub(super) fn timer(&mut self, timer: TimerId) -> &mut Option<Instant> {
        &mut self.timers[timer.index()]
    }

    /// A thread that has ended waits nowhere. What it held stays locked, as with threads of other systems.
    pub(super) fn forget(&mut self, thread: Index) {
        self.mutexes.iter_mut().for_each(|mutex| mutex.waiters.retain(|&waiter| waiter != thread));
        self.conditions.iter_mut().for_each(|waiters| waiters.retain(|&(waiter, _)| waiter != thread));
        self.barriers.iter_mut().for_each(|barrier| barrier.waiters.retain(|&waiter| waiter != thread));
        self.suspensions.iter_mut().for_each(|waiters| waiters.retain(|&waiter| waiter != thread));
        self.semaphores.iter_mut().for_each(|semaphore| semaphore.waiters.retain(|&waiter| waiter != thread));
    }
}
