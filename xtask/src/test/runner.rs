//! Runs steps on a few workers and prints one line for each.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// What a step does. The text of an `Ok` is a remark for its line, empty for none; an `Err` carries all its output.
type Work = Box<dyn FnOnce() -> Result<String> + Send>;

/// One thing that must hold.
pub struct Step {
    name: String,
    work: Work,
}

impl Step {
    /// A step with nothing to remark when it passes.
    pub fn new(name: impl Into<String>, work: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self::with_remark(name, move || work().map(|()| String::new()))
    }

    /// A step that says something on its line when it passes.
    pub fn with_remark(name: impl Into<String>, work: impl FnOnce() -> Result<String> + Send + 'static) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }
}

/// Steps that may run at the same time.
pub struct Phase {
    workers: usize,
    steps: VecDeque<Step>,
}

impl Phase {
    /// These steps on so many workers, begun in this order.
    pub fn new(workers: usize, steps: Vec<Step>) -> Self {
        Self { workers, steps: steps.into() }
    }

    /// Drops every step whose name contains none of these words, unless there are no words.
    pub fn keep(&mut self, words: &[String]) {
        if !words.is_empty() {
            self.steps.retain(|step| words.iter().any(|word| step.name.contains(word.as_str())));
        }
    }

    /// How many steps are left.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.name.as_str())
    }
}

/// The count at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps that held.
    pub passed: usize,
    /// Steps that did not.
    pub failed: usize,
}

/// Runs the phases one after the other.
pub fn run(phases: Vec<Phase>) -> Summary {
    let bar = progress(phases.iter().map(Phase::len).sum());
    let mut summary = Summary::default();
    for phase in phases {
        let Phase { workers, steps } = phase;
        let state = Mutex::new((steps, summary));
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work(&state, &bar));
            }
        });
        summary = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).1;
    }
    bar.finish_and_clear();
    summary
}

fn work(state: &Mutex<(VecDeque<Step>, Summary)>, bar: &ProgressBar) {
    loop {
        let next = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0.pop_front();
        let Some(Step { name, work }) = next else { return };
        bar.set_message(name.clone());
        let started = Instant::now();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the step itself panicked")));
        let elapsed = started.elapsed();
        let mut guard = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match result {
            Ok(_) => guard.1.passed += 1,
            Err(_) => guard.1.failed += 1,
        }
        // Printed under the lock, so that the lines of two steps never mix.
        bar.suspend(|| println!("{}", line(&name, &result, elapsed)));
        bar.inc(1);
    }
}

fn line(name: &str, result: &Result<String>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    match result {
        Ok(remark) if remark.is_empty() => format!("ok     {seconds:6.1} s  {name}"),
        Ok(remark) => format!("ok     {seconds:6.1} s  {name}: {remark}"),
        Err(error) => format!("FAILED {seconds:6.1} s  {name}\n{error:#}\n"),
    }
}

/// A bar at the bottom of a terminal; nothing elsewhere.
fn progress(total: usize) -> ProgressBar {
    if !std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} [{elapsed}] {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anyhow::bail;

    use super::*;

    #[test]
    fn every_step_is_counted_and_a_failure_stops_nothing() {
        let steps = vec![
            Step::new("holds", || Ok(())),
            Step::new("fails", || bail!("because")),
            Step::new("panics", || panic!("on purpose")),
            Step::new("holds too", || Ok(())),
        ];
        assert_eq!(run(vec![Phase::new(2, steps)]), Summary { passed: 2, failed: 2 });
    }

    #[test]
    fn a_phase_begins_when_the_one_before_has_ended() {
        static DONE: AtomicUsize = AtomicUsize::new(0);
        let slow = || {
            thread::sleep(Duration::from_millis(20));
            DONE.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let first = Phase::new(2, vec![Step::new("a", slow), Step::new("b", slow), Step::new("c", slow)]);
        let second = Phase::new(
            1,
            vec![Step::new("d", || if DONE.load(Ordering::SeqCst) == 3 { Ok(()) } else { bail!("early") })],
        );
        assert_eq!(run(vec![first, second]).failed, 0);
    }

    #[test]
    fn a_failing_step_shows_all_its_output() {
        let text = line("clippy", &Err(anyhow::anyhow!("first\nlast")), Duration::from_secs(1));
        assert!(text.starts_with("FAILED") && text.contains("first\nlast"), "{text}");
    }

    #[test]
    fn steps_are_selected_by_parts_of_their_names() {
        let mut phase = Phase::new(1, vec![Step::new("loom", || Ok(())), Step::new("shuttle", || Ok(()))]);
        phase.keep(&["oo".to_owned()]);
        assert_eq!(phase.names().collect::<Vec<_>>(), ["loom"]);
    }
}
