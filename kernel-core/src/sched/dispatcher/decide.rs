//! The decisions that a CPU makes for itself. All end in `settle`, which finds the next thread, publishes what others
//! may read and programs the clockevent.

use super::super::balance::Occasion;
use super::super::entity::ThreadId;
use super::super::next_event::Reasons;
use super::super::queue::{Notice, PutBack};
use super::super::record::Arrival;
use super::super::run_tree::stealable;
use super::super::search::{CANDIDATES, Search};
use super::{Dispatcher, Guard, Next};
use crate::slab::Slot;
use crate::sync::{Blocking, ThreadState, WakeClaim};
use crate::timer::TimerPayload;
use tessera_hal::{CpuId, CpuSet, Instant, Probe, Requests, SchedHal};

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// The first decision of this CPU. Its time is counted from here on.
    pub fn begin(&self) -> Next {
        let mut queue = self.lock(self.hal.this_cpu());
        let now = self.hal.now();
        queue.ledger.open(now);
        self.settle(queue, now)
    }

    /// The current thread blocks. If a wake-up has come since it last blocked, that is used up instead and the thread
    /// goes on.
    pub fn block_current(&self) -> Next {
        let (mut queue, now) = self.lock_current();
        if self.drop_if_exiting(&mut queue) {
            return self.settle(queue, now);
        }
        match self.block_in(&mut queue) {
            Some(Blocking::TokenConsumed) => self.conclude(queue, now),
            _ => self.settle(queue, now),
        }
    }

    /// The current thread gives up the rest of its slice to the one that is due next, if anybody waits: that one runs
    /// even if the current thread, asked again, would be due before it.
    pub fn yield_current(&self) -> Next {
        let (mut queue, now) = self.lock_current();
        let current = queue.current.map(|current| &self.threads[current.slot]).filter(|entity| {
            entity.home.read().state == ThreadState::Current && entity.may_run_on(queue.cpu) && queue.online
        });
        if let Some(current) = current {
            let next = queue.first_due(&self.threads);
            queue.put_current_back(&self.threads, current, PutBack::RequestOver, now);
            if let Some((slot, entity)) = next {
                queue.dispatch(&self.threads, slot, entity, now);
            }
        }
        self.conclude(queue, now)
    }

    /// The current thread ends. Its id is stale at once.
    pub fn exit_current(&self) -> Next {
        let (mut queue, now) = self.lock_current();
        if let Some(slot) = queue.end_current(&self.threads) {
            self.free(slot);
        }
        self.settle(queue, now)
    }

    /// The current thread blocks, and `receiver` gets the rest of its slice, if it is blocked and may run here. This is
    /// a preference: otherwise the receiver is woken as usual. If a wake-up has come for the current thread, it goes on.
    pub fn handoff_to(&self, receiver: ThreadId) -> Next {
        let claimed = self.threads.get(receiver.entity()).and_then(|entity| {
            let claim = entity.home.claim_wake(receiver.entity::<WORDS>().generation())?;
            Ok((receiver.entity::<WORDS>().slot(), claim))
        });
        let Ok((slot, WakeClaim::Claimed { last_cpu })) = claimed else { return self.block_current() };
        let cpu = self.hal.this_cpu();
        if !self.threads[slot].may_run_on(cpu) || !self.online.contains(cpu) {
            self.place_woken(slot, last_cpu);
            return self.block_current();
        }
        self.hand_over(slot, last_cpu)
    }

    /// As `handoff_to`, with the receiver claimed and permitted here.
    fn hand_over(&self, receiver: Slot, last_cpu: CpuId) -> Next {
        let (mut queue, now) = self.lock_current();
        // Somebody who is due before the current thread, and for whom it has not made room yet, goes first.
        let rest =
            queue.current.map(|current| current.slice_end).filter(|_| !queue.is_due_to_be_preempted(&self.threads));
        let exited = self.drop_if_exiting(&mut queue);
        let blocked = !exited && self.block_in(&mut queue) == Some(Blocking::Blocked);
        let lag = self.lag_of_woken(&queue, receiver, last_cpu);
        match rest {
            Some(slice_end) if blocked && slice_end > now => {
                let entity = &self.threads[receiver];
                queue.join(entity, lag);
                entity.use_all_but(slice_end.saturating_duration_since(now));
                entity.home.move_to(ThreadState::Handoff, queue.cpu);
                queue.make_current(receiver, entity, slice_end);
                self.note_arrival(&queue, receiver, self.waking());
            }
            _ => {
                self.threads[receiver].waiting_since.set(now);
                let notice = queue.enqueue(&self.threads, receiver, lag);
                self.note_arrival(&queue, receiver, self.waking());
                queue.unannounced += u32::from(notice != Notice::Reschedule);
            }
        }
        self.conclude(queue, now)
    }

    /// Serves what this CPU was asked for, or a fire of its clockevent ([`Requests::TIMER`]): charges, gives the payload
    /// of each timer that is due to `expired` (which may wake threads), does the grid's jobs, and decides.
    pub fn serve(&self, requests: Requests, expired: &mut dyn FnMut(TimerPayload)) -> Next {
        let (mut queue, now) = self.lock_current();
        if !requests.difference(Requests::TIMER).is_empty() {
            queue.counters.kicks_received += 1;
        }
        let mut reasons = Reasons::empty();
        if requests.contains(Requests::TIMER) {
            reasons = queue.armed.due(now);
            queue.fires.count(reasons);
            queue.programmed = None;
        }
        queue = self.fire_timers(queue, now, expired);
        let mut moved = None;
        if reasons.contains(Reasons::GRID) {
            queue.armed.grid = None;
            queue.search_again = false;
            (queue, moved) = self.balance(queue, Occasion::Grid);
        } else if requests.contains(Requests::BALANCE) {
            (queue, moved) = self.balance(queue, Occasion::Asked);
        }
        // The queue was unlocked in between, and what was called took its time.
        let now = self.hal.now();
        queue.bring_up_to_date(&self.threads, now);
        let cpu = queue.cpu;
        let next = self.conclude(queue, now);
        if let Some(moved) = moved {
            self.exchange(cpu, next, &moved);
        }
        next
    }

    /// Decides again, after something was queued here or an attribute of the current thread has changed.
    pub fn reconsider(&self) -> Next {
        let (queue, now) = self.lock_current();
        self.conclude(queue, now)
    }

    /// This CPU's time is interrupt time from here on.
    pub fn interrupt_entered(&self) {
        self.set_in_interrupt(true);
    }

    /// This CPU's time belongs to its current thread again, or to nobody.
    pub fn interrupt_left(&self) {
        self.set_in_interrupt(false);
    }

    fn set_in_interrupt(&self, in_interrupt: bool) {
        let mut queue = self.lock(self.hal.this_cpu());
        queue.ledger.count(self.hal.now());
        queue.ledger.set_in_interrupt(in_interrupt);
        self.note_doing(&queue);
    }

    /// Locks this CPU's queue with its current thread charged up to the time in the answer.
    pub(in super::super) fn lock_current(&self) -> (Guard<'_, H>, Instant) {
        let mut queue = self.lock(self.hal.this_cpu());
        let now = self.hal.now();
        queue.bring_up_to_date(&self.threads, now);
        (queue, now)
    }

    fn block_in(&self, queue: &mut Guard<'_, H>) -> Option<Blocking> {
        let published = self.published(queue.cpu);
        let hal = &self.hal;
        let cpu = queue.cpu;
        let thread = self.may_block(queue);
        let blocking = queue.block_current(&self.threads, |virtual_time| {
            hal.probe(Probe::SharedWrite { owner: Some(cpu) });
            published.publish_virtual_time(virtual_time);
        });
        if blocking == Some(Blocking::Blocked) {
            self.note_blocked(queue, thread);
        }
        blocking
    }

    /// Takes the current thread off if another CPU has ended it.
    fn drop_if_exiting(&self, queue: &mut Guard<'_, H>) -> bool {
        let exiting = queue
            .current
            .filter(|current| self.threads[current.slot].home.read().state == ThreadState::Exiting)
            .and_then(|_| queue.end_current(&self.threads));
        if let Some(slot) = exiting {
            self.free(slot);
        }
        exiting.is_some()
    }

    /// Ends a thread that this CPU owns and that is on no queue.
    pub(super) fn free(&self, slot: Slot) {
        let entity = &self.threads[slot];
        let id = entity.id(slot);
        self.note_end(ThreadId::of(id));
        entity.home.retire();
        if self.threads.remove(id).is_ok() {
            self.live_threads.fetch_sub(1, crate::sync::shim::Ordering::Relaxed);
        }
    }

    /// Takes the current thread off if it must not run here any more, or not now; then settles.
    fn conclude<'a>(&'a self, mut queue: Guard<'a, H>, mut now: Instant) -> Next {
        self.drop_if_exiting(&mut queue);
        if let Some(current) = queue.current {
            let entity = &self.threads[current.slot];
            if !queue.online || !entity.may_run_on(queue.cpu) {
                (queue, now) = self.send_current_away(queue, now);
            } else if let Some(how) = queue.must_put_back(&self.threads, entity, current, now) {
                queue.put_current_back(&self.threads, entity, how, now);
            }
        }
        self.settle(queue, now)
    }

    /// Moves the current thread to a CPU where it may run. The queue is unlocked meanwhile.
    fn send_current_away<'a>(&'a self, mut queue: Guard<'a, H>, now: Instant) -> (Guard<'a, H>, Instant) {
        let cpu = queue.cpu;
        let moving = queue.take_current(&self.threads);
        if let Some(slot) = moving {
            self.threads[slot].waiting_since.set(now);
        }
        queue.ledger.switch_to_thread(false);
        self.note_doing(&queue);
        self.publish(&mut queue);
        drop(queue);
        if let Some(slot) = moving {
            self.place_moved(slot, cpu);
        }
        self.lock_current()
    }

    /// Finds the next thread, here or elsewhere. The caller has put the current one where it belongs.
    fn settle<'a>(&'a self, mut queue: Guard<'a, H>, mut now: Instant) -> Next {
        let cpu = queue.cpu;
        loop {
            if queue.current.is_none() && queue.online {
                queue.dispatch_first(&self.threads, now);
            }
            if let Some(current) = queue.current {
                return self.run(queue, now, current.slot);
            }
            queue = match self.look_for_work(queue, now) {
                Some(found) => found,
                None => return Next::Idle,
            };
            now = self.hal.now();
            queue.bring_up_to_date(&self.threads, now);
            debug_assert_eq!(queue.cpu, cpu);
        }
    }

    fn run<'a>(&'a self, mut queue: Guard<'a, H>, now: Instant, slot: Slot) -> Next {
        queue.ledger.switch_to_thread(true);
        self.note_doing(&queue);
        queue.search_round = 0;
        queue.search_again = false;
        let cpu = queue.cpu;
        if core::mem::take(&mut queue.in_idle_set) {
            self.idle.remove(&self.hal, cpu);
        }
        self.publish(&mut queue);
        self.reprogram(&mut queue, now);
        queue.unannounced = queue.unannounced.saturating_add(self.published(cpu).take_turned_away());
        if queue.unannounced != 0 {
            self.announce_waiters(&mut queue);
        }
        drop(queue);
        // Also when it was not idle: whoever summons a CPU takes it out of the idle set first, so a summons may come
        // after the CPU has found other work.
        self.pass_summons_on(cpu);
        Next::Run(self.id(slot))
    }

    /// A CPU that was summoned for one thread may have come by another: whoever still waits for an idle CPU gets the
    /// next one.
    fn pass_summons_on(&self, cpu: CpuId) {
        if self.published(cpu).take_summons() && !self.idle.among(&CpuSet::ALL).is_empty() {
            self.summon_for_waiters(cpu);
        }
    }

    /// Some have begun to wait here, or some came for one in vain: kicks as many idle CPUs that may come for one, if there
    /// are any.
    fn announce_waiters(&self, queue: &mut Guard<'_, H>) {
        let waiters = core::mem::take(&mut queue.unannounced).min(queue.tree.len() as u32);
        if waiters == 0 || self.idle.among(&CpuSet::ALL).is_empty() {
            return;
        }
        let nodes = queue.nodes(&self.threads);
        let candidates = stealable(&queue.tree, &nodes).take(CANDIDATES);
        let summoned = candidates.filter(|&slot| self.kick_idle(&self.threads[slot].affinity(), queue.cpu));
        summoned.take(waiters as usize).for_each(drop);
    }

    /// This CPU has nothing: it says so, then looks at the others. Answers its queue, locked, if it should pick again.
    fn look_for_work<'a>(&'a self, mut queue: Guard<'a, H>, now: Instant) -> Option<Guard<'a, H>> {
        let cpu = queue.cpu;
        queue.ledger.switch_to_thread(false);
        self.note_doing(&queue);
        self.publish(&mut queue);
        queue.empty_at = Some(now);
        let round = queue.search_round;
        if queue.online {
            queue.in_idle_set = true;
            self.idle.insert(&self.hal, cpu);
        }
        self.reprogram(&mut queue, now);
        let online = queue.online;
        drop(queue);
        if !online {
            self.pass_summons_on(cpu);
            return None;
        }
        // This search answers the summons, unless it finds another thread than the one it was for.
        let summoned = self.published(cpu).take_summons();
        let search = self.search(cpu, if summoned { 0 } else { round });
        if summoned && matches!(search, Search::Found(_)) {
            self.published(cpu).summon();
        }
        match search {
            Search::Found(slot) => self.bring_home(slot, cpu),
            Search::Nothing => None,
            Search::GivenUp { next_round } => {
                let mut queue = self.lock(cpu);
                queue.search_again = true;
                queue.search_round = next_round;
                self.reprogram(&mut queue, self.hal.now());
                None
            }
        }
    }

    /// Puts a stolen thread on this CPU's queue.
    fn bring_home(&self, slot: Slot, cpu: CpuId) -> Option<Guard<'_, H>> {
        let (mut queue, _) = self.lock_current();
        if !queue.online {
            drop(queue);
            self.place_moved(slot, cpu);
            return None;
        }
        queue.counters.steals += 1;
        let lag = queue.lag_of_moved(&self.threads[slot], self.config.base_request);
        let from = self.threads[slot].home.read().cpu;
        let _ = queue.enqueue(&self.threads, slot, lag);
        self.note_arrival(&queue, slot, |_| Arrival::Moved { from });
        Some(queue)
    }
}
