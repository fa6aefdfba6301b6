//! [`Endpoint`]: where calls meet those that receive them.
//!
//! A call waits in a queue for a receiver, a receiver in another for a call. When both are there and a place for the
//! call's record is free, they are matched, first come, first served, and the call is *in flight* until it is answered.
//! The place is taken with the match, so nothing that happens while the message is copied can run out of it.
//!
//! A call ends exactly once: it is answered, cancelled, or given out by [`Endpoint::server_left`] or
//! [`Endpoint::close`]. Whoever ends it owes the caller a completion. Ids are never used twice, so a late or an invented
//! answer is [`NoSuchCall`], and so is one by another server than the one that received the call.
//!
//! All three stores have the bounds of `tessera_abi::limits` and are allocated when the endpoint is made; nothing
//! allocates later. Matching, answering and queueing are O(1), cancellation looks at each entry once.
//!
//! The kernel keeps each endpoint in a lock of its own, of the level of objects, and lets go of it while it copies a
//! message. Afterwards it calls [`Endpoint::next_delivery`] until there is none: after an answer, a cancellation, an
//! undone delivery, and when a server has left.

mod call_id;
mod in_flight;
mod queues;

pub use call_id::{CallId, NoSuchCall};
pub use queues::{
    CallPlace, CallRefused, CallStep, Deliver, Endpoint, MOST_CALLS, MOST_RECEIVERS, OutOfMemory, ReceiveRefused,
    ReceiveStep,
};

/// Who answers calls: a process, by a number that is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerId(pub u64);

/// One that waits for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receiver<R> {
    /// What the kernel knows it by.
    pub token: R,
    /// Whose it is: only this server can answer what it receives.
    pub server: ServerId,
}
