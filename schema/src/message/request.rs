//! What a call asks for: interface, method and parameters.

use super::{
    CPU_WORDS, Exception, ExceptionKind,
    decode::{DecodeError, Message},
    encode::{EncodeError, Encoder},
};
use crate::{
    generated::{
        layout::{
            console, console_write_params, empty, scheduling_policy_cap as policy, set_affinity_params,
            set_latency_class_params, set_weight_params, timer, timer_sleep_params,
        },
        messages_capnp as wire,
    },
    subslice,
};

/// A method: the interface's id and the method's ordinal in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MethodId {
    /// The interface's Cap'n Proto id.
    pub interface: u64,
    /// The method's ordinal.
    pub method: u16,
}

/// A set of CPUs as it travels: bit `n % 64` of word `n / 64` is CPU `n`.
pub type CpuWords = [u64; CPU_WORDS];

/// A call, typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Console.write.
    ConsoleWrite {
        /// What to write; not necessarily UTF-8.
        text: &'a [u8],
    },
    /// Timer.now.
    TimerNow,
    /// Timer.sleep.
    TimerSleep {
        /// When to complete, in nanoseconds on the clock of Timer.now.
        deadline_ns: u64,
    },
    /// SchedulingPolicyCap.setWeight.
    SetWeight {
        /// The weight asked for, unchecked.
        weight: u16,
    },
    /// SchedulingPolicyCap.setLatencyClass.
    SetLatencyClass {
        /// The ordinal asked for, unchecked.
        class: u16,
    },
    /// SchedulingPolicyCap.setAffinity.
    SetAffinity {
        /// The CPUs asked for.
        cpus: CpuWords,
    },
    /// SchedulingPolicyCap.snapshot.
    Snapshot,
}

/// Why a call could not be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// No interface of ours has this id.
    UnknownInterface(u64),
    /// The interface has no such method.
    UnknownMethod(MethodId),
    /// The parameters are not a valid message.
    Malformed(DecodeError),
    /// The mask names a CPU above the largest possible.
    CpuOutOfRange(usize),
}

impl From<DecodeError> for RequestError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl RequestError {
    /// The exception that answers the call, or `None` where the transport answers it (an unknown interface is
    /// `WrongInterface`, malformed parameters are `MalformedMessage`).
    pub const fn exception(&self) -> Option<Exception<'static>> {
        match self {
            Self::UnknownInterface(_) | Self::Malformed(_) => None,
            Self::UnknownMethod(_) => {
                Some(Exception { kind: ExceptionKind::Unimplemented, reason: "the interface has no such method" })
            }
            Self::CpuOutOfRange(_) => {
                Some(Exception { kind: ExceptionKind::InvalidArgument, reason: "the mask names a CPU above 511" })
            }
        }
    }
}

impl<'a> Request<'a> {
    /// The method that the request calls.
    pub const fn method(&self) -> MethodId {
        let (interface, method) = match self {
            Self::ConsoleWrite { .. } => (console::ID, console::WRITE),
            Self::TimerNow => (timer::ID, timer::NOW),
            Self::TimerSleep { .. } => (timer::ID, timer::SLEEP),
            Self::SetWeight { .. } => (policy::ID, policy::SET_WEIGHT),
            Self::SetLatencyClass { .. } => (policy::ID, policy::SET_LATENCY_CLASS),
            Self::SetAffinity { .. } => (policy::ID, policy::SET_AFFINITY),
            Self::Snapshot => (policy::ID, policy::SNAPSHOT),
        };
        MethodId { interface, method }
    }

    /// Writes the parameters; gives the message's bytes.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        match *self {
            Self::ConsoleWrite { text } => {
                use console_write_params::{DATA_WORDS, POINTERS, TEXT};
                let mut encoder = Encoder::new(buffer, DATA_WORDS, POINTERS)?;
                encoder.set_data(TEXT, text)?;
                Ok(encoder.finish())
            }
            Self::TimerSleep { deadline_ns } => {
                use timer_sleep_params::{DATA_WORDS, DEADLINE_NS, POINTERS};
                let mut encoder = Encoder::new(buffer, DATA_WORDS, POINTERS)?;
                encoder.set_u64(DEADLINE_NS, deadline_ns);
                Ok(encoder.finish())
            }
            Self::SetWeight { weight } => {
                use set_weight_params::{DATA_WORDS, POINTERS, WEIGHT};
                let mut encoder = Encoder::new(buffer, DATA_WORDS, POINTERS)?;
                encoder.set_u16(WEIGHT, weight);
                Ok(encoder.finish())
            }
            Self::SetLatencyClass { class } => {
                use set_latency_class_params::{CLASS, DATA_WORDS, POINTERS};
                let mut encoder = Encoder::new(buffer, DATA_WORDS, POINTERS)?;
                encoder.set_u16(CLASS, class);
                Ok(encoder.finish())
            }
            Self::SetAffinity { cpus } => {
                use set_affinity_params::{DATA_WORDS, POINTERS, WORDS};
                let mut encoder = Encoder::new(buffer, DATA_WORDS, POINTERS)?;
                encoder.set_u64_list(WORDS, &cpus)?;
                Ok(encoder.finish())
            }
            Self::TimerNow | Self::Snapshot => Ok(Encoder::new(buffer, empty::DATA_WORDS, empty::POINTERS)?.finish()),
        }
    }

    /// Reads the parameters of a call of `id`.
    pub fn decode(id: MethodId, params: &'a [u8]) -> Result<Self, RequestError> {
        match id.interface {
            console::ID => Self::decode_console(id, params),
            timer::ID => Self::decode_timer(id, params),
            policy::ID => Self::decode_policy(id, params),
            unknown => Err(RequestError::UnknownInterface(unknown)),
        }
    }

    fn decode_console(id: MethodId, params: &'a [u8]) -> Result<Self, RequestError> {
        if id.method != console::WRITE {
            return Err(RequestError::UnknownMethod(id));
        }
        let message = Message::open(params)?;
        let root: wire::console_write_params::Reader<'_> = message.root()?;
        let text = root.get_text().map_err(DecodeError::from)?;
        Ok(Self::ConsoleWrite { text: subslice::rebind(params, text).unwrap_or_default() })
    }

    fn decode_timer(id: MethodId, params: &'a [u8]) -> Result<Self, RequestError> {
        let message = Message::open(params);
        match id.method {
            timer::NOW => {
                message?.root::<wire::empty::Reader<'_>>()?;
                Ok(Self::TimerNow)
            }
            timer::SLEEP => {
                let message = message?;
                let root: wire::timer_sleep_params::Reader<'_> = message.root()?;
                Ok(Self::TimerSleep { deadline_ns: root.get_deadline_ns() })
            }
            _ => Err(RequestError::UnknownMethod(id)),
        }
    }

    fn decode_policy(id: MethodId, params: &'a [u8]) -> Result<Self, RequestError> {
        let message = Message::open(params);
        match id.method {
            policy::SET_WEIGHT => {
                let message = message?;
                let root: wire::set_weight_params::Reader<'_> = message.root()?;
                Ok(Self::SetWeight { weight: root.get_weight() })
            }
            policy::SET_LATENCY_CLASS => {
                let message = message?;
                let root: wire::set_latency_class_params::Reader<'_> = message.root()?;
                Ok(Self::SetLatencyClass { class: root.get_class() })
            }
            policy::SET_AFFINITY => {
                let message = message?;
                let root: wire::set_affinity_params::Reader<'_> = message.root()?;
                let list = root.get_words().map_err(DecodeError::from)?;
                Ok(Self::SetAffinity { cpus: cpu_words(list.iter())? })
            }
            policy::SNAPSHOT => {
                message?.root::<wire::empty::Reader<'_>>()?;
                Ok(Self::Snapshot)
            }
            _ => Err(RequestError::UnknownMethod(id)),
        }
    }
}

/// The words of a mask of any length; a CPU beyond the largest possible is refused, not dropped.
fn cpu_words(list: impl Iterator<Item = u64>) -> Result<CpuWords, RequestError> {
    let mut words = [0; CPU_WORDS];
    for (index, word) in list.enumerate() {
        match words.get_mut(index) {
            Some(slot) => *slot = word,
            None if word == 0 => {}
            None => return Err(RequestError::CpuOutOfRange(index * 64 + word.trailing_zeros() as usize)),
        }
    }
    Ok(words)
}
