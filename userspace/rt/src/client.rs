//! Typed clients of the capabilities that a program can be granted.

use crate::{
    ring::{self, Completed, MethodId},
    start,
};
use core::fmt;
use tessera_schema::{
    generated::{
        interfaces::{console, scheduling_policy_cap as policy, timer},
        messages::{
            ConsoleWriteParams, Empty, SetAffinityParams, SetLatencyClassParams, SetWeightParams, SnapshotResults,
            TimerNowResults, TimerSleepParams,
        },
    },
    message::{CpuWords, DecodeError, EncodeError, Exception, ExceptionKind, Message, U64List},
};

/// Bytes of the buffer for parameters: enough for every method.
const PARAMS_BYTES: usize = 512;
/// Bytes of the buffer for results: enough for every method, and for an exception with its reason.
const RESULTS_BYTES: usize = 512;
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
    /// The submission queue is full.
    QueueFull,
    /// More completions came for others than can be set aside.
    TooManyOutstanding,
    /// The parameters do not fit the buffer.
    Encode(EncodeError),
    /// The kernel's message is not what the schema says.
    Decode(DecodeError),
    /// The ring is in use: a call from within a call.
    RingInUse,
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

/// Calls a method and gives its results to `decode`.
fn call<'p, T>(
    handle: u64,
    (interface, method): (u64, u16),
    params: &impl Message<'p>,
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, CallError> {
    let (mut encoded, mut results) = ([0; PARAMS_BYTES], [0; RESULTS_BYTES]);
    let length = params.encode(&mut encoded)?;
    let encoded = encoded.get(..length).unwrap_or(&[]);
    let method = MethodId { interface, method };
    let completed =
        ring::with(|ring| ring.call(handle, method, encoded, &mut results)).ok_or(CallError::RingInUse)??;
    match completed {
        Completed::Results(length) => Ok(decode(results.get(..length).unwrap_or(&[]))?),
        Completed::Exception(length) => {
            let exception = Exception::decode(results.get(..length).unwrap_or(&[]))?;
            Err(CallError::Exception(exception.kind, Reason::new(exception.reason)))
        }
    }
}

fn call_without_results<'p>(handle: u64, method: (u64, u16), params: &impl Message<'p>) -> Result<(), CallError> {
    call(handle, method, params, |results| Empty::decode(results).map(|Empty {}| ()))
}

macro_rules! client {
    ($(#[$documentation:meta])* $name:ident, $interface:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            handle: u64,
        }

        impl $name {
            /// The capability that the program was granted at its start.
            pub fn granted() -> Result<Self, CallError> {
                let handle = start::granted($interface).ok_or(CallError::NotGranted($interface))?;
                Ok(Self { handle })
            }

            /// A client of any handle; the kernel checks it at each call.
            pub const fn from_handle(handle: u64) -> Self {
                Self { handle }
            }

            /// The handle.
            pub const fn handle(self) -> u64 {
                self.handle
            }
        }
    };
}

client!(
    /// The system console.
    Console,
    console::ID
);
client!(
    /// The monotonic clock.
    Timer,
    timer::ID
);
client!(
    /// Scheduling attributes of the calling thread.
    SchedulingPolicy,
    policy::ID
);

impl Console {
    /// Writes up to [`print::LINE_BYTES`](crate::print::LINE_BYTES) bytes.
    pub fn write(self, text: &[u8]) -> Result<(), CallError> {
        call_without_results(self.handle, (console::ID, console::WRITE), &ConsoleWriteParams { text })
    }
}

impl Timer {
    /// Nanoseconds since boot.
    pub fn now_ns(self) -> Result<u64, CallError> {
        let decode = |results: &[u8]| TimerNowResults::decode(results).map(|results| results.now_ns);
        call(self.handle, (timer::ID, timer::NOW), &Empty {}, decode)
    }

    /// Sleeps until the clock reads `deadline_ns`.
    pub fn sleep_until(self, deadline_ns: u64) -> Result<(), CallError> {
        call_without_results(self.handle, (timer::ID, timer::SLEEP), &TimerSleepParams { deadline_ns })
    }
}

impl SchedulingPolicy {
    /// Changes the weight, at once.
    pub fn set_weight(self, weight: u16) -> Result<(), CallError> {
        call_without_results(self.handle, (policy::ID, policy::SET_WEIGHT), &SetWeightParams { weight })
    }

    /// Changes the latency class, given by its ordinal.
    pub fn set_latency_class(self, class: u16) -> Result<(), CallError> {
        call_without_results(self.handle, (policy::ID, policy::SET_LATENCY_CLASS), &SetLatencyClassParams { class })
    }

    /// Changes the permitted CPUs; when it returns, the thread runs on one of them.
    pub fn set_affinity(self, cpus: CpuWords) -> Result<(), CallError> {
        let params = SetAffinityParams { words: U64List::new(&cpus) };
        call_without_results(self.handle, (policy::ID, policy::SET_AFFINITY), &params)
    }

    /// What the kernel knows of this thread's scheduling.
    pub fn snapshot(self) -> Result<SnapshotResults, CallError> {
        call(self.handle, (policy::ID, policy::SNAPSHOT), &Empty {}, |results| SnapshotResults::decode(results))
    }
}
