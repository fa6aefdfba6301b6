//! The manifest builder: TOML and program files in, the initrd's bytes out.
//!
//! A source may name CPUs by their role (`last`, `others`), so that one file fits machines of any size: the number of
//! CPUs is an argument of [`build`]. What is built has passed the kernel's own reader.

mod encode;
mod values;

pub use encode::{BuildError, build};
pub use values::{Affinity, Class, Count, Grant, PolicyName, RequestUs, Seconds, Weight};

use serde::Deserialize;
use std::{fmt, ops::Range};

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
    /// The programs.
    #[serde(rename = "program")]
    pub programs: Vec<ProgramSource>,
}

/// A program as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProgramSource {
    /// Its name in reports.
    pub name: String,
    /// The name of the program file; the program's name without it.
    pub binary: Option<String>,
    /// The argument string.
    #[serde(default)]
    pub arguments: String,
    /// Weight.
    #[serde(default)]
    pub weight: Weight,
    /// Latency class.
    #[serde(default)]
    pub class: Class,
    /// Request length, if not that of the class.
    pub request_us: Option<RequestUs>,
    /// The CPUs that it may run on.
    #[serde(default)]
    pub affinity: Affinity,
    /// How many instances to start.
    #[serde(default)]
    pub count: Count,
    /// What each instance is granted; everything without it.
    #[serde(default = "every_grant")]
    pub grants: Vec<Grant>,
}

impl ProgramSource {
    /// The name of the program file.
    pub fn binary(&self) -> &str {
        self.binary.as_deref().unwrap_or(&self.name)
    }
}

fn every_grant() -> Vec<Grant> {
    vec![Grant::Console, Grant::Timer, Grant::SchedulingPolicy]
}

/// Why a source cannot be understood: file, line, and the finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong; names the key.
    pub message: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl std::error::Error for SourceError {}

/// Reads TOML of any shape; an error names the file, the line and, where there is one, the key.
pub fn parse<T: for<'de> Deserialize<'de>>(file: &str, text: &str) -> Result<T, SourceError> {
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let line = text.get(..span.start).unwrap_or(text).matches('\n').count() + 1;
        let key = key_at(text, &span).map(|key| format!("{key}: ")).unwrap_or_default();
        SourceError { file: file.into(), line, message: format!("{key}{}", error.message()) }
    })
}

/// The key of the line on which a span starts, if the span is behind it.
fn key_at<'t>(text: &'t str, span: &Range<usize>) -> Option<&'t str> {
    let line_start = text.get(..span.start)?.rfind('\n').map_or(0, |place| place + 1);
    let (key, _) = text.get(line_start..span.start)?.split_once('=')?;
    Some(key.trim())
}
