//! A condition variable: threads sleep until another one says that something may have changed.
//!
//! The word counts the notifications. A waiter reads it while it has the lock, so whoever changes the condition under the
//! lock and then notifies changes the word before the waiter sleeps, or finds it asleep.

use super::{KernelParking, MutexGuard, Parking};
use core::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering},
};

/// Threads that wait for a condition of what a mutex guards.
pub struct Condvar<P = KernelParking> {
    notifications: AtomicU32,
    /// How many are between their look and their return, so that a notification of nobody is no call.
    waiters: AtomicU32,
    parking: PhantomData<fn() -> P>,
}

/// How a wait with a deadline ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitOutcome {
    /// The condition may have changed.
    Notified,
    /// The deadline has come.
    TimedOut,
}

impl<P: Parking> Condvar<P> {
    /// A condition variable that nobody waits for.
    pub const fn new() -> Self {
        Self { notifications: AtomicU32::new(0), waiters: AtomicU32::new(0), parking: PhantomData }
    }

    /// Gives the lock back, sleeps until somebody notifies, and locks again. May return for no reason.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T, P>) -> MutexGuard<'a, T, P> {
        self.wait_with_deadline(guard, None)
    }

    /// [`Condvar::wait`] as long as the condition holds.
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T, P>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T, P> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// [`Condvar::wait`], at most until `deadline_ns` (nanoseconds since boot).
    pub fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T, P>,
        deadline_ns: u64,
    ) -> (MutexGuard<'a, T, P>, WaitOutcome) {
        let before = self.notifications.load(Ordering::Relaxed);
        let guard = self.wait_with_deadline(guard, Some(deadline_ns));
        let notified = self.notifications.load(Ordering::Relaxed) != before || !P::is_over(deadline_ns);
        (guard, if notified { WaitOutcome::Notified } else { WaitOutcome::TimedOut })
    }

    fn wait_with_deadline<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T, P>,
        deadline_ns: Option<u64>,
    ) -> MutexGuard<'a, T, P> {
        let mutex = guard.mutex();
        // Both under the lock: whoever changes the condition afterwards sees the waiter.
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let seen = self.notifications.load(Ordering::Relaxed);
        drop(guard);
        P::park(&self.notifications, seen, deadline_ns);
        let guard = mutex.lock();
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Wakes one of those that wait.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.notify(u32::MAX);
    }

    /// A notifier that changed the condition under the lock sees every waiter that looked before. One that changed it
    /// without the lock has no promise, here as with any condition variable.
    fn notify(&self, most: u32) {
        if self.waiters.load(Ordering::Relaxed) != 0 {
            self.notifications.fetch_add(1, Ordering::Relaxed);
            P::unpark(&raw const self.notifications, most);
        }
    }
}

impl<P: Parking> Default for Condvar<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for Condvar<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").field("waiters", &self.waiters).finish()
    }
}
