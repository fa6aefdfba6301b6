//! Virtual time: how much service an entity has had, scaled by its weight.
//!
//! [`Weight`] is 1..=10000; at the reference weight 64 virtual time runs as fast as real time. [`VirtualTime`] is a
//! point on the clock of **one queue** (points of different queues are never compared), [`VirtualSpan`] a signed
//! distance; both in nanoseconds. The clock wraps: points are compared by their signed distance, so nothing happens at
//! the end of `u64`, and only points within 2^63 ns (292 years of virtual time) of each other have an order.
//! [`Fraction`] carries what a division left over, so that no weight ever rounds to zero and long-run shares are exact.

use crate::sync::Pack;
use core::fmt;
use tessera_abi::scheduling::{DEFAULT_WEIGHT, MAX_WEIGHT, MIN_WEIGHT, REFERENCE_WEIGHT};
use tessera_hal::Duration;

/// How large a share an entity asks for, relative to the others on its CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Weight(u16);

/// A weight outside 1..=10000; the value that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeightError(pub u16);

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weight {} is not within {MIN_WEIGHT}..={MAX_WEIGHT}", self.0)
    }
}

impl core::error::Error for WeightError {}

impl Weight {
    /// The weight of one who asked for none.
    pub const DEFAULT: Self = Self(DEFAULT_WEIGHT);
    /// The weight at which virtual time is real time.
    pub const REFERENCE: Self = Self(REFERENCE_WEIGHT);

    /// A weight, if it is within the range.
    pub const fn new(weight: u16) -> Result<Self, WeightError> {
        if weight < MIN_WEIGHT || weight > MAX_WEIGHT { Err(WeightError(weight)) } else { Ok(Self(weight)) }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Pack for Weight {
    type Bits = u16;
    fn pack(self) -> u16 {
        self.0
    }
    fn unpack(bits: u16) -> Self {
        // One instruction that tells the compiler that nobody divides by zero.
        Self(bits.max(MIN_WEIGHT))
    }
}

/// A point on the virtual clock of one queue, in reference-weight nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VirtualTime(u64);

/// A signed distance on a virtual clock, in reference-weight nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct VirtualSpan(i64);

/// What is left of a division by a weight: this many `1/weight` of a virtual nanosecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fraction(u16);

impl VirtualTime {
    /// Where every queue's clock starts.
    pub const ZERO: Self = Self(0);

    /// The point with this reading.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The reading of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The signed distance from `earlier` to `self`.
    pub const fn since(self, earlier: Self) -> VirtualSpan {
        VirtualSpan(self.0.wrapping_sub(earlier.0).cast_signed())
    }

    /// Whether `self` comes before `other`.
    pub const fn is_before(self, other: Self) -> bool {
        self.since(other).0 < 0
    }

    /// The point `span` later; the clock wraps.
    pub const fn wrapping_add(self, span: VirtualSpan) -> Self {
        Self(self.0.wrapping_add(span.0.cast_unsigned()))
    }

    /// The point `span` earlier; the clock wraps.
    pub const fn wrapping_sub(self, span: VirtualSpan) -> Self {
        Self(self.0.wrapping_sub(span.0.cast_unsigned()))
    }

    /// The earlier of two points.
    pub const fn earlier(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }
}

impl VirtualSpan {
    /// No distance.
    pub const ZERO: Self = Self(0);
    /// The longest span that is ever added to a clock at once; a quarter of what has an order.
    const LIMIT: i64 = i64::MAX / 4;

    /// A span of this many reference-weight nanoseconds, kept within a quarter of the clock's range.
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self::clamped(nanoseconds as i128)
    }

    /// The number of reference-weight nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The span nearest to `nanoseconds` that a clock can take.
    pub(crate) const fn clamped(nanoseconds: i128) -> Self {
        if nanoseconds > Self::LIMIT as i128 {
            Self(Self::LIMIT)
        } else if nanoseconds < -Self::LIMIT as i128 {
            Self(-Self::LIMIT)
        } else {
            Self(nanoseconds as i64)
        }
    }

    /// `self + other`, within the limit.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::clamped(self.0 as i128 + other.0 as i128)
    }
}

/// The virtual time that `service` is worth at `weight`: `service * 64 / weight`, with the fraction carried on.
#[inline]
pub fn scale(service: Duration, weight: Weight, carried: Fraction) -> (VirtualSpan, Fraction) {
    // The usual case, in half the digits and within the limit at any weight: a charge of less than half a year.
    if service.as_nanos() < 1 << 54 {
        let numerator = service.as_nanos() * u64::from(REFERENCE_WEIGHT) + u64::from(carried.0);
        let divisor = u64::from(weight.0);
        (VirtualSpan((numerator / divisor).cast_signed()), Fraction((numerator % divisor) as u16))
    } else {
        scale_at_length(service, weight, carried)
    }
}

#[cold]
fn scale_at_length(service: Duration, weight: Weight, carried: Fraction) -> (VirtualSpan, Fraction) {
    let divisor = u128::from(weight.0);
    let numerator = u128::from(service.as_nanos()) * u128::from(REFERENCE_WEIGHT) + u128::from(carried.0);
    (VirtualSpan::clamped((numerator / divisor).cast_signed()), Fraction((numerator % divisor) as u16))
}

/// The virtual length of a request: rounded up, so that it is never zero.
#[inline]
pub fn request_span(request: Duration, weight: Weight) -> VirtualSpan {
    let (nanoseconds, weight) = (request.as_nanos().max(1), u64::from(weight.0));
    // The usual case, within the limit at any weight: less than a year.
    if nanoseconds < 1 << 54 {
        VirtualSpan((nanoseconds * u64::from(REFERENCE_WEIGHT)).div_ceil(weight).cast_signed())
    } else {
        let numerator = u128::from(nanoseconds) * u128::from(REFERENCE_WEIGHT);
        VirtualSpan::clamped(numerator.div_ceil(u128::from(weight)).cast_signed())
    }
}

/// `numerator / divisor`, rounded toward zero.
#[inline]
pub(super) fn truncating_divide(numerator: i128, divisor: u64) -> i128 {
    match (i64::try_from(numerator), i64::try_from(divisor)) {
        (Ok(numerator), Ok(divisor)) => i128::from(numerator / divisor),
        _ => numerator / i128::from(divisor),
    }
}

/// A span at `old` that is worth the same service at `new`. Rounds toward zero: a debt shrinks by less than one
/// virtual nanosecond, a credit never grows.
pub fn rescale(span: VirtualSpan, old: Weight, new: Weight) -> VirtualSpan {
    // The usual case in half the digits, without a sign: it is within the limit at any weight then.
    match span.0.unsigned_abs().checked_mul(u64::from(old.0)) {
        Some(service) if service <= VirtualSpan::LIMIT.cast_unsigned() => {
            let magnitude = (service / u64::from(new.0)).cast_signed();
            VirtualSpan(if span.0 < 0 { -magnitude } else { magnitude })
        }
        _ => VirtualSpan::clamped(i128::from(span.0) * i128::from(old.0) / i128::from(new.0)),
    }
}

impl Fraction {
    /// The same part of a nanosecond, counted in parts of another weight; rounded down.
    pub fn rescale(self, old: Weight, new: Weight) -> Self {
        Self((u32::from(self.0) * u32::from(new.0) / u32::from(old.0)) as u16)
    }
}

crate::pack_newtype!(Fraction(u16));

crate::pack_newtype!(VirtualTime(u64));

impl Pack for VirtualSpan {
    type Bits = u64;
    fn pack(self) -> u64 {
        self.0.cast_unsigned()
    }
    fn unpack(bits: u64) -> Self {
        Self(bits.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_toward_zero_whatever_their_size() {
        for (numerator, quotient) in [(-7, -3), (-8, -4), (7, 3), (0, 0)] {
            assert_eq!(truncating_divide(numerator, 2), quotient);
        }
        // More than a register holds.
        assert_eq!(truncating_divide(-(1_i128 << 100) - 1, 2), -(1 << 99));
    }

    #[test]
    fn a_million_one_nanosecond_charges_cost_what_one_charge_of_a_millisecond_costs() {
        for weight in [1, 3, 63, 64, 65, 1_000, 9_999, 10_000] {
            let weight = Weight::new(weight).unwrap();
            let (whole, rest) = scale(Duration::from_nanos(1_000_000), weight, Fraction::default());
            let (mut sum, mut fraction) = (VirtualTime::ZERO, Fraction::default());
            for _ in 0..1_000_000 {
                let (span, next) = scale(Duration::from_nanos(1), weight, fraction);
                (sum, fraction) = (sum.wrapping_add(span), next);
            }
            assert_eq!((sum.since(VirtualTime::ZERO), fraction), (whole, rest));
        }
    }

    #[test]
    fn order_survives_the_end_of_the_clock() {
        let before = VirtualTime::from_nanos(u64::MAX - 5);
        let after = before.wrapping_add(VirtualSpan::from_nanos(10));
        assert_eq!(after.as_nanos(), 4);
        assert!(before.is_before(after) && !after.is_before(before));
        assert_eq!(before.earlier(after), before);
        assert_eq!(after.since(before).as_nanos(), 10);
    }

    #[test]
    fn weights_outside_the_range_are_refused_with_their_value() {
        assert_eq!(Weight::new(0), Err(WeightError(0)));
        assert_eq!(Weight::new(10_001), Err(WeightError(10_001)));
        assert_eq!(Weight::new(10_000).unwrap().get(), 10_000);
    }

    #[test]
    fn a_request_is_worth_its_length_by_its_weight_and_never_nothing() {
        let heavy = Weight::new(10_000).unwrap();
        assert_eq!(request_span(Duration::from_nanos(1), heavy).as_nanos(), 1);
        assert_eq!(request_span(Duration::from_nanos(2_000_000), Weight::REFERENCE).as_nanos(), 2_000_000);
        assert_eq!(request_span(Duration::from_nanos(1_000), Weight::new(128).unwrap()).as_nanos(), 500);
    }
}
