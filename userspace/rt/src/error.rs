//! Why a call gave no results.

use core::fmt;
use tessera_abi::ring::TransportError;
use tessera_schema::message::{DecodeError, EncodeError, Exception, ExceptionKind};

/// Bytes of a reason that a program keeps.
const REASON_BYTES: usize = 80;

/// Why a call did not give results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The program was not granted a capability with this interface.
    NotGranted(u64),
    /// The transport's (negative) status: a negated `TransportError`.
    Transport(i32),
    /// The capability's exception.
    Exception(ExceptionKind, Reason),
    /// `cap_enter` failed: a negated `SystemCallError`.
    SystemCall(i32),
    /// The submission queue is full and the kernel takes nothing from it.
    QueueFull,
    /// So many completions were not taken that this operation's might find no room.
    TooManyOutstanding,
    /// More capabilities than a message can carry; their number.
    TooManyCapabilities(usize),
    /// The parameters do not fit the buffer.
    Encode(EncodeError),
    /// The kernel's message is not what the schema says.
    Decode(DecodeError),
}

impl CallError {
    /// Whether the transport failed so.
    pub fn is_transport(&self, error: TransportError) -> bool {
        *self == Self::Transport(-(error as i32))
    }

    /// The kind of the exception, if it is one.
    pub const fn exception(&self) -> Option<ExceptionKind> {
        match self {
            Self::Exception(kind, _) => Some(*kind),
            _ => None,
        }
    }

    /// The exception that stands in `message`.
    pub(crate) fn from_exception(message: &[u8]) -> Self {
        match Exception::decode(message) {
            Ok(exception) => Self::Exception(exception.kind, Reason::new(exception.reason)),
            Err(error) => Self::Decode(error),
        }
    }
}

impl From<EncodeError> for CallError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<DecodeError> for CallError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(interface) => match crate::generated::interfaces::name(*interface) {
                Some(name) => write!(f, "no {name} was granted"),
                None => write!(f, "no capability of interface {interface:#x} was granted"),
            },
            Self::Transport(status) => match transport_error(*status) {
                Some(error) => write!(f, "transport error {error:?}"),
                None => write!(f, "transport error {status}"),
            },
            Self::Exception(kind, reason) => write!(f, "{}: {}", kind.name(), reason.as_str()),
            Self::SystemCall(status) => write!(f, "cap_enter failed with {status}"),
            Self::QueueFull => write!(f, "the submission queue is full"),
            Self::TooManyOutstanding => write!(f, "too many operations are outstanding"),
            Self::TooManyCapabilities(count) => write!(f, "{count} capabilities are too many for a message"),
            Self::Encode(error) => write!(f, "cannot encode the parameters: {error:?}"),
            Self::Decode(error) => write!(f, "cannot decode the results: {error:?}"),
        }
    }
}

impl core::error::Error for CallError {}

/// The transport error with this (negated) number.
fn transport_error(status: i32) -> Option<TransportError> {
    const ALL: [TransportError; 16] = [
        TransportError::UnknownOperation,
        TransportError::ReservedField,
        TransportError::InvalidHandle,
        TransportError::WrongInterface,
        TransportError::BadParams,
        TransportError::BadResults,
        TransportError::ResultsTooSmall,
        TransportError::MalformedMessage,
        TransportError::MessageTooLong,
        TransportError::Revoked,
        TransportError::BadCapabilities,
        TransportError::NoSuchCall,
        TransportError::CapabilitiesRefused,
        TransportError::BadWord,
        TransportError::Overloaded,
        TransportError::Disconnected,
    ];
    ALL.into_iter().find(|error| status == -(*error as i32))
}

/// An exception's reason, cut to what fits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    bytes: [u8; REASON_BYTES],
    length: u8,
}

impl Reason {
    fn new(text: &str) -> Self {
        let mut length = text.len().min(REASON_BYTES);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        let mut bytes = [0; REASON_BYTES];
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { bytes, length: length as u8 }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::ToString};

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let text = "\u{e4}".repeat(REASON_BYTES);
        assert_eq!(Reason::new(&text).as_str(), "\u{e4}".repeat(REASON_BYTES / 2));
        assert_eq!(Reason::new("short").as_str(), "short");
    }

    #[test]
    fn an_error_says_what_failed() {
        let error = CallError::Transport(-(TransportError::BadWord as i32));
        assert_eq!(error.to_string(), "transport error BadWord");
        assert!(error.is_transport(TransportError::BadWord) && !error.is_transport(TransportError::Revoked));
        assert_eq!(CallError::NotGranted(0xf0b2_5d1c_9a7e_6002).to_string(), "no Timer was granted");
        let error = CallError::Exception(ExceptionKind::Overloaded, Reason::new("full"));
        assert_eq!(format!("{error}"), "overloaded: full");
    }
}
