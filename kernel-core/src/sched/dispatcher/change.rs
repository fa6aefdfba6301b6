//! Attributes changed in any state, and threads ended from outside.

use super::super::entity::{Entity, ThreadId};
use super::super::queue::{Notice, RunQueue};
use super::super::vtime::Weight;
use super::{AttributeError, Dispatcher, Guard, StaleThread, Terminated, check_request};
use crate::slab::{Slot, Stale};
use crate::sync::shim::relax;
use crate::sync::{ChangeClaim, Masked, ThreadState, Unclaimed};
use tessera_abi::scheduling::LatencyClass;
use tessera_hal::{CpuId, CpuSet, Duration, Requests, SchedHal};

/// How a thread came to be owned by the caller.
pub(super) enum Owned<'a, H: SchedHal> {
    /// It was blocked and is claimed.
    Claimed { last_cpu: CpuId },
    /// It is on this queue, which is locked, in this state.
    OnQueue(Guard<'a, H>, ThreadState),
}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Gives the thread another weight. What it ran so far is charged at the old one; what its queue owes it, as
    /// service, stays. Any CPU, any state of the thread; takes effect at once.
    pub fn set_weight(&self, thread: ThreadId, weight: Weight) -> Result<(), AttributeError> {
        self.change(thread, |entity| {
            let old = entity.weight.get();
            entity.set_weight(weight);
            old
        })
    }

    /// Gives the thread another latency class, and with it another request unless it has one of its own.
    pub fn set_class(&self, thread: ThreadId, class: LatencyClass) -> Result<(), AttributeError> {
        let request = self.class_request(class);
        self.change(thread, |entity| {
            entity.class.set(class);
            entity.set_request(entity.own_request(), request);
            entity.weight.get()
        })
    }

    /// Gives the thread a request of its own, or (`None`) that of its class.
    pub fn set_request(&self, thread: ThreadId, request: Option<Duration>) -> Result<(), AttributeError> {
        request.map_or(Ok(()), check_request)?;
        self.change(thread, |entity| {
            entity.set_request(request, self.class_request(entity.class.get()));
            entity.weight.get()
        })
    }

    /// Says where the thread may run. One that waits or runs elsewhere is moved at once.
    pub fn set_affinity(&self, thread: ThreadId, affinity: CpuSet<WORDS>) -> Result<(), AttributeError> {
        if self.online.among(&affinity).is_empty() {
            return Err(AttributeError::NoCpuOnline);
        }
        let _masked = Masked::new(&self.hal);
        let (entity, slot, owned) = self.own(thread)?;
        match owned {
            Owned::Claimed { last_cpu } => {
                entity.set_affinity(&affinity);
                self.give_back(entity, slot, last_cpu);
            }
            Owned::OnQueue(queue, ThreadState::Queued) => self.redirect_queued(queue, slot, &affinity),
            Owned::OnQueue(queue, _) => {
                entity.set_affinity(&affinity);
                let stays = affinity.contains(queue.cpu) && queue.online;
                self.announce(queue, if stays { Notice::Nothing } else { Notice::Reschedule });
            }
        }
        Ok(())
    }

    fn redirect_queued(&self, mut queue: Guard<'_, H>, slot: Slot, affinity: &CpuSet<WORDS>) {
        let (cpu, entity) = (queue.cpu, &self.threads[slot]);
        if affinity.contains(cpu) && queue.online {
            queue.redirect(&self.threads, slot, affinity);
            self.announce(queue, Notice::Nothing);
            self.kick_idle(affinity, cpu);
            return;
        }
        queue.bring_up_to_date(&self.threads, self.hal.now());
        queue.dequeue(&self.threads, slot);
        entity.set_affinity(affinity);
        self.announce(queue, Notice::Nothing);
        self.place_moved(slot, cpu);
    }

    /// Ends a thread, whatever it does. Any CPU. A running one is taken off by the CPU that runs it.
    pub fn terminate(&self, thread: ThreadId) -> Result<Terminated, StaleThread> {
        let _masked = Masked::new(&self.hal);
        let (entity, slot, owned) = self.own(thread)?;
        match owned {
            Owned::Claimed { .. } => {}
            Owned::OnQueue(queue, ThreadState::Current) => {
                let cpu = queue.cpu;
                entity.home.move_to(ThreadState::Exiting, cpu);
                drop(queue);
                self.request(cpu, Requests::CHARGE_AND_STOP);
                return Ok(Terminated::RunningOn(cpu));
            }
            Owned::OnQueue(mut queue, _) => {
                queue.bring_up_to_date(&self.threads, self.hal.now());
                queue.dequeue(&self.threads, slot);
                queue.keep_debt(entity);
                self.announce(queue, Notice::Nothing);
            }
        }
        self.free(slot);
        Ok(Terminated::Gone)
    }

    /// Owns a thread: claims it if it is blocked, locks its queue if it is on one, waits while another CPU moves it
    /// (a few instructions with interrupts masked). Interrupts must be masked.
    pub(super) fn own(&self, thread: ThreadId) -> Result<(&Entity<WORDS>, Slot, Owned<'_, H>), StaleThread> {
        let stale = StaleThread(thread);
        let id = thread.entity();
        let entity = self.threads.get(id).map_err(|Stale| stale)?;
        loop {
            let home = match entity.home.claim_change(id.generation()).map_err(|Stale| stale)? {
                ChangeClaim::Claimed { last_cpu } => return Ok((entity, id.slot(), Owned::Claimed { last_cpu })),
                ChangeClaim::NotBlocked(home) => home,
            };
            if home.state == ThreadState::Exiting {
                return Err(stale);
            }
            match entity.home.lock_queue(|cpu| self.lock(cpu)) {
                Ok((home, _)) if home.generation != id.generation() => return Err(stale),
                Ok((home, queue)) => return Ok((entity, id.slot(), Owned::OnQueue(queue, home.state))),
                Err(_) => relax(),
            }
        }
    }

    /// Gives a claimed thread back; wakes it if somebody wanted to meanwhile.
    pub(super) fn give_back(&self, entity: &Entity<WORDS>, slot: Slot, last_cpu: CpuId) {
        if entity.home.unclaim() == Unclaimed::MustWake {
            self.place_woken(slot, last_cpu);
        }
    }

    /// Applies `change`, which answers the weight that was, to a thread in any state.
    fn change(&self, thread: ThreadId, change: impl Fn(&Entity<WORDS>) -> Weight) -> Result<(), AttributeError> {
        let _masked = Masked::new(&self.hal);
        let (entity, slot, owned) = self.own(thread)?;
        match owned {
            Owned::Claimed { last_cpu } => {
                entity.repay(self.published(last_cpu).virtual_time());
                let old = change(entity);
                entity.keep_service(old);
                self.give_back(entity, slot, last_cpu);
            }
            Owned::OnQueue(mut queue, _) => {
                let now = self.hal.now();
                queue.bring_up_to_date(&self.threads, now);
                let queue_now: &mut RunQueue = &mut queue;
                let notice = queue_now.change_member(&self.threads, slot, entity, now, |entity| {
                    change(entity);
                });
                self.announce(queue, notice);
            }
        }
        Ok(())
    }
}
