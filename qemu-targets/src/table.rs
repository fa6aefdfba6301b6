//! A table like `top`: who runs where, what share it should have and has. Shares are percent of one CPU.

use crate::{
    log::RunLog,
    records::Thread,
    shares::{Claim, fair_shares},
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write};

/// A thread's share, wanted and got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The weighted max-min fair share in nanoseconds; a thread that blocks or has ended wants no more than it took.
    pub wanted_ns: f64,
    /// What it got.
    pub got_ns: u64,
}

/// The shares of all threads so far, by thread number; nothing if the masks are too many (see
/// [`MOST_MASKS`](crate::shares::MOST_MASKS)).
pub fn shares(log: &RunLog) -> BTreeMap<u64, Share> {
    let claims: Vec<Claim<'_>> = log
        .threads
        .values()
        .map(|thread| Claim {
            weight: thread.weight,
            affinity: &thread.affinity,
            limit_ns: is_limited(thread).then_some(thread.runtime_ns),
        })
        .collect();
    let wanted = fair_shares(&claims, &capacity(log)).unwrap_or_default();
    let threads = log.threads.iter().zip(wanted);
    threads.map(|((id, thread), wanted_ns)| (*id, Share { wanted_ns, got_ns: thread.runtime_ns })).collect()
}

/// Whether a thread takes less than it could get: it blocks, or it has ended.
pub fn is_limited(thread: &Thread) -> bool {
    thread.voluntary_blocks > 0 || thread.state == "exited"
}

/// What each CPU had for threads since the programs began: all but interrupts. A CPU is online, and idle, before that.
fn capacity(log: &RunLog) -> BTreeMap<u32, u64> {
    // Who never blocks ran or waited all its life, and init starts everything at once.
    let lives = log.threads.values().filter(|thread| !is_limited(thread));
    let longest_life = lives.map(|thread| thread.runtime_ns + thread.runnable_ns).max();
    let capacity = log.cpus.values().map(|cpu| {
        let lasted = longest_life.unwrap_or(cpu.at_ns).min(cpu.at_ns).saturating_sub(cpu.interrupt_ns);
        // What init used to start everything was never the programs'.
        let inits = log.init.as_ref().filter(|init| init.cpu == Some(cpu.id)).map_or(0, |init| init.runtime_ns);
        let used = cpu.thread_ns.saturating_sub(inits);
        (cpu.id, (used + cpu.idle_ns).min(lasted).max(used))
    });
    capacity.collect()
}

fn percent(ns: f64, of_ns: u64) -> f64 {
    ns * 100.0 / of_ns.max(1) as f64
}

fn elapsed_ns(log: &RunLog) -> u64 {
    log.threads.values().map(|thread| thread.at_ns).max().unwrap_or(0)
}

/// The table as text, at most `rows` threads long.
pub fn render(log: &RunLog, rows: usize) -> String {
    let elapsed = elapsed_ns(log);
    let mut text = String::new();
    let (cpus, policy) = log.boot.as_ref().map_or((0, "?"), |boot| (boot.cpus, boot.policy.as_str()));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:.1} s, {cpus} CPUs, {policy}, {} threads", seconds(elapsed), log.threads.len());
    let _ = writeln!(
        text,
        "{:<18} {:>4} {:>6} {:<11} {:>8} {:>8} {:>11} {:>12} {:>6}",
        "THREAD", "CPU", "WEIGHT", "CLASS", "WANTED %", "GOT %", "RUN TIME", "LONGEST WAIT", "MIGR"
    );
    let shares = shares(log);
    for thread in log.threads.values().take(rows) {
        let wanted = shares.get(&thread.id).map(|share| percent(share.wanted_ns, elapsed));
        let got = percent(thread.runtime_ns as f64, elapsed);
        let _ = writeln!(text, "{}", row(thread, wanted, got));
    }
    if log.threads.len() > rows {
        let _ = writeln!(text, "... and {} more", log.threads.len() - rows);
    }
    text
}

fn row(thread: &Thread, wanted: Option<f64>, got: f64) -> String {
    let wanted = wanted.map_or("-".into(), |wanted| format!("{wanted:.2}"));
    let cpu = thread.cpu.map_or("-".into(), |cpu| cpu.to_string());
    let end = if thread.state == "exited" { "  exited" } else { "" };
    format!(
        "{:<18} {cpu:>4} {:>6} {:<11} {wanted:>8} {got:>8.2} {:>9.3} s {:>9.3} ms {:>6}{end}",
        thread.name,
        thread.weight,
        thread.class,
        seconds(thread.runtime_ns),
        thread.longest_wait_ns as f64 / 1e6,
        thread.migrations,
    )
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Redraws a table in place on a terminal.
#[derive(Default)]
pub struct Screen {
    lines: usize,
}

impl Screen {
    /// What to write so that `table` stands where the last one stood.
    pub fn redraw(&mut self, table: &str) -> String {
        let up = match self.lines {
            0 => String::new(),
            // Up by so many lines, then clear to the end of the screen.
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        self.lines = table.lines().count();
        up + table
    }

    /// Says that other text was written below the table, so that the next one starts anew.
    pub fn interrupted(&mut self) {
        self.lines = 0;
    }
}

/// One line of the end of a run, for programs that read it.
#[derive(Serialize)]
struct FinalLine<'a> {
    thread: &'a str,
    cpu: Option<u32>,
    weight: u32,
    class: &'a str,
    affinity: String,
    share_wanted: Option<f64>,
    share_got: f64,
    runtime_ns: u64,
    longest_wait_ns: u64,
    dispatches: u64,
    preemptions: u64,
    voluntary_blocks: u64,
    migrations: u64,
    progress: u64,
}

/// A JSON line for each thread. Shares are parts of one CPU.
pub fn final_lines(log: &RunLog) -> Vec<String> {
    let (shares, elapsed) = (shares(log), elapsed_ns(log).max(1) as f64);
    let line = |thread: &Thread| {
        serde_json::to_string(&FinalLine {
            thread: &thread.name,
            cpu: thread.cpu,
            weight: thread.weight,
            class: &thread.class,
            affinity: thread.affinity.to_string(),
            share_wanted: shares.get(&thread.id).map(|share| share.wanted_ns / elapsed),
            share_got: thread.runtime_ns as f64 / elapsed,
            runtime_ns: thread.runtime_ns,
            longest_wait_ns: thread.longest_wait_ns,
            dispatches: thread.dispatches,
            preemptions: thread.preemptions,
            voluntary_blocks: thread.voluntary_blocks,
            migrations: thread.migrations,
            progress: thread.progress,
        })
    };
    // Numbers and texts always serialize.
    log.threads.values().filter_map(|thread| line(thread).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::sample;

    #[test]
    fn wanted_and_got_stand_side_by_side() {
        let log = sample::fairness(&[("heavy.0", 128, 2_000_000_000), ("light.0", 64, 1_000_000_000)]);
        let table = render(&log, 10);
        let heavy = table.lines().find(|line| line.starts_with("heavy.0")).unwrap();
        assert_eq!(heavy.matches("66.67").count(), 2, "{table}");
    }

    #[test]
    fn a_sleeper_wants_no_more_than_it_took() {
        let mut log = sample::fairness(&[("hog.0", 64, 2_900_000_000), ("sleeper.0", 64, 100_000_000)]);
        log.threads.get_mut(&1).unwrap().voluntary_blocks = 9;
        assert!((shares(&log)[&1].wanted_ns - 1e8).abs() < 1e3);
        assert!((shares(&log)[&0].wanted_ns - 2.9e9).abs() < 1e3);
    }

    #[test]
    fn long_tables_are_cut_and_screens_redraw_in_place() {
        let log = sample::fairness(&[("a.0", 1, 1), ("b.0", 1, 1), ("c.0", 1, 1)]);
        let table = render(&log, 2);
        assert!(table.ends_with("... and 1 more\n"));
        let mut screen = Screen::default();
        assert_eq!(screen.redraw(&table), table);
        assert!(screen.redraw(&table).starts_with("\x1b[5A\x1b[J"));
        screen.interrupted();
        assert_eq!(screen.redraw(&table), table);
    }

    #[test]
    fn each_thread_ends_as_one_json_line() {
        let log = sample::fairness(&[("a.0", 1, 5), ("b.0", 1, 5)]);
        let lines = final_lines(&log);
        assert_eq!(lines.len(), 2);
        let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(value["thread"], "a.0");
        assert_eq!(value["runtime_ns"], 5);
    }
}
