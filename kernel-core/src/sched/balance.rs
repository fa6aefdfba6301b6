//! Balance: an idle CPU looks for work, a busy one evens out load on its grid, and CPUs leave and join.
//!
//! Tags of different queues are not comparable, since each has its own clock. So a queue publishes how far its most
//! delayed stealable thread is behind its own V, and thieves compare that: nearest domain first, then the latest, then
//! the lower CPU number. A search looks at 8 queues per level and 16 candidates at most; when it gives up at a bound
//! it is tried again one balance period later, further on, so that nobody is hidden for good.

use super::dispatcher::{CpuError, Dispatcher};
use super::pace::{Pace, corrected, is_worth_a_move};
use super::queue::RunQueue;
use super::record::Arrival;
use super::run_tree::stealable;
use super::vtime::VirtualSpan;
use crate::slab::Slot;
use crate::sync::shim::relax;
use crate::sync::{Masked, SpinGuard};
use tessera_hal::{CpuId, CpuSet, Probe, Requests, SchedHal};

/// Queues that a search looks at on each level.
pub(super) const QUEUES_PER_LEVEL: usize = 8;
/// Timers that are moved under one pair of locks.
const TIMERS_AT_ONCE: usize = 64;
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
struct Bound {
    candidates: usize,
    /// Candidates to leave out on each queue, since earlier searches have seen them.
    skip: usize,
    /// How often it still asks for a lock that somebody has.
    patience: usize,
    given_up: bool,
}

impl Bound {
    const fn new(skip: usize) -> Self {
        Self { candidates: CANDIDATES, skip, patience: PATIENCE, given_up: false }
    }
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

/// The CPU that balances, as it was when it looked.
struct Mine {
    cpu: CpuId,
    weights: u64,
    pace: Pace,
}

impl Mine {
    fn is_ahead_of(&self, other: Pace) -> bool {
        self.pace.ahead_of(other).is_some_and(|ahead| ahead > VirtualSpan::ZERO)
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
                if let Some(slot) = self.take_from(victim, &mut bound, |_, slot| self.threads[slot].may_run_on(thief)) {
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

    /// Takes the first acceptable thread from a queue.
    fn take_from(&self, victim: CpuId, bound: &mut Bound, accepts: impl Fn(&RunQueue, Slot) -> bool) -> Option<Slot> {
        if bound.candidates == 0 {
            bound.given_up = true;
            return None;
        }
        let mut queue = self.lock_of(victim, bound)?;
        // Its clock stands where it was published last.
        queue.bring_up_to_date(&self.threads, self.hal().now());
        let slot = self.first_acceptable(&queue, bound, accepts)?;
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
    /// the load; else one from a queue that falls behind this one, so that threads take turns at what cannot be evened
    /// out. At most one thread. Unlocks the queue if there is something to take.
    pub(super) fn balance<'a>(&'a self, mut queue: Guard<'a, H>) -> Guard<'a, H> {
        if !queue.online || queue.current.is_none() {
            return queue;
        }
        self.correct_pace(&mut queue);
        let mine = Mine { cpu: queue.cpu, weights: queue.mean.weights(), pace: queue.pace() };
        // The grid's count turns the choice round when a level has more than eight queues.
        let round = queue.fires.periodic() as usize;
        if !self.is_worth_balancing(&mine, round) {
            return queue;
        }
        drop(queue);
        let slot = self.take_to_even_out(&mine, round).or_else(|| self.take_to_rotate(&mine, round));
        let (mut queue, _) = self.lock_current();
        if let Some(slot) = slot {
            queue.counters.steals += 1;
            let lag = queue.lag_of_moved(&self.threads[slot], self.config().base_request);
            let from = self.threads[slot].home.read().cpu;
            let _ = queue.enqueue(&self.threads, slot, lag);
            self.note_arrival(&queue, slot, |_| Arrival::Moved { from });
            // It waits among others now, and with other idle CPUs near.
            queue.unannounced += 1;
        }
        queue
    }

    /// Whether a look at what queues publish shows one to take from.
    fn is_worth_balancing(&self, mine: &Mine, round: usize) -> bool {
        self.domains.rings(mine.cpu).iter().any(|ring| {
            let waiting = self.waiting.among(ring);
            self.victims(&waiting, round, |_| ()).iter().any(|victim| {
                let published = self.published(victim);
                published.load() > mine.weights || mine.is_ahead_of(published.pace())
            })
        })
    }

    fn take_to_even_out(&self, mine: &Mine, round: usize) -> Option<Slot> {
        let evens_out = |theirs: &RunQueue, slot: Slot| {
            let entity = &self.threads[slot];
            let weight = u64::from(entity.weight.get().get());
            entity.may_run_on(mine.cpu) && mine.weights + weight < theirs.mean.weights()
        };
        let loads = |victim| core::cmp::Reverse(self.published(victim).load());
        let is_victim = |victim: CpuId| self.published(victim).load() > mine.weights;
        self.take_where(mine, round, loads, is_victim, evens_out)
    }

    fn take_to_rotate(&self, mine: &Mine, round: usize) -> Option<Slot> {
        let base = self.config().base_request;
        let falls_behind = |theirs: &RunQueue, slot: Slot| {
            let entity = &self.threads[slot];
            let behind = mine.pace.ahead_of(theirs.pace());
            entity.may_run_on(mine.cpu)
                && behind.is_some_and(|behind| is_worth_a_move(behind, entity.weight.get(), base))
        };
        // The one that is furthest behind first.
        let behind = |victim| mine.pace.ahead_of(self.published(victim).pace()).map(core::cmp::Reverse);
        let is_victim = |victim: CpuId| mine.is_ahead_of(self.published(victim).pace());
        self.take_where(mine, round, behind, is_victim, falls_behind)
    }

    /// Takes a thread from the first queue that has an acceptable one, level by level, by rank: one with nothing to
    /// take, however near, hides no other one.
    fn take_where<R: Ord>(
        &self,
        mine: &Mine,
        round: usize,
        rank: impl Fn(CpuId) -> R,
        is_victim: impl Fn(CpuId) -> bool,
        accepts: impl Fn(&RunQueue, Slot) -> bool,
    ) -> Option<Slot> {
        let mut bound = Bound::new(0);
        self.domains.rings(mine.cpu).iter().find_map(|ring| {
            let victims = self.victims(&self.waiting.among(ring), round, &rank);
            victims
                .iter()
                .filter(|&victim| is_victim(victim))
                .find_map(|victim| self.take_from(victim, &mut bound, &accepts))
        })
    }

    /// Compares with up to eight busy queues, the nearest ones, and goes on where that says.
    fn correct_pace(&self, queue: &mut Guard<'_, H>) {
        let (cpu, round) = (queue.cpu, queue.fires.periodic() as usize);
        let busy =
            |ring: &CpuSet<WORDS>| ring.intersection(&self.online.among(ring)).difference(&self.idle.among(ring));
        let near = self.domains.rings(cpu).iter().map(busy).find(|busy| !busy.is_empty());
        let members = queue.tree.len() + 1;
        let known = queue.pace();
        let others = near.map(|near| self.victims(&near, round, |_| ()));
        let paces = others.iter().flat_map(|others| others.iter().map(|other| self.published(other).pace()));
        let corrected = corrected(known, members, queue.mean.weights(), paces, self.config().base_request);
        match corrected {
            // Nobody knows more: the common clock begins here.
            Pace::UNKNOWN => {
                let start = Pace::at(queue.mean.virtual_time());
                queue.set_pace(start);
            }
            corrected if corrected != known => queue.set_pace(corrected),
            _ => {}
        }
    }

    /// A CPU leaves: it runs no thread from now on, and those that may run elsewhere are moved, as are its timers. A
    /// thread that may run nowhere else waits for the CPU to join again. Of several calls at once that would take the
    /// last CPUs away, some fail. Any CPU, not in an interrupt.
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
        // Another call may have taken the others away since. Removals have one order, so the last one sees it.
        let Some(heir) = self.online.among(&CpuSet::ALL).lowest() else {
            self.online.insert(self.hal(), cpu);
            return Err(CpuError::LastOnline(cpu));
        };
        self.lock(cpu).online = false;
        self.idle.remove(self.hal(), cpu);
        while let Some(slot) = self.take_movable(cpu) {
            self.place_moved(slot, cpu);
        }
        while self.hand_timers_over(cpu, heir) {}
        for cpu in [cpu, heir] {
            self.request(cpu, Requests::RESCHEDULE);
        }
        Ok(())
    }

    /// Moves some timers of a CPU that leaves; answers whether there are more.
    fn hand_timers_over(&self, from: CpuId, heir: CpuId) -> bool {
        let mut heirs = self.lock(heir);
        let Some(mut theirs) = self.try_lock(from) else {
            drop(heirs);
            relax();
            return true;
        };
        if theirs.online {
            return false; // It has joined again.
        }
        (0..TIMERS_AT_ONCE).all(|_| heirs.timers.adopt_one(&self.timers, &mut theirs.timers))
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
