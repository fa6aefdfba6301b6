//! What the proofs share: findings that are printed and counted, processes that a proof makes, what they leave behind,
//! masks, random numbers.
#![no_std]
#![forbid(unsafe_code)]

pub mod child;
pub mod cpus;
pub mod random;
pub mod resources;

use core::{fmt, hint};
use tessera_rt::{CallError, abi::ring::TransportError, message::ExceptionKind, println, start};

/// Counts what a proof found wrong; its exit code says whether there was anything. The kernel puts the program's name
/// before each line.
#[derive(Default)]
pub struct Findings {
    checks: u32,
    failures: u32,
}

impl Findings {
    /// Counts a check; prints it if it failed.
    pub fn check(&mut self, good: bool, what: fmt::Arguments<'_>) {
        self.checks += 1;
        if !good {
            self.failures += 1;
            println!("FAILED: {what}");
        }
    }

    /// Checks that two values are equal.
    pub fn equal<T: PartialEq + fmt::Debug>(&mut self, what: &str, is: T, expected: T) {
        let good = is == expected;
        self.check(good, format_args!("{what}: {is:?}, not {expected:?}"));
    }

    /// Checks that a capability refuses with this kind of exception.
    pub fn excepted<T: fmt::Debug>(&mut self, what: &str, outcome: Result<T, CallError>, kind: ExceptionKind) {
        let good = outcome.as_ref().is_err_and(|error| error.exception() == Some(kind));
        self.check(good, format_args!("{what} gave {outcome:?}, not {kind:?}"));
    }

    /// Checks that the transport refuses with this error.
    pub fn refused<T: fmt::Debug>(&mut self, what: &str, outcome: Result<T, CallError>, error: TransportError) {
        let good = outcome.as_ref().is_err_and(|is| is.is_transport(error));
        self.check(good, format_args!("{what} gave {outcome:?}, not {error:?}"));
    }

    /// Runs a part of the proof; an error that it does not expect is a failure.
    pub fn part(&mut self, what: &str, part: impl FnOnce(&mut Self) -> Result<(), CallError>) {
        let outcome = part(self);
        self.check(outcome.is_ok(), format_args!("{what}: {outcome:?}"));
    }

    /// Prints the outcome; 0 if every check was good, else 1. Without any check nothing was proved: 2.
    pub fn exit_code(&self) -> i32 {
        match (self.checks, self.failures) {
            (0, _) => {
                println!("nothing was checked");
                2
            }
            (checks, 0) => {
                println!("{checks} checks are good");
                0
            }
            (checks, failures) => {
                println!("{failures} of {checks} checks failed");
                1
            }
        }
    }
}

/// The argument at `index` as a number.
pub fn number(index: usize) -> Option<u64> {
    start::argument(index)?.parse().ok()
}

/// A piece of work that costs the same each time and touches no memory.
pub fn work() {
    for step in 0..256u32 {
        hint::black_box(step);
    }
}
