//! [`WakeList`] and [`DeferredWakes`]: threads that are to be put on a queue by a CPU, soon but not here.
//!
//! Both are intrusive: the link stands in the thread ([`WakeLink`]), and it belongs to whoever owns the claim on the
//! thread (see [`super::home_word`]), so a thread is on at most one such list, and a list has room for every thread
//! without memory of its own.
//!
//! Ordering of `WakeList`: a push releases what the waker wrote before it (with the claimed thread), a drain acquires
//! it. A drain takes the whole list in one swap, so the head cannot be swapped for one that only looks the same.

use super::QueueOwned;
use super::shim::{AtomicU32, Ordering};
use crate::slab::Slot;
use crate::sync::Pack;
use tessera_hal::sync::Fault;

/// A thread's link in the one list that it is on.
#[derive(Debug, Default)]
pub struct WakeLink(QueueOwned<Option<Slot>>);

/// Where the links of the threads are.
pub trait WakeLinks {
    /// The link of the thread in `slot`.
    fn wake_link(&self, slot: Slot) -> &WakeLink;
}

/// One CPU's list of threads that others want it to queue. Any CPU pushes, the owner drains; no lock.
#[derive(Debug, Default)]
pub struct WakeList {
    /// The newest slot, packed.
    newest: AtomicU32,
}

impl WakeList {
    /// Adds a claimed thread. Answers whether the list was empty, so that the owner must be kicked
    /// (`Requests::DRAIN_WAKES`); otherwise an earlier pusher has done it. Any CPU, any context.
    #[must_use = "the first push must be followed by a kick"]
    pub fn push(&self, links: &impl WakeLinks, slot: Slot) -> bool {
        let order = if Fault::WakePushWithoutRelease.is_active() { Ordering::Relaxed } else { Ordering::Release };
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            links.wake_link(slot).0.set(Pack::unpack(newest));
            match self.newest.compare_exchange_weak(newest, Some(slot).pack(), order, Ordering::Relaxed) {
                Ok(_) => return newest == 0,
                Err(current) => newest = current,
            }
        }
    }

    /// Whether anything waits. Only a hint unless the caller is the owner and serves a kick.
    pub fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed) == 0
    }

    /// Takes all threads and gives each to `wake`, newest first. Each is owned by the caller then. Only the owner.
    pub fn drain(&self, links: &impl WakeLinks, mut wake: impl FnMut(Slot)) {
        let mut next: Option<Slot> = Pack::unpack(self.take());
        while let Some(slot) = next {
            // Read first: `wake` passes the thread on, and with it the link.
            next = links.wake_link(slot).0.get();
            wake(slot);
        }
    }

    fn take(&self) -> u32 {
        if Fault::WakeDrainByLoadAndStore.is_active() {
            let newest = self.newest.load(Ordering::Acquire);
            self.newest.store(0, Ordering::Release);
            return newest;
        }
        self.newest.swap(0, Ordering::Acquire)
    }
}

/// Threads that this CPU has claimed while it held a lock, in the order of their claims. Only this CPU uses it, with
/// interrupts masked or from its thread of control; it is drained after the lock is released.
#[derive(Debug, Default)]
pub struct DeferredWakes {
    oldest: QueueOwned<Option<Slot>>,
    newest: QueueOwned<Option<Slot>>,
}

impl DeferredWakes {
    /// Adds a claimed thread.
    pub fn push(&self, links: &impl WakeLinks, slot: Slot) {
        links.wake_link(slot).0.set(None);
        match self.newest.get() {
            Some(newest) => links.wake_link(newest).0.set(Some(slot)),
            None => self.oldest.set(Some(slot)),
        }
        self.newest.set(Some(slot));
    }

    /// Takes the oldest thread. Threads pushed meanwhile come last, so a loop over `pop` drains them as well.
    pub fn pop(&self, links: &impl WakeLinks) -> Option<Slot> {
        let oldest = self.oldest.get()?;
        let next = links.wake_link(oldest).0.get();
        self.oldest.set(next);
        if next.is_none() {
            self.newest.set(None);
        }
        Some(oldest)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.oldest.get().is_none()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    struct Links(Vec<WakeLink>);
    impl WakeLinks for Links {
        fn wake_link(&self, slot: Slot) -> &WakeLink {
            &self.0[slot.index() as usize]
        }
    }

    fn links() -> Links {
        Links((0..8).map(|_| WakeLink::default()).collect())
    }

    #[test]
    fn the_first_push_after_a_drain_asks_for_a_kick() {
        let (links, list) = (links(), WakeList::default());
        assert!(list.push(&links, Slot::new(1)));
        assert!(!list.push(&links, Slot::new(2)));
        let mut drained = Vec::new();
        list.drain(&links, |slot| drained.push(slot.index()));
        assert_eq!(drained, [2, 1]);
        assert!(list.is_empty());
        assert!(list.push(&links, Slot::new(1)));
    }

    #[test]
    fn deferred_wakes_come_in_order_and_include_those_added_while_draining() {
        let (links, list) = (links(), DeferredWakes::default());
        list.push(&links, Slot::new(5));
        list.push(&links, Slot::new(3));
        assert_eq!(list.pop(&links), Some(Slot::new(5)));
        list.push(&links, Slot::new(5));
        assert_eq!(list.pop(&links), Some(Slot::new(3)));
        assert_eq!(list.pop(&links), Some(Slot::new(5)));
        assert_eq!(list.pop(&links), None);
        assert!(list.is_empty());
    }
}
