//! What every message has in common, for both sides of a call.
//!
//! The messages are the structs of [`messages`](crate::generated::messages), one for every struct of `messages.capnp`;
//! the calls of an interface are an enum in [`interfaces`](crate::generated::interfaces). A program encodes parameters
//! and decodes results or an [`Exception`]; the receiver of calls does the reverse. Encoders write into a buffer of the
//! caller and say how many bytes they used; decoders accept bytes of any origin and alignment. Nothing here allocates,
//! panics or loops over more than the bytes it was given.

mod decode;
mod encode;
mod exception;
mod u64_list;

pub use decode::DecodeError;
pub(crate) use decode::Envelope;
pub use encode::EncodeError;
pub(crate) use encode::Encoder;
pub use exception::{Exception, ExceptionKind};
pub use u64_list::{CpuOutOfRange, U64List};

/// Words of a CPU mask in messages and manifests: CPUs 0 to 511.
pub const CPU_WORDS: usize = 8;

/// A set of CPUs as it travels: bit `n % 64` of word `n / 64` is CPU `n`.
pub type CpuWords = [u64; CPU_WORDS];

/// A struct of the schema that travels as a message.
pub trait Message<'a>: Sized {
    /// Writes the message; gives its bytes.
    fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError>;

    /// Reads a message of any origin and alignment.
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError>;
}

/// Why a call could not be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallDecodeError {
    /// The interface has no method with this ordinal.
    UnknownMethod(u16),
    /// The parameters are not the method's.
    Malformed(DecodeError),
}

impl From<DecodeError> for CallDecodeError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}
