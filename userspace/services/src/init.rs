//! What init makes of a manifest: which capabilities it needs for it, and how instances are asked for.

use alloc::{string::String, vec::Vec};
use core::fmt;
use tessera_rt::generated::messages::{ProcessEnding, SpawnParams};
use tessera_rt::message::U64List;
use tessera_schema::manifest::{Capability, Manifest, Program, Source};

/// A grant that init cannot give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotHeld<'a> {
    /// The program that should have it.
    pub program: &'a str,
    /// The grant's name.
    pub grant: &'a str,
    /// What init would need.
    pub needs: Capability,
}

impl fmt::Display for NotHeld<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, grant, needs } = self;
        write!(f, "{program}: grant {grant}: init does not hold {}", needs.name())
    }
}

/// The capability of init's own that a grant is made from.
pub const fn needs(source: Source) -> Capability {
    match source {
        Source::Kernel(capability) => capability,
        Source::Spawner { .. } => Capability::ProcessSpawner,
        Source::Server { .. } | Source::Client { .. } => Capability::EndpointFactory,
    }
}

/// Finds the first grant that init cannot give, from what it holds.
pub fn check<'a>(manifest: &Manifest<'a>, holds: impl Fn(Capability) -> bool) -> Result<(), NotHeld<'a>> {
    for program in manifest.programs() {
        for grant in &program.grants {
            let needs = needs(grant.source);
            if !holds(needs) {
                return Err(NotHeld { program: program.name, grant: grant.name, needs });
            }
        }
    }
    Ok(())
}

/// The names of a program's grants, as a spawner wants them.
pub fn grant_names(program: &Program<'_>) -> String {
    let names: Vec<&str> = program.grants.iter().map(|grant| grant.name).collect();
    names.join(" ")
}

/// How a spawner is asked for an instance.
pub fn spawn_params<'a>(program: &'a Program<'_>, grant_names: &'a str, instance: u32) -> SpawnParams<'a> {
    let or_default = |limit: Option<core::num::NonZeroU32>| limit.map_or(0, core::num::NonZeroU32::get);
    SpawnParams {
        binary: program.binary,
        name: program.name,
        arguments: program.arguments,
        grant_names,
        affinity: program.affinity.as_ref().map_or(U64List::EMPTY, |words| U64List::new(words)),
        instance,
        weight: program.weight,
        class: program.class as u16,
        request_ns: program.request_ns.unwrap_or(0),
        frames: or_default(program.limits.frames),
        threads: or_default(program.limits.threads),
        capabilities: or_default(program.limits.capabilities),
        silent: 0,
    }
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End<'a> {
    /// It exited with this code.
    Exit(i32),
    /// A fault ended it.
    Fault(&'a str),
    /// It was killed.
    Killed,
    /// In a way that this version does not know.
    Unknown(u16),
}

impl<'a> From<ProcessEnding<'a>> for End<'a> {
    fn from(ending: ProcessEnding<'a>) -> Self {
        match ending.kind {
            0 => Self::Exit(ending.code.cast_signed()),
            1 => Self::Fault(ending.fault),
            2 => Self::Killed,
            unknown => Self::Unknown(unknown),
        }
    }
}

impl End<'_> {
    /// Whether the run is none the worse for it. The kernel tells every fault and every kill; whether one was meant is for
    /// those to judge who look at the run.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Exit(0) | Self::Fault(_) | Self::Killed)
    }
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exited with code {code}"),
            Self::Fault(fault) => write!(f, "was ended by a fault: {fault}"),
            Self::Killed => write!(f, "was killed"),
            Self::Unknown(kind) => write!(f, "ended in an unknown way ({kind})"),
        }
    }
}

#[cfg(test)]
mod tests;
