//! What is wrong with a manifest, and where.

use alloc::string::String;
use core::fmt;

/// A field of the manifest schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `name`.
    Name,
    /// `binary`.
    Binary,
    /// `arguments`.
    Arguments,
    /// `weight`.
    Weight,
    /// `class`.
    Class,
    /// `request.microseconds`.
    Request,
    /// `affinity.words`.
    Affinity,
    /// `count`.
    Count,
    /// `grants`.
    Grants,
    /// `elf`.
    Elf,
    /// `programs`.
    Programs,
    /// `binaries`.
    Binaries,
    /// `cpus`.
    Cpus,
    /// `policy`.
    Policy,
    /// `runLength.seconds`.
    Seconds,
    /// `plainGrants`.
    PlainGrants,
    /// `source`.
    Source,
    /// `kernel`.
    Kernel,
    /// `serverOf`.
    ServerOf,
    /// `clientOf`.
    ClientOf,
    /// `badge`.
    Badge,
    /// `mostProcesses`.
    MostProcesses,
    /// `frames`.
    Frames,
    /// `threads`.
    Threads,
    /// `capabilities`.
    Capabilities,
    /// `init`.
    Init,
    /// `endpoints`.
    Endpoints,
    /// `interface`.
    Interface,
    /// `baseRequestUs`.
    BaseRequestUs,
}

impl Field {
    const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Binary => "binary",
            Self::Arguments => "arguments",
            Self::Weight => "weight",
            Self::Class => "class",
            Self::Request => "request.microseconds",
            Self::Affinity => "affinity.words",
            Self::Count => "count",
            Self::Grants => "grants",
            Self::Elf => "elf",
            Self::Programs => "programs",
            Self::Binaries => "binaries",
            Self::Cpus => "cpus",
            Self::Policy => "policy",
            Self::Seconds => "runLength.seconds",
            Self::PlainGrants => "plainGrants",
            Self::Source => "source",
            Self::Kernel => "kernel",
            Self::ServerOf => "serverOf",
            Self::ClientOf => "clientOf",
            Self::Badge => "badge",
            Self::MostProcesses => "mostProcesses",
            Self::Frames => "frames",
            Self::Threads => "threads",
            Self::Capabilities => "capabilities",
            Self::Init => "init",
            Self::Endpoints => "endpoints",
            Self::Interface => "interface",
            Self::BaseRequestUs => "baseRequestUs",
        }
    }
}

/// A place in a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    /// The message as a whole.
    Manifest,
    /// A field of the root.
    Root(Field),
    /// A field of an entry of `programs`.
    Program {
        /// The entry.
        index: usize,
        /// The field.
        field: Field,
    },
    /// A field of an entry of a program's `grants`.
    Grant {
        /// The program.
        program: usize,
        /// The entry.
        index: usize,
        /// The field.
        field: Field,
    },
    /// A field of an entry of `endpoints`.
    Endpoint {
        /// The entry.
        index: usize,
        /// The field.
        field: Field,
    },
    /// A field of an entry of `binaries`.
    Binary {
        /// The entry.
        index: usize,
        /// The field.
        field: Field,
    },
}

impl Location {
    /// An error at this place.
    pub const fn problem(self, problem: Problem) -> ManifestError {
        ManifestError { location: self, problem }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => write!(f, "manifest"),
            Self::Root(field) => write!(f, "{}", field.name()),
            Self::Program { index, field } => write!(f, "programs[{index}].{}", field.name()),
            Self::Grant { program, index, field } => {
                write!(f, "programs[{program}].grants[{index}].{}", field.name())
            }
            Self::Endpoint { index, field } => write!(f, "endpoints[{index}].{}", field.name()),
            Self::Binary { index, field } => write!(f, "binaries[{index}].{}", field.name()),
        }
    }
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// Not a valid Cap'n Proto message; the reader's finding.
    Malformed(capnp::ErrorKind),
    /// The number is not in `low..=high`.
    OutOfRange {
        /// The number found.
        found: u64,
        /// The least that is allowed.
        low: u64,
        /// The most that is allowed.
        high: u64,
    },
    /// An enumerant or union member that this version does not know.
    UnknownEnumerant(u16),
    /// Nothing where something must be.
    Empty,
    /// Longer than allowed.
    TooLong {
        /// Bytes found.
        bytes: usize,
        /// The most that are allowed.
        most: usize,
    },
    /// Not letters, digits, `-`, `_` and `.` only.
    BadName,
    /// Not UTF-8.
    NotUtf8,
    /// The second entry with this value.
    Duplicate,
    /// `binaries` has no entry of this name.
    NoSuchBinary,
    /// A CPU above the largest possible.
    CpuOutOfRange(usize),
    /// More instances in all programs together than allowed.
    TooManyInstances(usize),
    /// No program serves the endpoint of this name.
    NotServed(String),
    /// `endpoints` has no entry of this name.
    NoSuchEndpoint(String),
    /// A program serves the endpoint of this name already.
    ServedTwice(String),
    /// A value where the source of the grant takes none.
    Misplaced,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(kind) => write!(f, "not a valid message: {kind}"),
            Self::OutOfRange { found, low, high } => write!(f, "{found} is not in {low}..={high}"),
            Self::UnknownEnumerant(ordinal) => write!(f, "unknown value {ordinal}"),
            Self::Empty => write!(f, "empty"),
            Self::TooLong { bytes, most } => write!(f, "{bytes} bytes, at most {most} are allowed"),
            Self::BadName => write!(f, "only letters, digits, '-', '_' and '.' are allowed"),
            Self::NotUtf8 => write!(f, "not UTF-8"),
            Self::Duplicate => write!(f, "occurs twice"),
            Self::NoSuchBinary => write!(f, "no entry of binaries has this name"),
            Self::CpuOutOfRange(cpu) => write!(f, "CPU {cpu} is above 511"),
            Self::TooManyInstances(count) => write!(f, "{count} instances in all, at most 4096 are allowed"),
            Self::NotServed(name) => write!(f, "no program serves '{name}'"),
            Self::NoSuchEndpoint(name) => write!(f, "no entry of endpoints has the name '{name}'"),
            Self::ServedTwice(name) => write!(f, "'{name}' has a server already"),
            Self::Misplaced => write!(f, "the source of this grant takes no such value"),
        }
    }
}

/// What is wrong with a manifest, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// Where.
    pub location: Location,
    /// What.
    pub problem: Problem,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.problem)
    }
}

impl core::error::Error for ManifestError {}
