//! Where a thread that is woken, started or moved goes, and who is kicked.

use super::super::entity::{Entity, ThreadId};
use super::super::placement::lag_after_sleep;
use super::super::queue::{Notice, RunQueue};
use super::super::record;
use super::super::vtime::VirtualSpan;
use super::{Dispatcher, StaleThread, Wake};
use crate::slab::{Slot, Stale};
use crate::sync::{ChangeClaim, Masked, WakeClaim};
use tessera_hal::{CpuId, CpuSet, Probe, Requests, SchedHal};

/// How a thread comes to a queue: what its lag is worth there, and where it would like to be.
#[derive(Clone, Copy)]
enum Arrival {
    /// For the first time; threads leave their creator's CPU only for a strictly less loaded one.
    Started { creator: Option<CpuId> },
    /// After it was blocked.
    Woken { last_cpu: CpuId },
    /// From another queue.
    Moved { from: CpuId },
}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Starts a thread that was created: puts it on a queue for the first time. `creator` is the CPU of the thread
    /// that created it. Does nothing to one that is not blocked. Any CPU, any context.
    pub fn start(&self, thread: ThreadId, creator: Option<CpuId>) -> Result<(), StaleThread> {
        let stale = |Stale| StaleThread(thread);
        let _masked = Masked::new(&self.hal);
        let id = thread.entity();
        let entity = self.threads.get(id).map_err(stale)?;
        if let ChangeClaim::Claimed { .. } = entity.home.claim_change(id.generation()).map_err(stale)? {
            self.place(id.slot(), Arrival::Started { creator });
        }
        Ok(())
    }

    /// Wakes a thread. If it is not blocked its next block returns at once, so no wake-up is lost. Any CPU, any
    /// context; takes the destination's queue lock only.
    pub fn wake(&self, thread: ThreadId) -> Result<Wake, StaleThread> {
        let stale = |Stale| StaleThread(thread);
        let _masked = Masked::new(&self.hal);
        let id = thread.entity();
        let entity = self.threads.get(id).map_err(stale)?;
        match entity.home.claim_wake(id.generation()).map_err(stale)? {
            WakeClaim::Claimed { last_cpu } => Ok(Wake::Queued(self.place_woken(id.slot(), last_cpu))),
            WakeClaim::TokenLeft(_) => Ok(Wake::TokenLeft),
        }
    }

    /// Puts a claimed thread on a queue, after it was blocked.
    pub(super) fn place_woken(&self, slot: Slot, last_cpu: CpuId) -> CpuId {
        self.place(slot, Arrival::Woken { last_cpu })
    }

    /// Puts a claimed thread on a queue, after it was taken from another.
    pub(in super::super) fn place_moved(&self, slot: Slot, from: CpuId) -> CpuId {
        self.place(slot, Arrival::Moved { from })
    }

    /// What a queue owes a thread that was blocked, when it comes back. Under the lock of `queue`.
    pub(super) fn lag_of_woken(&self, queue: &RunQueue, slot: Slot, last_cpu: CpuId) -> VirtualSpan {
        let entity = &self.threads[slot];
        let left_queue = match last_cpu == queue.cpu {
            true => queue.mean.virtual_time(),
            false => self.published(last_cpu).virtual_time(),
        };
        let advanced = left_queue.since(entity.left_at.get());
        lag_after_sleep(entity.lag.get(), advanced, entity.request_span())
    }

    fn place(&self, slot: Slot, arrival: Arrival) -> CpuId {
        let entity = &self.threads[slot];
        let affinity = entity.affinity();
        let is_stealable = entity.is_stealable.get();
        loop {
            let destination = self.choose(&affinity, arrival);
            let mut queue = self.lock(destination);
            if !queue.online && !self.online.among(&affinity).is_empty() {
                continue; // It left meanwhile.
            }
            let now = self.hal.now();
            queue.bring_up_to_date(&self.threads, now);
            let lag = self.arriving_lag(&mut queue, entity, slot, arrival);
            if !matches!(arrival, Arrival::Moved { .. }) {
                queue.forget_pace_if_empty(now, self.config.grid);
                entity.waiting_since.set(now);
            }
            let notice = queue.enqueue(&self.threads, slot, lag);
            self.note_arrival(&queue, slot, |recorder| match arrival {
                Arrival::Started { .. } => record::Arrival::Started,
                Arrival::Woken { .. } => recorder.waking(self.hal.this_cpu()),
                Arrival::Moved { from } => record::Arrival::Moved { from },
            });
            self.announce(queue, notice);
            if notice != Notice::Reschedule && is_stealable {
                self.kick_idle(&affinity, destination);
            }
            return destination;
        }
    }

    fn arriving_lag(&self, queue: &mut RunQueue, entity: &Entity<WORDS>, slot: Slot, arrival: Arrival) -> VirtualSpan {
        match arrival {
            Arrival::Started { .. } => queue.ended_debt.take(entity.weight.get(), queue.mean.virtual_time()),
            Arrival::Woken { last_cpu } => self.lag_of_woken(queue, slot, last_cpu),
            Arrival::Moved { .. } => queue.lag_of_moved(entity, self.config.base_request),
        }
    }

    /// Publishes a queue that was changed, unlocks it, and tells its CPU what it must do.
    pub(super) fn announce(&self, mut queue: super::Guard<'_, H>, notice: Notice) {
        let cpu = queue.cpu;
        self.publish(&mut queue);
        if cpu == self.hal.this_cpu() {
            if queue.deciding {
                return;
            }
            if notice == Notice::Rearm {
                let now = self.hal.now();
                self.reprogram(&mut queue, now);
            }
        }
        drop(queue);
        match notice {
            Notice::Nothing => {}
            Notice::Rearm if cpu == self.hal.this_cpu() => {}
            Notice::Rearm => self.request(cpu, Requests::REARM),
            Notice::Reschedule => self.request(cpu, Requests::RESCHEDULE),
        }
    }

    /// Summons one idle CPU of `affinity`, nearest to `near` first, to come for work; answers whether there was one.
    pub(in super::super) fn kick_idle(&self, affinity: &CpuSet<WORDS>, near: CpuId) -> bool {
        let Some(idle) = self.claim_idle(affinity, near) else { return false };
        self.hal.probe(Probe::SharedWrite { owner: Some(idle) });
        self.published(idle).summon();
        self.request(idle, Requests::RESCHEDULE);
        true
    }

    /// Takes the nearest idle CPU out of the idle set. The caller must kick it.
    fn claim_idle(&self, permitted: &CpuSet<WORDS>, near: CpuId) -> Option<CpuId> {
        if permitted.contains(near) && self.idle.contains(near) && self.idle.remove(&self.hal, near) {
            return Some(near);
        }
        self.domains.rings(near).iter().find_map(|ring| {
            let idle = self.idle.among(&ring.intersection(permitted));
            idle.iter().find(|&cpu| self.idle.remove(&self.hal, cpu))
        })
    }

    /// The CPU for a thread. One that is idle is taken out of the idle set; it will be kicked, since its queue has no
    /// current thread. A thread whose CPUs have all left waits where it may run once they are back.
    fn choose(&self, affinity: &CpuSet<WORDS>, arrival: Arrival) -> CpuId {
        let permitted = self.online.among(affinity);
        if permitted.is_empty() {
            return self.existing(affinity);
        }
        match arrival {
            Arrival::Started { creator } => {
                let chosen = self.least_loaded(&permitted, creator);
                if self.idle.contains(chosen) {
                    self.idle.remove(&self.hal, chosen);
                }
                chosen
            }
            Arrival::Woken { last_cpu: near } | Arrival::Moved { from: near } => self
                .claim_idle(&permitted, near)
                .or(permitted.contains(near).then_some(near))
                .unwrap_or_else(|| self.least_loaded(&permitted, None)),
        }
    }

    /// The least loaded CPU; `preferred` unless another one is strictly less loaded.
    fn least_loaded(&self, permitted: &CpuSet<WORDS>, preferred: Option<CpuId>) -> CpuId {
        let load = |cpu: &CpuId| self.published(*cpu).load();
        let preferred = preferred.filter(|&cpu| permitted.contains(cpu));
        match (permitted.iter().min_by_key(load), preferred) {
            (Some(least), Some(preferred)) if load(&least) >= load(&preferred) => preferred,
            (Some(least), _) => least,
            (None, _) => self.existing(permitted),
        }
    }

    /// The lowest CPU of a set that the machine has.
    fn existing(&self, affinity: &CpuSet<WORDS>) -> CpuId {
        affinity.intersection(&CpuSet::first(self.hal.cpu_count())).lowest().unwrap_or(CpuId::BOOT)
    }
}
