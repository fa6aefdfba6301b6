//! Source and program files to the message that the kernel reads.

use super::{ManifestSource, ProgramSource};
use crate::{
    generated::{manifest_capnp as wire, messages_capnp},
    manifest::{Capability, Manifest, ManifestError, Policy},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use tessera_abi::scheduling::LatencyClass;

/// Why a manifest could not be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// A program needs a file that was not given.
    NoSuchBinary {
        /// The program.
        program: String,
        /// The file.
        binary: String,
    },
    /// No CPU that a program may run on exists on this machine.
    NoCpu {
        /// The program.
        program: String,
        /// CPUs of the machine.
        cpus: u16,
    },
    /// A name or text does not fit the message format.
    TooLarge {
        /// Its length in bytes or entries.
        length: usize,
    },
    /// The kernel's reader refuses the result.
    Refused(ManifestError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBinary { program, binary } => write!(f, "program {program}: there is no program file {binary}"),
            Self::NoCpu { program, cpus } => {
                write!(f, "program {program}: affinity names none of the machine's {cpus} CPUs")
            }
            Self::TooLarge { length } => write!(f, "a list or text of {length} entries does not fit a manifest"),
            Self::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Builds the manifest for a machine of `cpus` CPUs. Only those program files that are used travel along.
pub fn build(source: &ManifestSource, cpus: u16, binaries: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, BuildError> {
    let mut message = capnp::message::Builder::new_default();
    let mut root = message.init_root::<wire::manifest::Builder<'_>>();
    root.set_policy(match source.policy.into() {
        Policy::Wfq => wire::Policy::Wfq,
        Policy::Eevdf => wire::Policy::Eevdf,
    });
    if let Some(seconds) = source.seconds {
        root.reborrow().get_run_length().set_seconds(seconds.get());
    }
    if let Some(request) = source.base_request_us {
        root.set_base_request_us(request.get());
    }
    let mut programs = root.reborrow().init_programs(length(source.programs.len())?);
    for (index, program) in (0..).zip(&source.programs) {
        encode_program(program, cpus, programs.reborrow().get(index))?;
    }
    encode_binaries(source, binaries, root)?;
    let bytes = capnp::serialize::write_message_to_words(&message);
    Manifest::read(&bytes).map_err(BuildError::Refused)?;
    Ok(bytes)
}

fn encode_binaries(
    source: &ManifestSource,
    binaries: &BTreeMap<String, Vec<u8>>,
    root: wire::manifest::Builder<'_>,
) -> Result<(), BuildError> {
    let mut used: BTreeSet<&str> = source.programs.iter().map(ProgramSource::binary).collect();
    used.extend(binaries.contains_key("init").then_some("init"));
    let mut list = root.init_binaries(length(used.len())?);
    for (index, name) in (0..).zip(used) {
        let elf = binaries.get(name).ok_or_else(|| {
            let program = source.programs.iter().find(|program| program.binary() == name);
            let program = program.map(|program| program.name.clone()).unwrap_or_default();
            BuildError::NoSuchBinary { program, binary: name.into() }
        })?;
        let mut binary = list.reborrow().get(index);
        binary.set_name(name);
        length(elf.len())?;
        binary.set_elf(elf);
    }
    Ok(())
}

fn encode_program(
    source: &ProgramSource,
    cpus: u16,
    mut program: wire::program::Builder<'_>,
) -> Result<(), BuildError> {
    program.set_name(&source.name);
    program.set_binary(source.binary());
    program.set_arguments(&source.arguments);
    program.set_weight(source.weight.get());
    program.set_class(match source.class.0 {
        LatencyClass::Interactive => messages_capnp::LatencyClass::Interactive,
        LatencyClass::Normal => messages_capnp::LatencyClass::Normal,
        LatencyClass::Batch => messages_capnp::LatencyClass::Batch,
        LatencyClass::IpcServer => messages_capnp::LatencyClass::IpcServer,
    });
    if let Some(request) = source.request_us {
        program.reborrow().get_request().set_microseconds(request.get());
    }
    if let Some(words) = source.affinity.resolve(cpus) {
        let lowest = words.iter().enumerate().find(|(_, word)| **word != 0);
        let lowest = lowest.map_or(usize::MAX, |(index, word)| index * 64 + word.trailing_zeros() as usize);
        if lowest >= usize::from(cpus) {
            return Err(BuildError::NoCpu { program: source.name.clone(), cpus });
        }
        let mut list = program.reborrow().get_affinity().init_words(length(words.len())?);
        (0..).zip(words).for_each(|(index, word)| list.set(index, word));
    }
    program.set_count(source.count.resolve(cpus));
    let mut grants = program.init_grants(length(source.grants.len())?);
    for (index, grant) in (0..).zip(&source.grants) {
        grants.set(
            index,
            match Capability::from(*grant) {
                Capability::Console => wire::Capability::Console,
                Capability::Timer => wire::Capability::Timer,
                Capability::SchedulingPolicy => wire::Capability::SchedulingPolicy,
            },
        );
    }
    Ok(())
}

/// A length as the format counts: 29 bits.
fn length(length: usize) -> Result<u32, BuildError> {
    u32::try_from(length).ok().filter(|length| *length < 1 << 29).ok_or(BuildError::TooLarge { length })
}
