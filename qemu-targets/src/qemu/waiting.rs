//! How long the host made virtual CPUs wait for a CPU of its own.
//!
//! A virtual CPU that waits is stopped, and its guest charges the stop to the thread that happened to run. Which one that
//! is need not even out: where a host has fewer CPUs than the machine, its own time slices and the guest's can fall into
//! step. So what programs got done is judged with what the host took from them in mind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two looks at the host's counters.
const PERIOD: Duration = Duration::from_millis(200);

/// Threads that wanted less than this part of what the busiest wanted are no virtual CPUs at work.
const AT_WORK: f64 = 0.5;

/// The host's counters of a process's threads, as last seen.
pub(super) struct Waiting {
    tasks: PathBuf,
    looked: Option<Instant>,
    threads: BTreeMap<PathBuf, Times>,
}

/// Of one thread, in nanoseconds.
#[derive(Clone, Copy)]
struct Times {
    ran: f64,
    waited: f64,
}

impl Times {
    fn wanted(self) -> f64 {
        self.ran + self.waited
    }

    /// The first two numbers of a `schedstat` file (Linux, Documentation/scheduler/sched-stats.rst).
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        Some(Self { ran: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
    }
}

impl Waiting {
    pub fn of(process: u32) -> Self {
        Self { tasks: format!("/proc/{process}/task").into(), looked: None, threads: BTreeMap::new() }
    }

    /// Takes the counters, if it is time. A host that has none leaves everything as it was.
    pub fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        for task in fs::read_dir(&self.tasks).into_iter().flatten().flatten() {
            let file = task.path().join("schedstat");
            if let Some(times) = fs::read_to_string(&file).ok().as_deref().and_then(Times::parse) {
                self.threads.insert(file, times);
            }
        }
    }

    /// The part of the time in which it wanted to run that a busy thread spent waiting: that of the one that waited most.
    /// 0 where the host does not say.
    pub fn part(&self) -> f64 {
        let busiest = self.threads.values().map(|times| times.wanted()).fold(0.0, f64::max);
        let at_work = self.threads.values().filter(|times| times.wanted() >= AT_WORK * busiest && busiest > 0.0);
        at_work.map(|times| times.waited / times.wanted()).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_thread_that_waited_most_counts() {
        let mut waiting = Waiting::of(0);
        assert_eq!(waiting.part(), 0.0);
        for (name, text) in [("cpu0", "700 300 9\n"), ("cpu1", "600 400 9\n"), ("main", "1 99 9\n")] {
            waiting.threads.insert(name.into(), Times::parse(text).unwrap());
        }
        assert_eq!(waiting.part(), 0.4);
    }

    #[test]
    fn what_is_no_pair_of_numbers_is_no_time() {
        assert!(Times::parse("12").is_none() && Times::parse("a b").is_none() && Times::parse("").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_run() {
        let mut waiting = Waiting::of(std::process::id());
        waiting.look();
        assert!(waiting.threads.values().any(|times| times.ran > 0.0));
        assert!((0.0..1.0).contains(&waiting.part()));
    }
}
