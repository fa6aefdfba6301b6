//! Whether the shares that were asked for are the shares that were got.

use super::{Conditions, Verdict};
use crate::{
    log::RunLog,
    records::Thread,
    table::{is_limited, shares},
    target::{ExpectedShare, Fair, Target},
};

/// Where instructions are counted: parts of the fair share.
const EXACT_PART: f64 = 0.005;
/// Progress where instructions are counted, on one CPU.
const EXACT_PROGRESS_PART: f64 = 0.01;
/// The same on several: they take turns on one counter that is the clock of all, so what a slice does on its own CPU
/// depends on how many turns fell into it.
const TURNS_PROGRESS_PART: f64 = 0.05;
/// Progress on virtual CPUs that the host stops and starts. It takes parts of single slices away, from any thread, so
/// the error of the mean falls with the square root of the number of slices: three times that, and
const PROGRESS_PART: f64 = 0.05;
const PROGRESS_DEVIATIONS: f64 = 3.0;
/// More for threads that may use several CPUs, and what interrupts took from one of these CPUs more than from another:
/// balancing moves whole threads, it does not make such time up.
const SPREAD_PART: f64 = 0.10;
/// After so many slices, as far as the host did not stop them, a thread must have made progress.
const SLICES_TO_PROGRESS: f64 = 8.0;
/// With fewer slices than this the programs' witness says nothing about ratios and waits ...
const SLICES_TO_JUDGE: u64 = 30;
/// ... which is accepted only where there are more virtual CPUs than this, not counted exactly: a host runs each of them
/// for too small a part of the time. The finding says so.
const CROWDED_CPUS: u16 = 8;

pub fn judge(log: &RunLog, target: &Target, conditions: Conditions, verdict: &mut Verdict) {
    let bounds = Bounds::of(log, conditions);
    if target.expect.fair == Fair::Everybody {
        fair_shares(log, &bounds, verdict);
    }
    if !target.expect.ratio.is_empty() {
        ratio(log, target, &bounds, verdict);
    }
    for expected in &target.expect.share {
        part_of_cpu(log, expected, &bounds, verdict);
    }
    for name in &target.expect.in_turn {
        in_turn(log, name, &bounds, verdict);
    }
    for name in &target.expect.prompt {
        prompt(log, name, &bounds, verdict);
    }
}

/// What a thread may be away from its share in this run.
struct Bounds {
    exact: bool,
    takes_turns: bool,
    crowded: bool,
    waited: f64,
    late_start_ns: u64,
    longest_request_ns: u64,
    longest_charge_ns: u64,
    base_request_ns: u64,
}

impl Bounds {
    fn of(log: &RunLog, conditions: Conditions) -> Self {
        Self {
            exact: conditions.exact,
            takes_turns: conditions.cpus > 1,
            crowded: !conditions.exact && conditions.cpus > CROWDED_CPUS,
            waited: if conditions.exact { 0.0 } else { conditions.waited },
            late_start_ns: late_start_ns(log),
            longest_request_ns: log.threads.values().map(|thread| thread.request_ns).max().unwrap_or(0),
            longest_charge_ns: log.longest_charge_ns(),
            base_request_ns: log.base_request_ns(),
        }
    }

    fn share_ns(&self, wanted_ns: f64, uneven: Option<f64>) -> f64 {
        let spread = uneven.map_or(0.0, |uneven| wanted_ns * (SPREAD_PART + uneven));
        spread
            + if self.exact {
                wanted_ns * EXACT_PART
            } else {
                (self.longest_request_ns + self.longest_charge_ns + self.late_start_ns) as f64
            }
    }

    /// The range of what should be between `least` and `most` parts of a whole, where waits for the host are charged to
    /// either side.
    fn part(&self, least: f64, most: f64) -> (f64, f64) {
        let seen = 1.0 - self.waited;
        (least * seen, most * seen + self.waited)
    }

    /// As a part of the wanted progress of a thread that should have run for `wanted_ns`. A stop of the host is charged as
    /// run time and makes no progress.
    fn progress_part(&self, dispatches: u64, wanted_ns: f64) -> f64 {
        match (self.exact, self.takes_turns) {
            (true, false) => EXACT_PROGRESS_PART,
            (true, true) => TURNS_PROGRESS_PART,
            (false, _) => {
                let stopped = self.longest_charge_ns as f64 / wanted_ns.max(1.0);
                PROGRESS_PART + PROGRESS_DEVIATIONS / (dispatches.max(1) as f64).sqrt() + stopped
            }
        }
    }

    /// The least and the most progress in percent of a group's, for a thread that should have `part` of it. Beside
    /// chance, waits for the host may have hit this thread alone, or all the others alone.
    fn progress(&self, part: f64, dispatches: u64, wanted_ns: f64) -> (f64, f64) {
        let chance = part * self.progress_part(dispatches, wanted_ns);
        let seen = 1.0 - self.waited;
        let (least, most) = ((part - self.waited) / seen - chance, part / seen + chance);
        (least.max(0.0) * 100.0, most * 100.0)
    }

    /// What to say instead of a judgement, if so few slices are excused.
    fn excuse(&self, slices: u64) -> Option<String> {
        let excused = self.crowded && slices < SLICES_TO_JUDGE;
        excused.then(|| format!("not judged: {slices} slices, the host is crowded with virtual CPUs"))
    }

    fn text(&self) -> String {
        if self.exact {
            return "0.5 % (instructions are counted)".into();
        }
        let [request, charge, late] =
            [self.longest_request_ns, self.longest_charge_ns, self.late_start_ns].map(|ns| ms(ns as f64));
        let late = if self.late_start_ns > 0 { format!(" + last start {late} late") } else { String::new() };
        format!("one request {request} + longest charge {charge}{late}")
    }
}

/// Between the starts of the first and the last of the threads that never block, at least: a host may stop the CPU on
/// which `init` starts them. They run or wait all their lives, but for interrupts.
fn late_start_ns(log: &RunLog) -> u64 {
    let lives = || {
        let threads = log.threads.values().filter(|thread| !is_limited(thread));
        threads.map(|thread| thread.runtime_ns + thread.runnable_ns)
    };
    let interrupted = log.cpus.values().map(|cpu| cpu.interrupt_ns).max().unwrap_or(0);
    (lives().max().unwrap_or(0) - lives().min().unwrap_or(0)).saturating_sub(interrupted)
}

fn ms(ns: f64) -> String {
    format!("{:.3} ms", ns / 1e6)
}

/// For a thread that may use several CPUs: how much less the poorest of them had for threads than the richest, as a part.
fn uneven(log: &RunLog, thread: &Thread) -> Option<f64> {
    if thread.affinity.0.len() < 2 {
        return None;
    }
    let cpus = thread.affinity.0.iter().filter_map(|cpu| log.cpus.get(cpu));
    let had = cpus.map(|cpu| cpu.elapsed_ns.saturating_sub(cpu.interrupt_ns) as f64 / cpu.elapsed_ns.max(1) as f64);
    let (poorest, richest) = had.fold((1.0_f64, 0.0_f64), |(low, high), part| (low.min(part), high.max(part)));
    Some((richest - poorest).max(0.0))
}

fn fair_shares(log: &RunLog, bounds: &Bounds, verdict: &mut Verdict) {
    let shares = shares(log);
    let mut worst: Option<(f64, String)> = None;
    let mut judged = 0;
    for thread in log.threads.values().filter(|thread| !is_limited(thread)) {
        let Some(share) = shares.get(&thread.id) else { continue };
        let away = (share.got_ns as f64 - share.wanted_ns).abs();
        let bound = bounds.share_ns(share.wanted_ns, uneven(log, thread));
        let text = format!(
            "{} wanted {}, got {}, is {} away, bound {}",
            thread.name,
            ms(share.wanted_ns),
            ms(share.got_ns as f64),
            ms(away),
            ms(bound)
        );
        let use_of_bound = away / bound.max(1.0);
        if worst.as_ref().is_none_or(|(worst, _)| use_of_bound > *worst) {
            worst = Some((use_of_bound, text));
        }
        judged += 1;
    }
    match worst {
        Some((part, text)) => {
            let bound = bounds.text();
            verdict.note(part <= 1.0, format!("shares of {judged} threads within {bound}; the worst: {text}"));
        }
        None => verdict.note(false, "no thread took all that it could get, so no share can be judged"),
    }
    progress_of_all(log, bounds, verdict);
}

/// Everybody must get something done. Where a host runs many virtual CPUs it may stop a CPU for whole slices, so there a
/// thread counts only after some.
fn progress_of_all(log: &RunLog, bounds: &Bounds, verdict: &mut Verdict) {
    let seen = |thread: &Thread| thread.dispatches as f64 * (1.0 - bounds.waited);
    let counts = |thread: &&Thread| bounds.exact || seen(thread) >= SLICES_TO_PROGRESS;
    let progressed = log.threads.values().filter(|thread| thread.progress > 0).count();
    let still = log.threads.values().filter(counts).find(|thread| thread.progress == 0);
    let first = still.map(|thread| format!("; {} did not in {} slices", thread.name, thread.dispatches));
    let text = format!("{progressed} of {} threads made progress", log.threads.len());
    verdict.note(progressed > 0 && still.is_none(), text + &first.unwrap_or_default());
}

fn ratio(log: &RunLog, target: &Target, bounds: &Bounds, verdict: &mut Verdict) {
    let parts: Vec<(&Thread, f64)> = log
        .threads
        .values()
        .filter_map(|thread| target.expect.ratio.get(thread.program()).map(|part| (thread, f64::from(*part))))
        .collect();
    let of: f64 = parts.iter().map(|(_, part)| part).sum();
    let runtime: f64 = parts.iter().map(|(thread, _)| thread.runtime_ns as f64).sum();
    let progress: f64 = parts.iter().map(|(thread, _)| thread.progress as f64).sum();
    let fewest = parts.iter().map(|(thread, _)| thread.dispatches).min().unwrap_or(0);
    if parts.len() < 2 || runtime == 0.0 || (progress == 0.0 && bounds.excuse(fewest).is_none()) {
        verdict.note(false, "the programs whose ratio is expected did not run or made no progress");
        return;
    }
    if let Some(excuse) = bounds.excuse(fewest) {
        verdict.note(true, format!("progress of the group: {excuse}"));
    }
    for (thread, part) in &parts {
        let wanted = runtime * part / of;
        let away = (thread.runtime_ns as f64 - wanted).abs();
        let good = away <= bounds.share_ns(wanted, None);
        let got = thread.runtime_ns as f64 / runtime * 100.0;
        let text = format!("{}: {got:.3} % of the group's run time, expected {:.3} %", thread.name, part / of * 100.0);
        verdict.note(good, format!("{text}, {} away, bound {}", ms(away), ms(bounds.share_ns(wanted, None))));
        if bounds.excuse(fewest).is_some() {
            continue;
        }
        let done = thread.progress as f64 / progress;
        let (least, most) = bounds.progress(part / of, thread.dispatches, wanted);
        let (done, part, waited) = (done * 100.0, part / of * 100.0, bounds.waited * 100.0);
        let text = format!("{}: {done:.3} % of the group's progress, expected {part:.3} %", thread.name);
        let range = format!("{least:.1} to {most:.1} % where CPUs waited for the host {waited:.0} % of their time");
        verdict.note((least..=most).contains(&done), format!("{text}; {range}"));
    }
}

/// What programs that hand the CPU to each other have together. Both ends of the range are bounded like any share.
fn part_of_cpu(log: &RunLog, expected: &ExpectedShare, bounds: &Bounds, verdict: &mut Verdict) {
    let ExpectedShare { programs, .. } = expected;
    let (least, most) = bounds.part(expected.least, expected.most);
    let least_progress = (expected.least_progress as f64 * (1.0 - bounds.waited)) as u64;
    let threads = || log.threads.values().filter(|thread| programs.iter().any(|name| name == thread.program()));
    let given: f64 = log.cpus.values().map(|cpu| cpu.thread_ns as f64).sum();
    let runtime: f64 = threads().map(|thread| thread.runtime_ns as f64).sum();
    let (low, high) = (given * least, given * most);
    let good =
        runtime > 0.0 && runtime >= low - bounds.share_ns(low, None) && runtime <= high + bounds.share_ns(high, None);
    let names = programs.join(" and ");
    let (part, least, most) = (runtime / given.max(1.0) * 100.0, least * 100.0, most * 100.0);
    let bound = bounds.text();
    verdict.note(
        good,
        format!("{names} have {part:.3} % of the CPU, expected {least:.1} % to {most:.1} % within {bound}"),
    );
    let slowest = threads().map(|thread| thread.progress).min().unwrap_or(0);
    verdict.note(slowest >= least_progress, format!("{names}: progress {slowest} at least, expected {least_progress}"));
}

/// A thread that always wants the CPU lets each other one have a request, and may be ahead by one of its own. As with
/// [`prompt`], a host that stops virtual CPUs leaves only the mean to judge.
fn in_turn(log: &RunLog, name: &str, bounds: &Bounds, verdict: &mut Verdict) {
    let threads = log.threads.values().filter(|thread| thread.program() == name && thread.dispatches > 1);
    let Some(thread) = threads.max_by_key(|thread| thread.longest_wait_ns) else {
        verdict.note(false, format!("{name} did not run"));
        return;
    };
    let mean_ns = thread.runnable_ns / thread.dispatches;
    let judged_ns = if bounds.exact { thread.longest_wait_ns } else { mean_ns };
    let bound = bounds.base_request_ns * log.threads.len() as u64 + bounds.longest_charge_ns;
    let (mean, most, limit) = (ms(mean_ns as f64), ms(thread.longest_wait_ns as f64), ms(bound as f64));
    let judged = if bounds.exact { "the longest" } else { "the mean" };
    let text = format!("{} waited {mean} in the mean, {most} at most; bound for {judged}: {limit}", thread.name);
    verdict.note(judged_ns <= bound, format!("{text} (one request of each thread + longest charge)"));
}

/// Counted exactly, the longest wait is bounded. Otherwise the host may stop the virtual CPU in the middle of any one
/// wait, for as long as it likes, so the mean wait is.
fn prompt(log: &RunLog, name: &str, bounds: &Bounds, verdict: &mut Verdict) {
    let longest = log.threads.values().filter(|thread| thread.program() == name).max_by_key(|t| t.longest_wait_ns);
    let excuse = longest.and_then(|thread| bounds.excuse(thread.dispatches));
    if let Some(excuse) = excuse {
        verdict.note(true, format!("waits of {name}: {excuse}"));
        return;
    }
    let Some(thread) = longest.filter(|thread| thread.dispatches > 1) else {
        verdict.note(false, format!("{name} did not run"));
        return;
    };
    let mean_ns = thread.runnable_ns / thread.dispatches;
    let judged_ns = if bounds.exact { thread.longest_wait_ns } else { mean_ns };
    let bound = bounds.base_request_ns + bounds.longest_charge_ns;
    let (mean, most, limit) = (ms(mean_ns as f64), ms(thread.longest_wait_ns as f64), ms(bound as f64));
    let judged = if bounds.exact { "the longest" } else { "the mean" };
    let text = format!("{} waited {mean} in the mean, {most} at most; bound for {judged}: {limit}", thread.name);
    verdict.note(judged_ns <= bound, format!("{text} (one request + longest charge)"));
    if bounds.exact {
        let passed_by = thread.most_passed_by;
        let text = format!("{}: {passed_by} dispatches at most went between a wake-up and its own", thread.name);
        verdict.note(passed_by <= 1, format!("{text}, bound 1"));
    }
}
