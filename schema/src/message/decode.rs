//! Opens a message and hands its root to a closure.

use capnp::{
    ErrorKind,
    message::{Reader, ReaderOptions, ReaderSegments},
    serialize::{NoAllocSliceSegments, read_message_from_flat_slice_no_alloc},
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
}

impl From<capnp::Error> for DecodeError {
    fn from(error: capnp::Error) -> Self {
        Self::Malformed(error.kind)
    }
}

/// Words that a message's reader may visit, against messages that point at one place many times.
const TRAVERSAL_LIMIT_WORDS: usize = 4096;

/// A message whose framing was found good.
pub struct Message<'a>(Reader<NoAllocSliceSegments<'a>>);

impl<'a> Message<'a> {
    /// Checks the framing of `bytes`.
    pub fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut options = ReaderOptions::new();
        options.traversal_limit_in_words(Some(TRAVERSAL_LIMIT_WORDS)).nesting_limit(4);
        let mut rest = bytes;
        let reader = read_message_from_flat_slice_no_alloc(&mut rest, options)?;
        match reader.get_segments().len() {
            1 => Ok(Self(reader)),
            several => Err(DecodeError::NotOneSegment(several)),
        }
    }

    /// The root, as the struct that it should be.
    pub fn root<'r, T: FromPointerReader<'r>>(&'r self) -> Result<T, DecodeError> {
        Ok(self.0.get_root()?)
    }
}
