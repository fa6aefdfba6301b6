//! What must always hold. The numbers are those of `docs/src/scheduling.md`; tests cite them.
//!
//! [`Dispatcher::check_invariants`] looks at one queue at a time, under its lock, so it may run while other CPUs work;
//! what spans several queues (no permitted CPU idle while a thread waits) is asked only of a machine at rest:
//! [`Dispatcher::check_at_rest`].

use super::dispatcher::Dispatcher;
use super::entity::ThreadId;
use super::mean::WeightedMean;
use super::queue::RunQueue;
use super::run_tree::stealable;
use super::vtime::VirtualTime;
use crate::slab::Slot;
use crate::sync::ThreadState;
use core::fmt;
use tessera_hal::{CpuId, SchedHal};

/// An invariant that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// 1: a thread in the tree of this CPU says that it is elsewhere, or is dead.
    Misplaced {
        /// The thread.
        thread: ThreadId,
        /// Whose tree it is in.
        cpu: CpuId,
        /// What it says.
        state: ThreadState,
    },
    /// 1: more or fewer threads say that they wait here than do.
    Lost {
        /// The CPU.
        cpu: CpuId,
        /// How many are in the tree.
        in_tree: usize,
        /// How many say so.
        by_state: usize,
    },
    /// 1: the run tree or the timer tree is out of order.
    Tree(CpuId),
    /// 1: the kept mean is not the members' mean.
    Mean(CpuId),
    /// 1: the sets that other CPUs read say something else than the queue.
    Published(CpuId),
    /// 2: the partitions of this CPU's time do not close.
    Accounting(CpuId),
    /// 7: a thread was dispatched where it may not run.
    Outside {
        /// The thread.
        thread: ThreadId,
    },
    /// 6: this CPU is idle while a thread waits that may run there.
    IdleWhileWaiting {
        /// The idle CPU.
        idle: CpuId,
        /// The thread.
        waiting: ThreadId,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misplaced { thread, cpu, state } => {
                write!(f, "invariant 1: thread {thread} is in the tree of CPU {cpu} and says {state:?}")
            }
            Self::Lost { cpu, in_tree, by_state } => {
                write!(f, "invariant 1: CPU {cpu} has {in_tree} queued threads, {by_state} say so")
            }
            Self::Tree(cpu) => write!(f, "invariant 1: a tree of CPU {cpu} is out of order"),
            Self::Mean(cpu) => write!(f, "invariant 1: the virtual time of CPU {cpu} is not its members' mean"),
            Self::Published(cpu) => write!(f, "invariant 6: what CPU {cpu} publishes is not so"),
            Self::Accounting(cpu) => write!(f, "invariant 2: the time of CPU {cpu} does not close"),
            Self::Outside { thread } => write!(f, "invariant 7: thread {thread} ran outside its affinity"),
            Self::IdleWhileWaiting { idle, waiting } => {
                write!(f, "invariant 6: CPU {idle} is idle while thread {waiting} waits")
            }
        }
    }
}

impl core::error::Error for Violation {}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Checks every queue, one at a time, as its last charge left it: looking changes nothing. O(CPUs * threads);
    /// allocates nothing. Any CPU, not in an interrupt.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.cpu_ids().try_for_each(|cpu| {
            let queue = self.lock(cpu);
            self.check_queue(&queue)
        })
    }

    fn check_queue(&self, queue: &RunQueue) -> Result<(), Violation> {
        let cpu = queue.cpu;
        let nodes = queue.nodes(&self.threads);
        queue.tree.check(&nodes).map_err(|_| Violation::Tree(cpu))?;
        queue.timers.check(&self.timers).map_err(|_| Violation::Tree(cpu))?;
        let mut mean = WeightedMean::starting_at(queue.mean.virtual_time());
        for slot in queue.tree.iter(&nodes) {
            self.check_member(queue, slot, &[ThreadState::Queued], &mut mean)?;
        }
        if let Some(current) = queue.current {
            self.check_member(queue, current.slot, &[ThreadState::Current, ThreadState::Exiting], &mut mean)?;
        }
        let same = |a: VirtualTime, b: VirtualTime| a == b;
        if mean.weights() != queue.mean.weights() || !same(mean.virtual_time(), queue.mean.virtual_time()) {
            return Err(Violation::Mean(cpu));
        }
        if !queue.ledger.closes() {
            return Err(Violation::Accounting(cpu));
        }
        self.check_count(queue)
    }

    fn check_member(
        &self,
        queue: &RunQueue,
        slot: Slot,
        states: &[ThreadState],
        mean: &mut WeightedMean,
    ) -> Result<(), Violation> {
        let (entity, cpu, thread) = (&self.threads[slot], queue.cpu, self.id(slot));
        let home = entity.home.read();
        let lives = self.threads.live(slot).map(ThreadId::of) == Some(thread);
        if !lives || home.cpu != cpu || !states.contains(&home.state) {
            return Err(Violation::Misplaced { thread, cpu, state: home.state });
        }
        if entity.counters.dispatches_outside.get() != 0 {
            return Err(Violation::Outside { thread });
        }
        mean.add(entity.vruntime.get(), entity.weight.get());
        Ok(())
    }

    /// Threads that say they are queued here are in the tree: as many as there are, and each of those says so.
    fn check_count(&self, queue: &RunQueue) -> Result<(), Violation> {
        let says_here = |state, home: crate::sync::Home| home.state == state && home.cpu == queue.cpu;
        let by_state = self.threads.iter().filter(|(_, entity)| says_here(ThreadState::Queued, entity.home.read()));
        let (in_tree, by_state) = (queue.tree.len(), by_state.count());
        if in_tree != by_state {
            return Err(Violation::Lost { cpu: queue.cpu, in_tree, by_state });
        }
        Ok(())
    }

    /// As [`Dispatcher::check_invariants`], and what holds between queues once every kick has been served: no CPU is
    /// idle while a thread waits that may run there, and what is published is so. Only while nothing else runs.
    pub fn check_at_rest(&self) -> Result<(), Violation> {
        self.check_invariants()?;
        for cpu in self.cpu_ids() {
            let queue = self.lock(cpu);
            let stealable = stealable(&queue.tree, &queue.nodes(&self.threads)).count();
            let idle = queue.online && queue.current.is_none() && queue.ledger.is_open();
            let published = self.published(cpu).load() == queue.mean.weights()
                && queue.stealable as usize == stealable
                && self.waiting.contains(cpu) == (stealable != 0)
                && (!idle || self.idle.contains(cpu));
            if !published {
                return Err(Violation::Published(cpu));
            }
            let searching = queue.search_again;
            drop(queue);
            if idle && !searching {
                self.check_nobody_waits_for(cpu)?;
            }
        }
        Ok(())
    }

    fn check_nobody_waits_for(&self, idle: CpuId) -> Result<(), Violation> {
        let waits = |&(_, entity): &(_, &super::entity::Entity<WORDS>)| {
            entity.home.read().state == ThreadState::Queued && entity.may_run_on(idle)
        };
        match self.threads.iter().find(waits) {
            Some((id, _)) => Err(Violation::IdleWhileWaiting { idle, waiting: ThreadId::of(id) }),
            None => Ok(()),
        }
    }
}
