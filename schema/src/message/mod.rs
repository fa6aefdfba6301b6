//! Parameters and results of every method, typed, for both sides of a call.
//!
//! A program encodes a [`Request`] and decodes a [`Reply`] or an [`Exception`]; the kernel does the reverse. Encoders
//! write into a buffer of the caller and say how many bytes they used; decoders accept bytes of any origin and alignment.
//! Nothing here allocates, panics or loops over more than the bytes it was given.

mod decode;
mod encode;
mod exception;
mod reply;
mod request;

pub use decode::DecodeError;
pub use encode::EncodeError;
pub use exception::{Exception, ExceptionKind};
pub use reply::{Reply, Snapshot};
pub use request::{CpuWords, MethodId, Request, RequestError};

/// Words of a CPU mask in messages and manifests: CPUs 0 to 511.
pub const CPU_WORDS: usize = 8;

pub use crate::generated::layout::{
    console::ID as CONSOLE, scheduling_policy_cap::ID as SCHEDULING_POLICY, timer::ID as TIMER,
};
