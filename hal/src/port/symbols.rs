//! Names for addresses: a table in the image, filled in after linking.
//!
//! Format, little-endian: the magic, `count: u32`, `name_bytes: u32`, then `count` pairs of `u32` (offset of the
//! function from the start of the text, ascending; offset of its name), then the names, each `length: u16` and UTF-8. An image
//! whose table was not filled in has no magic there, and backtraces show plain addresses.

/// The table's first bytes.
pub const MAGIC: [u8; 8] = *b"TESSYM01";
const HEADER: usize = 16;

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol<'a> {
    /// Its first address.
    pub start: u64,
    /// Its name.
    pub name: &'a str,
}

/// The function that contains `address`, by the table of an image whose text begins at `text`.
pub fn find(table: &[u8], text: u64, address: u64) -> Option<Symbol<'_>> {
    let offset = u32::try_from(address.checked_sub(text)?).ok()?;
    let (start, name) = look_up(table, offset)?;
    Some(Symbol { start: text + u64::from(start), name })
}

/// The offset and name of the last function that begins at or before `offset`.
fn look_up(table: &[u8], offset: u32) -> Option<(u32, &str)> {
    if table.get(..MAGIC.len())? != MAGIC {
        return None;
    }
    let count = word(table, 8)? as usize;
    let entry = |index: usize| word(table, HEADER + index * 8);
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high) / 2;
        if entry(middle)? <= offset {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let index = low.checked_sub(1)?;
    let name_at = HEADER + count * 8 + word(table, HEADER + index * 8 + 4)? as usize;
    let length = u16::from_le_bytes(table.get(name_at..name_at + 2)?.try_into().ok()?) as usize;
    let name = core::str::from_utf8(table.get(name_at + 2..name_at + 2 + length)?).ok()?;
    Some((entry(index)?, name))
}

fn word(table: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(table.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn table() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(2u32.to_le_bytes());
        bytes.extend(9u32.to_le_bytes());
        for word in [0x10u32, 0, 0x80, 5] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"\x03\x00one\x02\x00me");
        bytes
    }

    #[test]
    fn an_address_belongs_to_the_last_function_before_it() {
        let table = table();
        assert_eq!(look_up(&table, 0xf), None);
        assert_eq!(look_up(&table, 0x10), Some((0x10, "one")));
        assert_eq!(look_up(&table, 0x7f), Some((0x10, "one")));
        assert_eq!(look_up(&table, 0x8000), Some((0x80, "me")));
    }

    #[test]
    fn an_empty_or_cut_table_has_no_names() {
        assert_eq!(look_up(&[0; 64], 0x10), None);
        let table = table();
        for length in 0..table.len() {
            let found = look_up(&table[..length], 0x10);
            assert!(found.is_none() || found == Some((0x10, "one")));
        }
    }
}
