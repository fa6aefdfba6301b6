//! The request word: the only way that one CPU asks another for something.
//!
//! One 64-bit word per CPU holds the requests not yet taken (low 16 bits) and how many posts there ever were (high
//! 48). Posting ORs the request in and counts in **one** atomic step, so a post is either seen whole by the next take
//! or not at all; taking clears the bits and reads the count in one step; acknowledging publishes that count after the
//! work is done. So "CPU n has served my request" is `acknowledged >= my number`: kicks coalesce and are never lost.
//!
//! Ordering: a post releases everything the poster wrote before it; a take acquires it; an acknowledgement releases
//! what the server did; [`RequestWord::is_acknowledged`] acquires it.

use crate::sync::{AtomicU64, Fault, Ordering};

bitflags::bitflags! {
    /// What one CPU may ask of another.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Requests: u16 {
        /// Pick again: something that is due before the running thread was queued.
        const RESCHEDULE = 1 << 0;
        /// Compute `next_event` again and program the clockevent.
        const REARM = 1 << 1;
        /// Charge the running thread up to now and take it off the CPU.
        const CHARGE_AND_STOP = 1 << 2;
        /// Drain the wake list: a thread was woken while its context was not saved yet.
        const DRAIN_WAKES = 1 << 3;
        /// Drop stale translations.
        const TLB = 1 << 4;
        /// Do deferred cleanup: free stacks, drop address spaces.
        const CLEANUP = 1 << 5;
        /// The clockevent fired while the kernel was running. A CPU posts it to itself.
        const TIMER = 1 << 6;
        /// Even out the load now: a thread was taken from this CPU, and another one waits in its place.
        const BALANCE = 1 << 7;
    }
}

const SEQUENCE_SHIFT: u32 = 16;
const REQUEST_MASK: u64 = (1 << SEQUENCE_SHIFT) - 1;

/// The number of one post, to be compared with what the CPU has acknowledged.
#[must_use = "a request that nobody waits for should say so with `let _`"]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

/// What a post did.
#[must_use = "the first post of a batch must be followed by an interrupt"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posted {
    /// The number of this post.
    pub ticket: Ticket,
    /// Whether the poster must send the interrupt: nobody before it has, since the last take.
    pub must_interrupt: bool,
}

/// Requests that were taken and are to be served.
#[must_use = "taken requests must be served and acknowledged"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// What to do.
    pub requests: Requests,
    ticket: Ticket,
}

/// One CPU's request word. Cache-line aligned: it is written by others and must not share a line with locked state.
#[derive(Debug)]
#[repr(align(64))]
pub struct RequestWord {
    /// Pending requests and the number of posts.
    posted: AtomicU64,
    /// The number of posts whose work is done.
    acknowledged: AtomicU64,
}

impl RequestWord {
    /// A word with nothing posted.
    pub fn new() -> Self {
        Self { posted: AtomicU64::new(0), acknowledged: AtomicU64::new(0) }
    }

    /// Adds `requests`. Any CPU, any interrupt state; never blocks.
    pub fn post(&self, requests: Requests) -> Posted {
        let bits = u64::from(requests.bits());
        let mut old = self.posted.load(Ordering::Relaxed);
        loop {
            let new = (old | bits).wrapping_add(1 << SEQUENCE_SHIFT);
            match self.replace(old, new) {
                Ok(_) => {
                    return Posted {
                        ticket: Ticket(new >> SEQUENCE_SHIFT),
                        must_interrupt: old & REQUEST_MASK == 0 && bits != 0,
                    };
                }
                Err(current) => old = current,
            }
        }
    }

    /// Whether anything waits to be taken. Only a hint unless interrupts are masked on the owning CPU.
    pub fn is_pending(&self) -> bool {
        self.posted.load(Ordering::Acquire) & REQUEST_MASK != 0
    }

    /// Takes all pending requests. Only the owning CPU.
    pub fn take(&self) -> Taken {
        let old = self.posted.fetch_and(!REQUEST_MASK, Ordering::AcqRel);
        Taken {
            requests: Requests::from_bits_truncate((old & REQUEST_MASK) as u16),
            ticket: Ticket(old >> SEQUENCE_SHIFT),
        }
    }

    /// Says that what was taken is done. Only the owning CPU, in the order of the takes.
    pub fn acknowledge(&self, taken: Taken) {
        let order = if Fault::AcknowledgeWithoutRelease.is_active() { Ordering::Relaxed } else { Ordering::Release };
        self.acknowledged.store(taken.ticket.0, order);
    }

    /// Whether the post with this ticket was served.
    pub fn is_acknowledged(&self, ticket: Ticket) -> bool {
        self.acknowledged.load(Ordering::Acquire) >= ticket.0
    }

    fn replace(&self, old: u64, new: u64) -> Result<u64, u64> {
        if Fault::PostByLoadAndStore.is_active() {
            self.posted.store(new, Ordering::Release);
            return Ok(old);
        }
        let order = if Fault::PostWithoutRelease.is_active() { Ordering::Relaxed } else { Ordering::AcqRel };
        self.posted.compare_exchange_weak(old, new, order, Ordering::Relaxed)
    }
}

impl Default for RequestWord {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn posts_coalesce_into_one_interrupt_and_each_is_acknowledged() {
        let word = RequestWord::new();
        let first = word.post(Requests::RESCHEDULE);
        let second = word.post(Requests::TLB);
        assert!(first.must_interrupt && !second.must_interrupt);
        let taken = word.take();
        assert_eq!(taken.requests, Requests::RESCHEDULE | Requests::TLB);
        assert!(!word.is_acknowledged(first.ticket));
        let late = word.post(Requests::REARM);
        assert!(late.must_interrupt, "a post after the take needs its own interrupt");
        word.acknowledge(taken);
        assert!(word.is_acknowledged(first.ticket) && word.is_acknowledged(second.ticket));
        assert!(!word.is_acknowledged(late.ticket));
    }
}
