//! The values of a source: each is checked when it is read, so that the error carries its line.

use crate::{
    generated::interfaces,
    manifest::{self, MAX_INSTANCES, MAX_NAME_BYTES, Policy, Problem, REQUESTS_US, RUN_SECONDS},
    message::{CPU_WORDS, CpuWords},
};
use serde::Deserialize;
use std::{
    num::NonZeroU64,
    ops::{Deref, RangeInclusive},
};
use tessera_abi::{
    limits::{MAX_CAPABILITIES, MAX_THREADS},
    scheduling::{DEFAULT_WEIGHT, LatencyClass, MAX_WEIGHT, MIN_WEIGHT},
    start::{MAX_ARGUMENT_BYTES, MAX_GRANT_NAME_BYTES},
};

/// A number within a range.
macro_rules! ranged {
    ($(#[$documentation:meta])* $name:ident($inner:ty), $range:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
        #[serde(try_from = "i64")]
        pub struct $name($inner);

        impl $name {
            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = String;

            fn try_from(value: i64) -> Result<Self, String> {
                in_range(value, $range).map(|value| Self(value as $inner))
            }
        }
    };
}

fn in_range(value: i64, range: RangeInclusive<u64>) -> Result<u64, String> {
    let good = u64::try_from(value).ok().filter(|value| range.contains(value));
    good.ok_or_else(|| format!("{value} is not in {}..={}", range.start(), range.end()))
}

ranged!(
    /// A weight.
    Weight(u16), u64::from(MIN_WEIGHT)..=u64::from(MAX_WEIGHT)
);
ranged!(
    /// A request length in microseconds.
    RequestUs(u32), REQUESTS_US
);
ranged!(
    /// A run length in seconds.
    Seconds(u32), RUN_SECONDS
);

ranged!(
    /// The most frames of a process.
    Frames(u32), 1..=u64::from(u32::MAX)
);
ranged!(
    /// The most threads of a process.
    Threads(u32), 1..=u64::from(MAX_THREADS)
);
ranged!(
    /// The most capabilities of a process.
    Capabilities(u32), 1..=u64::from(MAX_CAPABILITIES)
);
ranged!(
    /// How many processes a spawner permits.
    MostProcesses(u32), 1..=u64::from(u32::MAX)
);

/// A text that was checked.
macro_rules! text {
    ($(#[$documentation:meta])* $name:ident, $check:expr) => {
        $(#[$documentation])*
        #[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Problem;

            fn try_from(text: String) -> Result<Self, Problem> {
                let check: fn(&str) -> Result<(), Problem> = $check;
                check(&text).map(|()| Self(text))
            }
        }
    };
}

text!(
    /// The name of a program or of a program file.
    Name,
    |name| manifest::check_name(name, MAX_NAME_BYTES)
);
text!(
    /// The name of a grant or of an endpoint.
    GrantName,
    |name| manifest::check_name(name, MAX_GRANT_NAME_BYTES)
);
text!(
    /// An argument string.
    Arguments,
    |text| manifest::check_length(text, MAX_ARGUMENT_BYTES)
);

/// The id of an interface: a number, or the name of one of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "InterfaceText")]
pub struct InterfaceId(NonZeroU64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "the number of an interface, or the name of one of the kernel's")]
enum InterfaceText {
    Number(u64),
    Name(String),
}

impl InterfaceId {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl TryFrom<InterfaceText> for InterfaceId {
    type Error = String;

    fn try_from(text: InterfaceText) -> Result<Self, String> {
        match text {
            InterfaceText::Number(number) => NonZeroU64::new(number).map(Self).ok_or("no interface is 0".into()),
            InterfaceText::Name(name) => {
                let known = interfaces::ALL.iter().find(|(_, known)| *known == name);
                let id = known.and_then(|(id, _)| NonZeroU64::new(*id));
                id.map(Self).ok_or_else(|| format!("the kernel has no interface '{name}'"))
            }
        }
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(DEFAULT_WEIGHT)
    }
}

/// A policy by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyName {
    /// [`Policy::Wfq`].
    #[default]
    Wfq,
    /// [`Policy::Eevdf`].
    Eevdf,
}

impl From<PolicyName> for Policy {
    fn from(name: PolicyName) -> Self {
        match name {
            PolicyName::Wfq => Self::Wfq,
            PolicyName::Eevdf => Self::Eevdf,
        }
    }
}

/// A latency class by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Class(pub LatencyClass);

impl TryFrom<String> for Class {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let class = LatencyClass::ALL.into_iter().find(|class| class.name() == name);
        let names = LatencyClass::ALL.map(LatencyClass::name).join(", ");
        class.map(Self).ok_or_else(|| format!("'{name}' is none of {names}"))
    }
}

/// Which CPUs: `all`, `first`, `last`, `others` (all but the last; the only one where there is one), or numbers and
/// ranges such as `0,2-3`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Affinity {
    /// Any CPU.
    #[default]
    All,
    /// CPU 0.
    First,
    /// The CPU with the highest number.
    Last,
    /// All but the last.
    Others,
    /// These CPUs.
    Listed(CpuWords),
}

impl TryFrom<String> for Affinity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "all" => Self::All,
            "first" => Self::First,
            "last" => Self::Last,
            "others" => Self::Others,
            list => Self::Listed(parse_list(list)?),
        })
    }
}

impl Affinity {
    /// The mask on a machine of `cpus` CPUs; `None`: any CPU.
    pub fn resolve(&self, cpus: u16) -> Option<CpuWords> {
        let last = usize::from(cpus.max(1)) - 1;
        match self {
            Self::All => None,
            Self::First => Some(mask(0..=0)),
            Self::Last => Some(mask(last..=last)),
            Self::Others => Some(mask(0..=last.saturating_sub(1))),
            Self::Listed(words) => Some(*words),
        }
    }
}

fn mask(cpus: RangeInclusive<usize>) -> CpuWords {
    let mut words = [0; CPU_WORDS];
    for cpu in cpus {
        if let Some(word) = words.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    words
}

fn parse_list(list: &str) -> Result<CpuWords, String> {
    let number = |text: &str| -> Result<usize, String> {
        let number = text.trim().parse().ok().filter(|cpu| *cpu < CPU_WORDS * 64);
        number.ok_or_else(|| {
            format!("'{}' in '{list}' is not a CPU (0 to 511), nor is it all, first, last, others", text.trim())
        })
    };
    let mut words = [0; CPU_WORDS];
    for part in list.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (number(low)?, number(high)?);
        if low > high {
            return Err(format!("the range '{part}' is empty"));
        }
        for (word, more) in words.iter_mut().zip(mask(low..=high)) {
            *word |= more;
        }
    }
    Ok(words)
}

/// How many instances: a number, or `N*cpus`, or `N*others` (others: all CPUs but the last, at least one).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged, expecting = "a number of instances, or a text such as \"2*cpus\" or \"2*others\"")]
pub enum Count {
    /// So many.
    Number(CountNumber),
    /// So many for each CPU.
    Scaled(CountScaled),
}

ranged!(
    /// A number of instances.
    CountNumber(u16), 1..=MAX_INSTANCES as u64
);

/// A number of instances that grows with the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct CountScaled {
    factor: u16,
    others: bool,
}

impl TryFrom<String> for CountScaled {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let error = || format!("'{text}' is neither N*cpus nor N*others");
        let (factor, what) = text.split_once('*').ok_or_else(error)?;
        let factor = factor.trim().parse().ok().filter(|factor| *factor > 0).ok_or_else(error)?;
        match what.trim() {
            "cpus" => Ok(Self { factor, others: false }),
            "others" => Ok(Self { factor, others: true }),
            _ => Err(error()),
        }
    }
}

impl Default for Count {
    fn default() -> Self {
        Self::Number(CountNumber(1))
    }
}

impl Count {
    /// The number on a machine of `cpus` CPUs.
    pub fn resolve(self, cpus: u16) -> u16 {
        match self {
            Self::Number(number) => number.get(),
            Self::Scaled(CountScaled { factor, others: false }) => factor.saturating_mul(cpus.max(1)),
            Self::Scaled(CountScaled { factor, others: true }) => factor.saturating_mul(cpus.saturating_sub(1).max(1)),
        }
    }
}
