//! Units and round numbers.

use tessera_hal::Duration;

/// A unit of time for an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unit {
    pub name: &'static str,
    nanoseconds: u64,
}

impl Unit {
    /// The largest unit of which `span` has at least ten.
    pub(super) fn of(span: Duration) -> Self {
        let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
        let fitting = units.into_iter().find(|(_, nanoseconds)| span.as_nanos() >= 10 * nanoseconds);
        let (name, nanoseconds) = fitting.unwrap_or(("ns", 1));
        Self { name, nanoseconds }
    }

    /// So many of the unit.
    pub(super) fn count(self, nanoseconds: u64) -> f64 {
        nanoseconds as f64 / self.nanoseconds as f64
    }
}

/// The first of 1, 2, 5, 10, 20 ... that is at least `number`.
pub(super) fn round_up(number: f64) -> f64 {
    if !(number > 0.0 && number.is_finite()) {
        return 1.0;
    }
    let power = 10_f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|&step| step >= number * (1.0 - 1e-12)).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_up_to_what_people_count_in() {
        let expected = [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (70.0, 100.0), (0.03, 0.05)];
        for (number, round) in expected {
            assert!((round_up(number) - round).abs() < 1e-9, "{number}: {}", round_up(number));
        }
    }

    #[test]
    fn an_axis_has_at_least_ten_of_its_unit() {
        assert_eq!(Unit::of(Duration::from_secs(10)).name, "s");
        assert_eq!(Unit::of(Duration::from_secs(9)).name, "ms");
        assert_eq!(Unit::of(Duration::from_nanos(5)).name, "ns");
    }
}
