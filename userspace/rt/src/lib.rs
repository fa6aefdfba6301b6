//! The runtime that Tessera's user programs link: entry, rings, typed clients, threads and their synchronization, a heap,
//! printing and logging, panics.
//!
//! A program is a `#![no_std] #![no_main]` crate with one line, `tessera_rt::entry!(main)`, where `main` is a
//! `fn() -> i32` that gives the exit code. It has exactly the capabilities that it was started with; what it was not
//! granted, a thread or a clock for instance, answers [`CallError::NotGranted`]. With the feature `heap` it can allocate.
//!
//! All memory unsafety of a program's dealings with the kernel is here: [`ring`] and [`start`] touch the shared pages,
//! [`thread`] hands stacks to new threads, `arch` holds the entries and the two system calls.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(feature = "heap")]
extern crate alloc;

mod arch;
pub mod client;
mod error;
#[cfg(feature = "heap")]
mod heap;
pub mod logger;
#[cfg(target_os = "none")]
mod panic;
pub mod print;
pub mod ring;
pub mod server;
pub mod shared;
pub mod start;
pub mod sync;
pub mod thread;
pub mod time;
mod transport;

#[cfg(target_os = "none")]
pub use arch::{current_cpu, forbidden, probe};
pub use client::{Client, Console, SchedulingPolicy, Timer};
pub use error::{CallError, Reason};
pub use log;
pub use tessera_abi as abi;
pub use tessera_schema::{generated, message};
pub use transport::OwnRing;

/// The exit code of a program that panicked.
pub const PANIC_EXIT_CODE: i32 = 101;

/// Ends the program.
pub fn exit(code: i32) -> ! {
    arch::exit(code)
}

/// Makes `main: fn() -> i32` the program.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// What the runtime calls first; ends the program with the code that the program's own function gives.
        ///
        /// # Safety
        ///
        /// Called once, by the runtime's entry, with the address of the start page that the kernel mapped.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn tessera_start(start_page: usize) -> ! {
            // SAFETY: the caller passes on what the kernel gave, once.
            unsafe { $crate::start::initialize(start_page) };
            $crate::exit($main())
        }
    };
}
