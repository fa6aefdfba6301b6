//! Files in and out, with errors that name them.

use anyhow::{Context, Result, anyhow};
use sim::plot;
use sim::workload::{self, Workload};
use std::fs;
use std::io::{self, Write};
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

/// Writes to the standard output, as far as somebody reads it.
pub(super) fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write to the output"),
        _ => Ok(()),
    }
}

/// A file's name, short enough for titles.
pub(super) fn short_name(path: &Path) -> String {
    const LONGEST: usize = 63;
    plot::shortened(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(), LONGEST)
}
