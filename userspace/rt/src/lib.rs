//! The runtime that Tessera's user programs link: entry, ring, typed clients, printing, panics.
//!
//! A program is a `#![no_std] #![no_main]` crate with one line, `tessera_rt::entry!(main)`, where `main` is a
//! `fn() -> i32` that gives the exit code. It has one thread, no allocator, and exactly the capabilities that its
//! manifest entry grants. All memory unsafety of a program's dealings with the kernel is here: [`ring`] and [`start`]
//! touch the shared pages, `arch` holds the entry and the two system calls.
#![no_std]

mod arch;
pub mod client;
mod panic;
pub mod print;
pub mod ring;
pub mod start;

pub use arch::{current_cpu, probe};
pub use client::{CallError, Console, SchedulingPolicy, Timer};
pub use tessera_abi as abi;
pub use tessera_schema::{generated, message};

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
