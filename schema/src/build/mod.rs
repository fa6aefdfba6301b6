//! The manifest builder: TOML and program files in, the initrd's bytes out.
//!
//! A source may name CPUs by their role (`last`, `others`), so that one file fits machines of any size: the number of
//! CPUs is an argument of [`build`]. What is built has passed the reader of kernel and init.

mod encode;
mod grant;
mod graph;
mod origin;
mod values;

pub use encode::{BuildError, build};
pub use grant::{Grant, GrantSource};
pub use origin::{Origin, Source, SourceError, parse};
pub use values::{
    Affinity, Arguments, Capabilities, Class, Count, Frames, GrantName, InterfaceId, MostProcesses, Name, PolicyName,
    RequestUs, Seconds, Threads, Weight,
};

use crate::manifest::{Capability, INIT};
use serde::Deserialize;
use std::collections::BTreeSet;
use toml::Spanned;

/// A manifest as it is written. Keys are in kebab case.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestSource {
    /// Which rule picks the next thread.
    #[serde(default)]
    pub policy: PolicyName,
    /// How long to run; without it until every program has exited.
    pub seconds: Option<Seconds>,
    /// The base request; 2000 without it.
    pub base_request_us: Option<RequestUs>,
    /// The program file that the kernel starts; `init` without it.
    pub init: Option<Spanned<Name>>,
    /// Program files that travel along for programs that start others.
    #[serde(default)]
    pub binaries: Vec<Spanned<Name>>,
    /// The endpoints between the programs.
    #[serde(default, rename = "endpoint")]
    pub endpoints: Vec<EndpointSource>,
    /// The programs.
    #[serde(rename = "program")]
    pub programs: Vec<ProgramSource>,
    #[serde(skip)]
    origin: Origin,
}

/// An endpoint as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EndpointSource {
    /// Its name.
    pub name: Spanned<GrantName>,
    /// The interface that its clients' capabilities have.
    pub interface: InterfaceId,
}

/// A program as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProgramSource {
    /// Its name in reports.
    pub name: Spanned<Name>,
    /// The name of the program file; the program's name without it.
    pub binary: Option<Spanned<Name>>,
    /// The argument string.
    #[serde(default)]
    pub arguments: Arguments,
    /// Weight.
    #[serde(default)]
    pub weight: Weight,
    /// Latency class.
    #[serde(default)]
    pub class: Class,
    /// Request length, if not that of the class.
    pub request_us: Option<RequestUs>,
    /// The CPUs that it may run on; all without it.
    pub affinity: Option<Spanned<Affinity>>,
    /// How many instances to start.
    #[serde(default)]
    pub count: Count,
    /// What each instance is granted; console, timer and scheduling-policy without it.
    #[serde(default = "usual_grants")]
    pub grants: Vec<Spanned<Grant>>,
    /// The endpoints that it serves: it is granted the receiving side of each, under the endpoint's name.
    #[serde(default)]
    pub serves: Vec<Spanned<GrantName>>,
    /// The most frames of each instance.
    pub frames: Option<Frames>,
    /// The most threads of each instance.
    pub threads: Option<Threads>,
    /// The most capabilities of each instance.
    pub capabilities: Option<Capabilities>,
}

impl Source for ManifestSource {
    fn check(&mut self, origin: &Origin) -> Result<(), SourceError> {
        self.origin = origin.clone();
        graph::check(self, origin)
    }
}

impl ManifestSource {
    /// The name of the program file that the kernel starts.
    pub fn init(&self) -> &str {
        self.init.as_ref().map_or(INIT, |name| name.get_ref())
    }

    /// The names of all program files that travel along.
    pub fn binaries(&self) -> BTreeSet<&str> {
        let named = self.programs.iter().map(ProgramSource::binary);
        named.chain(self.binaries.iter().map(|name| &**name.get_ref())).chain([self.init()]).collect()
    }
}

impl ProgramSource {
    /// Its name in reports.
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    /// The name of the program file.
    pub fn binary(&self) -> &str {
        self.binary_or_name().get_ref()
    }

    fn binary_or_name(&self) -> &Spanned<Name> {
        self.binary.as_ref().unwrap_or(&self.name)
    }
}

fn usual_grants() -> Vec<Spanned<Grant>> {
    let usual = [Capability::Console, Capability::Timer, Capability::SchedulingPolicy];
    usual.into_iter().map(|capability| Spanned::new(0..0, Grant::plain(capability))).collect()
}
