//! Traced runs: what a booted kernel's rings held is a valid trace file and says what the accounts of the run say.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use qemu_targets::log::RunLog;
use qemu_targets::qemu::Accelerator;
use qemu_targets::trace;
use serde_json::Value;

use super::kernels::Kernels;
use super::runner::{Phase, Step};
use super::targets;
use crate::boot::{self, Architecture, Switches};
use crate::trace::Files;
use crate::trial::{self, Trial};

/// All phases of this kind. Nothing here is judged by time, so two machines may share the host.
pub fn phases(kernels: &Kernels) -> Vec<Phase> {
    let few = |cpus| Switches { cpus: Some(cpus), seconds: Some(2), trace: true, ..Switches::default() };
    let virt = Switches { arch: Architecture::Aarch64, ..few(2) };
    let exact = Switches { icount: true, ..few(1) };
    let boots = [("default", few(4)), ("park", few(2)), ("default", virt), ("default", exact)];
    let step = |(name, switches): (&'static str, Switches)| {
        let kernels = kernels.clone();
        let title = targets::title(&format!("trace of target {name}"), &switches);
        Step::with_remark(title, move || agrees(&kernels, name, &switches))
    };
    vec![Phase::new(2, boots.into_iter().map(step).collect())]
}

fn agrees(kernels: &Kernels, name: &str, switches: &Switches) -> Result<String> {
    let artifacts = kernels.get(switches.arch.target())?;
    let accelerator = if switches.icount { Accelerator::Counted } else { Accelerator::Tcg };
    let target = trial::read_target(name, None)?;
    let judged = Trial::prepare(&target, switches, artifacts, accelerator)?.run(&mut |_, _, _| ())?;
    // Counted exactly the main job's two witnesses agree within 1 %, which no host can blur.
    ensure!(!switches.icount || judged.passed(), "{}\n{}", judged.outcome.report(), judged.verdict);
    let agreement = trace::check(&judged.log).with_context(|| judged.outcome.report())?;
    let folder = boot::cache_folder();
    let files = Files {
        trace: Some(folder.join(format!("trace-{name}-{}.json", switches.arch.target().triple()))),
        svg: Some(folder.join(format!("trace-{name}-{}.svg", switches.arch.target().triple()))),
    };
    files.write(name, &judged.log)?;
    check_files(name, &files, &judged.log)?;
    Ok(agreement.to_string())
}

/// What was written, read again by an independent reader: the slices of each thread that has not ended add up to its run
/// time, and the picture is one.
fn check_files(target: &str, files: &Files, log: &RunLog) -> Result<()> {
    let (Some(trace), Some(svg)) = (&files.trace, &files.svg) else { return Ok(()) };
    let text = fs::read_to_string(trace)?;
    let whole: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", trace.display()))?;
    let events = whole["traceEvents"].as_array().context("the file has no traceEvents")?;
    let mut runtimes = BTreeMap::<&str, u64>::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let name = event["name"].as_str().context("a slice has no name")?;
        *runtimes.entry(name).or_default() += nanoseconds(&event["dur"])?;
    }
    for thread in log.threads.values().filter(|thread| thread.is_final && thread.state != "exited") {
        let recorded = runtimes.get(thread.name.as_str()).copied().unwrap_or(0);
        ensure!(recorded == thread.runtime_ns, "{}: {recorded} ns in the file, not {}", thread.name, thread.runtime_ns);
    }
    let count = |kind: &str| events.iter().filter(|event| event["ph"] == kind).count();
    ensure!(count("i") > 0 && count("C") > 0, "the file has no instants or no counters");
    // Who wakes whom is an arrow where threads do, as those of `park`; others are woken by timers.
    ensure!(count("s") == count("f"), "{} arrows begin and {} end", count("s"), count("f"));
    ensure!(count("s") > 0 || target != "park", "the file has no arrow from a waker");
    ensure!(fs::read_to_string(svg)?.contains("</svg>"), "{} is no picture", svg.display());
    Ok(())
}

/// The file counts microseconds with three decimals.
fn nanoseconds(value: &Value) -> Result<u64> {
    let text = value.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
    let part: u64 = format!("{part:0<3}").parse()?;
    Ok(whole.parse::<u64>()? * 1000 + part)
}
