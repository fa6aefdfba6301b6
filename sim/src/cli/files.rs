//! Files in and out, with errors that name them.

use anyhow::{Context, Result, anyhow};
use sim::workload::{self, Workload};
use std::fs;
use std::path::Path;

/// Reads a workload.
pub(super) fn read_workload(path: &Path, options: &workload::Options) -> Result<Workload> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    workload::read(&bytes, options).map_err(|error| anyhow!("{}:{error}", path.display()))
}

/// Writes a file.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

/// A file's name, for titles.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
