//! [`TimerQueue`]: the timers of one CPU, and [`Timers`], the memory of all of them.
//!
//! A timer has an absolute deadline and a payload that means something to whoever armed it. It fires on the CPU that
//! armed it, in order of deadline and then of arming. Arming and firing allocate nothing: the memory is reserved when
//! the things that will wait are created. Any CPU may cancel; [`crate::sync::TimerCell`] decides between a fire and a
//! cancel that happen at once.
//!
//! Lock level: a `TimerQueue` is part of the state behind its CPU's queue lock, so a tick needs no lock of its own.

use crate::slab::{Id, InsertError, Slab, Slot};
use crate::sync::{QueueOwned, TimerCell};
use crate::tree::{Block, Links, Nodes, Tree, TreeViolation};
use core::fmt;
use tessera_hal::{CpuId, Instant};

/// What the owner of a timer wants to be told when it fires.
pub type TimerPayload = u64;

/// A timer.
#[derive(Debug, Default)]
pub struct Timer {
    links: Links,
    block: Block<Instant>,
    deadline: QueueOwned<Instant>,
    payload: QueueOwned<TimerPayload>,
    generation: QueueOwned<u32>,
    cell: TimerCell,
}

/// Names one arming of one timer. Stale as soon as it has fired or was cancelled.
pub type TimerId = Id<Timer>;

/// Why a timer could not be armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerError {
    /// All timers that were reserved are in use.
    Exhausted,
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => write!(f, "all reserved timers are armed"),
        }
    }
}

impl core::error::Error for TimerError {}

/// The timers of all CPUs.
pub struct Timers {
    slab: Slab<Timer>,
}

/// A timer that was cancelled and is still linked: to be given to [`TimerQueue::unlink`] of `cpu`.
#[must_use = "a cancelled timer must be unlinked"]
#[derive(Debug)]
pub struct CancelledTimer {
    id: TimerId,
    /// Whose queue it is on.
    pub cpu: CpuId,
}

impl Timers {
    /// At most `limit` timers can be armed at once. Allocates nothing yet.
    pub fn new(limit: u32) -> Self {
        Self { slab: Slab::new(limit) }
    }

    /// Makes room for `count` armed timers in all. May allocate.
    pub fn reserve(&self, count: u32) -> Result<(), InsertError> {
        self.slab.reserve(count)
    }

    /// Cancels the timer, unless it has fired or was cancelled before. It will not fire any more; the caller then
    /// locks the queue of [`CancelledTimer::cpu`] and calls [`TimerQueue::unlink`]. Takes no lock itself.
    pub fn cancel(&self, id: TimerId) -> Option<CancelledTimer> {
        let timer = self.slab.get(id).ok()?;
        timer.cell.claim(id.generation()).map(|cpu| CancelledTimer { id, cpu })
    }

    /// When the timer will fire. Only who holds the lock of its queue.
    pub fn deadline(&self, id: TimerId) -> Option<Instant> {
        self.slab.get(id).ok().map(|timer| timer.deadline.get())
    }

    /// How many timers there are, armed or just being removed. O(n).
    pub fn count(&self) -> usize {
        self.slab.iter().count()
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("count", &self.count()).finish()
    }
}

impl Nodes for Timers {
    type Node = Timer;
    type Key = Instant;
    type Summary = ();

    fn node(&self, slot: Slot) -> &Timer {
        &self.slab[slot]
    }

    fn links(timer: &Timer) -> &Links {
        &timer.links
    }

    fn block(timer: &Timer) -> &Block<Instant> {
        &timer.block
    }

    fn key(timer: &Timer) -> Instant {
        timer.deadline.get()
    }

    fn summary(&self, _: &Timer) {}
}

/// The armed timers of one CPU. See the module.
#[derive(Debug)]
pub struct TimerQueue {
    cpu: CpuId,
    tree: Tree,
}

impl TimerQueue {
    /// The queue of `cpu`, with nothing armed.
    pub const fn new(cpu: CpuId) -> Self {
        Self { cpu, tree: Tree::new() }
    }

    /// Arms a timer. A deadline in the past is due at once.
    pub fn arm(&mut self, timers: &Timers, deadline: Instant, payload: TimerPayload) -> Result<TimerId, TimerError> {
        let set_up = |timer: &Timer, id: TimerId| {
            timer.deadline.set(deadline);
            timer.payload.set(payload);
            timer.generation.set(id.generation());
            timer.cell.arm(id.generation(), self.cpu);
        };
        let id = timers.slab.insert_reserved(set_up).map_err(|_| TimerError::Exhausted)?;
        self.tree.insert(timers, id.slot());
        Ok(id)
    }

    /// The deadline of the next timer. It may have been cancelled a moment ago.
    pub fn next_deadline(&self, timers: &Timers) -> Option<Instant> {
        self.tree.first().map(|slot| timers.slab[slot].deadline.get())
    }

    /// Fires the next timer if it is due at `now`: removes it and answers its payload. `None` once none is due; a
    /// caller with many bounds how often it asks.
    pub fn fire(&mut self, timers: &Timers, now: Instant) -> Option<TimerPayload> {
        loop {
            let slot = self.tree.first()?;
            let timer = &timers.slab[slot];
            if timer.deadline.get() > now {
                return None;
            }
            self.tree.remove(timers, slot);
            let (generation, payload) = (timer.generation.get(), timer.payload.get());
            if timer.cell.claim(generation).is_some() {
                // It was claimed here, so nobody else removes it.
                let _ = timers.slab.remove(Id::from_parts(slot, generation));
                return Some(payload);
            }
            // Cancelled: who did it waits for this lock, and ends its life.
        }
    }

    /// Takes a cancelled timer out and frees it. The timer must be of this queue's CPU.
    pub fn unlink(&mut self, timers: &Timers, cancelled: CancelledTimer) {
        let CancelledTimer { id, cpu } = cancelled;
        debug_assert_eq!(cpu, self.cpu);
        if timers.slab[id.slot()].links.is_linked() {
            self.tree.remove(timers, id.slot());
        }
        let _ = timers.slab.remove(id);
    }

    /// Takes over the earliest timer of a CPU that leaves, with its id and deadline. Answers whether there was one.
    pub fn adopt_one(&mut self, timers: &Timers, from: &mut Self) -> bool {
        let Some(slot) = from.tree.first() else { return false };
        from.tree.remove(timers, slot);
        let timer = &timers.slab[slot];
        if timer.cell.move_to(timer.generation.get(), from.cpu, self.cpu) {
            self.tree.insert(timers, slot);
        }
        true
    }

    /// How many timers are armed here, those included that were cancelled a moment ago.
    pub const fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Whether the queue is in order. O(n).
    pub fn check(&self, timers: &Timers) -> Result<(), TreeViolation> {
        self.tree.check(timers)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn at(nanoseconds: u64) -> Instant {
        Instant::from_nanos(nanoseconds)
    }

    fn both(count: u32) -> (Timers, TimerQueue) {
        let timers = Timers::new(count);
        timers.reserve(count).expect("memory");
        (timers, TimerQueue::new(CpuId::BOOT))
    }

    #[test]
    fn timers_fire_in_order_of_deadline_and_then_of_arming() {
        let (timers, mut queue) = both(10);
        for (deadline, payload) in [(30, 1), (10, 2), (30, 3), (20, 4)] {
            queue.arm(&timers, at(deadline), payload).expect("room");
        }
        assert_eq!(queue.next_deadline(&timers), Some(at(10)));
        assert_eq!(queue.fire(&timers, at(9)), None);
        let fired: Vec<_> = core::iter::from_fn(|| queue.fire(&timers, at(30))).collect();
        assert_eq!(fired, [2, 4, 1, 3]);
        assert_eq!(timers.count(), 0);
    }

    #[test]
    fn a_cancelled_timer_never_fires_even_if_it_is_due_before_it_is_unlinked() {
        let (timers, mut queue) = both(2);
        let id = queue.arm(&timers, at(5), 1).expect("room");
        let cancelled = timers.cancel(id).expect("armed");
        assert!(timers.cancel(id).is_none());
        assert_eq!(queue.fire(&timers, at(10)), None);
        queue.unlink(&timers, cancelled);
        assert_eq!((queue.len(), timers.count()), (0, 0));
    }

    #[test]
    fn a_timer_that_fired_cannot_be_cancelled_and_neither_can_its_successor_through_the_old_id() {
        let (timers, mut queue) = both(1);
        let id = queue.arm(&timers, at(5), 1).expect("room");
        assert_eq!(queue.arm(&timers, at(6), 2), Err(TimerError::Exhausted));
        assert_eq!(queue.fire(&timers, at(5)), Some(1));
        let successor = queue.arm(&timers, at(6), 2).expect("the slot is free");
        assert!(timers.cancel(id).is_none());
        assert_eq!(timers.deadline(successor), Some(at(6)));
        assert_eq!(queue.fire(&timers, at(6)), Some(2));
    }

    #[test]
    fn a_leaving_cpu_hands_its_timers_over_with_their_ids() {
        let (timers, mut queue) = both(4);
        let mut heir = TimerQueue::new(CpuId::new(1));
        let ids: Vec<_> = (1..4).map(|n| queue.arm(&timers, at(n), n).expect("room")).collect();
        let cancelled_before = timers.cancel(ids[0]).expect("armed");
        while heir.adopt_one(&timers, &mut queue) {}
        queue.unlink(&timers, cancelled_before);
        let cancelled_after = timers.cancel(ids[1]).expect("armed");
        assert_eq!(cancelled_after.cpu, CpuId::new(1));
        heir.unlink(&timers, cancelled_after);
        assert_eq!(heir.fire(&timers, at(10)), Some(3));
        assert_eq!((queue.len(), heir.len(), timers.count()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_map_of_deadlines(steps in prop::collection::vec((0..3_u8, 0..50_u64), 1..200)) {
            let (timers, mut queue) = both(64);
            let mut model: BTreeMap<(u64, u64), TimerId> = BTreeMap::new();
            let (mut now, mut payload) = (0, 0);
            for (what, number) in steps {
                match what {
                    0 => {
                        payload += 1;
                        match queue.arm(&timers, at(now + number), payload) {
                            Ok(id) => prop_assert!(model.insert((now + number, payload), id).is_none()),
                            Err(TimerError::Exhausted) => prop_assert_eq!(model.len(), 64),
                        }
                    }
                    1 => {
                        let chosen = model.keys().nth(number as usize % model.len().max(1)).copied();
                        if let Some(id) = chosen.and_then(|key| model.remove(&key)) {
                            let cancelled = timers.cancel(id).expect("armed");
                            queue.unlink(&timers, cancelled);
                        }
                    }
                    _ => {
                        now += number;
                        while let Some(fired) = queue.fire(&timers, at(now)) {
                            let ((deadline, expected), _) = model.pop_first().expect("something is armed");
                            prop_assert!(deadline <= now);
                            prop_assert_eq!(fired, expected);
                        }
                    }
                }
                prop_assert_eq!(queue.check(&timers), Ok(()));
                let next = model.keys().next().map(|&(deadline, _)| at(deadline));
                prop_assert_eq!(queue.next_deadline(&timers), next);
            }
            prop_assert_eq!(timers.count(), model.len());
        }
    }
}
