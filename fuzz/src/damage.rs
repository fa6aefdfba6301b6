//! [`damaged`]: what becomes of an entry of a corpus that somebody cuts, changes and mixes with another.

use crate::corpus::Entry;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::fmt;
use std::ops::Deref;

/// An input; written as hex digits, as they stand in a file of a corpus.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// One change. A place is relative to the length that the bytes have by then.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        place: Index,
        bit: u32,
    },
    Set {
        place: Index,
        value: u8,
    },
    /// A little-endian number of 1, 2, 4 or 8 bytes, where one of its size would be aligned.
    Number {
        place: Index,
        size: usize,
        value: u64,
    },
    Remove {
        place: Index,
        count: usize,
    },
    Insert {
        place: Index,
        bytes: Vec<u8>,
    },
    /// The same bytes once more, behind themselves.
    Repeat {
        place: Index,
        count: usize,
    },
    Truncate {
        place: Index,
    },
    /// From here on as another entry is from there on.
    Continue {
        place: Index,
        other: Vec<u8>,
        from: Index,
    },
}

/// Numbers at which something ends: of a size, a sign, a page, user memory.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x1000,
    0xffff,
    1 << 31,
    u32::MAX as u64,
    1 << 47,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 0xfff,
    u64::MAX,
];

/// A change that moves nothing: what a format finds by offsets stays where it was.
fn in_place() -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    let number = prop_oneof![2 => select(&EDGES[..]), 1 => 0..0x1_0000_u64, 1 => any::<u64>()];
    prop_oneof![
        (place(), 0..8_u32).prop_map(|(place, bit)| Damage::Flip { place, bit }),
        (place(), any::<u8>()).prop_map(|(place, value)| Damage::Set { place, value }),
        (place(), select(&[1, 2, 4, 8][..]), number).prop_map(|(place, size, value)| Damage::Number {
            place,
            size,
            value
        }),
    ]
}

/// Any change.
fn damage(entries: Vec<Vec<u8>>) -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    prop_oneof![
        4 => in_place(),
        1 => (place(), 1..65_usize).prop_map(|(place, count)| Damage::Remove { place, count }),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..17))
            .prop_map(|(place, bytes)| Damage::Insert { place, bytes }),
        1 => (place(), 1..129_usize).prop_map(|(place, count)| Damage::Repeat { place, count }),
        1 => place().prop_map(|place| Damage::Truncate { place }),
        1 => (place(), select(entries), place())
            .prop_map(|(place, other, from)| Damage::Continue { place, other, from }),
    ]
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        // What changes a byte needs one; what adds some can do so at the end.
        let at = |place: &Index| place.index(length.max(1)).min(length);
        let behind = |place: &Index| place.index(length + 1);
        match self {
            Self::Flip { place, bit } => bytes.iter_mut().skip(at(&place)).take(1).for_each(|byte| *byte ^= 1 << bit),
            Self::Set { place, value } => bytes.iter_mut().skip(at(&place)).take(1).for_each(|byte| *byte = value),
            Self::Number { place, size, value } => {
                let start = at(&place) / size * size;
                let places = bytes.iter_mut().skip(start).take(size);
                places.zip(value.to_le_bytes()).for_each(|(place, byte)| *place = byte);
            }
            Self::Remove { place, count } => {
                let start = at(&place);
                bytes.drain(start..(start + count).min(length));
            }
            Self::Insert { place, bytes: new } => {
                let place = behind(&place);
                bytes.splice(place..place, new);
            }
            Self::Repeat { place, count } => {
                let start = at(&place);
                let end = (start + count).min(length);
                let again = bytes[start..end].to_vec();
                bytes.splice(end..end, again);
            }
            Self::Truncate { place } => bytes.truncate(behind(&place)),
            Self::Continue { place, other, from } => {
                bytes.truncate(behind(&place));
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
}

/// An entry of the corpus with a few changes.
pub fn damaged(corpus: &[Entry]) -> impl Strategy<Value = Bytes> + use<> {
    let entries: Vec<Vec<u8>> = corpus.iter().map(|entry| entry.bytes.clone()).collect();
    let changes =
        prop_oneof![prop::collection::vec(in_place(), 1..4), prop::collection::vec(damage(entries.clone()), 1..8),];
    (select(entries), changes).prop_map(|(mut bytes, changes)| {
        changes.into_iter().for_each(|change| change.apply(&mut bytes));
        Bytes(bytes)
    })
}

/// At most `most` random bytes, or, more often, an entry of the corpus with a few changes.
pub fn any_bytes(corpus: &[Entry], most: usize) -> impl Strategy<Value = Bytes> + use<> {
    let random = prop::collection::vec(any::<u8>(), 0..=most).prop_map(Bytes);
    prop_oneof![1 => random, 3 => damaged(corpus)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn entry(bytes: &[u8]) -> Entry {
        Entry { name: "entry".to_owned(), bytes: bytes.to_vec() }
    }

    #[test]
    fn bytes_are_written_as_a_corpus_has_them() {
        let bytes = Bytes(vec![0x7f, 0, 0xab]);
        assert_eq!(format!("{bytes:?}"), "7f00ab");
        assert_eq!(crate::from_hex("7f00ab"), Some(bytes.0));
    }

    #[test]
    fn an_entry_is_changed_cut_and_continued() {
        use proptest::strategy::ValueTree;
        use proptest::test_runner::TestRunner;
        let strategy = damaged(&[entry(&[1; 32]), entry(&[2; 32])]);
        let mut runner = TestRunner::deterministic();
        let mut draw = || strategy.new_tree(&mut runner).expect("a strategy that rejects nothing").current().0;
        let all: Vec<Vec<u8>> = (0..500).map(|_| draw()).collect();
        assert!(all.iter().any(|bytes| bytes.len() < 32) && all.iter().any(|bytes| bytes.len() > 32));
        assert!(all.iter().any(|bytes| bytes.contains(&1) && bytes.contains(&2)), "two entries in one");
        assert!(all.iter().collect::<BTreeSet<_>>().len() > 400);
    }

    proptest! {
        #[test]
        fn nothing_is_too_short_to_be_damaged(bytes in damaged(&[entry(&[]), entry(&[7])])) {
            prop_assert!(bytes.len() < 2_000);
        }
    }
}
