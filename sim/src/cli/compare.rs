//! `sim compare`.

use super::{Verdict, files};
use anyhow::{Context, Result, ensure};
use sim::compare::{Comparison, compare};
use sim::result::{Report, VERSION};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The first result
    #[arg(value_name = "A.json")]
    first: PathBuf,
    /// The second result
    #[arg(value_name = "B.json")]
    second: PathBuf,
    /// Write the comparison as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict> {
    let (first, second) = (read(&arguments.first)?, read(&arguments.second)?);
    let comparison = compare(&first, &second);
    match arguments.json {
        true => files::print(&format!("{}\n", serde_json::to_string_pretty(&comparison)?))?,
        false => files::print(&table(&comparison))?,
    }
    Ok(Verdict::Done)
}

fn read(path: &Path) -> Result<Report> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{}: expected a result of `sim run --json`", path.display()))?;
    ensure!(report.version == VERSION, "{}: version {}; expected version {VERSION}", path.display(), report.version);
    Ok(report)
}

fn table(comparison: &Comparison) -> String {
    let width = comparison.tasks.iter().map(|task| task.name.chars().count()).max().unwrap_or(0).max(4);
    let mut text = format!("A: {}\nB: {}\n", comparison.a, comparison.b);
    text.push_str(&format!(
        "{:width$} {:>9} {:>9} {:>9} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14}\n",
        "TASK", "SHARE A", "SHARE B", "B - A", "MAX WAIT A", "MAX WAIT B", "B - A", "WAKE P99 A", "WAKE P99 B", "B - A"
    ));
    for task in &comparison.tasks {
        text.push_str(&format!(
            "{:width$} {:>9} {:>9} {:>9} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14}\n",
            task.name,
            percent(task.share.a),
            percent(task.share.b),
            percent(task.share.difference),
            microseconds(task.max_wait_ns.a),
            microseconds(task.max_wait_ns.b),
            microseconds(task.max_wait_ns.difference),
            microseconds(task.wake_p99_ns.a),
            microseconds(task.wake_p99_ns.b),
            microseconds(task.wake_p99_ns.difference),
        ));
    }
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.3} %", share * 100.0))
}

fn microseconds(nanoseconds: Option<i64>) -> String {
    nanoseconds.map_or("-".to_owned(), |nanoseconds| format!("{:.3} us", nanoseconds as f64 / 1e3))
}
