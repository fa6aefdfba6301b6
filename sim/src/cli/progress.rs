//! A progress bar on a terminal; nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use tessera_hal::{Duration, Instant};

/// How far a run is.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For a run of this length, if it is known.
    pub(super) fn new(duration: Option<Duration>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let (bar, template) = match duration {
            Some(duration) => (ProgressBar::new(duration.as_micros()), "{bar:40} {percent}% {msg} [{elapsed}]"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} [{elapsed}]"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// The simulated time is this.
    pub(super) fn tell(&self, now: Instant) {
        let passed = Duration::from_nanos(now.as_nanos());
        self.0.set_position(passed.as_micros());
        self.0.set_message(format!("simulated {passed}"));
    }

    /// It is over.
    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}
