//! Balance: an idle CPU looks for work, a busy one evens out load on its grid, and CPUs leave and join.
//!
//! Tags of different queues are not comparable, since each has its own clock. So a queue publishes how far its most
//! delayed stealable thread is behind its own V, and thieves compare that: nearest domain first, then the latest, then
//! the lower CPU number. A search looks at 8 queues per level and 16 candidates at most; when it gives up at a bound
//! it is tried again one balance period later, further on, so that nobody is hidden for good.

use super::dispatcher::{CpuError, Dispatcher};
use super::queue::RunQueue;
use super::run_tree::stealable;
use crate::slab::Slot;
use crate::sync::{Masked, SpinGuard};
use tessera_hal::{CpuId, CpuSet, Requests, SchedHal};

/// Queues that a search looks at on each level.
pub(super) const QUEUES_PER_LEVEL: usize = 8;
/// Threads that a search looks at.
pub(super) const CANDIDATES: usize = 16;

/// What an idle CPU found.
pub(super) enum Search {
    /// This thread; it is claimed.
    Found(Slot),
    /// Nobody waits who may run here.
    Nothing,
    /// A queue was in use.
    Contended,
    /// The bounds were reached and more may be waiting: to be tried again, with this round.
    GivenUp { next_round: u32 },
}

/// The bound of one search.
struct Bound {
    candidates: usize,
    /// Candidates to leave out on each queue, since earlier searches have seen them.
    skip: usize,
    contended: bool,
    given_up: bool,
}

/// CPUs to look at on one level, best first.
struct Victims {
    cpus: [Option<CpuId>; QUEUES_PER_LEVEL],
    more: bool,
}

impl Victims {
    fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.cpus.iter().copied().flatten()
    }
}

type Guard<'a, H> = SpinGuard<'a, RunQueue, H>;

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Looks for a thread that waits elsewhere and may run on `thief`. `round`: how often it gave up before.
    pub(super) fn search(&self, thief: CpuId, this_round: u32) -> Search {
        let round = this_round as usize;
        let mut bound = Bound { candidates: CANDIDATES, skip: round * CANDIDATES, contended: false, given_up: false };
        for ring in self.domains.rings(thief) {
            let victims = self
                .victims(&self.waiting.among(ring), round, |cpu| core::cmp::Reverse(self.published(cpu).lateness()));
            bound.given_up |= victims.more;
            for victim in victims.iter() {
                if let Some(slot) = self.take_from(victim, &mut bound, |_, slot| self.threads[slot].may_run_on(thief)) {
                    return Search::Found(slot);
                }
            }
        }
        match (bound.contended, bound.given_up) {
            (true, _) => Search::Contended,
            (false, true) => Search::GivenUp { next_round: this_round.wrapping_add(1) },
            // Nobody is left behind those that earlier rounds have seen: begin again from the front.
            (false, false) if this_round != 0 => Search::GivenUp { next_round: 0 },
            (false, false) => Search::Nothing,
        }
    }

    /// Summons an idle CPU for somebody who waits on a queue near `cpu` and may run there, if there is one.
    pub(super) fn summon_for_waiters(&self, cpu: CpuId) {
        let mut bound = Bound { candidates: CANDIDATES, skip: 0, contended: false, given_up: false };
        for ring in self.domains.rings(cpu) {
            let lateness = |cpu| core::cmp::Reverse(self.published(cpu).lateness());
            let victims = self.victims(&self.waiting.among(ring), 0, lateness);
            for victim in victims.iter() {
                let Some(queue) = self.try_lock(victim) else {
                    bound.contended = true;
                    continue;
                };
                let summoned = |_: &RunQueue, slot: Slot| self.kick_idle(&self.threads[slot].affinity(), victim);
                if self.first_acceptable(&queue, &mut bound, summoned).is_some() {
                    return;
                }
            }
        }
        if bound.contended {
            self.published(cpu).summon();
            self.request(cpu, Requests::RESCHEDULE);
        }
    }

    /// Up to eight CPUs of `waiting`, by rank and then by number. A later round begins with others.
    fn victims<R: Ord>(&self, waiting: &CpuSet<WORDS>, round: usize, rank: impl Fn(CpuId) -> R) -> Victims {
        let count = waiting.len();
        let first = if count == 0 { 0 } else { round * QUEUES_PER_LEVEL % count };
        let mut victims = Victims { cpus: [None; QUEUES_PER_LEVEL], more: count > QUEUES_PER_LEVEL };
        let chosen = waiting.iter().skip(first).chain(waiting.iter().take(first)).take(QUEUES_PER_LEVEL);
        for (place, cpu) in victims.cpus.iter_mut().zip(chosen) {
            *place = Some(cpu);
        }
        victims.cpus.sort_unstable_by_key(|cpu| (cpu.is_none(), cpu.map(|cpu| (rank(cpu), cpu))));
        victims
    }

    /// Takes the first acceptable thread from a queue, if nobody holds its lock.
    fn take_from(&self, victim: CpuId, bound: &mut Bound, accepts: impl Fn(&RunQueue, Slot) -> bool) -> Option<Slot> {
        if bound.candidates == 0 {
            bound.given_up = true;
            return None;
        }
        let Some(mut queue) = self.try_lock(victim) else {
            bound.contended = true;
            return None;
        };
        let slot = self.first_acceptable(&queue, bound, accepts)?;
        queue.bring_up_to_date(&self.threads, self.hal().now());
        queue.dequeue(&self.threads, slot);
        self.publish(&mut queue);
        Some(slot)
    }

    fn first_acceptable(
        &self,
        queue: &Guard<'_, H>,
        bound: &mut Bound,
        accepts: impl Fn(&RunQueue, Slot) -> bool,
    ) -> Option<Slot> {
        let nodes = queue.nodes(&self.threads);
        for slot in stealable(&queue.tree, &nodes).skip(bound.skip) {
            if bound.candidates == 0 {
                bound.given_up = true;
                return None;
            }
            bound.candidates -= 1;
            if accepts(queue, slot) {
                return Some(slot);
            }
        }
        None
    }

    /// The grid's balance job on a busy CPU: takes a thread from the most loaded queue it looks at, if that evens out
    /// the load. Unlocks the queue if there is something to take.
    pub(super) fn balance<'a>(&'a self, queue: Guard<'a, H>) -> Guard<'a, H> {
        let (cpu, mine) = (queue.cpu, queue.mean.weights());
        if !queue.online || queue.current.is_none() {
            return queue;
        }
        let worth = |victim: &CpuId| self.published(*victim).load() > mine;
        // The grid's count turns the choice round when a level has more than eight queues.
        let round = queue.fires.periodic() as usize;
        let loads = |victim| core::cmp::Reverse(self.published(victim).load());
        let victims = |ring| self.victims(&self.waiting.among(ring), round, loads);
        let rings = self.domains.rings(cpu);
        if !rings.iter().any(|ring| victims(ring).iter().any(|victim| worth(&victim))) {
            return queue;
        }
        drop(queue);
        let mut bound = Bound { candidates: CANDIDATES, skip: 0, contended: false, given_up: false };
        let evens_out = |theirs: &RunQueue, slot: Slot| {
            let entity = &self.threads[slot];
            let weight = u64::from(entity.weight.get().get());
            entity.may_run_on(cpu) && mine + weight < theirs.mean.weights()
        };
        // A queue with nothing to take, however near or loaded, hides no other one.
        let slot = rings.iter().find_map(|ring| {
            victims(ring).iter().filter(worth).find_map(|victim| self.take_from(victim, &mut bound, evens_out))
        });
        let (mut queue, _) = self.lock_current();
        if let Some(slot) = slot {
            queue.counters.steals += 1;
            let lag = self.threads[slot].lag.get();
            let _ = queue.enqueue(&self.threads, slot, lag);
            // It waits among others now, and with other idle CPUs near.
            queue.unannounced += 1;
        }
        queue
    }

    /// A CPU leaves: it runs no thread from now on, and those that may run elsewhere are moved. A thread that may run
    /// nowhere else waits for the CPU to join again. Its timers go on firing. Any CPU, not in an interrupt.
    pub fn cpu_leave(&self, cpu: CpuId) -> Result<(), CpuError> {
        self.exists(cpu)?;
        let _masked = Masked::new(self.hal());
        let mut others = self.online.among(&CpuSet::ALL);
        if !others.remove(cpu) {
            return Ok(());
        }
        if others.is_empty() {
            return Err(CpuError::LastOnline(cpu));
        }
        self.online.remove(self.hal(), cpu);
        self.lock(cpu).online = false;
        self.idle.remove(self.hal(), cpu);
        while let Some(slot) = self.take_movable(cpu) {
            self.place_moved(slot, cpu);
        }
        self.request(cpu, Requests::RESCHEDULE);
        Ok(())
    }

    /// A CPU joins (again).
    pub fn cpu_join(&self, cpu: CpuId) -> Result<(), CpuError> {
        self.exists(cpu)?;
        let _masked = Masked::new(self.hal());
        self.lock(cpu).online = true;
        self.online.insert(self.hal(), cpu);
        self.request(cpu, Requests::RESCHEDULE);
        Ok(())
    }

    fn exists(&self, cpu: CpuId) -> Result<(), CpuError> {
        if cpu.index() < self.hal().cpu_count() { Ok(()) } else { Err(CpuError::NoSuchCpu(cpu)) }
    }

    /// Takes a thread off the queue of a CPU that leaves, if one may run elsewhere.
    fn take_movable(&self, cpu: CpuId) -> Option<Slot> {
        let mut queue = self.lock(cpu);
        if queue.online {
            return None; // It has joined again.
        }
        queue.bring_up_to_date(&self.threads, self.hal().now());
        let nodes = queue.nodes(&self.threads);
        let movable = |slot: &Slot| !self.online.among(&self.threads[*slot].affinity()).is_empty();
        let slot = stealable(&queue.tree, &nodes).find(movable)?;
        queue.dequeue(&self.threads, slot);
        self.publish(&mut queue);
        Some(slot)
    }
}
