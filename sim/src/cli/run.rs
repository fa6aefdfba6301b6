//! `sim run`.

use super::progress::Progress;
use super::{Verdict, files, values};
use anyhow::{Context, Result, anyhow};
use kernel_core::sched::Policy;
use sim::engine::{self, Outcome};
use sim::result::{Report, TaskReport};
use sim::workload::{self, Workload};
use sim::{plot, trace};
use std::path::{Path, PathBuf};
use tessera_hal::Duration;

/// Threads that the table shows.
const SHOWN: usize = 40;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The workload
    #[arg(value_name = "WORKLOAD.json")]
    file: PathBuf,
    /// CPUs of the machine, in place of the workload's
    #[arg(long, value_parser = values::cpus)]
    cpus: Option<usize>,
    /// How queues are ordered: wfq or eevdf
    #[arg(long, value_parser = values::policy, default_value = Policy::default().name())]
    policy: Policy,
    /// Where random numbers begin
    #[arg(long, value_parser = values::seed, default_value_t = 1)]
    seed: u64,
    /// How long to simulate, such as 10s or 250ms, in place of the workload's
    #[arg(long, value_parser = values::duration)]
    duration: Option<Duration>,
    /// Write the result as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Draw who ran where and the shares over time
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write what happened, for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Check the scheduler's invariants after each step (slow)
    #[arg(long)]
    check: bool,
    /// Leave out memory and I/O events instead of refusing them
    #[arg(long)]
    ignore_unsupported: bool,
    /// List unknown keys of `global`, too, and say how fast it went
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict> {
    let options = workload::Options {
        cpus: arguments.cpus,
        duration: arguments.duration,
        ignore_unsupported: arguments.ignore_unsupported,
    };
    let workload = files::read_workload(&arguments.file, &options)?;
    files::tell_notices(&arguments.file, &workload, arguments.verbose);
    let (json, svg, trace) = (arguments.json.as_ref(), arguments.svg.as_ref(), arguments.trace.as_ref());
    files::check_outputs([("--json", json), ("--svg", svg), ("--trace", trace)])?;
    let begun = std::time::Instant::now();
    let outcome = simulate(arguments, &workload)?;
    if arguments.verbose {
        let seconds = begun.elapsed().as_secs_f64();
        let rate = outcome.events as f64 / seconds / 1e6;
        eprintln!("{} scheduling events in {seconds:.3} s: {rate:.2} million per second", outcome.events);
        let searches = outcome.searches;
        let lines = searches.lines as f64 / searches.count.max(1) as f64;
        eprintln!(
            "{} CPUs with nothing to run looked for work, at {lines:.2} cache lines of others each",
            searches.count
        );
    }
    write(arguments, &outcome)?;
    for violation in &outcome.violations {
        eprintln!("violated: {violation}");
    }
    Ok(if outcome.report.invariants.violations > 0 { Verdict::Violated } else { Verdict::Done })
}

fn simulate(arguments: &Arguments, workload: &Workload) -> Result<Outcome> {
    let options = engine::Options {
        policy: arguments.policy,
        seed: arguments.seed,
        check: arguments.check,
        trace: arguments.svg.is_some() || arguments.trace.is_some(),
    };
    let progress = Progress::new(workload.duration);
    let outcome = engine::run(workload, &options, &mut |now| progress.tell(now));
    progress.finish();
    outcome.map_err(|fault| anyhow!("{}:{fault}", arguments.file.display()))
}

fn write(arguments: &Arguments, outcome: &Outcome) -> Result<()> {
    let report = &outcome.report;
    match &arguments.json {
        Some(path) if files::is_standard_output(path) => files::print(&report.to_json()?)?,
        Some(path) => files::write(path, report.to_json()?.as_bytes())?,
        None => {}
    }
    if !arguments.json.as_ref().is_some_and(|path| files::is_standard_output(path)) {
        files::print(&table(&arguments.file, report))?;
    }
    let Some(recorded) = &outcome.trace else { return Ok(()) };
    if let Some(path) = &arguments.trace {
        let mut text = Vec::new();
        trace::chrome::write(recorded, &mut text).context("cannot write the trace")?;
        files::write(path, &text)?;
    }
    if let Some(path) = &arguments.svg {
        files::write(path, plot::run(&title(&arguments.file, report), recorded)?.as_bytes())?;
    }
    Ok(())
}

fn title(file: &Path, report: &Report) -> String {
    format!("{}, {}, {}", files::short_name(file), report.policy, cpus(report))
}

fn cpus(report: &Report) -> String {
    if report.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", report.cpus) }
}

/// The result as a person reads it.
fn table(file: &Path, report: &Report) -> String {
    let duration = Duration::from_nanos(report.duration_ns);
    let width = report.tasks.iter().take(SHOWN).map(|task| task.name.chars().count()).max().unwrap_or(0).max(6);
    let mut text = format!("{}, {duration}, seed {}\n", title(file, report), report.seed);
    text.push_str(&format!(
        "{:width$} {:>6} {:11} {:>8} {:>8} {:>12} {:>12} {:>10} {:>6} {:>8} {:>6}\n",
        "TASK", "WEIGHT", "CLASS", "SHARE %", "IDEAL %", "MAX WAIT", "WAKE P99", "DISPATCHES", "MIGR", "JOBS", "MISSED"
    ));
    for task in report.tasks.iter().take(SHOWN) {
        text.push_str(&row(task, width));
    }
    if let Some(more) = report.tasks.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        text.push_str(&format!("... and {more} more; --json writes all\n"));
    }
    if report.invariants.checked > 0 {
        let invariants = &report.invariants;
        text.push_str(&format!("{} checks, {} violations\n", invariants.checked, invariants.violations));
    }
    text
}

fn row(task: &TaskReport, width: usize) -> String {
    format!(
        "{:width$} {:>6} {:11} {:>8.3} {:>8.3} {:>12} {:>12} {:>10} {:>6} {:>8} {:>6}\n",
        task.name,
        task.weight,
        task.class,
        task.share * 100.0,
        task.ideal_share * 100.0,
        Duration::from_nanos(task.max_wait_ns).to_string(),
        Duration::from_nanos(task.wake_latency_ns.p99).to_string(),
        task.dispatches,
        task.migrations,
        task.jobs,
        task.deadline_misses,
    )
}
