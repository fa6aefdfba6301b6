//! Balance: a busy CPU's job at each of its grid points. It evens out load, and where that is not possible it sees to
//! it that threads take turns.
//!
//! Three rules, tried in this order, and at most one thread moves. The first evens weights out. The second is about
//! *pace* (see [`super::pace`]): a queue that is behind gives a thread to one that is ahead. The third is for masks: who
//! could run on an idle CPU makes room for somebody who could not.

use super::dispatcher::{Dispatcher, Next};
use super::entity::ThreadId;
use super::pace::{FORGIVEN_AFTER, Pace, Standing, forgiven, is_worth_a_move, mean};
use super::queue::RunQueue;
use super::record::Arrival;
use super::search::Bound;
use super::vtime::{VirtualSpan, Weight, request_span};
use crate::slab::Slot;
use crate::sync::SpinGuard;
use tessera_hal::{CpuId, CpuSet, Requests, SchedHal};

type Guard<'a, H> = SpinGuard<'a, RunQueue, H>;

/// Why a CPU balances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Occasion {
    /// A point of its grid has come.
    Grid,
    /// Another CPU has taken a thread from it and has one for it now.
    Asked,
}

/// A thread that was taken from another CPU's queue.
pub(super) struct Moved {
    thread: ThreadId,
    from: CpuId,
    /// The weight of the thread that ran where it came to.
    displaces: u64,
}

/// The CPU that balances, as it was when it looked.
struct Mine {
    cpu: CpuId,
    standing: Standing,
    /// Its current thread runs alone and could do so on an idle CPU.
    can_make_room: bool,
}

impl Mine {
    fn is_ahead_of(&self, other: Pace) -> bool {
        self.standing.pace.ahead_of(other).is_some_and(|ahead| ahead > VirtualSpan::ZERO)
    }
}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Takes at most one thread from another queue, which the answer names. Unlocks the queue if there is something to
    /// take.
    pub(super) fn balance<'a>(&'a self, mut queue: Guard<'a, H>, occasion: Occasion) -> (Guard<'a, H>, Option<Moved>) {
        let Some(current) = queue.current.filter(|_| queue.online) else { return (queue, None) };
        let affinity = self.threads[current.slot].affinity();
        let displaces = u64::from(self.threads[current.slot].weight.get().get());
        if occasion == Occasion::Grid {
            self.keep_pace(&mut queue, &affinity);
        }
        let can_make_room = queue.tree.is_empty() && !self.idle.among(&affinity).is_empty();
        let mine = Mine { cpu: queue.cpu, standing: queue.standing(), can_make_room };
        // The grid's count turns the choice round when a level has more than eight queues.
        let round = queue.fires.periodic() as usize;
        if !self.is_worth_balancing(&mine, round) {
            return (queue, None);
        }
        drop(queue);
        let slot = match occasion {
            Occasion::Asked => self.take_to_even_out(&mine, round),
            Occasion::Grid => self
                .take_to_even_out(&mine, round)
                .or_else(|| self.take_to_rotate(&mine, round))
                .or_else(|| self.take_into_room(&mine, round)),
        };
        let (mut queue, _) = self.lock_current();
        let Some(slot) = slot else { return (queue, None) };
        queue.counters.steals += 1;
        let lag = queue.lag_of_moved(&self.threads[slot], self.config().base_request);
        let from = self.threads[slot].home.read().cpu;
        let _ = queue.enqueue(&self.threads, slot, lag);
        self.note_arrival(&queue, slot, |_| Arrival::Moved { from });
        // It waits among others now, and with other idle CPUs near.
        queue.unannounced += 1;
        (queue, Some(Moved { thread: self.id(slot), from, displaces }))
    }

    /// After the decision that followed: if the one who was moved runs, another one waits in its place. If that one would
    /// even out the load where the first one came from, that CPU looks at once: what a light thread would have for itself
    /// there until the next grid point is far more than its share.
    pub(super) fn exchange(&self, here: CpuId, next: Next, moved: &Moved) {
        let evens_out = || self.published(moved.from).load() + moved.displaces < self.published(here).load();
        if next == Next::Run(moved.thread) && evens_out() {
            self.request(moved.from, Requests::BALANCE);
        }
    }

    /// Whether a look at what queues publish shows one to take from.
    fn is_worth_balancing(&self, mine: &Mine, round: usize) -> bool {
        self.domains.rings(mine.cpu).iter().any(|ring| {
            let waiting = self.waiting.among(ring);
            self.victims(&waiting, round, |_| ()).iter().any(|victim| {
                let published = self.published(victim);
                mine.can_make_room || published.load() > mine.standing.weights || mine.is_ahead_of(published.pace())
            })
        })
    }

    /// From the most loaded queue first.
    fn take_to_even_out(&self, mine: &Mine, round: usize) -> Option<Slot> {
        let evens_out = |theirs: &RunQueue, slot: Slot| {
            let entity = &self.threads[slot];
            let weight = u64::from(entity.weight.get().get());
            entity.may_run_on(mine.cpu) && mine.standing.weights + weight < theirs.mean.weights()
        };
        let loads = |victim| core::cmp::Reverse(self.published(victim).load());
        let is_victim = |victim: CpuId| self.published(victim).load() > mine.standing.weights;
        self.take_where(mine, round, loads, is_victim, evens_out, |_, _| ())
    }

    /// From the queue that is furthest behind first.
    fn take_to_rotate(&self, mine: &Mine, round: usize) -> Option<Slot> {
        let (pace, base) = (mine.standing.pace, self.config().base_request);
        let falls_behind = |theirs: &RunQueue, slot: Slot| {
            let entity = &self.threads[slot];
            let behind = pace.ahead_of(theirs.pace());
            entity.may_run_on(mine.cpu)
                && behind.is_some_and(|behind| is_worth_a_move(behind, entity.weight.get(), base))
        };
        let behind = |victim| pace.ahead_of(self.published(victim).pace()).map(core::cmp::Reverse);
        let is_victim = |victim: CpuId| mine.is_ahead_of(self.published(victim).pace());
        let forgive = |theirs: &mut RunQueue, slot: Slot| {
            let lighter = self.threads[slot].weight.get().min(theirs.standing().average).min(mine.standing.average);
            theirs.set_pace(forgiven(theirs.pace(), pace, self.largest_difference(lighter)));
        };
        self.take_where(mine, round, behind, is_victim, falls_behind, forgive)
    }

    /// From any queue. Whoever waits there may not run on the idle CPU, or it would have been summoned for them.
    fn take_into_room(&self, mine: &Mine, round: usize) -> Option<Slot> {
        let may_come = |_: &RunQueue, slot: Slot| self.threads[slot].may_run_on(mine.cpu);
        self.take_where(mine, round, |_| (), |_| mine.can_make_room, may_come, |_, _| ())
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
        before: impl Fn(&mut RunQueue, Slot),
    ) -> Option<Slot> {
        let mut bound = Bound::new(0);
        self.domains.rings(mine.cpu).iter().find_map(|ring| {
            let victims = self.victims(&self.waiting.among(ring), round, &rank);
            victims
                .iter()
                .filter(|&victim| is_victim(victim))
                .find_map(|victim| self.take_from(victim, &mut bound, &accepts, &before))
        })
    }

    /// Sees to it that the queue's pace says something, compared with up to eight busy queues, the nearest ones where the
    /// current thread may run. A queue that has only just been filled begins with their mean. A thread that had its CPU
    /// for itself is behind because it cannot have more than that: beyond a bound that is no claim.
    fn keep_pace(&self, queue: &mut Guard<'_, H>, affinity: &CpuSet<WORDS>) {
        let was_alone = queue.was_alone();
        let pace = queue.pace();
        if pace != Pace::UNKNOWN && !was_alone {
            return;
        }
        let (cpu, round) = (queue.cpu, queue.fires.periodic() as usize);
        let online = self.online.among(affinity);
        let busy = |ring: &CpuSet<WORDS>| ring.intersection(&online).difference(&self.idle.among(ring));
        let near = self.domains.rings(cpu).iter().map(busy).find(|busy| !busy.is_empty());
        let others = near.map(|near| self.victims(&near, round, |_| ()));
        let others = mean(others.iter().flat_map(|others| others.iter().map(|other| self.published(other).pace())));
        let corrected = match (pace, others) {
            // Nobody knows more: the common clock begins here.
            (Pace::UNKNOWN, Pace::UNKNOWN) => Pace::at(queue.mean.virtual_time()),
            (Pace::UNKNOWN, others) => others,
            (pace, others) => forgiven(pace, others, self.largest_difference(queue.standing().average)),
        };
        queue.set_pace(corrected);
    }

    /// The difference between queues beyond which it is forgotten.
    fn largest_difference(&self, lighter: Weight) -> VirtualSpan {
        request_span(self.config().base_request.saturating_mul(FORGIVEN_AFTER), lighter)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
