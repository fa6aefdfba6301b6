//! `--trace` and `--svg`: what a booted kernel did, as files.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use qemu_targets::log::RunLog;
use qemu_targets::trace::{self, Disagreement};
use sim::trace::Trace;

/// Where a trace goes.
#[derive(Args, Clone, Debug, Default)]
pub struct Files {
    /// Record what the scheduler does and write it here, for Perfetto or Chrome
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Record what the scheduler does and draw it here: who ran where, and shares over time
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

impl Files {
    /// Whether anything is to be recorded.
    pub fn are_wanted(&self) -> bool {
        self.trace.is_some() || self.svg.is_some()
    }

    /// Refuses files that cannot be written, before a minute is spent on what they are for.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.are_wanted() || self.trace != self.svg, "--trace and --svg name the same file");
        for file in self.trace.iter().chain(&self.svg) {
            let is_new = !file.exists();
            let opened = OpenOptions::new().append(true).create(true).open(file);
            drop(opened.with_context(|| format!("cannot write {}", file.display()))?);
            if is_new {
                fs::remove_file(file).with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        Ok(())
    }

    /// Writes what a run has recorded, and says how much that is and whether it agrees with the run's accounts.
    pub fn write(&self, title: &str, log: &RunLog) -> Result<String> {
        let end = log.end.as_ref().context("the run was not over: there is no trace")?;
        ensure!(!log.trace.is_empty(), "the kernel has recorded nothing: there is no trace");
        let recorded = log.trace.trace(end.at_ns);
        if let Some(file) = &self.trace {
            write_chrome(file, &recorded).with_context(|| format!("cannot write {}", file.display()))?;
        }
        if let Some(file) = &self.svg {
            let text = sim::plot::run(title, &recorded)?;
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let agreement = match trace::check(log) {
            Ok(agreement) => agreement.to_string(),
            // The rest of the run is missing; what is there is as it was.
            Err(lost @ Disagreement::Dropped { .. }) => format!("{lost}; run for fewer --seconds to have all"),
            Err(disagreement) => anyhow::bail!("the trace disagrees with the accounts of the run: {disagreement}"),
        };
        let files: Vec<String> = self.trace.iter().chain(&self.svg).map(|file| file.display().to_string()).collect();
        Ok(format!("{} events; {agreement}; written to {}", log.trace.len(), files.join(" and ")))
    }
}

fn write_chrome(file: &Path, recorded: &Trace) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    sim::trace::chrome::write(recorded, &mut out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_refused_by_name() {
        let files = Files { trace: Some("/nonexistent/run.trace".into()), svg: None };
        assert_eq!(files.check().unwrap_err().to_string(), "cannot write /nonexistent/run.trace");
        let same = Files { trace: Some("x".into()), svg: Some("x".into()) };
        assert_eq!(same.check().unwrap_err().to_string(), "--trace and --svg name the same file");
        assert!(Files::default().check().is_ok());
    }

    #[test]
    fn looking_whether_a_file_can_be_written_leaves_it_as_it_was() {
        let file = std::env::temp_dir().join(format!("tessera-trace-{}", std::process::id()));
        let files = Files { trace: Some(file.clone()), svg: None };
        files.check().unwrap();
        assert!(!file.exists());
        fs::write(&file, "what was there").unwrap();
        files.check().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "what was there");
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_run_without_a_trace_writes_nothing() {
        let files = Files { trace: Some("/nonexistent/run.trace".into()), svg: None };
        let error = files.write("title", &RunLog::default()).unwrap_err().to_string();
        assert_eq!(error, "the run was not over: there is no trace");
    }
}
