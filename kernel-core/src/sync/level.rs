//! The order of the locks, in one table. A lock is waited for only while all locks held are of a lower rank.
//!
//! A second lock of the same level (two queues, when threads move between them) is only ever *tried*: failure means
//! that the move does not happen now.

use tessera_hal::LOCK_RANKS;

/// A level of the lock order, as a type.
pub trait LockLevel: Send + Sync + 'static {
    /// Its place in the order.
    const RANK: u8;
    /// Its name in reports.
    const NAME: &'static str;
}

macro_rules! lock_levels {
    ($($(#[$doc:meta])* $name:ident = $rank:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}
        impl LockLevel for $name {
            const RANK: u8 = $rank;
            const NAME: &'static str = stringify!($name);
        }
        const _: () = assert!($rank < LOCK_RANKS);
    )*};
}

lock_levels! {
    /// An object that threads wait at: an endpoint, a park bucket, a timer's waiter, a scheduling context.
    Object = 1,
    /// One CPU's run queue, with its timers and release queue.
    Queue = 2,
}
