//! Files in and out, with errors that name them.

use anyhow::{Context, Result, anyhow, bail};
use sim::plot;
use sim::workload::{self, Workload};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Reads a workload.
pub(super) fn read_workload(path: &Path, options: &workload::Options) -> Result<Workload> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    workload::read(&bytes, options).map_err(|error| anyhow!("{}:{error}", path.display()))
}

/// Says what in a workload was accepted and has no effect, with `all` also what rt-app's own files are full of.
pub(super) fn tell_notices(path: &Path, workload: &Workload, all: bool) {
    for notice in workload.notices.iter().filter(|notice| all || !notice.is_tolerated) {
        eprintln!("{}:{notice}", path.display());
    }
}

/// Refuses outputs that cannot be written, before minutes are spent on what they are for. Leaves them as they are.
pub(super) fn check_outputs<'a>(outputs: impl IntoIterator<Item = (&'static str, Option<&'a PathBuf>)>) -> Result<()> {
    let mut known: Vec<(&str, &Path)> = Vec::new();
    for (option, path) in outputs {
        let Some(path) = path.filter(|path| !is_standard_output(path)) else { continue };
        if let Some((other, _)) = known.iter().find(|(_, known)| known == path) {
            bail!("{other} and {option} name the same file, {}; expected two", path.display());
        }
        known.push((option, path));
        check_output(path).with_context(|| format!("{option} cannot write {}", path.display()))?;
    }
    Ok(())
}

fn check_output(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // To open a pipe or a device may wait or do something.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        // What a link to nothing leads to is made when it is written.
        Err(_) if path.is_symlink() => Ok(()),
        Err(_) => {
            drop(OpenOptions::new().append(true).create_new(true).open(path)?);
            fs::remove_file(path)
        }
    }
}

/// Whether a path means the standard output.
pub(super) fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
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
