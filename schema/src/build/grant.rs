//! Grants as they are written: the name of a capability of the kernel, or a table.

use super::values::{GrantName, MostProcesses};
use crate::manifest::Capability;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;
use toml::Spanned;

/// A capability that a program is started with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// What the program asks for it by.
    pub name: String,
    /// Where it comes from.
    pub source: GrantSource,
}

/// Where a granted capability comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrantSource {
    /// The kernel.
    Kernel(Capability),
    /// A process spawner with a limit of its own.
    Spawner(MostProcesses),
    /// An endpoint, whose client the program is.
    Client {
        /// The endpoint.
        endpoint: Spanned<GrantName>,
        /// What the server sees of the client.
        badge: u64,
    },
}

/// A grant as a table.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    name: GrantName,
    kernel: Option<String>,
    client_of: Option<Spanned<GrantName>>,
    badge: Option<u64>,
    most_processes: Option<MostProcesses>,
}

impl Grant {
    /// A capability of the kernel under its usual name.
    pub fn plain(capability: Capability) -> Self {
        Self { name: capability.name().into(), source: GrantSource::Kernel(capability) }
    }
}

fn capability(name: &str) -> Result<Capability, String> {
    let names = Capability::ALL.map(Capability::name).join(", ");
    Capability::named(name).ok_or_else(|| format!("'{name}' is none of {names}"))
}

impl TryFrom<Table> for Grant {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let name = table.name.to_string();
        let source = match (table.client_of, table.kernel, table.most_processes) {
            (Some(_), Some(_), _) => return Err("either `kernel` or `client-of`".into()),
            (Some(_), None, Some(_)) => return Err("a client's capability has no `most-processes`".into()),
            (Some(endpoint), None, None) => GrantSource::Client { endpoint, badge: table.badge.unwrap_or(0) },
            (None, kernel, most) => match (capability(kernel.as_deref().unwrap_or(&name))?, most) {
                _ if table.badge.is_some() => return Err("only a client's capability has a `badge`".into()),
                (capability, None) => GrantSource::Kernel(capability),
                (Capability::ProcessSpawner, Some(most)) => GrantSource::Spawner(most),
                (_, Some(_)) => return Err("only a process-spawner has `most-processes`".into()),
            },
        };
        Ok(Self { name, source })
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GrantVisitor)
    }
}

struct GrantVisitor;

impl<'de> Visitor<'de> for GrantVisitor {
    type Value = Grant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a capability, or a table such as { name = \"calc\", client-of = \"calc\", badge = 7 }")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Grant, E> {
        capability(name).map(Grant::plain).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Grant, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Grant::try_from(table).map_err(A::Error::custom)
    }
}
