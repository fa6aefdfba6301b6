//! A counting semaphore.

use super::{KernelParking, Parking};
use core::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering},
};

/// A number of permits; whoever takes one when there is none sleeps until one is given.
pub struct Semaphore<P = KernelParking> {
    permits: AtomicU32,
    /// Threads that found no permit, so that giving to nobody is no call.
    sleepers: AtomicU32,
    parking: PhantomData<fn() -> P>,
}

impl<P: Parking> Semaphore<P> {
    /// A semaphore with so many permits.
    pub const fn new(permits: u32) -> Self {
        Self { permits: AtomicU32::new(permits), sleepers: AtomicU32::new(0), parking: PhantomData }
    }

    /// Takes a permit, if there is one.
    pub fn try_acquire(&self) -> bool {
        let take = |permits: u32| permits.checked_sub(1);
        self.permits.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    /// Takes a permit; sleeps until there is one.
    pub fn acquire(&self) {
        while !self.try_acquire() {
            // In one total order with the look of `release`: it sees the sleeper, or the sleeper the permit.
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            if self.permits.load(Ordering::SeqCst) == 0 {
                P::park(&self.permits, 0, None);
            }
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Gives a permit.
    pub fn release(&self) {
        self.permits.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            P::unpark(&raw const self.permits, 1);
        }
    }

    /// How many permits there are at this moment.
    pub fn permits(&self) -> u32 {
        self.permits.load(Ordering::Relaxed)
    }
}

impl<P> fmt::Debug for Semaphore<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("permits", &self.permits).finish()
    }
}
