//! The one place that chooses between the real primitives and those of a checker.

pub(crate) use core::sync::atomic::Ordering;

#[cfg(not(any(loom, shuttle)))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

#[cfg(not(any(loom, shuttle)))]
mod mutex {
    pub(crate) use spin::{Mutex, MutexGuard as Guard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Guard<'_, T> {
        mutex.lock()
    }

    pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<Guard<'_, T>> {
        mutex.try_lock()
    }
}

#[cfg(any(loom, shuttle))]
mod mutex {
    #[cfg(loom)]
    pub(crate) use loom::sync::{Mutex, MutexGuard as Guard};
    #[cfg(shuttle)]
    pub(crate) use shuttle::sync::{Mutex, MutexGuard as Guard};
    use std::sync::PoisonError;

    // A poisoned lock belongs to a run that has failed already.
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Guard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<Guard<'_, T>> {
        mutex.try_lock().ok()
    }
}

pub(crate) use mutex::{Guard, Mutex, lock, try_lock};

/// Lets others run inside a loop that waits for them. A checker needs it to see that the loop makes no progress alone.
pub(crate) fn relax() {
    #[cfg(not(any(loom, shuttle)))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}
