//! What the proofs share: findings that are printed and counted.
#![no_std]
#![forbid(unsafe_code)]

use core::{fmt, hint};
use tessera_rt::{println, start};

/// Counts what a proof found wrong; its exit code says whether there was anything.
pub struct Findings {
    program: &'static str,
    checks: u32,
    failures: u32,
}

impl Findings {
    /// No findings yet.
    pub const fn new(program: &'static str) -> Self {
        Self { program, checks: 0, failures: 0 }
    }

    /// Counts a check; prints it if it failed.
    pub fn check(&mut self, good: bool, what: fmt::Arguments<'_>) {
        self.checks += 1;
        if !good {
            self.failures += 1;
            println!("{}[{}]: FAILED: {what}", self.program, start::instance());
        }
    }

    /// Prints the outcome; 0 if every check was good, else 1. Without any check nothing was proved: 2.
    pub fn exit_code(&self) -> i32 {
        let (program, instance) = (self.program, start::instance());
        match (self.checks, self.failures) {
            (0, _) => {
                println!("{program}[{instance}]: nothing was checked");
                2
            }
            (checks, 0) => {
                println!("{program}[{instance}]: {checks} checks are good");
                0
            }
            (checks, failures) => {
                println!("{program}[{instance}]: {failures} of {checks} checks failed");
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
