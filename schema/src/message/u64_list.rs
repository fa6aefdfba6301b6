//! A list of 64-bit numbers, as a program has it or as it stands in a message.

use super::{CPU_WORDS, CpuWords};
use core::fmt;

const WORD: usize = 8;

/// A list of numbers that was made from a slice or decoded from a message of any alignment.
#[derive(Clone, Copy)]
pub struct U64List<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Numbers(&'a [u64]),
    /// Little-endian, not necessarily aligned.
    Message(&'a [[u8; WORD]]),
}

/// A mask names a CPU above the largest possible; this is its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuOutOfRange(pub usize);

impl<'a> U64List<'a> {
    /// The list without elements.
    pub const EMPTY: Self = Self(Form::Numbers(&[]));

    /// The list of these numbers.
    pub const fn new(numbers: &'a [u64]) -> Self {
        Self(Form::Numbers(numbers))
    }

    /// The list whose elements stand in `bytes`.
    pub(super) fn from_message(bytes: &'a [u8]) -> Self {
        Self(Form::Message(bytes.as_chunks().0))
    }

    /// How many elements there are.
    pub const fn len(&self) -> usize {
        match self.0 {
            Form::Numbers(numbers) => numbers.len(),
            Form::Message(elements) => elements.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        let (numbers, elements): (&[u64], &[[u8; WORD]]) = match self.0 {
            Form::Numbers(numbers) => (numbers, &[]),
            Form::Message(elements) => (&[], elements),
        };
        numbers.iter().copied().chain(elements.iter().map(|element| u64::from_le_bytes(*element)))
    }

    /// The list as the words of a CPU mask. A CPU above the largest possible is an error, not dropped; words beyond the
    /// last that are zero are none.
    pub fn cpu_words(&self) -> Result<CpuWords, CpuOutOfRange> {
        let mut words = [0; CPU_WORDS];
        for (index, word) in self.iter().enumerate() {
            match words.get_mut(index) {
                Some(slot) => *slot = word,
                None if word == 0 => {}
                None => return Err(CpuOutOfRange(index * 64 + word.trailing_zeros() as usize)),
            }
        }
        Ok(words)
    }
}

impl Default for U64List<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for U64List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for U64List<'_> {}

impl fmt::Debug for U64List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_its_numbers_wherever_they_stand() {
        let bytes = [0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x80];
        let decoded = U64List::from_message(&bytes[1..]);
        assert_eq!(decoded, U64List::new(&[1, 0x8000_0000_0000_0002]));
        assert_ne!(decoded, U64List::new(&[1]));
        assert_eq!((decoded.len(), U64List::default().is_empty()), (2, true));
    }

    #[test]
    fn a_mask_beyond_the_largest_cpu_is_refused_and_trailing_zero_words_are_not() {
        let mut words = [0; CPU_WORDS + 1];
        words[0] = 5;
        assert_eq!(U64List::new(&words).cpu_words(), Ok([5, 0, 0, 0, 0, 0, 0, 0]));
        words[CPU_WORDS] = 2;
        assert_eq!(U64List::new(&words).cpu_words(), Err(CpuOutOfRange(513)));
        assert_eq!(U64List::EMPTY.cpu_words(), Ok([0; CPU_WORDS]));
    }
}
