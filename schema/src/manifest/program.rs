//! Entries of `programs`.

use super::{
    Binary, Field, Grant, Location, MAX_INSTANCES, MAX_PROGRAMS, ManifestError, Problem, REQUESTS_US, check_length,
    grant::{self, Endpoints},
};
use crate::{
    generated::{manifest_capnp as wire, messages_capnp},
    message::{CPU_WORDS, CpuWords},
};
use alloc::vec::Vec;
use core::num::NonZeroU32;
use tessera_abi::{
    limits::{MAX_CAPABILITIES, MAX_THREADS},
    scheduling::{LatencyClass, MAX_WEIGHT, MIN_WEIGHT},
    start::MAX_ARGUMENT_BYTES,
};

/// A program that was found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program<'a> {
    /// Its name in reports.
    pub name: &'a str,
    /// The name of its ELF file.
    pub binary: &'a str,
    /// The ELF file.
    pub elf: &'a [u8],
    /// The argument string.
    pub arguments: &'a str,
    /// Weight, 1 to 10000.
    pub weight: u16,
    /// Latency class.
    pub class: LatencyClass,
    /// Request length in nanoseconds; `None`: what its class gives.
    pub request_ns: Option<u64>,
    /// The CPUs that it may run on, at least one; `None`: all.
    pub affinity: Option<CpuWords>,
    /// How many instances to start, at least one.
    pub count: u16,
    /// What each instance is started with.
    pub grants: Vec<Grant<'a>>,
    /// What each instance may have at most.
    pub limits: Limits,
}

/// What a process may have at most; `None`: the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Frames of 4 KiB.
    pub frames: Option<NonZeroU32>,
    /// Threads.
    pub threads: Option<NonZeroU32>,
    /// Capabilities.
    pub capabilities: Option<NonZeroU32>,
}

/// Reads and checks `programs`.
pub(super) fn read_programs<'a>(
    bytes: &'a [u8],
    root: &wire::manifest::Reader<'_>,
    binaries: &[Binary<'a>],
    endpoints: &mut Endpoints<'a>,
) -> Result<Vec<Program<'a>>, ManifestError> {
    let at = Location::Root(Field::Programs);
    let list = root.get_programs().map_err(|error| at.malformed(error))?;
    at.in_range(list.len(), 1..=u64::from(MAX_PROGRAMS))?;
    let mut programs = Vec::with_capacity(list.len() as usize);
    let mut instances = 0;
    for (index, program) in list.iter().enumerate() {
        let program = Source { bytes, program, index }.read(binaries, endpoints)?;
        instances += usize::from(program.count);
        if instances > MAX_INSTANCES {
            return Err(Location::Program { index, field: Field::Count }.problem(Problem::TooManyInstances(instances)));
        }
        programs.push(program);
    }
    Ok(programs)
}

/// One entry on its way in.
struct Source<'a, 'r> {
    bytes: &'a [u8],
    program: wire::program::Reader<'r>,
    index: usize,
}

impl<'a> Source<'a, '_> {
    const fn at(&self, field: Field) -> Location {
        Location::Program { index: self.index, field }
    }

    fn read(&self, binaries: &[Binary<'a>], endpoints: &mut Endpoints<'a>) -> Result<Program<'a>, ManifestError> {
        let at = self.at(Field::Name);
        let name = at.name(at.text(self.bytes, self.program.get_name())?)?;
        let (binary, elf) = self.binary(binaries)?;
        let weights = u64::from(MIN_WEIGHT)..=u64::from(MAX_WEIGHT);
        Ok(Program {
            name,
            binary,
            elf,
            arguments: self.arguments()?,
            weight: self.at(Field::Weight).in_range(self.program.get_weight(), weights)?,
            class: self.class()?,
            request_ns: self.request_ns()?,
            affinity: self.affinity()?,
            count: self.at(Field::Count).in_range(self.program.get_count(), 1..=MAX_INSTANCES as u64)?,
            grants: grant::read_grants(self.bytes, self.program, self.index, endpoints)?,
            limits: self.limits()?,
        })
    }

    /// The name and the file.
    fn binary(&self, binaries: &[Binary<'a>]) -> Result<(&'a str, &'a [u8]), ManifestError> {
        let at = self.at(Field::Binary);
        let name = at.text(self.bytes, self.program.get_binary())?;
        let binary = binaries.iter().find(|binary| binary.name == name);
        binary.map(|binary| (binary.name, binary.elf)).ok_or(at.problem(Problem::NoSuchBinary))
    }

    fn arguments(&self) -> Result<&'a str, ManifestError> {
        let at = self.at(Field::Arguments);
        let text = at.text(self.bytes, self.program.get_arguments())?;
        check_length(text, MAX_ARGUMENT_BYTES).map(|()| text).map_err(|problem| at.problem(problem))
    }

    fn class(&self) -> Result<LatencyClass, ManifestError> {
        match self.program.get_class().map_err(|unknown| self.at(Field::Class).unknown(unknown))? {
            messages_capnp::LatencyClass::Interactive => Ok(LatencyClass::Interactive),
            messages_capnp::LatencyClass::Normal => Ok(LatencyClass::Normal),
            messages_capnp::LatencyClass::Batch => Ok(LatencyClass::Batch),
            messages_capnp::LatencyClass::IpcServer => Ok(LatencyClass::IpcServer),
        }
    }

    fn request_ns(&self) -> Result<Option<u64>, ManifestError> {
        let at = self.at(Field::Request);
        match self.program.get_request().which().map_err(|unknown| at.unknown(unknown))? {
            wire::program::request::OfClass(()) => Ok(None),
            wire::program::request::Microseconds(us) => Ok(Some(u64::from(at.in_range(us, REQUESTS_US)?) * 1000)),
        }
    }

    fn affinity(&self) -> Result<Option<CpuWords>, ManifestError> {
        let at = self.at(Field::Affinity);
        let list = match self.program.get_affinity().which().map_err(|unknown| at.unknown(unknown))? {
            wire::program::affinity::Any(()) => return Ok(None),
            wire::program::affinity::Words(words) => words.map_err(|error| at.malformed(error))?,
        };
        let mut words = [0; CPU_WORDS];
        for (index, word) in list.iter().enumerate() {
            match words.get_mut(index) {
                Some(slot) => *slot = word,
                None if word == 0 => {}
                None => {
                    let cpu = index * 64 + word.trailing_zeros() as usize;
                    return Err(at.problem(Problem::CpuOutOfRange(cpu)));
                }
            }
        }
        if words == [0; CPU_WORDS] { Err(at.problem(Problem::Empty)) } else { Ok(Some(words)) }
    }

    fn limits(&self) -> Result<Limits, ManifestError> {
        let limit = |field, value, most| {
            let value: u32 = self.at(field).in_range(value, 0..=u64::from(most))?;
            Ok(NonZeroU32::new(value))
        };
        Ok(Limits {
            frames: limit(Field::Frames, self.program.get_frames(), u32::MAX)?,
            threads: limit(Field::Threads, self.program.get_threads(), MAX_THREADS)?,
            capabilities: limit(Field::Capabilities, self.program.get_capabilities(), MAX_CAPABILITIES)?,
        })
    }
}
