//! Tessera's kernel: glue between a [`hal::Machine`] and the decisions of `kernel-core`.
//!
//! Event-style: one loop per CPU ([`cpu_loop`]), one kernel stack per CPU, no kernel stack per thread. Blocking is a
//! state change and a dispatch decision. No policy is made here and nothing knows the architecture: a policy may be
//! wrong, memory safety may not.
//!
//! Unsafe code stands in two modules only: [`memory::direct`] (bytes of frames) and [`memory::heap`] (feeding the
//! allocator).
//!
//! What a program may get wrong is a typed error of the call; what the boot input may get wrong is one line and a failing
//! status; a panic is the kernel's own fault.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

extern crate tessera_hal as hal;

pub mod call;
pub mod capability;
pub mod command_line;
pub mod conformance;
pub mod console;
pub mod counters;
pub mod cpu_loop;
pub mod cpu_mask;
pub mod elf;
pub mod exit;
pub mod expiry;
pub mod finish;
pub mod flush;
pub mod global;
pub mod ipc;
pub mod kernel;
pub mod line;
pub mod memory;
pub mod object;
pub mod operation;
pub mod panic;
pub mod park;
pub mod process;
pub mod process_table;
pub mod report;
pub mod ring;
#[cfg(test)]
mod run_tests;
pub mod spawn;
pub mod start;
pub mod submission;
pub mod system_call;
#[cfg(test)]
mod test_machine;
pub mod thread;
pub mod thread_table;
pub mod trace;

pub use panic::{describe_current, write_waiting_lines};
pub use start::start;
