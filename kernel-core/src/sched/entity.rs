//! What the scheduler knows of a thread.
//!
//! The home word says in which state the thread is and who owns the other fields: whoever holds the queue lock of its
//! CPU, or has claimed it (see [`crate::sync::home_word`]). All other fields are [`QueueOwned`]. A slot is set up from
//! defaults each time that it is reused, so nothing of an earlier thread is left.

use super::pace::Pace;
use super::placement::lag_after_sleep;
use super::policy::Claim;
use super::run_tree::RunBlock;
use super::vtime::{Fraction, VirtualSpan, VirtualTime, Weight, request_span, rescale, scale};
use crate::slab::{Id, Slot};
use crate::sync::shim::{AtomicU64, Ordering};
use crate::sync::{HomeWord, Pack, QueueOwned};
use crate::tree::Links;
use core::fmt;
use tessera_abi::scheduling::LatencyClass;
use tessera_hal::{CpuId, CpuSet, Duration, Instant};

/// The identity of a thread: a slot and the generation that lives there. Stale, never wrong, once the thread is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId {
    slot: Slot,
    generation: u32,
}

impl ThreadId {
    /// As one number, for programs and reports.
    pub const fn as_u64(self) -> u64 {
        self.entity::<1>().as_u64()
    }

    /// Back from one number. Any number is an id; one that was made up is stale, and all that are beyond what a
    /// dispatcher can hold are one.
    pub const fn from_u64(number: u64) -> Self {
        Self::of(Id::<Entity<1>>::from_u64(number))
    }

    pub(super) const fn of<const WORDS: usize>(id: Id<Entity<WORDS>>) -> Self {
        Self { slot: id.slot(), generation: id.generation() }
    }

    pub(super) const fn entity<const WORDS: usize>(self) -> Id<Entity<WORDS>> {
        Id::from_parts(self.slot, self.generation)
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entity::<1>().fmt(f)
    }
}

impl fmt::Debug for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadId({self})")
    }
}

/// How a thread wants to be scheduled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes<const WORDS: usize = 8> {
    /// Its share.
    pub weight: Weight,
    /// What it wants of its latency.
    pub class: LatencyClass,
    /// How long it wants to run at a time; `None`: what its class gets.
    pub request: Option<Duration>,
    /// Where it may run.
    pub affinity: CpuSet<WORDS>,
}

impl<const WORDS: usize> Default for Attributes<WORDS> {
    fn default() -> Self {
        Self { weight: Weight::DEFAULT, class: LatencyClass::Normal, request: None, affinity: CpuSet::ALL }
    }
}

impl Pack for LatencyClass {
    type Bits = u8;
    fn pack(self) -> u8 {
        self as u8
    }
    fn unpack(bits: u8) -> Self {
        Self::from_ordinal(u16::from(bits)).unwrap_or_default()
    }
}

/// What is counted for a report.
#[derive(Default)]
pub(super) struct Counters {
    /// Real time as current, without interrupts.
    pub runtime: QueueOwned<Duration>,
    /// The same, scaled by weight, in reference-weight nanoseconds.
    pub virtual_runtime: QueueOwned<u64>,
    /// Time that it waited in a run tree.
    pub runnable: QueueOwned<Duration>,
    pub longest_wait: QueueOwned<Duration>,
    /// The most dispatches of others that went before its own after a wake-up, a start or a move.
    pub most_passed_by: QueueOwned<u64>,
    pub longest_charge: QueueOwned<Duration>,
    pub dispatches: QueueOwned<u64>,
    pub dispatches_outside: QueueOwned<u64>,
    pub preemptions: QueueOwned<u64>,
    pub voluntary_blocks: QueueOwned<u64>,
    pub migrations: QueueOwned<u64>,
}

impl Counters {
    fn reset(&self) {
        for duration in [&self.runtime, &self.runnable, &self.longest_wait, &self.longest_charge] {
            duration.set(Duration::ZERO);
        }
        for count in [
            &self.virtual_runtime,
            &self.most_passed_by,
            &self.dispatches,
            &self.dispatches_outside,
            &self.preemptions,
            &self.voluntary_blocks,
            &self.migrations,
        ] {
            count.set(0);
        }
    }
}

/// Keeps the longest; writes only if it is another one.
#[inline(always)]
pub(super) fn raise(longest: &QueueOwned<Duration>, duration: Duration) {
    if longest.get() < duration {
        longest.set(duration);
    }
}

/// Adds one.
pub(super) fn increment(counter: &QueueOwned<u64>) {
    counter.update(|count| count.wrapping_add(1));
}

/// A thread, as the scheduler sees it.
///
/// In this order, in which a thread is picked, put back, taken off and changed within two cache lines of its own, and
/// shares none with a neighbour.
#[repr(C, align(64))]
pub struct Entity<const WORDS: usize> {
    /// Belongs to whoever it is lent to.
    pub(super) block: RunBlock,

    pub(super) home: HomeWord,
    pub(super) links: Links,
    pub(super) weight: QueueOwned<Weight>,
    pub(super) fraction: QueueOwned<Fraction>,
    /// Whether more than one CPU is permitted.
    pub(super) is_stealable: QueueOwned<bool>,
    pub(super) awaits_first_dispatch: QueueOwned<bool>,
    pub(super) class: QueueOwned<LatencyClass>,
    has_own_request: QueueOwned<bool>,
    /// Its place on the clock of the queue that it is a member of.
    pub(super) vruntime: QueueOwned<VirtualTime>,
    pub(super) virtual_deadline: QueueOwned<VirtualTime>,
    /// What the whole request is worth at its weight.
    request_span: QueueOwned<VirtualSpan>,
    /// What it had of its present request.
    pub(super) used: QueueOwned<Duration>,
    /// How long it wants to run at a time; its own wish, or what its class gets.
    pub(super) request: QueueOwned<Duration>,

    /// While a member of no queue: what the left queue owed it, and when on that queue's clock.
    pub(super) lag: QueueOwned<VirtualSpan>,
    pub(super) left_at: QueueOwned<VirtualTime>,
    /// While it moves: where it was on the clock that queues share.
    pub(super) place: QueueOwned<Pace>,
    pub(super) waiting_since: QueueOwned<Instant>,
    /// Its queue's dispatches when it joined, until its first dispatch there.
    pub(super) joined_at_dispatch: QueueOwned<u64>,
    /// Where it was dispatched last; says nothing before the first dispatch.
    pub(super) ran_on: QueueOwned<CpuId>,
    /// Read by those who do not own the thread.
    payload: AtomicU64,

    pub(super) counters: Counters,
    affinity: [QueueOwned<u64>; WORDS],
}

impl<const WORDS: usize> Default for Entity<WORDS> {
    fn default() -> Self {
        Self {
            block: RunBlock::default(),
            home: HomeWord::default(),
            links: Links::default(),
            weight: QueueOwned::default(),
            fraction: QueueOwned::default(),
            is_stealable: QueueOwned::default(),
            awaits_first_dispatch: QueueOwned::default(),
            class: QueueOwned::default(),
            has_own_request: QueueOwned::default(),
            vruntime: QueueOwned::default(),
            virtual_deadline: QueueOwned::default(),
            request_span: QueueOwned::default(),
            used: QueueOwned::default(),
            request: QueueOwned::default(),
            lag: QueueOwned::default(),
            left_at: QueueOwned::default(),
            place: QueueOwned::default(),
            waiting_since: QueueOwned::default(),
            joined_at_dispatch: QueueOwned::default(),
            ran_on: QueueOwned::new(CpuId::BOOT),
            payload: AtomicU64::new(0),
            counters: Counters::default(),
            affinity: core::array::from_fn(|_| QueueOwned::default()),
        }
    }
}

impl<const WORDS: usize> Entity<WORDS> {
    /// Sets a slot up for a new thread, blocked, with nothing of the slot's past.
    pub(super) fn set_up(&self, id: Id<Self>, attributes: &Attributes<WORDS>, request: Duration, payload: u64) {
        // A reader that sees it also sees that the thread before has ended.
        self.payload.store(payload, Ordering::Release);
        self.weight.set(attributes.weight);
        self.class.set(attributes.class);
        self.set_request(attributes.request, request);
        self.set_affinity(&attributes.affinity);
        self.vruntime.set(VirtualTime::ZERO);
        self.fraction.set(Fraction::default());
        self.virtual_deadline.set(VirtualTime::ZERO);
        self.used.set(Duration::ZERO);
        self.lag.set(VirtualSpan::ZERO);
        self.left_at.set(VirtualTime::ZERO);
        self.place.set(Pace::UNKNOWN);
        self.awaits_first_dispatch.set(false);
        self.counters.reset();
        self.home.reset(id.generation(), attributes.affinity.lowest().unwrap_or(CpuId::BOOT));
    }

    pub(super) fn id(&self, slot: Slot) -> Id<Self> {
        Id::from_parts(slot, self.home.read().generation)
    }

    /// What `create` was given. Does not change while the thread lives; whoever does not own the thread must check
    /// afterwards that it still does.
    pub(super) fn payload(&self) -> u64 {
        self.payload.load(Ordering::Acquire)
    }

    pub(super) fn affinity(&self) -> CpuSet<WORDS> {
        CpuSet::from_words(core::array::from_fn(|word| self.affinity[word].get()))
    }

    /// Whether it may run on `cpu`; reads one word.
    pub(super) fn may_run_on(&self, cpu: CpuId) -> bool {
        self.affinity.get(cpu.index() / 64).is_some_and(|word| word.get() & (1 << (cpu.index() % 64)) != 0)
    }

    pub(super) fn set_affinity(&self, affinity: &CpuSet<WORDS>) {
        for (cell, &word) in self.affinity.iter().zip(affinity.words()) {
            cell.set(word);
        }
        self.is_stealable.set(affinity.len() > 1);
    }

    /// The request that it asked for itself.
    pub(super) fn own_request(&self) -> Option<Duration> {
        self.has_own_request.get().then(|| self.request.get())
    }

    pub(super) fn set_request(&self, own: Option<Duration>, class_request: Duration) {
        self.has_own_request.set(own.is_some());
        let request = own.unwrap_or(class_request);
        self.request.set(request);
        self.request_span.set(request_span(request, self.weight.get()));
    }

    /// Gives it another weight; all that is measured by the old one is the caller's.
    pub(super) fn set_weight(&self, weight: Weight) {
        self.weight.set(weight);
        self.request_span.set(request_span(self.request.get(), weight));
    }

    /// What the whole request is worth at its weight.
    pub(super) fn request_span(&self) -> VirtualSpan {
        self.request_span.get()
    }

    pub(super) fn claim(&self) -> Claim {
        Claim { vruntime: self.vruntime.get(), virtual_deadline: self.virtual_deadline.get() }
    }

    /// Takes what a blocked thread has repaid of its debt off its lag, and gives it another weight: what it is owed, as
    /// service, stays. `left_queue` is the clock of the queue that it left.
    pub(super) fn change_weight_while_blocked(&self, weight: Weight, left_queue: VirtualTime) {
        self.repay(left_queue);
        let old = self.weight.get();
        self.set_weight(weight);
        self.keep_service(old);
    }

    /// Takes what a blocked thread has repaid of its debt off its lag.
    pub(super) fn repay(&self, left_queue: VirtualTime) {
        let advanced = left_queue.since(self.left_at.get());
        if self.lag.get() < VirtualSpan::ZERO && advanced > VirtualSpan::ZERO {
            self.lag.update(|lag| lag_after_sleep(lag, advanced, VirtualSpan::ZERO));
            self.left_at.set(left_queue);
        }
    }

    /// The weight of a blocked thread was `old`: what it is owed is worth the same service now.
    pub(super) fn keep_service(&self, old: Weight) {
        let new = self.weight.get();
        self.lag.update(|lag| rescale(lag, old, new));
        self.fraction.update(|fraction| fraction.rescale(old, new));
    }

    /// Charges it for the time that it ran; answers what that is worth at its weight.
    #[inline(always)]
    pub(super) fn charge(&self, service: Duration, weight: Weight) -> VirtualSpan {
        let (span, fraction) = scale(service, weight, self.fraction.get());
        self.fraction.set(fraction);
        self.vruntime.update(|vruntime| vruntime.wrapping_add(span));
        self.used.update(|used| used.wrapping_add(service));
        let counters = &self.counters;
        counters.runtime.update(|runtime| runtime.wrapping_add(service));
        counters
            .virtual_runtime
            .update(|virtual_runtime| virtual_runtime.wrapping_add(span.as_nanos().cast_unsigned()));
        raise(&counters.longest_charge, service);
        span
    }

    /// What is left of the present request; at least one nanosecond.
    pub(super) fn rest_of_request(&self) -> Duration {
        self.request.get().saturating_sub(self.used.get()).max(Duration::from_nanos(1))
    }

    /// Leaves no more than `rest` of the present request; its deadline stays.
    pub(super) fn use_all_but(&self, rest: Duration) {
        self.used.set(self.request.get().saturating_sub(rest));
    }

    /// Starts a new request from where it stands now.
    pub(super) fn begin_request(&self) {
        self.used.set(Duration::ZERO);
        self.virtual_deadline.set(self.vruntime.get().wrapping_add(self.request_span.get()));
    }

    /// The deadline of what is left of the present request.
    pub(super) fn key_by_rest_of_request(&self) {
        let span = match self.used.get().is_zero() {
            true => self.request_span.get(),
            false => request_span(self.rest_of_request(), self.weight.get()),
        };
        self.virtual_deadline.set(self.vruntime.get().wrapping_add(span));
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use core::mem::offset_of;

    /// What [`Entity`] says of its order.
    #[test]
    fn what_a_decision_reads_stands_in_two_cache_lines() {
        const LINE: usize = 64;
        let first = offset_of!(Entity<1>, home);
        assert_eq!(first % LINE, 0);
        assert_eq!(offset_of!(Entity<1>, lag), first + LINE);
        assert!(offset_of!(Entity<1>, counters) <= first + 2 * LINE);
    }
}
