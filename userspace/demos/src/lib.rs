//! What the proofs share: findings that are printed and counted.
#![no_std]
#![forbid(unsafe_code)]

use core::{fmt, hint};
use tessera_rt::{println, start};

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
