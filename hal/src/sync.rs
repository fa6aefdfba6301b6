//! The one place of this crate that chooses between the real atomics and a checker's, and the faults that are seeded
//! to prove that the checker can find them.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use core::sync::atomic::AtomicU64;
pub(crate) use core::sync::atomic::Ordering;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::AtomicU64;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::AtomicU64;

/// A defect that a model test switches on in the very type it checks, to prove that the checker would see it.
/// Without `cfg(loom)` none can be switched on, and every question about it is a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A request word is posted without releasing what the poster wrote.
    PostWithoutRelease,
    /// A request word is posted by a load and a store: a post between them is lost.
    PostByLoadAndStore,
    /// A request word is acknowledged without releasing what the server did.
    AcknowledgeWithoutRelease,
    /// A thread blocks without looking at its wake token.
    BlockIgnoresToken,
    /// A blocked thread is claimed by a load and a store: two wakers can win.
    ClaimByLoadAndStore,
    /// A claim is put down without looking at the token that came meanwhile.
    UnclaimIgnoresToken,
    /// The home word is not read again under the lock.
    HomeNotReadAgain,
    /// A thread is pushed on a wake list without releasing what the waker wrote.
    WakePushWithoutRelease,
    /// A wake list is drained by a load and a store: a push between them is lost.
    WakeDrainByLoadAndStore,
    /// A timer is fired or cancelled by a load and a store: both can win.
    TimerByLoadAndStore,
    /// The consumer of a ring is claimed by a load and a store: two can consume.
    RingClaimByLoadAndStore,
    /// A slab publishes an entry without releasing its contents.
    SlabPublishWithoutRelease,
    /// A quota is charged and released by a load and a store: what others did between them is lost.
    QuotaByLoadAndStore,
    /// A capability is revoked without releasing what was done before.
    RevokeWithoutRelease,
    /// A CPU is put into a set before it is counted: one that is in can be overlooked.
    MemberBeforeCount,
    /// A set's members are counted by a load and a store: what others did between them is lost.
    CountByLoadAndStore,
}

#[cfg(not(loom))]
impl Fault {
    /// Whether the fault is switched on: never, outside the model checker.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        false
    }
}

#[cfg(loom)]
mod switch {
    extern crate std;
    use super::Fault;
    use core::cell::Cell;

    std::thread_local! {
        // The checker runs all threads of a model as coroutines of one OS thread, so they all see the same switch.
        static ACTIVE: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    impl Fault {
        /// Whether the fault is switched on for the model that runs on this OS thread.
        pub fn is_active(self) -> bool {
            ACTIVE.with(Cell::get) == Some(self)
        }

        /// Runs `model` with the fault switched on.
        pub fn during<R>(self, model: impl FnOnce() -> R) -> R {
            struct Off;
            impl Drop for Off {
                fn drop(&mut self) {
                    ACTIVE.with(|active| active.set(None));
                }
            }
            ACTIVE.with(|active| active.set(Some(self)));
            let _off = Off;
            model()
        }
    }
}
