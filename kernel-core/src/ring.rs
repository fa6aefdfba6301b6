//! [`consume`]: takes submissions from a program's ring, at most a given number, and completes them now or later.
//!
//! The ring stands in memory that the program writes at any time, so nothing read from it is trusted and everything is
//! read once. The kernel's own two indices are kept in [`Ring`], out of the program's reach, and only *published* in
//! the header. An index of the program that makes no sense is a [`RingError`] and consumes nothing; a program that
//! moves its indices about can lose its own completions and nobody else's.
//!
//! No completion is lost: a submission is consumed only while its completion has a place, and one that completes later
//! keeps that place reserved ([`Ring::complete_later`]).
//!
//! Exactly one consumer: [`RingOwner`] names the mode in which the ring is and lets one [`Consumption`] at a time
//! through. This module reads and writes the ring through [`RingMemory`], which the kernel implements over its own
//! mapping of the ring's frames; the program's page table is never needed.

mod completed;
mod consume;
mod owner;
mod submission;

pub use completed::Completed;
pub use consume::{Consumed, Handler, Outcome, Ring, RingError, RingMemory, consume};
pub use owner::{Consumption, NotOwner, RingMode, RingOwner, Role};
pub use submission::{Call, Park, Receive, Return, Submission, Transfer, Unpark};
