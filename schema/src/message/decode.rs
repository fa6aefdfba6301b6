//! Opens a message, gives its root, and lends parts of it that live as long as its bytes.

use super::U64List;
use crate::subslice;
use capnp::{
    ErrorKind,
    message::{Reader, ReaderOptions, ReaderSegments},
    primitive_list,
    private::layout::ElementSize,
    raw,
    serialize::{NoAllocSliceSegments, read_message_from_flat_slice_no_alloc},
    text,
    traits::FromPointerReader,
};

/// Why bytes are not the message that they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The framing or a pointer is wrong; the Cap'n Proto reader's finding.
    Malformed(ErrorKind),
    /// The message has this many segments, not one.
    NotOneSegment(usize),
    /// A text is not UTF-8.
    NotUtf8,
    /// An enumerant has this number, which no schema of ours has.
    UnknownEnumerant(u16),
    /// The elements of a list of numbers are structs.
    NotNumbers,
    /// The results came with another number of capabilities than the schema says.
    Capabilities {
        /// What the schema says.
        expected: usize,
        /// What came.
        received: usize,
    },
}

impl From<capnp::Error> for DecodeError {
    fn from(error: capnp::Error) -> Self {
        Self::Malformed(error.kind)
    }
}

/// Words that a message's reader may visit, against messages that point at one place many times.
const TRAVERSAL_LIMIT_WORDS: usize = 4096;

/// A message whose framing was found good.
pub(crate) struct Envelope<'a> {
    bytes: &'a [u8],
    reader: Reader<NoAllocSliceSegments<'a>>,
}

impl<'a> Envelope<'a> {
    /// Checks the framing of `bytes`.
    pub fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut options = ReaderOptions::new();
        options.traversal_limit_in_words(Some(TRAVERSAL_LIMIT_WORDS)).nesting_limit(4);
        let mut rest = bytes;
        let reader = read_message_from_flat_slice_no_alloc(&mut rest, options)?;
        match reader.get_segments().len() {
            1 => Ok(Self { bytes, reader }),
            several => Err(DecodeError::NotOneSegment(several)),
        }
    }

    /// The root, as the struct that it should be.
    pub fn root<'r, T: FromPointerReader<'r>>(&'r self) -> Result<T, DecodeError> {
        Ok(self.reader.get_root()?)
    }

    /// A data field of the root.
    pub fn data(&self, field: &[u8]) -> &'a [u8] {
        // The field is a part of the message or empty.
        subslice::rebind(self.bytes, field).unwrap_or_default()
    }

    /// A text field of the root.
    pub fn text(&self, field: text::Reader<'_>) -> Result<&'a str, DecodeError> {
        core::str::from_utf8(self.data(field.as_bytes())).map_err(|_| DecodeError::NotUtf8)
    }

    /// A list field of the root.
    pub fn u64_list(&self, field: primitive_list::Reader<'_, u64>) -> Result<U64List<'a>, DecodeError> {
        if field.is_empty() {
            return Ok(U64List::EMPTY);
        }
        // The format permits structs whose first field is the number; nothing that speaks this schema writes them.
        if raw::get_list_element_size(field) != ElementSize::EightBytes {
            return Err(DecodeError::NotNumbers);
        }
        Ok(U64List::from_message(self.data(raw::get_list_bytes(field))))
    }
}
