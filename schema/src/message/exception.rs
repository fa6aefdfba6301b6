//! `CapException`: why a capability did not do what a call asked.

use super::{DecodeError, EncodeError, Message};
use crate::generated::messages::CapException;

/// What kind of reason, and so what the caller can do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum ExceptionKind {
    /// It went wrong; trying again will not help.
    Failed = 0,
    /// A resource is exhausted for now.
    Overloaded = 1,
    /// The object is gone.
    Disconnected = 2,
    /// The object does not know the method.
    Unimplemented = 3,
    /// A parameter has a value that the method does not take.
    InvalidArgument = 4,
}

impl ExceptionKind {
    /// Every kind, by ordinal.
    pub const ALL: [Self; 5] =
        [Self::Failed, Self::Overloaded, Self::Disconnected, Self::Unimplemented, Self::InvalidArgument];

    /// The kind's name in the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Overloaded => "overloaded",
            Self::Disconnected => "disconnected",
            Self::Unimplemented => "unimplemented",
            Self::InvalidArgument => "invalidArgument",
        }
    }
}

/// An exception, as it travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception<'a> {
    /// What kind of reason.
    pub kind: ExceptionKind,
    /// The reason, for people.
    pub reason: &'a str,
}

impl<'a> Exception<'a> {
    /// Writes the exception; gives the message's bytes.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        CapException { r#type: self.kind as u16, reason: self.reason }.encode(buffer)
    }

    /// Reads an exception.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let CapException { r#type: ordinal, reason } = CapException::decode(bytes)?;
        let kind = ExceptionKind::ALL.get(usize::from(ordinal)).ok_or(DecodeError::UnknownEnumerant(ordinal))?;
        Ok(Self { kind: *kind, reason })
    }
}
