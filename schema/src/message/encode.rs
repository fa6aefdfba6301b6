//! Writes a message of one struct: framing, root pointer, data, pointers, then text or list content.
//!
//! The layout of a Cap'n Proto pointer is that of the encoding specification (capnproto.org/encoding.html).

use super::U64List;

const WORD: usize = 8;
/// Segment count minus one (zero) and the segment's words, each 32 bits.
const FRAMING_BYTES: usize = WORD;
const LIST_POINTER: u64 = 1;
const ELEMENT_BYTE: u64 = 2;
const ELEMENT_EIGHT_BYTES: u64 = 5;

/// Why a message could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeError {
    /// The buffer holds `available` bytes, the message needs at least `needed`.
    BufferTooSmall {
        /// Bytes that the message needs.
        needed: usize,
        /// Bytes of the buffer.
        available: usize,
    },
}

/// A message in the making. Sizes come from `generated::layout`.
pub(crate) struct Encoder<'a> {
    buffer: &'a mut [u8],
    data_words: usize,
    /// Bytes used so far, framing included; a multiple of a word.
    used: usize,
}

impl<'a> Encoder<'a> {
    /// Starts a message whose root is a struct of this size, all zero.
    pub fn new(buffer: &'a mut [u8], data_words: usize, pointers: usize) -> Result<Self, EncodeError> {
        let mut encoder = Self { buffer, data_words, used: 0 };
        encoder.reserve(FRAMING_BYTES + WORD + (data_words + pointers) * WORD)?;
        // A struct pointer with offset 0: data words in bits 32..48, pointers in bits 48..64.
        encoder.put(FRAMING_BYTES, &((data_words as u64) << 32 | (pointers as u64) << 48).to_le_bytes());
        Ok(encoder)
    }

    /// Sets a 16-bit field.
    pub fn set_u16(&mut self, offset: usize, value: u16) {
        self.put(FRAMING_BYTES + WORD + offset, &value.to_le_bytes());
    }

    /// Sets a 32-bit field.
    pub fn set_u32(&mut self, offset: usize, value: u32) {
        self.put(FRAMING_BYTES + WORD + offset, &value.to_le_bytes());
    }

    /// Sets a 64-bit field.
    pub fn set_u64(&mut self, offset: usize, value: u64) {
        self.put(FRAMING_BYTES + WORD + offset, &value.to_le_bytes());
    }

    /// Sets a data field.
    pub fn set_data(&mut self, pointer: usize, bytes: &[u8]) -> Result<(), EncodeError> {
        let place = self.list(pointer, ELEMENT_BYTE, bytes.len(), bytes.len())?;
        self.put(place, bytes);
        Ok(())
    }

    /// Sets a text field. Text ends with a zero byte that counts.
    pub fn set_text(&mut self, pointer: usize, text: &str) -> Result<(), EncodeError> {
        let place = self.list(pointer, ELEMENT_BYTE, text.len() + 1, text.len() + 1)?;
        self.put(place, text.as_bytes());
        Ok(())
    }

    /// Sets a list of 64-bit numbers.
    pub fn set_u64_list(&mut self, pointer: usize, values: U64List<'_>) -> Result<(), EncodeError> {
        let place = self.list(pointer, ELEMENT_EIGHT_BYTES, values.len(), values.len() * WORD)?;
        for (index, value) in values.iter().enumerate() {
            self.put(place + index * WORD, &value.to_le_bytes());
        }
        Ok(())
    }

    /// Completes the framing and gives the message's bytes.
    pub fn finish(mut self) -> usize {
        let words = (self.used - FRAMING_BYTES) / WORD;
        self.put(0, &((words as u64) << 32).to_le_bytes());
        self.used
    }

    /// Makes room for a list, points the pointer at it and gives its place.
    fn list(&mut self, pointer: usize, element: u64, count: usize, bytes: usize) -> Result<usize, EncodeError> {
        let place = self.used;
        self.reserve(bytes.next_multiple_of(WORD))?;
        let pointer_place = FRAMING_BYTES + WORD + (self.data_words + pointer) * WORD;
        let offset = (place - pointer_place - WORD) / WORD;
        let value = LIST_POINTER | (offset as u64) << 2 | element << 32 | (count as u64) << 35;
        self.put(pointer_place, &value.to_le_bytes());
        Ok(place)
    }

    /// Takes the next `bytes` bytes into use, zeroed.
    fn reserve(&mut self, bytes: usize) -> Result<(), EncodeError> {
        let needed = self.used.saturating_add(bytes);
        let available = self.buffer.len();
        let Some(fresh) = self.buffer.get_mut(self.used..needed) else {
            return Err(EncodeError::BufferTooSmall { needed, available });
        };
        fresh.fill(0);
        self.used = needed;
        Ok(())
    }

    /// Writes bytes at a place that was reserved.
    fn put(&mut self, place: usize, bytes: &[u8]) {
        if let Some(target) = self.buffer.get_mut(place..place + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }
}
