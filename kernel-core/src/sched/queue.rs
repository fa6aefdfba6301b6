//! The run queue of one CPU: its run tree, its virtual clock, its current thread, its books. Guarded by the queue lock.
//!
//! Members are the queued threads and the current one; the weighted mean of their virtual run times is the queue's
//! virtual time. All functions expect the lock to be held; those that look at the virtual clock expect the running
//! thread to be charged first ([`RunQueue::bring_up_to_date`]).

use super::account::Ledger;
use super::entity::{Entity, increment, raise};
use super::mean::WeightedMean;
use super::next_event::{Fires, Sources};
use super::pace::{Pace, Shift, Standing, lag_after_move};
use super::placement::{EndedDebt, joining_time};
use super::policy::{Claim, Policy};
use super::release::ReleaseQueue;
use super::run_tree::{RunNodes, first_due, stealable};
use super::vtime::{VirtualSpan, VirtualTime, Weight, rescale};
use crate::slab::{Slab, Slot};
use crate::sync::{Blocking, ThreadState};
use crate::timer::TimerQueue;
use crate::tree::Tree;
use tessera_hal::{CpuId, CpuSet, Duration, Instant};

/// What must happen at a queue that somebody has joined or changed.
#[must_use = "a queue that nobody tells goes on with what it does"]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Notice {
    /// Nothing.
    Nothing,
    /// Compute `next_event` again: there is a slice to end now.
    Rearm,
    /// Pick again.
    Reschedule,
}

/// The thread that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Current {
    pub slot: Slot,
    /// When its request is over, unless interrupts eat into it.
    pub slice_end: Instant,
}

/// How a current thread goes back to the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PutBack {
    /// Its slice is over, or it gives up the rest.
    RequestOver,
    /// Somebody else is due first.
    Preempted,
}

/// What is counted for a report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueCounters {
    pub kicks_received: u64,
    pub steals: u64,
    pub switches: u64,
    pub dispatches: u64,
    pub arm_failures: u64,
    pub longest_charge: Duration,
}

/// See the module.
pub(super) struct RunQueue {
    pub cpu: CpuId,
    pub policy: Policy,
    /// Whether this CPU takes part.
    pub online: bool,
    pub tree: Tree,
    /// How many in the tree may be stolen.
    pub stealable: u32,
    pub mean: WeightedMean,
    /// What newcomers begin with.
    pub ended_debt: EndedDebt,
    /// From V to the clock that queues share.
    pub shift: Shift,
    /// When it was last seen to have no members.
    pub empty_at: Option<Instant>,
    pub current: Option<Current>,
    /// Dispatches until it was last asked whether its current thread was alone.
    pub dispatches_before: u64,
    /// Who ran last; a dispatch of another one is a switch.
    pub last_dispatched: Option<Slot>,
    /// Somebody who waits is due before the current thread.
    pub resched: bool,
    /// How many have begun to wait since an idle CPU was last looked for on their behalf.
    pub unannounced: u32,
    /// A search for work gave up at its bound; look again at the next grid point, idle or not.
    pub search_again: bool,
    /// How often in a row it did; the next search begins that much further on.
    pub search_round: u32,
    /// Whether this CPU stands in the idle set, unless somebody has taken it out.
    pub in_idle_set: bool,
    /// Whether this CPU stands in the waiting set.
    pub in_waiting_set: bool,
    /// This CPU is about to decide anyway: it need not be asked to.
    pub deciding: bool,
    pub ledger: Ledger,
    pub timers: TimerQueue,
    pub release: ReleaseQueue,
    /// The points that were armed for.
    pub armed: Sources,
    /// What the clockevent is programmed for.
    pub programmed: Option<Instant>,
    pub fires: Fires,
    pub counters: QueueCounters,
}

impl RunQueue {
    pub(super) fn new(cpu: CpuId, policy: Policy, online: bool) -> Self {
        Self {
            cpu,
            policy,
            online,
            tree: Tree::new(),
            stealable: 0,
            mean: WeightedMean::default(),
            ended_debt: EndedDebt::default(),
            shift: Shift::default(),
            empty_at: None,
            current: None,
            dispatches_before: 0,
            last_dispatched: None,
            resched: false,
            unannounced: 0,
            search_again: false,
            search_round: 0,
            in_idle_set: false,
            in_waiting_set: false,
            deciding: false,
            ledger: Ledger::new(),
            timers: TimerQueue::new(cpu),
            release: ReleaseQueue::new(),
            armed: Sources::NONE,
            programmed: None,
            fires: Fires::new(),
            counters: QueueCounters::default(),
        }
    }

    /// Counts the time up to `now` and charges the current thread, which it answers. One that runs alone begins its
    /// next request when the last one is over, so that a newcomer finds it in a request that is not overdue.
    #[inline(always)]
    pub(super) fn bring_up_to_date<'a, const WORDS: usize>(
        &mut self,
        threads: &'a Slab<Entity<WORDS>>,
        now: Instant,
    ) -> Option<&'a Entity<WORDS>> {
        self.ledger.count(now);
        let service = self.ledger.take_uncharged();
        let current = self.current.as_mut()?;
        let entity = &threads[current.slot];
        if !service.is_zero() {
            let weight = entity.weight.get();
            let span = entity.charge(service, weight);
            self.mean.advance(span, weight);
            if self.counters.longest_charge < service {
                self.counters.longest_charge = service;
            }
        }
        if self.tree.is_empty() && current.slice_end <= now {
            entity.begin_request();
            current.slice_end = now.saturating_add(entity.request.get());
        }
        Some(entity)
    }

    /// The threads as nodes of this queue's tree.
    #[inline(always)]
    pub(super) fn nodes<'a, const WORDS: usize>(&self, threads: &'a Slab<Entity<WORDS>>) -> RunNodes<'a, WORDS> {
        RunNodes::new(threads, self.policy)
    }

    #[inline(always)]
    fn hang<const WORDS: usize>(&mut self, threads: &Slab<Entity<WORDS>>, slot: Slot, entity: &Entity<WORDS>) {
        self.stealable += u32::from(entity.is_stealable.get());
        self.tree.insert_node(&self.nodes(threads), slot, entity);
    }

    #[inline(always)]
    fn take_off<const WORDS: usize>(&mut self, threads: &Slab<Entity<WORDS>>, slot: Slot, entity: &Entity<WORDS>) {
        self.stealable -= u32::from(entity.is_stealable.get());
        self.tree.remove_node(&self.nodes(threads), slot, entity);
    }

    /// How far the first of those who may be stolen is behind V; `None` if nobody may be.
    pub(super) fn lateness<const WORDS: usize>(&self, threads: &Slab<Entity<WORDS>>) -> Option<VirtualSpan> {
        if self.stealable == 0 {
            return None;
        }
        let first = stealable(&self.tree, &self.nodes(threads)).next()?;
        Some(self.lag(threads[first].vruntime.get()))
    }

    /// Lets a queued entity run on other CPUs than before.
    pub(super) fn redirect<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        slot: Slot,
        affinity: &CpuSet<WORDS>,
    ) {
        let entity = &threads[slot];
        self.stealable -= u32::from(entity.is_stealable.get());
        entity.set_affinity(affinity);
        self.stealable += u32::from(entity.is_stealable.get());
        self.tree.refresh(&self.nodes(threads), slot);
    }

    /// What the queue owes a member.
    pub(super) fn lag(&self, vruntime: VirtualTime) -> VirtualSpan {
        self.mean.virtual_time().since(vruntime)
    }

    /// An entity that the caller has claimed becomes a member with this lag, and begins a request.
    pub(super) fn join<const WORDS: usize>(&mut self, entity: &Entity<WORDS>, lag: VirtualSpan) {
        let weight = entity.weight.get();
        let vruntime = joining_time(self.mean.virtual_time(), lag, weight, self.mean.weights());
        entity.vruntime.set(vruntime);
        self.mean.add(vruntime, weight);
        entity.begin_request();
    }

    /// A member stops being one, with its lag stored. Not for one in the tree.
    #[inline]
    fn leave<const WORDS: usize>(&mut self, entity: &Entity<WORDS>) {
        let (vruntime, weight) = (entity.vruntime.get(), entity.weight.get());
        entity.lag.set(self.lag(vruntime));
        entity.place.set(self.shift.pace(vruntime));
        self.mean.remove(vruntime, weight);
        entity.left_at.set(self.mean.virtual_time());
    }

    /// Where the queue is on the clock that all share.
    pub(super) fn pace(&self) -> Pace {
        self.shift.pace(self.mean.virtual_time())
    }

    /// How it compares with other queues.
    pub(super) fn standing(&self) -> Standing {
        let weights = self.mean.weights();
        let members = self.tree.len() as u64 + u64::from(self.current.is_some());
        let average = u16::try_from(weights / members.max(1)).ok().and_then(|average| Weight::new(average).ok());
        Standing { pace: self.pace(), weights, average: average.unwrap_or(Weight::REFERENCE) }
    }

    /// Whether the current thread has had the CPU for itself since this was last asked.
    pub(super) fn was_alone(&mut self) -> bool {
        let dispatches = self.counters.dispatches;
        core::mem::replace(&mut self.dispatches_before, dispatches) == dispatches && self.tree.is_empty()
    }

    /// The queue goes on from `pace` on the clock that all share.
    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.shift = Shift::between(self.mean.virtual_time(), pace);
    }

    /// Before somebody who does not bring a place along joins: one who fills a queue that was empty for longer than
    /// `long` says nothing about where it is.
    pub(super) fn forget_pace_if_empty(&mut self, now: Instant, long: Duration) {
        let was_empty = self.empty_at.is_none_or(|since| now.saturating_duration_since(since) > long);
        if self.mean.weights() == 0 && was_empty {
            self.shift = Shift::default();
        }
    }

    /// The lag that an entity that was on another queue joins with. An empty queue goes on where the entity was.
    pub(super) fn lag_of_moved<const WORDS: usize>(&mut self, entity: &Entity<WORDS>, base: Duration) -> VirtualSpan {
        let (lag, place) = (entity.lag.get(), entity.place.get());
        if self.mean.weights() == 0 {
            self.set_pace(place);
            return VirtualSpan::ZERO;
        }
        lag_after_move(lag, place, entity.weight.get(), &self.standing(), base)
    }

    /// An entity that the caller has claimed joins and waits. Since when is the caller's to set: a move ends no wait.
    pub(super) fn enqueue<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        slot: Slot,
        lag: VirtualSpan,
    ) -> Notice {
        let entity = &threads[slot];
        self.join(entity, lag);
        entity.joined_at_dispatch.set(self.counters.dispatches);
        entity.awaits_first_dispatch.set(true);
        self.hang(threads, slot, entity);
        entity.home.move_to(ThreadState::Queued, self.cpu);
        self.notice(entity.claim(), threads)
    }

    /// What the arrival of a member with this claim means for the current thread.
    fn notice<const WORDS: usize>(&mut self, claim: Claim, threads: &Slab<Entity<WORDS>>) -> Notice {
        let Some(current) = self.current else {
            // One of those who are here will run, the others will wait.
            self.unannounced = self.unannounced.wrapping_add(u32::from(self.tree.len() > 1));
            return Notice::Reschedule;
        };
        let running = threads[current.slot].claim();
        if self.policy.is_due_before(claim, running, |point| self.mean.has_reached(point)) {
            self.resched = true;
            // It or another one will wait; which one, the decision will show.
            self.unannounced = self.unannounced.wrapping_add(1);
            return Notice::Reschedule;
        }
        if self.tree.len() == 1 { Notice::Rearm } else { Notice::Nothing }
    }

    /// A queued entity leaves; the caller owns it then, as `Waking`. It goes on waiting.
    pub(super) fn dequeue<const WORDS: usize>(&mut self, threads: &Slab<Entity<WORDS>>, slot: Slot) {
        self.withdraw(threads, slot, &threads[slot], ThreadState::Waking);
    }

    /// A queued entity leaves, to another state.
    #[inline(always)]
    pub(super) fn withdraw<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        slot: Slot,
        entity: &Entity<WORDS>,
        to: ThreadState,
    ) {
        self.take_off(threads, slot, entity);
        self.leave(entity);
        entity.home.move_to(to, self.cpu);
    }

    /// The current thread, which is `entity`, goes back to the tree.
    #[inline(always)]
    pub(super) fn put_current_back<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        entity: &Entity<WORDS>,
        how: PutBack,
        now: Instant,
    ) {
        let Some(current) = self.current.take() else { return };
        let keeps = how == PutBack::Preempted && self.policy.keeps_request_when_preempted();
        if !keeps || entity.used.get() >= entity.request.get() {
            entity.begin_request();
        }
        entity.waiting_since.set(now);
        self.hang(threads, current.slot, entity);
        entity.home.move_to(ThreadState::Queued, self.cpu);
        if how == PutBack::Preempted {
            increment(&entity.counters.preemptions);
        }
        self.unannounced = self.unannounced.wrapping_add(1);
    }

    /// The current thread leaves the queue; the caller owns it then, as `Waking`.
    pub(super) fn take_current<const WORDS: usize>(&mut self, threads: &Slab<Entity<WORDS>>) -> Option<Slot> {
        let current = self.current.take()?;
        let entity = &threads[current.slot];
        self.leave(entity);
        entity.home.move_to(ThreadState::Waking, self.cpu);
        Some(current.slot)
    }

    /// As `take_current`, for one that ends.
    pub(super) fn end_current<const WORDS: usize>(&mut self, threads: &Slab<Entity<WORDS>>) -> Option<Slot> {
        let slot = self.take_current(threads)?;
        self.keep_debt(&threads[slot]);
        Some(slot)
    }

    /// One that has just left has ended. Alone it owed nobody.
    pub(super) fn keep_debt<const WORDS: usize>(&mut self, entity: &Entity<WORDS>) {
        if self.mean.weights() == 0 {
            self.ended_debt = EndedDebt::default();
        } else {
            self.ended_debt.add(entity.lag.get(), entity.weight.get(), self.mean.virtual_time());
        }
    }

    /// The current thread blocks, unless a wake-up has come already. Once it is blocked any CPU may own it, so all
    /// that concerns it is written before. `publish` makes the clock after it left known to its wakers.
    pub(super) fn block_current<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        publish: impl FnOnce(VirtualTime),
    ) -> Option<Blocking> {
        let entity = &threads[self.current?.slot];
        let (vruntime, weight) = (entity.vruntime.get(), entity.weight.get());
        let mut without = self.mean;
        without.remove(vruntime, weight);
        entity.lag.set(self.lag(vruntime));
        let left_at = without.virtual_time();
        entity.left_at.set(left_at);
        publish(left_at);
        increment(&entity.counters.voluntary_blocks);
        let blocking = entity.home.block();
        match blocking {
            Blocking::Blocked => {
                self.mean = without;
                self.current = None;
            }
            Blocking::TokenConsumed => {
                entity.counters.voluntary_blocks.update(|count| count.wrapping_sub(1));
            }
        }
        Some(blocking)
    }

    /// The entity that is due first becomes current.
    #[inline(always)]
    pub(super) fn dispatch_first<'a, const WORDS: usize>(
        &mut self,
        threads: &'a Slab<Entity<WORDS>>,
        now: Instant,
    ) -> Option<(Slot, &'a Entity<WORDS>)> {
        let (slot, entity) = self.first_due(threads)?;
        self.dispatch(threads, slot, entity, now);
        Some((slot, entity))
    }

    /// The one in the tree that is due first.
    #[inline(always)]
    pub(super) fn first_due<'a, const WORDS: usize>(
        &self,
        threads: &'a Slab<Entity<WORDS>>,
    ) -> Option<(Slot, &'a Entity<WORDS>)> {
        first_due(&self.tree, &self.nodes(threads), &self.mean)
    }

    /// An entity of the tree becomes current.
    #[inline(always)]
    pub(super) fn dispatch<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        slot: Slot,
        entity: &Entity<WORDS>,
        now: Instant,
    ) {
        self.take_off(threads, slot, entity);
        end_wait(entity, now);
        let slice_end = now.saturating_add(entity.rest_of_request());
        self.make_current(slot, entity, slice_end);
    }

    /// A member that is not in the tree becomes current, until `slice_end`.
    #[inline(always)]
    pub(super) fn make_current<const WORDS: usize>(&mut self, slot: Slot, entity: &Entity<WORDS>, slice_end: Instant) {
        entity.home.move_to(ThreadState::Current, self.cpu);
        self.current = Some(Current { slot, slice_end });
        self.resched = false;
        self.count_dispatch(entity);
        if !slot.is(self.last_dispatched) {
            self.last_dispatched = Some(slot);
            self.counters.switches += 1;
        }
    }

    #[inline(always)]
    fn count_dispatch<const WORDS: usize>(&mut self, entity: &Entity<WORDS>) {
        let counters = &entity.counters;
        if entity.ran_on.get() != self.cpu {
            entity.ran_on.set(self.cpu);
            if counters.dispatches.get() != 0 {
                increment(&counters.migrations);
            }
        }
        if !entity.may_run_on(self.cpu) {
            increment(&counters.dispatches_outside);
        }
        increment(&counters.dispatches);
        if entity.awaits_first_dispatch.get() {
            entity.awaits_first_dispatch.set(false);
            let passed_by = self.counters.dispatches.wrapping_sub(entity.joined_at_dispatch.get());
            counters.most_passed_by.update(|most| most.max(passed_by));
        }
        self.counters.dispatches = self.counters.dispatches.wrapping_add(1);
    }

    /// Whether the current thread, which is `entity`, must make room, and how.
    pub(super) fn must_put_back<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        entity: &Entity<WORDS>,
        current: Current,
        now: Instant,
    ) -> Option<PutBack> {
        if self.tree.is_empty() {
            self.resched = false;
            None
        } else if current.slice_end <= now {
            Some(PutBack::RequestOver)
        } else if core::mem::take(&mut self.resched) && self.is_challenged(threads, entity) {
            Some(PutBack::Preempted)
        } else {
            None
        }
    }

    /// Whether somebody due before the current thread has come since the last decision.
    pub(super) fn is_due_to_be_preempted<const WORDS: usize>(&self, threads: &Slab<Entity<WORDS>>) -> bool {
        self.resched && self.current.is_some_and(|current| self.is_challenged(threads, &threads[current.slot]))
    }

    /// Whether the first of those who wait is due before the current thread.
    fn is_challenged<const WORDS: usize>(&self, threads: &Slab<Entity<WORDS>>, current: &Entity<WORDS>) -> bool {
        let running = current.claim();
        self.first_due(threads).is_some_and(|(_, first)| {
            self.policy.is_due_before(first.claim(), running, |point| self.mean.has_reached(point))
        })
    }

    /// Changes a member's weight or request: its lag in service units stays, its place is computed anew at once.
    #[inline(always)]
    pub(super) fn change_member<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        slot: Slot,
        entity: &Entity<WORDS>,
        now: Instant,
        change: impl FnOnce(&Entity<WORDS>),
    ) -> Notice {
        let old = entity.weight.get();
        change(entity);
        let weight = entity.weight.get();
        if weight != old {
            self.weigh_again(entity, old, weight);
        }
        entity.key_by_rest_of_request();
        if self.current.is_some_and(|current| current.slot == slot) {
            self.rekey_current(threads, entity, now)
        } else {
            self.tree.rekey(&self.nodes(threads), slot, entity);
            self.notice(entity.claim(), threads).max(Notice::Rearm)
        }
    }

    /// The weight of a member was `old` and is `weight`. What it is owed as service, `lag * weight`, is what the others had too much;
    /// as that stays, V stays too.
    #[inline(always)]
    fn weigh_again<const WORDS: usize>(&mut self, entity: &Entity<WORDS>, old: Weight, weight: Weight) {
        let vruntime = entity.vruntime.get();
        let virtual_time = self.mean.virtual_time();
        let weighed_again = virtual_time.wrapping_sub(rescale(virtual_time.since(vruntime), old, weight));
        entity.vruntime.set(weighed_again);
        entity.fraction.update(|fraction| fraction.rescale(old, weight));
        self.mean.replace((vruntime, old), (weighed_again, weight));
    }

    fn rekey_current<const WORDS: usize>(
        &mut self,
        threads: &Slab<Entity<WORDS>>,
        entity: &Entity<WORDS>,
        now: Instant,
    ) -> Notice {
        let Some(current) = &mut self.current else { return Notice::Nothing };
        current.slice_end = now.saturating_add(entity.rest_of_request());
        if self.is_challenged(threads, entity) {
            self.resched = true;
            return Notice::Reschedule;
        }
        Notice::Rearm
    }
}

fn end_wait<const WORDS: usize>(entity: &Entity<WORDS>, now: Instant) {
    let waited = now.saturating_duration_since(entity.waiting_since.get());
    entity.counters.runnable.update(|runnable| runnable.wrapping_add(waited));
    raise(&entity.counters.longest_wait, waited);
}
