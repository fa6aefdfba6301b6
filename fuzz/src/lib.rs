//! What byte-driven properties share: a corpus that is checked in, bytes made from it, and how many cases to try.
//!
//! Such a property takes any bytes, as a fuzzer's target does, but runs on stable Rust among the ordinary tests. What
//! coverage would find is put into the corpus by hand instead: each entry reaches a part of the code that random bytes
//! do not, and damage to it stays near. `cargo xtask soak fuzz` tries more cases of the same properties.
//!
//! Only tests depend on this crate, and it knows no other.

mod corpus;
mod damage;
mod input;

pub use corpus::{Entry, corpus, from_hex};
pub use damage::{Bytes, any_bytes, damaged};
pub use input::Input;

use proptest::test_runner::Config;

/// The environment variable with how many times its usual cases a property tries; once without it.
pub const RUNS: &str = "TESSERA_FUZZ_RUNS";

/// The most attempts to make an input that fails smaller.
const MOST_SHRINKS: u32 = 50_000;

/// So many cases, times [`RUNS`]. An input that fails is printed as hex digits, which belong into the corpus; no file
/// of its own is left behind.
///
/// # Panics
/// If [`RUNS`] is set to what is no number above zero.
pub fn config(cases: u32) -> Config {
    let cases = cases.saturating_mul(runs(std::env::var(RUNS).ok().as_deref()));
    Config { failure_persistence: None, max_shrink_iters: MOST_SHRINKS, ..Config::with_cases(cases) }
}

fn runs(text: Option<&str>) -> u32 {
    let number = |text: &str| text.parse().ok().filter(|&runs| runs > 0);
    text.map_or(1, |text| number(text).unwrap_or_else(|| panic!("{RUNS} is '{text}'; expected a number above zero")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_multiply_the_cases_and_nothing_else_is_taken_for_a_number() {
        assert_eq!([runs(None), runs(Some("1")), runs(Some("300"))], [1, 1, 300]);
        for text in ["", "0", "-1", "many", "4294967296"] {
            assert!(std::panic::catch_unwind(|| runs(Some(text))).is_err(), "{text}");
        }
    }
}
