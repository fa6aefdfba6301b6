#![doc = include_str!("../README.md")]
//!
//! ## Principles
//!
//! Decisions are values: time and the CPU are arguments, a `#[must_use]` decision comes out, and nothing here is
//! global. The crate is `no_std` and has no unsafe code: a wrong policy is unfair, a lying HAL makes accounting wrong,
//! a hostile program gets an error, and none of them can break memory safety.
//!
//! ## Modules
//!
//! * [`sync`]: the lock, the cells it guards, and one small type for each protocol between CPUs.
//! * [`slab`]: where threads and timers live; ids are index + generation and are checked at every look-up.
//! * [`tree`]: the one ordered tree, intrusive and allocation-free.
//! * [`timer`]: the timer queue of one CPU.
//! * [`ring`]: consuming a program's submission queue.
//! * [`cap`]: a process's capabilities, their transfer and their revocation.
//! * [`endpoint`]: where calls meet those that receive them.
//! * [`park`]: threads that sleep on a word of memory.
//! * [`limits`]: what may be used at most.
//! * [`sched`]: policies and the dispatcher.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, loom, shuttle))]
extern crate std;

pub mod cap;
pub mod endpoint;
pub mod limits;
pub mod park;
pub mod ring;
pub mod sched;
mod scramble;
pub mod slab;
pub mod sync;
pub mod timer;
pub mod tree;
