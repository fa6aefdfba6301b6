//! `sim plots`: the plots of the documentation.

use super::{Verdict, files};
use anyhow::{Context, Result};
use sim::figures;
use std::fs;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to write them
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict> {
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for figure in figures::FIGURES {
        let path = folder.join(figure.file);
        files::write(&path, (figure.draw)()?.as_bytes())?;
        files::print(&format!("{}\n", path.display()))?;
    }
    Ok(Verdict::Done)
}
