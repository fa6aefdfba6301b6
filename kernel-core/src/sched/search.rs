//! The search for a thread that waits on another CPU's queue: by an idle CPU that wants work, by one that summons an idle
//! one, and by a busy one that evens out load.
//!
//! Tags of different queues are not comparable, since each has its own clock. So a queue publishes how far its most
//! delayed stealable thread is behind its own V, and thieves compare that: nearest domain first, then the latest, then
//! the lower CPU number. A search looks at 8 queues per level and 16 candidates at most; when it gives up at a bound
//! it is tried again one balance period later, further on, so that nobody is hidden for good.

use super::dispatcher::Dispatcher;
use super::queue::RunQueue;
use super::run_tree::stealable;
use crate::slab::Slot;
use crate::sync::SpinGuard;
use crate::sync::shim::relax;
use tessera_hal::{CpuId, CpuSet, Probe, SchedHal};

/// Queues that a search looks at on each level.
const QUEUES_PER_LEVEL: usize = 8;
/// Threads that a search looks at.
pub(super) const CANDIDATES: usize = 16;
/// How often a search asks again for locks that others have: some thousand cycles, to outlast a holder that runs, and not
/// one that a hypervisor has stopped.
const PATIENCE: usize = 64;

/// What an idle CPU found.
pub(super) enum Search {
    /// This thread; it is claimed.
    Found(Slot),
    /// Nobody waits who may run here.
    Nothing,
    /// The bounds were reached and more may be waiting: to be tried again, with this round.
    GivenUp { next_round: u32 },
}

/// The bound of one search.
pub(super) struct Bound {
    candidates: usize,
    /// Candidates to leave out on each queue, since earlier searches have seen them.
    skip: usize,
    /// How often it still asks for a lock that somebody has.
    patience: usize,
    given_up: bool,
}

impl Bound {
    pub(super) const fn new(skip: usize) -> Self {
        Self { candidates: CANDIDATES, skip, patience: PATIENCE, given_up: false }
    }
}

/// CPUs to look at on one level, best first.
pub(super) struct Victims {
    cpus: [Option<CpuId>; QUEUES_PER_LEVEL],
    more: bool,
}

impl Victims {
    pub(super) fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.cpus.iter().copied().flatten()
    }
}

type Guard<'a, H> = SpinGuard<'a, RunQueue, H>;

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Looks for a thread that waits elsewhere and may run on `thief`. `round`: how often it gave up before.
    pub(super) fn search(&self, thief: CpuId, this_round: u32) -> Search {
        let round = this_round as usize;
        let mut bound = Bound::new(round * CANDIDATES);
        for (level, ring) in self.domains.rings(thief).iter().enumerate() {
            let (waiting, words) = self.waiting.look(ring);
            let victims = self.victims(&waiting, round, |cpu| core::cmp::Reverse(self.published(cpu).lateness()));
            // The root of the waiting set, once, its words with members, and what each victim publishes.
            let lines = usize::from(level == 0) + words + victims.iter().count();
            self.hal().probe(Probe::Searching { level, lines });
            bound.given_up |= victims.more;
            for victim in victims.iter() {
                let may_come = |_: &RunQueue, slot: Slot| self.threads[slot].may_run_on(thief);
                if let Some(slot) = self.take_from(victim, &mut bound, may_come, |_, _| ()) {
                    return Search::Found(slot);
                }
            }
        }
        match bound.given_up {
            true => Search::GivenUp { next_round: this_round.wrapping_add(1) },
            // Nobody is left behind those that earlier rounds have seen: begin again from the front.
            false if this_round != 0 => Search::GivenUp { next_round: 0 },
            false => Search::Nothing,
        }
    }

    /// Summons an idle CPU for somebody who waits on a queue near `cpu` and may run there, if there is one.
    pub(super) fn summon_for_waiters(&self, cpu: CpuId) {
        let mut bound = Bound::new(0);
        for ring in self.domains.rings(cpu) {
            let lateness = |cpu| core::cmp::Reverse(self.published(cpu).lateness());
            let victims = self.victims(&self.waiting.among(ring), 0, lateness);
            for victim in victims.iter() {
                let Some(queue) = self.lock_of(victim, &mut bound) else { continue };
                let summoned = |_: &RunQueue, slot: Slot| self.kick_idle(&self.threads[slot].affinity(), victim);
                if self.first_acceptable(&queue, &mut bound, summoned).is_some() {
                    return;
                }
            }
        }
    }

    /// A queue's lock, if nobody has it for long. Otherwise its owner hears of it, whose next decision, a request away at
    /// most while somebody waits there, summons an idle CPU instead: so nobody spins for a holder that was interrupted by
    /// a hypervisor, and nobody who waits is forgotten.
    fn lock_of(&self, victim: CpuId, bound: &mut Bound) -> Option<Guard<'_, H>> {
        loop {
            if let Some(queue) = self.try_lock(victim) {
                return Some(queue);
            }
            if bound.patience == 0 {
                self.hal().probe(Probe::SharedWrite { owner: Some(victim) });
                self.published(victim).turn_away();
                return None;
            }
            bound.patience -= 1;
            relax();
        }
    }

    /// Up to eight CPUs of `waiting`, by rank and then by number. A later round begins with others.
    pub(super) fn victims<R: Ord>(&self, waiting: &CpuSet<WORDS>, round: usize, rank: impl Fn(CpuId) -> R) -> Victims {
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

    /// Takes the first acceptable thread from a queue, with which `before` is done first.
    pub(super) fn take_from(
        &self,
        victim: CpuId,
        bound: &mut Bound,
        accepts: impl Fn(&RunQueue, Slot) -> bool,
        before: impl FnOnce(&mut RunQueue, Slot),
    ) -> Option<Slot> {
        if bound.candidates == 0 {
            bound.given_up = true;
            return None;
        }
        let mut queue = self.lock_of(victim, bound)?;
        // Its clock stands where it was published last.
        queue.bring_up_to_date(&self.threads, self.hal().now());
        let slot = self.first_acceptable(&queue, bound, accepts)?;
        before(&mut queue, slot);
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
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
