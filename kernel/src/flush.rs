//! TLB shootdown: which CPUs must drop translations, and how a CPU knows that they have.
//!
//! Each CPU has a [`FlushWord`]: the number of flushes that others wanted of it, and the number that it had read before
//! its last flush. A request counts up, kicks, and waits until the second number has reached its own. The waiter keeps
//! serving its own word, so two CPUs that wait for each other both get on; it waits with interrupts on and no lock.
//! [`Kernel::flush_others`] is that for one space.

use crate::{kernel::Kernel, memory::address_space::AddressSpace};
use core::sync::atomic::{AtomicU64, Ordering};
use hal::{Machine, Requests, machine::FlushScope};

/// What others want of one CPU. On its own cache line: others write it.
#[derive(Default)]
#[repr(align(64))]
pub struct FlushWord {
    wanted: AtomicU64,
    done: AtomicU64,
}

/// The number of one request.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushTicket(u64);

impl FlushWord {
    /// Asks for a flush. Releases what the caller changed in the page tables.
    pub fn request(&self) -> FlushTicket {
        FlushTicket(self.wanted.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Flushes if somebody wants it. Only the owning CPU. The number is read before the flush: a request that comes
    /// during it is not taken for served.
    pub fn serve(&self, flush: impl FnOnce()) {
        let wanted = self.wanted.load(Ordering::Acquire);
        if wanted != self.done.load(Ordering::Relaxed) {
            flush();
            self.done.store(wanted, Ordering::Release);
        }
    }

    /// The last request, whoever made it.
    fn latest(&self) -> FlushTicket {
        FlushTicket(self.wanted.load(Ordering::Acquire))
    }

    /// Whether the request was served.
    pub fn is_done(&self, ticket: FlushTicket) -> bool {
        self.done.load(Ordering::Acquire) >= ticket.0
    }
}

impl<M: Machine> Kernel<M> {
    /// Makes every CPU drop its translations of a space, and waits until all have: what was taken out of its tables before
    /// is out of reach then. Interrupts are on, no lock is held; this CPU goes on serving what others wait for.
    pub fn flush_others(&self, space: &AddressSpace<M>) {
        let this = self.machine.this_cpu();
        let mut others = space.loaded_on();
        if others.contains(this) || self.machine.flush_is_broadcast() {
            space.flush(FlushScope::User);
        }
        others.remove(this);
        if self.machine.flush_is_broadcast() {
            return;
        }
        // All are asked before one is waited for.
        for cpu in others.iter() {
            let _ = self.cpu(cpu).flush.request();
            let _ = self.machine.kick(cpu, Requests::TLB);
        }
        for cpu in others.iter() {
            let flush = &self.cpu(cpu).flush;
            let ticket = flush.latest();
            while !flush.is_done(ticket) {
                self.cpu(this).flush.serve(|| space.flush(FlushScope::User));
                core::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_serves_what_was_wanted_before_it_and_not_what_comes_during_it() {
        let word = FlushWord::default();
        let (first, second) = (word.request(), word.request());
        let mut during = None;
        word.serve(|| during = Some(word.request()));
        assert!(word.is_done(first) && word.is_done(second));
        assert!(!word.is_done(during.unwrap()));
        let mut flushes = 0;
        word.serve(|| flushes += 1);
        word.serve(|| flushes += 1);
        assert_eq!(flushes, 1, "nothing is flushed that nobody wants");
        assert!(word.is_done(during.unwrap()));
    }
}
