//! Capabilities: the table of a process, transfer between two of them, and revocation.
//!
//! A [`Handle`] is a slot and a generation, checked at every look-up: one that is stale or invented names nothing. The
//! interface of what it names is the permission; there are no rights bits.
//!
//! **Transfer** has two phases, so that a receiver that fails leaves the sender's slots as they were:
//!
//! 1. [`Table::reserve`] takes slots of the receiver. They are empty and invisible, but their handles are known, so that
//!    all that can fail on the receiver's side can be tried now. If it fails: [`Table::cancel`].
//! 2. [`Table::take`] takes the objects from the sender, all or none. If it fails: [`Table::cancel`]. If not,
//!    [`Table::fill`] puts them into the reserved slots, which cannot fail.
//!
//! The kernel holds each table in a lock of its own and never two at a time. A table that is being emptied
//! ([`Table::drain_step`]) takes nothing any more. Whatever leaves a table is given out, so that the kernel can let go of
//! the lock before an object ends.
//!
//! [`Revocation`] is shared between a capability and everything that was made from it; it needs no lock.

mod handle;
mod revocation;
mod slots;
mod table;
mod transfer;

pub use handle::{Handle, InvalidHandle};
pub use revocation::{Entry, MAX_REVOCATION_DEPTH, Revocation, Revoked, TooDeep};
pub use table::{Table, TableFull};
pub use transfer::{Reservation, TakeError, TransferMode};
