//! The manifest reader: checks a message of any origin once, then gives typed views that borrow from it.
//!
//! Whoever holds a [`Manifest`] need not check again: names, ranges and references are good. What a machine cannot
//! offer (a CPU that it does not have) is for the kernel to find.

mod capability;
mod error;
mod grant;
mod program;

pub use capability::Capability;
pub use error::{Field, Location, ManifestError, Problem};
pub use grant::{Endpoint, Grant, MAX_ENDPOINTS, Source};
pub use program::{Limits, Program};

use crate::{generated::manifest_capnp as wire, subslice};
use alloc::vec::Vec;
use capnp::{
    message::{Reader, ReaderOptions},
    serialize::{NoAllocSliceSegments, read_message_from_flat_slice_no_alloc},
};
use core::{num::NonZeroU16, num::NonZeroU32, ops::RangeInclusive, str};
use grant::Endpoints;
use tessera_abi::scheduling::{MAX_REQUEST_NS, MIN_REQUEST_NS};

/// The most entries of `programs`.
pub const MAX_PROGRAMS: u32 = 1024;
/// The most entries of `binaries`.
pub const MAX_BINARIES: u32 = 64;
/// The most instances of all programs together.
pub const MAX_INSTANCES: usize = 4096;
/// The most bytes of a name.
pub const MAX_NAME_BYTES: usize = 40;
/// The CPU counts that a manifest may ask for.
pub const CPU_COUNTS: RangeInclusive<u64> = 1..=512;
/// The binary that the kernel starts, unless the manifest names another.
pub const INIT: &str = "init";
/// The run lengths that a manifest may ask for, in seconds.
pub const RUN_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// The request lengths that a manifest may ask for, in microseconds.
pub const REQUESTS_US: RangeInclusive<u64> = MIN_REQUEST_NS / 1000..=MAX_REQUEST_NS / 1000;

/// Which rule picks the next thread of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Lowest weighted finishing tag first.
    #[default]
    Wfq,
    /// Earliest virtual deadline among the eligible first.
    Eevdf,
}

/// A manifest that was found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest<'a> {
    programs: Vec<Program<'a>>,
    endpoints: Vec<Endpoint<'a>>,
    binaries: Vec<Binary<'a>>,
    init: &'a str,
    cpus: Option<NonZeroU16>,
    policy: Policy,
    seconds: Option<NonZeroU32>,
    base_request_us: u32,
}

impl<'a> Manifest<'a> {
    /// Reads and checks a manifest in standard framing. Bytes behind the message are ignored.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ManifestError> {
        let mut options = ReaderOptions::new();
        // Everything is visited once; a message that would be walked longer points at one place many times.
        options.traversal_limit_in_words(Some(bytes.len() / 4 + 1024)).nesting_limit(8);
        let message = read_message_from_flat_slice_no_alloc(&mut &*bytes, options)
            .map_err(|error| Location::Manifest.problem(Problem::Malformed(error.kind)))?;
        Self::check(bytes, &message)
    }

    fn check(bytes: &'a [u8], message: &Reader<NoAllocSliceSegments<'a>>) -> Result<Self, ManifestError> {
        let at = Location::Manifest;
        let root: wire::manifest::Reader<'_> = message.get_root().map_err(|error| at.malformed(error))?;
        let binaries = read_binaries(bytes, &root)?;
        let mut endpoints = Endpoints::read(bytes, &root)?;
        let programs = program::read_programs(bytes, &root, &binaries, &mut endpoints)?;
        Ok(Self {
            programs,
            endpoints: endpoints.finish()?,
            binaries,
            init: read_init(bytes, &root)?,
            cpus: read_cpus(&root)?,
            policy: read_policy(&root)?,
            seconds: read_seconds(&root)?,
            base_request_us: Location::Root(Field::BaseRequestUs).in_range(root.get_base_request_us(), REQUESTS_US)?,
        })
    }

    /// The programs, in the order in which they start. At least one.
    pub fn programs(&self) -> &[Program<'a>] {
        &self.programs
    }

    /// The endpoints between them.
    pub fn endpoints(&self) -> &[Endpoint<'a>] {
        &self.endpoints
    }

    /// The program files: name and bytes.
    pub fn binaries(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.binaries.iter().map(|binary| (binary.name, binary.elf))
    }

    /// The name of the program file that the kernel starts. Whether it is among the files is for the kernel to find.
    pub const fn init(&self) -> &'a str {
        self.init
    }

    /// How many CPUs to use, counted from CPU 0; `None`: all that there are.
    pub const fn cpus(&self) -> Option<NonZeroU16> {
        self.cpus
    }

    /// The scheduling policy.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// How long to run; `None`: until every program has exited.
    pub const fn seconds(&self) -> Option<NonZeroU32> {
        self.seconds
    }

    /// The base request in microseconds.
    pub const fn base_request_us(&self) -> u32 {
        self.base_request_us
    }
}

/// An entry of `binaries`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Binary<'a> {
    name: &'a str,
    elf: &'a [u8],
}

fn read_binaries<'a>(bytes: &'a [u8], root: &wire::manifest::Reader<'_>) -> Result<Vec<Binary<'a>>, ManifestError> {
    let at = Location::Root(Field::Binaries);
    let list = root.get_binaries().map_err(|error| at.malformed(error))?;
    at.in_range(list.len(), 1..=u64::from(MAX_BINARIES))?;
    let mut binaries: Vec<Binary<'a>> = Vec::with_capacity(list.len() as usize);
    for (index, binary) in list.iter().enumerate() {
        let at = Location::Binary { index, field: Field::Name };
        let name = at.name(at.text(bytes, binary.get_name())?)?;
        if binaries.iter().any(|other| other.name == name) {
            return Err(at.problem(Problem::Duplicate));
        }
        let at = Location::Binary { index, field: Field::Elf };
        let elf = binary.get_elf().map_err(|error| at.malformed(error))?;
        let elf = subslice::rebind(bytes, elf).unwrap_or_default();
        if elf.is_empty() {
            return Err(at.problem(Problem::Empty));
        }
        binaries.push(Binary { name, elf });
    }
    Ok(binaries)
}

fn read_init<'a>(bytes: &'a [u8], root: &wire::manifest::Reader<'_>) -> Result<&'a str, ManifestError> {
    let at = Location::Root(Field::Init);
    // The schema's default is no part of the message.
    if root.has_init() { at.name(at.text(bytes, root.get_init())?) } else { Ok(INIT) }
}

fn read_cpus(root: &wire::manifest::Reader<'_>) -> Result<Option<NonZeroU16>, ManifestError> {
    let at = Location::Root(Field::Cpus);
    match root.get_cpus().which().map_err(|unknown| at.unknown(unknown))? {
        wire::manifest::cpus::All(()) => Ok(None),
        wire::manifest::cpus::First(count) => Ok(NonZeroU16::new(at.in_range(count, CPU_COUNTS)?)),
    }
}

fn read_seconds(root: &wire::manifest::Reader<'_>) -> Result<Option<NonZeroU32>, ManifestError> {
    let at = Location::Root(Field::Seconds);
    match root.get_run_length().which().map_err(|unknown| at.unknown(unknown))? {
        wire::manifest::run_length::UntilAllExit(()) => Ok(None),
        wire::manifest::run_length::Seconds(seconds) => Ok(NonZeroU32::new(at.in_range(seconds, RUN_SECONDS)?)),
    }
}

fn read_policy(root: &wire::manifest::Reader<'_>) -> Result<Policy, ManifestError> {
    match root.get_policy().map_err(|unknown| Location::Root(Field::Policy).unknown(unknown))? {
        wire::Policy::Wfq => Ok(Policy::Wfq),
        wire::Policy::Eevdf => Ok(Policy::Eevdf),
    }
}

impl Location {
    fn malformed(self, error: capnp::Error) -> ManifestError {
        self.problem(Problem::Malformed(error.kind))
    }

    fn unknown(self, unknown: capnp::NotInSchema) -> ManifestError {
        self.problem(Problem::UnknownEnumerant(unknown.0))
    }

    fn in_range<T: Copy + Into<u64>>(self, value: T, range: RangeInclusive<u64>) -> Result<T, ManifestError> {
        let (found, low, high) = (value.into(), *range.start(), *range.end());
        if range.contains(&found) { Ok(value) } else { Err(self.problem(Problem::OutOfRange { found, low, high })) }
    }

    fn text<'a>(self, bytes: &'a [u8], text: capnp::Result<capnp::text::Reader<'_>>) -> Result<&'a str, ManifestError> {
        let text = text.map_err(|error| self.malformed(error))?;
        let text = subslice::rebind(bytes, text.as_bytes()).unwrap_or_default();
        str::from_utf8(text).map_err(|_| self.problem(Problem::NotUtf8))
    }

    fn name(self, name: &str) -> Result<&str, ManifestError> {
        check_name(name, MAX_NAME_BYTES).map(|()| name).map_err(|problem| self.problem(problem))
    }
}

/// A name must be printable anywhere without quoting.
pub(crate) fn check_name(name: &str, most: usize) -> Result<(), Problem> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    check_length(name, most)?;
    match name {
        "" => Err(Problem::Empty),
        name if name.bytes().all(good) => Ok(()),
        _ => Err(Problem::BadName),
    }
}

/// A text has at most so many bytes.
pub(crate) fn check_length(text: &str, most: usize) -> Result<(), Problem> {
    if text.len() > most { Err(Problem::TooLong { bytes: text.len(), most }) } else { Ok(()) }
}
