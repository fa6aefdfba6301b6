//! Entries of `programs`.

use super::{Binary, Capability, Field, Location, MAX_INSTANCES, MAX_PROGRAMS, ManifestError, Problem, REQUESTS_US};
use crate::{
    generated::{manifest_capnp as wire, messages_capnp},
    message::{CPU_WORDS, CpuWords},
};
use alloc::vec::Vec;
use tessera_abi::{
    scheduling::{LatencyClass, MAX_WEIGHT, MIN_WEIGHT},
    start::{MAX_ARGUMENT_BYTES, MAX_GRANTS},
};

/// A program that was found good.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// Its name in reports.
    pub name: &'a str,
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
    /// What each instance is granted, without repetition.
    pub grants: Vec<Capability>,
}

/// Reads and checks `programs`.
pub(super) fn read_programs<'a>(
    bytes: &'a [u8],
    root: &wire::manifest::Reader<'_>,
    binaries: &[Binary<'a>],
) -> Result<Vec<Program<'a>>, ManifestError> {
    let at = Location::Root(Field::Programs);
    let list = root.get_programs().map_err(|error| at.malformed(error))?;
    at.in_range(list.len(), 1..=u64::from(MAX_PROGRAMS))?;
    let mut programs = Vec::with_capacity(list.len() as usize);
    let mut instances = 0;
    for (index, program) in list.iter().enumerate() {
        let program = Source { bytes, program, index }.read(binaries)?;
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

    fn read(&self, binaries: &[Binary<'a>]) -> Result<Program<'a>, ManifestError> {
        let at = self.at(Field::Name);
        let name = at.name(at.text(self.bytes, self.program.get_name())?)?;
        let weights = u64::from(MIN_WEIGHT)..=u64::from(MAX_WEIGHT);
        Ok(Program {
            name,
            elf: self.elf(binaries)?,
            arguments: self.arguments()?,
            weight: self.at(Field::Weight).in_range(self.program.get_weight(), weights)?,
            class: self.class()?,
            request_ns: self.request_ns()?,
            affinity: self.affinity()?,
            count: self.at(Field::Count).in_range(self.program.get_count(), 1..=MAX_INSTANCES as u64)?,
            grants: self.grants()?,
        })
    }

    fn elf(&self, binaries: &[Binary<'a>]) -> Result<&'a [u8], ManifestError> {
        let at = self.at(Field::Binary);
        let name = at.text(self.bytes, self.program.get_binary())?;
        let binary = binaries.iter().find(|binary| binary.name == name);
        binary.map(|binary| binary.elf).ok_or(at.problem(Problem::NoSuchBinary))
    }

    fn arguments(&self) -> Result<&'a str, ManifestError> {
        let at = self.at(Field::Arguments);
        let text = at.text(self.bytes, self.program.get_arguments())?;
        if text.len() > MAX_ARGUMENT_BYTES {
            return Err(at.problem(Problem::TooLong { bytes: text.len(), most: MAX_ARGUMENT_BYTES }));
        }
        Ok(text)
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

    fn grants(&self) -> Result<Vec<Capability>, ManifestError> {
        let at = self.at(Field::Grants);
        let list = self.program.get_grants().map_err(|error| at.malformed(error))?;
        if list.len() as usize > MAX_GRANTS {
            let (found, high) = (u64::from(list.len()), MAX_GRANTS as u64);
            return Err(at.problem(Problem::OutOfRange { found, low: 0, high }));
        }
        let mut grants = Vec::with_capacity(list.len() as usize);
        for entry in list.iter() {
            let grant = match entry.map_err(|unknown| at.unknown(unknown))? {
                wire::Capability::Console => Capability::Console,
                wire::Capability::Timer => Capability::Timer,
                wire::Capability::SchedulingPolicy => Capability::SchedulingPolicy,
            };
            if grants.contains(&grant) {
                return Err(at.problem(Problem::Duplicate));
            }
            grants.push(grant);
        }
        Ok(grants)
    }
}
