//! Random numbers that a seed repeats: Marsaglia, "Xorshift RNGs" (2003), with a multiplication behind it (Vigna, 2016).

/// A sequence of numbers.
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        // The state is never zero.
        Self(seed | 1)
    }

    /// The next one of 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.number() >> 32) % bound.max(1)
    }
}
