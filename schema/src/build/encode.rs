//! Source and program files to the message that kernel and init read.

use super::{GrantSource, ManifestSource, Origin, ProgramSource, SourceError};
use crate::{
    generated::{manifest_capnp as wire, messages_capnp},
    manifest::{Capability, Location, Manifest, ManifestError, Policy},
};
use std::{collections::BTreeMap, fmt};
use tessera_abi::scheduling::LatencyClass;
use toml::Spanned;

/// Why a manifest could not be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The source asks for something that is not there (a program file, a CPU) or that kernel and init refuse.
    Source(SourceError),
    /// A name or text does not fit the message format.
    TooLarge {
        /// Its length in bytes or entries.
        length: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "{error}"),
            Self::TooLarge { length } => write!(f, "a list or text of {length} entries does not fit a manifest"),
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
    if let Some(init) = &source.init {
        root.set_init(&**init.get_ref());
    }
    let mut endpoints = root.reborrow().init_endpoints(length(source.endpoints.len())?);
    for (index, endpoint) in (0..).zip(&source.endpoints) {
        let mut entry = endpoints.reborrow().get(index);
        entry.set_name(&**endpoint.name.get_ref());
        entry.set_interface(endpoint.interface.get());
    }
    let mut programs = root.reborrow().init_programs(length(source.programs.len())?);
    for (index, program) in (0..).zip(&source.programs) {
        encode_program(program, &source.origin, cpus, programs.reborrow().get(index))?;
    }
    encode_binaries(source, binaries, root)?;
    let bytes = capnp::serialize::write_message_to_words(&message);
    Manifest::read(&bytes).map_err(|error| refused(source, &error))?;
    Ok(bytes)
}

/// What the reader of kernel and init finds, at the program that it speaks of.
fn refused(source: &ManifestSource, error: &ManifestError) -> BuildError {
    let program = match error.location {
        Location::Program { index, .. } | Location::Grant { program: index, .. } => source.programs.get(index),
        _ => None,
    };
    // The finding has a path instead of a key.
    let place = program.map_or(0, |program| program.name.span().start);
    BuildError::Source(source.origin.error_without_key(place, error))
}

fn encode_binaries(
    source: &ManifestSource,
    binaries: &BTreeMap<String, Vec<u8>>,
    root: wire::manifest::Builder<'_>,
) -> Result<(), BuildError> {
    let named = source.programs.iter().map(ProgramSource::binary_or_name).chain(&source.binaries).chain(&source.init);
    let named = named.map(|name| (&**name.get_ref(), name.span()));
    // What the kernel starts is needed without being named.
    let mut needed = named.chain([(source.init(), 0..0)]);
    if let Some((name, span)) = needed.find(|(name, _)| !binaries.contains_key(*name)) {
        return Err(BuildError::Source(source.origin.error(span, &format_args!("there is no program file {name}"))));
    }
    let files: Vec<_> = source.binaries().into_iter().filter_map(|name| binaries.get_key_value(name)).collect();
    let mut list = root.init_binaries(length(files.len())?);
    for (index, (name, elf)) in (0..).zip(files) {
        let mut binary = list.reborrow().get(index);
        binary.set_name(name);
        length(elf.len())?;
        binary.set_elf(elf);
    }
    Ok(())
}

fn encode_program(
    source: &ProgramSource,
    origin: &Origin,
    cpus: u16,
    mut program: wire::program::Builder<'_>,
) -> Result<(), BuildError> {
    program.set_name(source.name());
    program.set_binary(source.binary());
    program.set_arguments(&*source.arguments);
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
    encode_affinity(source, origin, cpus, program.reborrow())?;
    program.set_count(source.count.resolve(cpus));
    program.set_frames(source.frames.map_or(0, |frames| frames.get()));
    program.set_threads(source.threads.map_or(0, |threads| threads.get()));
    program.set_capabilities(source.capabilities.map_or(0, |capabilities| capabilities.get()));
    encode_grants(source, program)
}

fn encode_affinity(
    source: &ProgramSource,
    origin: &Origin,
    cpus: u16,
    program: wire::program::Builder<'_>,
) -> Result<(), BuildError> {
    let Some((affinity, words)) = source.affinity.as_ref().and_then(|set| Some((set, set.get_ref().resolve(cpus)?)))
    else {
        return Ok(());
    };
    let lowest = words.iter().enumerate().find(|(_, word)| **word != 0);
    let lowest = lowest.map_or(usize::MAX, |(index, word)| index * 64 + word.trailing_zeros() as usize);
    if lowest >= usize::from(cpus) {
        let finding = format_args!("none of the machine's {cpus} CPUs");
        return Err(BuildError::Source(origin.error(affinity.span(), &finding)));
    }
    let mut list = program.get_affinity().init_words(length(words.len())?);
    (0..).zip(words).for_each(|(index, word)| list.set(index, word));
    Ok(())
}

fn encode_grants(source: &ProgramSource, program: wire::program::Builder<'_>) -> Result<(), BuildError> {
    let mut grants = program.init_grants(length(source.grants.len() + source.serves.len())?);
    for (index, grant) in (0..).zip(source.grants.iter().map(Spanned::get_ref)) {
        let mut entry = grants.reborrow().get(index);
        entry.set_name(&grant.name);
        match &grant.source {
            GrantSource::Kernel(capability) => set_kernel(entry, *capability),
            GrantSource::Spawner(most) => {
                entry.set_most_processes(most.get());
                set_kernel(entry, Capability::ProcessSpawner);
            }
            GrantSource::Client { endpoint, badge } => {
                entry.set_badge(*badge);
                entry.get_source().set_client_of(&**endpoint.get_ref());
            }
        }
    }
    for (index, endpoint) in (length(source.grants.len())?..).zip(source.serves.iter().map(Spanned::get_ref)) {
        let mut entry = grants.reborrow().get(index);
        entry.set_name(&**endpoint);
        entry.get_source().set_server_of(&**endpoint);
    }
    Ok(())
}

fn set_kernel(entry: wire::grant::Builder<'_>, capability: Capability) {
    // Both are the schema's ordinals; a test compares them.
    if let Ok(capability) = wire::Capability::try_from(capability as u16) {
        entry.get_source().set_kernel(capability);
    }
}

/// A length as the format counts: 29 bits.
fn length(length: usize) -> Result<u32, BuildError> {
    u32::try_from(length).ok().filter(|length| *length < 1 << 29).ok_or(BuildError::TooLarge { length })
}
