//! What CPUs share: one lock, the cells that it guards, and one small type for each protocol.
//!
//! | type | protocol |
//! |---|---|
//! | [`SpinLock`] | mutual exclusion with interrupts masked, in the order of the [`level`] table |
//! | [`QueueOwned`] | a field that belongs to whoever holds the lock that its home word names, or has claimed it |
//! | [`HomeWord`] | which state a thread is in, on which CPU; who may wake it; that no wake is lost |
//! | [`WakeList`] | threads handed to a CPU by others, without its lock |
//! | [`DeferredWakes`] | threads that this CPU wakes as soon as it has let go of a lock |
//! | [`SharedSet`] | CPUs that any CPU adds, removes and finds; who is in is never overlooked |
//! | [`TimerCell`] | a timer is fired or cancelled, never both |
//!
//! The request word stands in `tessera-hal`, since HALs signal with it too; the ownership of a ring in [`crate::ring`].
//! Model tests (`tests/loom_models`) drive these very types, and switch on a fault in each to prove that they see it.

pub mod cell;
pub mod home_word;
pub mod level;
pub mod lock;
pub mod padded;
pub mod shared_set;
pub(crate) mod shim;
pub mod timer_cell;
pub mod wake_list;

pub use cell::{Pack, QueueOwned};
pub use home_word::{Blocking, ChangeClaim, Home, HomeWord, ThreadState, Unclaimed, WakeClaim};
pub use lock::{Masked, SpinGuard, SpinLock};
pub use padded::Padded;
pub use shared_set::SharedSet;
pub use timer_cell::TimerCell;
pub use wake_list::{DeferredWakes, WakeLink, WakeLinks, WakeList};
