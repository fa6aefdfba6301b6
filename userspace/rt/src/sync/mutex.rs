//! A lock whose uncontended lock and unlock are one atomic instruction each.
//!
//! The algorithm is the second mutex of Drepper, "Futexes Are Tricky" (2011): the word says whether it is locked and
//! whether anybody may be asleep, so that unlocking calls the kernel only if somebody may have to be woken.

use super::{KernelParking, Parking};
use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU32, Ordering},
};

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
/// Locked, and somebody may be asleep.
const CONTENDED: u32 = 2;

/// How often a thread looks again before it sleeps: about as long as a short critical section.
const SPINS: u32 = 100;

/// The lock without what it guards.
pub struct RawMutex<P = KernelParking> {
    state: AtomicU32,
    parking: PhantomData<fn() -> P>,
}

impl<P: Parking> RawMutex<P> {
    /// An unlocked lock.
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(UNLOCKED), parking: PhantomData }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> bool {
        self.state.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock; sleeps as long as somebody else has it.
    pub fn lock(&self) {
        if !self.try_lock() {
            self.lock_contended();
        }
    }

    #[cold]
    fn lock_contended(&self) {
        let mut seen = self.spin();
        if seen == UNLOCKED {
            if self.try_lock() {
                return;
            }
            seen = LOCKED;
        }
        // From here on the lock is taken as contended: others may sleep, and this thread does not know.
        while seen == CONTENDED || self.state.swap(CONTENDED, Ordering::Acquire) != UNLOCKED {
            P::park(&self.state, CONTENDED, None);
            seen = LOCKED;
        }
    }

    /// Looks a few times whether the lock comes free, unless somebody sleeps already.
    fn spin(&self) -> u32 {
        for _ in 0..SPINS {
            match self.state.load(Ordering::Relaxed) {
                LOCKED => core::hint::spin_loop(),
                other => return other,
            }
        }
        LOCKED
    }

    /// Gives the lock back.
    ///
    /// # Safety
    ///
    /// The caller has taken it.
    pub unsafe fn unlock(&self) {
        let word = &raw const self.state;
        if self.state.swap(UNLOCKED, Ordering::Release) == CONTENDED {
            // Whoever takes the lock now may free it, so only its address is used.
            P::unpark(word, 1);
        }
    }
}

impl<P: Parking> Default for RawMutex<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for RawMutex<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMutex").field("state", &self.state).finish()
    }
}

/// A value that one thread at a time can use. There is no poisoning: a panic ends the process.
pub struct Mutex<T: ?Sized, P = KernelParking> {
    raw: RawMutex<P>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one thread at a time to the value, so sharing the mutex only sends the value around.
unsafe impl<T: ?Sized + Send, P> Sync for Mutex<T, P> {}
// SAFETY: whoever owns the mutex owns the value.
unsafe impl<T: ?Sized + Send, P> Send for Mutex<T, P> {}

impl<T, P: Parking> Mutex<T, P> {
    /// An unlocked mutex around a value.
    pub const fn new(value: T) -> Self {
        Self { raw: RawMutex::new(), value: UnsafeCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized, P: Parking> Mutex<T, P> {
    /// Locks; sleeps as long as somebody else has the lock.
    pub fn lock(&self) -> MutexGuard<'_, T, P> {
        self.raw.lock();
        MutexGuard { mutex: self, not_send: PhantomData }
    }

    /// Locks, if nobody else has the lock.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, P>> {
        self.raw.try_lock().then_some(MutexGuard { mutex: self, not_send: PhantomData })
    }

    /// The value, without locking: nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug, P: Parking> fmt::Debug for Mutex<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => f.debug_tuple("Mutex").field(&&*value).finish(),
            None => f.write_str("Mutex(locked)"),
        }
    }
}

/// Access to the value of a [`Mutex`]; unlocks when dropped.
#[must_use]
pub struct MutexGuard<'a, T: ?Sized, P: Parking = KernelParking> {
    mutex: &'a Mutex<T, P>,
    /// A guard stays with its thread.
    not_send: PhantomData<*mut u8>,
}

// SAFETY: sharing a guard shares the value.
unsafe impl<T: ?Sized + Sync, P: Parking> Sync for MutexGuard<'_, T, P> {}

impl<'a, T: ?Sized, P: Parking> MutexGuard<'a, T, P> {
    pub(super) fn mutex(&self) -> &'a Mutex<T, P> {
        self.mutex
    }
}

impl<T: ?Sized, P: Parking> Deref for MutexGuard<'_, T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard has the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized, P: Parking> DerefMut for MutexGuard<'_, T, P> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard has the lock, and is borrowed alone.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized, P: Parking> Drop for MutexGuard<'_, T, P> {
    fn drop(&mut self) {
        // SAFETY: the guard has taken the lock, and is gone afterwards.
        unsafe { self.mutex.raw.unlock() };
    }
}
