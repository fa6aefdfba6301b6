//! [`LocalQueue`]: the run queue of one CPU by itself, without lock, timers, balance or machine.
//!
//! For a kernel that has its own locks and its own idea of CPUs and wants only the order: it brings the clock, calls
//! from one place at a time, and gets the very decisions that a [`super::Dispatcher`] makes on one CPU. Also what the
//! benchmarks compare with other ready queues.
//!
//! Time is the caller's and must not go back. Memory is reserved by [`LocalQueue::new`] and [`LocalQueue::add`];
//! nothing else allocates. All operations take O(log n) steps.

use super::dispatcher::StaleThread;
use super::entity::{Attributes, Entity, ThreadId};
use super::placement::lag_after_sleep;
use super::policy::{Policy, class_request};
use super::queue::{PutBack, RunQueue};
use super::vtime::Weight;
use crate::slab::{InsertError, Slab, Slot, Stale};
use crate::sync::{Blocking, ChangeClaim, Home, ThreadState, WakeClaim};
use tessera_abi::scheduling::DEFAULT_REQUEST_NS;
use tessera_hal::{CpuId, Duration, Instant};

/// One CPU's ready threads, in the order of a policy. See the module.
pub struct LocalQueue {
    threads: Slab<Entity<1>>,
    queue: RunQueue,
}

impl LocalQueue {
    /// A queue with room for `capacity` threads without further allocation. Time is counted from `now` on.
    pub fn new(policy: Policy, capacity: u32, now: Instant) -> Result<Self, InsertError> {
        let threads = Slab::new(super::dispatcher::MAX_THREADS);
        threads.reserve(capacity)?;
        let mut queue = RunQueue::new(CpuId::BOOT, policy, true);
        queue.ledger.open(now);
        Ok(Self { threads, queue })
    }

    /// How many threads are ready, the one that runs left out.
    pub fn len(&self) -> usize {
        self.queue.tree.len()
    }

    /// Whether nobody is ready.
    pub fn is_empty(&self) -> bool {
        self.queue.tree.is_empty()
    }

    /// The thread that runs.
    pub fn current(&self) -> Option<ThreadId> {
        self.queue.current.map(|current| self.id(current.slot))
    }

    /// When the request of the thread that runs is over.
    pub fn slice_end(&self) -> Option<Instant> {
        self.queue.current.map(|current| current.slice_end)
    }

    /// A new thread becomes ready. Allocates if more live than there was room for.
    pub fn add(&mut self, attributes: &Attributes<1>, now: Instant) -> Result<ThreadId, InsertError> {
        self.queue.bring_up_to_date(&self.threads, now);
        let request = class_request(attributes.class, Duration::from_nanos(DEFAULT_REQUEST_NS));
        let id = self.threads.insert(|entity, id| entity.set_up(id, attributes, request, 0))?;
        let entity = &self.threads[id.slot()];
        if let Ok(ChangeClaim::Claimed { .. }) = entity.home.claim_change(id.generation()) {
            let lag = self.queue.ended_debt.take(entity.weight.get(), self.queue.mean.virtual_time());
            entity.waiting_since.set(now);
            let _ = self.queue.enqueue(&self.threads, id.slot(), lag);
        }
        Ok(ThreadId::of(id))
    }

    /// The thread that is due first runs from now on, unless one runs already. Answers which one runs.
    pub fn pick(&mut self, now: Instant) -> Option<ThreadId> {
        self.queue.bring_up_to_date(&self.threads, now);
        if self.queue.current.is_none() {
            let _ = self.queue.dispatch_first(&self.threads, now);
            self.queue.ledger.switch_to_thread(self.queue.current.is_some());
        }
        self.current()
    }

    /// The thread that runs has used its slice up, or gives up the rest: it is charged and becomes ready.
    pub fn put_back(&mut self, now: Instant) {
        if let Some(entity) = self.queue.bring_up_to_date(&self.threads, now) {
            self.queue.put_current_back(&self.threads, entity, PutBack::RequestOver, now);
            self.queue.ledger.switch_to_thread(false);
        }
    }

    /// As [`LocalQueue::put_back`] and then [`LocalQueue::pick`], for a slice that is over: answers which thread runs.
    pub fn requeue(&mut self, now: Instant) -> Option<ThreadId> {
        if let Some(entity) = self.queue.bring_up_to_date(&self.threads, now) {
            self.queue.put_current_back(&self.threads, entity, PutBack::RequestOver, now);
        }
        let next = self.queue.dispatch_first(&self.threads, now);
        self.queue.ledger.switch_to_thread(next.is_some());
        next.map(|(slot, entity)| ThreadId::of(entity.id(slot)))
    }

    /// The thread that runs blocks, unless a wake-up has come; answers whether it blocked.
    pub fn block(&mut self, now: Instant) -> bool {
        self.queue.bring_up_to_date(&self.threads, now);
        let blocked = self.queue.block_current(&self.threads, |_| ()) == Some(Blocking::Blocked);
        self.queue.ledger.switch_to_thread(self.queue.current.is_some());
        blocked
    }

    /// A ready thread is taken off the queue, as if it had blocked there: a wake-up brings it back, and one that has come
    /// already keeps it. Answers whether it was taken off.
    pub fn take_off(&mut self, thread: ThreadId, now: Instant) -> Result<bool, StaleThread> {
        let Self { threads, queue } = self;
        let (entity, slot, home) = find(threads, thread)?;
        if home.state != ThreadState::Queued || home.token && entity.home.take_token() {
            return Ok(false);
        }
        queue.bring_up_to_date(threads, now);
        queue.withdraw(threads, slot, entity, ThreadState::Blocked);
        Ok(true)
    }

    /// A blocked thread becomes ready; answers whether it was blocked. If not, its next block does not block.
    pub fn wake(&mut self, thread: ThreadId, now: Instant) -> Result<bool, StaleThread> {
        let Self { threads, queue } = self;
        let (entity, slot, _) = find(threads, thread)?;
        let claim = entity.home.claim_wake(thread.entity::<1>().generation());
        match claim.map_err(|Stale| StaleThread(thread))? {
            WakeClaim::TokenLeft(_) => Ok(false),
            WakeClaim::Claimed { .. } => {
                queue.bring_up_to_date(threads, now);
                let advanced = queue.mean.virtual_time().since(entity.left_at.get());
                entity.waiting_since.set(now);
                let lag = lag_after_sleep(entity.lag.get(), advanced, entity.request_span());
                let _ = queue.enqueue(threads, slot, lag);
                Ok(true)
            }
        }
    }

    /// Gives a thread another weight, whatever it does.
    pub fn set_weight(&mut self, thread: ThreadId, weight: Weight, now: Instant) -> Result<(), StaleThread> {
        let Self { threads, queue } = self;
        let (entity, slot, home) = find(threads, thread)?;
        queue.bring_up_to_date(threads, now);
        match home.state.is_on_a_queue() {
            true => {
                let _ = queue.change_member(threads, slot, entity, now, |entity| entity.set_weight(weight));
            }
            false => entity.change_weight_while_blocked(weight, queue.mean.virtual_time()),
        }
        Ok(())
    }

    /// A thread ends, whatever it does.
    pub fn remove(&mut self, thread: ThreadId, now: Instant) -> Result<(), StaleThread> {
        let Self { threads, queue } = self;
        let (entity, slot, home) = find(threads, thread)?;
        queue.bring_up_to_date(threads, now);
        match home.state {
            ThreadState::Current => {
                let _ = queue.end_current(threads);
                queue.ledger.switch_to_thread(false);
            }
            ThreadState::Queued => {
                queue.dequeue(threads, slot);
                queue.keep_debt(entity);
            }
            _ => {}
        }
        entity.home.retire();
        threads.remove(thread.entity()).map_err(|Stale| StaleThread(thread))
    }

    fn id(&self, slot: Slot) -> ThreadId {
        ThreadId::of(self.threads[slot].id(slot))
    }
}

/// A thread that lives, and what its home word says; reads nothing else of it.
fn find(threads: &Slab<Entity<1>>, thread: ThreadId) -> Result<(&Entity<1>, Slot, Home), StaleThread> {
    let id = thread.entity::<1>();
    let entity = threads.in_slot(id.slot()).ok_or(StaleThread(thread))?;
    let home = entity.home.read();
    if home.generation == id.generation() && home.state != ThreadState::Vacant {
        Ok((entity, id.slot(), home))
    } else {
        Err(StaleThread(thread))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
