//! A value that is made once, by the first thread that needs it.

use super::{KernelParking, Parking};
use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    mem::MaybeUninit,
    sync::atomic::{AtomicU32, Ordering},
};

const EMPTY: u32 = 0;
/// Somebody makes the value.
const RUNNING: u32 = 1;
/// Somebody makes the value, and others may sleep until it is there.
const AWAITED: u32 = 2;
const READY: u32 = 3;

/// A cell for a value that is made when it is first asked for. The maker must not ask for it itself.
pub struct Once<T, P = KernelParking> {
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
    parking: PhantomData<fn() -> P>,
}

// SAFETY: one thread alone writes the value, before the others read it; it may be dropped by another thread.
unsafe impl<T: Send + Sync, P> Sync for Once<T, P> {}
// SAFETY: whoever owns the cell owns the value.
unsafe impl<T: Send, P> Send for Once<T, P> {}

impl<T, P: Parking> Once<T, P> {
    /// An empty cell.
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()), parking: PhantomData }
    }

    /// The value, if it has been made.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != READY {
            return None;
        }
        // SAFETY: it was written before the state said so, and nobody writes to it afterwards. (`MaybeUninit<T>` has the
        // layout of `T`.)
        Some(unsafe { &*self.value.get().cast::<T>() })
    }

    /// The value; `make` makes it, unless it is there or another thread does.
    pub fn call_once(&self, make: impl FnOnce() -> T) -> &T {
        let mut make = Some(make);
        loop {
            if let Some(value) = self.get() {
                return value;
            }
            match self.state.compare_exchange(EMPTY, RUNNING, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    // The state is `EMPTY` for one thread alone, once.
                    if let Some(make) = make.take() {
                        self.fill(make());
                    }
                }
                Err(READY) => {}
                Err(_) => self.sleep(),
            }
        }
    }

    fn fill(&self, value: T) {
        // SAFETY: the state is `RUNNING` by this thread's doing, so nobody else touches the value.
        unsafe { (*self.value.get()).write(value) };
        if self.state.swap(READY, Ordering::Release) == AWAITED {
            P::unpark(&raw const self.state, u32::MAX);
        }
    }

    fn sleep(&self) {
        // A failure means that somebody else said so already, or that the value is there.
        let _ = self.state.compare_exchange(RUNNING, AWAITED, Ordering::Relaxed, Ordering::Relaxed);
        P::park(&self.state, AWAITED, None);
    }
}

impl<T, P> Drop for Once<T, P> {
    fn drop(&mut self) {
        if *self.state.get_mut() == READY {
            // SAFETY: the state says that the value was written, and nobody uses it any more.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

impl<T, P: Parking> Default for Once<T, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug, P: Parking> fmt::Debug for Once<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Once").field(&self.get()).finish()
    }
}
