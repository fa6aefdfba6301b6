//! Values of options.

use kernel_core::sched::Policy;
use sim::workload::MAX_CPUS;
use tessera_hal::Duration;

/// A time with its unit: `10s`, `250ms`, `40us`, `7ns`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time from 1us to 1000000s, such as 10s, 250ms or 40us; found {text}");
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let nanoseconds: u64 = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(nanoseconds) {
        Some(length @ 1_000..=1_000_000_000_000_000) => Ok(Duration::from_nanos(length)),
        _ => Err(wrong()),
    }
}

/// A policy.
pub(super) fn policy(text: &str) -> Result<Policy, String> {
    Policy::from_name(text).ok_or_else(|| "expected wfq or eevdf".to_owned())
}

/// A number of CPUs.
pub(super) fn cpus(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|cpus| (1..=MAX_CPUS).contains(cpus))
        .ok_or_else(|| format!("expected a number from 1 to {MAX_CPUS}"))
}

/// A seed.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a number from 0 to {}", u64::MAX))
}

/// How many seeds one range can name.
const MAX_SEEDS: u64 = 100_000;

/// Seeds: one, or the first and the last of several, `1..5`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seeds {
    first: u64,
    last: u64,
}

impl Seeds {
    /// Each of them.
    pub(super) fn iter(self) -> impl Iterator<Item = u64> {
        self.first..=self.last
    }
}

/// Seeds.
pub(super) fn seeds(text: &str) -> Result<Seeds, String> {
    let wrong = || {
        let most = u64::MAX;
        format!("expected a number from 0 to {most}, or the first and the last of several, such as 1..5; found {text}")
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    match text.split_once("..") {
        None => number(text).map(|only| Seeds { first: only, last: only }),
        Some((first, last)) => {
            let seeds = Seeds { first: number(first)?, last: number(last)? };
            match seeds.last.checked_sub(seeds.first) {
                Some(..MAX_SEEDS) => Ok(seeds),
                Some(_) => Err(format!("expected at most {MAX_SEEDS} seeds; found {text}")),
                None => Err(wrong()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_a_range() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        for wrong in ["10", "ms", "-1s", "1.5s", "0s", "99999999999999999999s", "1h", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seeds_are_one_or_a_range_with_both_ends() {
        assert_eq!(seeds("1..3").map(|seeds| seeds.iter().collect()), Ok(vec![1, 2, 3]));
        assert_eq!(seeds("7").map(|seeds| seeds.iter().collect()), Ok(vec![7]));
        assert!(
            seeds("3..1").is_err()
                && seeds("a").is_err()
                && seeds("0..100000").is_err()
                && seeds("0..99999999999").is_err()
                && seeds("1..").is_err()
        );
    }
}
