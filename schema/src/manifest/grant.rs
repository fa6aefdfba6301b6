//! What programs are started with, and the endpoints between them.
//!
//! The service graph is good when every endpoint is served by exactly one program and every client's capability is of
//! an endpoint. Cycles are fine: init makes all endpoints before it starts anybody.

use super::{Capability, Field, Location, ManifestError, Problem, check_length};
use crate::generated::manifest_capnp as wire;
use alloc::{collections::BTreeMap, vec::Vec};
use core::num::NonZeroU32;
use tessera_abi::start::{MAX_GRANT_NAME_BYTES, MAX_GRANTS};

/// The most entries of `endpoints`.
pub const MAX_ENDPOINTS: u32 = tessera_abi::limits::ENDPOINTS;

/// A capability that a program is started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant<'a> {
    /// What the program asks for it by. Each name once in a program.
    pub name: &'a str,
    /// Where it comes from.
    pub source: Source,
}

/// Where a granted capability comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The kernel. A process spawner that permits less is [`Source::Spawner`].
    Kernel(Capability),
    /// A process spawner with a limit of its own.
    Spawner {
        /// How many processes that were made with it may exist at a time.
        most_processes: NonZeroU32,
    },
    /// The receiving side of an endpoint.
    Server {
        /// The entry of [`Manifest::endpoints`](super::Manifest::endpoints).
        endpoint: usize,
    },
    /// A client's capability of an endpoint.
    Client {
        /// The entry of [`Manifest::endpoints`](super::Manifest::endpoints).
        endpoint: usize,
        /// What the server sees of the client.
        badge: u64,
    },
}

/// An endpoint, which exactly one program serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint<'a> {
    /// Its name.
    pub name: &'a str,
    /// The id of the interface that its clients' capabilities have.
    pub interface: u64,
    /// The entry of [`Manifest::programs`](super::Manifest::programs) that serves it.
    pub server: usize,
}

/// The endpoints while programs are read: whose server is known, and whose not yet.
pub(super) struct Endpoints<'a> {
    list: Vec<Declared<'a>>,
    by_name: BTreeMap<&'a str, usize>,
}

struct Declared<'a> {
    name: &'a str,
    interface: u64,
    server: Option<usize>,
}

impl<'a> Endpoints<'a> {
    /// Reads `endpoints`.
    pub fn read(bytes: &'a [u8], root: &wire::manifest::Reader<'_>) -> Result<Self, ManifestError> {
        let at = Location::Root(Field::Endpoints);
        let entries = root.get_endpoints().map_err(|error| at.malformed(error))?;
        at.in_range(entries.len(), 0..=u64::from(MAX_ENDPOINTS))?;
        let mut endpoints = Self { list: Vec::new(), by_name: BTreeMap::new() };
        for (index, entry) in entries.iter().enumerate() {
            let at = Location::Endpoint { index, field: Field::Name };
            let name = at.name(at.text(bytes, entry.get_name())?)?;
            if endpoints.by_name.insert(name, index).is_some() {
                return Err(at.problem(Problem::Duplicate));
            }
            let at = Location::Endpoint { index, field: Field::Interface };
            let interface = at.in_range(entry.get_interface(), 1..=u64::MAX)?;
            endpoints.list.push(Declared { name, interface, server: None });
        }
        Ok(endpoints)
    }

    /// The endpoints, if each is served.
    pub fn finish(self) -> Result<Vec<Endpoint<'a>>, ManifestError> {
        let served = self.list.into_iter().enumerate().map(|(index, Declared { name, interface, server })| {
            let at = Location::Endpoint { index, field: Field::Name };
            let server = server.ok_or_else(|| at.problem(Problem::NotServed(name.into())))?;
            Ok(Endpoint { name, interface, server })
        });
        served.collect()
    }

    /// Notes that the program serves the endpoint of this name.
    fn serve(&mut self, at: Location, name: &str, program: usize) -> Result<usize, ManifestError> {
        let endpoint = *self.by_name.get(name).ok_or_else(|| at.problem(Problem::NoSuchEndpoint(name.into())))?;
        match self.list.get_mut(endpoint).map(|declared| declared.server.replace(program)) {
            Some(None) => Ok(endpoint),
            _ => Err(at.problem(Problem::ServedTwice(name.into()))),
        }
    }
}

/// Reads what the program with this index is started with.
pub(super) fn read_grants<'a>(
    bytes: &'a [u8],
    program: wire::program::Reader<'_>,
    index: usize,
    endpoints: &mut Endpoints<'a>,
) -> Result<Vec<Grant<'a>>, ManifestError> {
    let at_plain = Location::Program { index, field: Field::PlainGrants };
    let plain = program.get_plain_grants().map_err(|error| at_plain.malformed(error))?;
    at_plain.in_range(plain.len(), 0..=MAX_GRANTS as u64)?;
    let at_grants = Location::Program { index, field: Field::Grants };
    let list = program.get_grants().map_err(|error| at_grants.malformed(error))?;
    at_grants.in_range(u64::from(plain.len()) + u64::from(list.len()), 0..=MAX_GRANTS as u64)?;
    let mut grants: Vec<Grant<'a>> = Vec::new();
    for entry in plain.iter() {
        let capability = read_capability(at_plain, entry)?;
        add(&mut grants, at_plain, Grant { name: capability.name(), source: Source::Kernel(capability) })?;
    }
    for (grant, entry) in list.iter().enumerate() {
        let reader = GrantReader { bytes, entry, program: index, grant };
        let grant = reader.read(endpoints)?;
        add(&mut grants, reader.at(Field::Name), grant)?;
    }
    Ok(grants)
}

fn add<'a>(grants: &mut Vec<Grant<'a>>, at: Location, grant: Grant<'a>) -> Result<(), ManifestError> {
    if grants.iter().any(|other| other.name == grant.name) {
        return Err(at.problem(Problem::Duplicate));
    }
    grants.push(grant);
    Ok(())
}

fn read_capability(
    at: Location,
    entry: Result<wire::Capability, capnp::NotInSchema>,
) -> Result<Capability, ManifestError> {
    let ordinal = entry.map_err(|unknown| at.unknown(unknown))? as u16;
    Capability::from_ordinal(ordinal).ok_or_else(|| at.problem(Problem::UnknownEnumerant(ordinal)))
}

/// One entry of a program's `grants`.
struct GrantReader<'a, 'r> {
    bytes: &'a [u8],
    entry: wire::grant::Reader<'r>,
    program: usize,
    grant: usize,
}

impl<'a> GrantReader<'a, '_> {
    const fn at(&self, field: Field) -> Location {
        Location::Grant { program: self.program, index: self.grant, field }
    }

    fn read(&self, endpoints: &mut Endpoints<'a>) -> Result<Grant<'a>, ManifestError> {
        let at = self.at(Field::Name);
        let name = at.name(at.text(self.bytes, self.entry.get_name())?)?;
        check_length(name, MAX_GRANT_NAME_BYTES).map_err(|problem| at.problem(problem))?;
        let source = self.source(endpoints)?;
        let (badge, most) = (self.entry.get_badge(), self.entry.get_most_processes());
        if badge != 0 && !matches!(source, Source::Client { .. }) {
            return Err(self.at(Field::Badge).problem(Problem::Misplaced));
        }
        if most != 0 && !matches!(source, Source::Spawner { .. }) {
            return Err(self.at(Field::MostProcesses).problem(Problem::Misplaced));
        }
        Ok(Grant { name, source })
    }

    fn source(&self, endpoints: &mut Endpoints<'a>) -> Result<Source, ManifestError> {
        let at = self.at(Field::Source);
        match self.entry.get_source().which().map_err(|unknown| at.unknown(unknown))? {
            wire::grant::source::Kernel(capability) => {
                let capability = read_capability(self.at(Field::Kernel), capability)?;
                let most = NonZeroU32::new(self.entry.get_most_processes());
                Ok(match (capability, most) {
                    (Capability::ProcessSpawner, Some(most_processes)) => Source::Spawner { most_processes },
                    _ => Source::Kernel(capability),
                })
            }
            wire::grant::source::ServerOf(name) => {
                let at = self.at(Field::ServerOf);
                let name = at.name(at.text(self.bytes, name)?)?;
                Ok(Source::Server { endpoint: endpoints.serve(at, name, self.program)? })
            }
            wire::grant::source::ClientOf(name) => {
                let at = self.at(Field::ClientOf);
                let name = at.name(at.text(self.bytes, name)?)?;
                let found = endpoints.by_name.get(name).copied();
                let endpoint = found.ok_or_else(|| at.problem(Problem::NotServed(name.into())))?;
                Ok(Source::Client { endpoint, badge: self.entry.get_badge() })
            }
        }
    }
}
