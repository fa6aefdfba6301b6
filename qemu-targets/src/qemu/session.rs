//! One watched run of QEMU: lines out, limits on silence and on the whole, and how it ended.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::launch::{Launch, Machine};
use super::waiting::Waiting;

/// Lines kept for a report on a run that went wrong.
const TAIL_LINES: usize = 30;

/// A line is cut here, so that a guest that never ends one cannot fill the host's memory.
const LONGEST_LINE: usize = 1 << 16;

/// How long a run may be silent, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Between two outputs.
    pub silence: Duration,
    /// From start to end.
    pub total: Duration,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest reported success.
    Success,
    /// The guest reported a failure.
    Failure,
    /// QEMU ended with a status that no guest asked for: a reset, a triple fault, a refused command line.
    Crash(ExitStatus),
    /// The guest printed nothing for this long, and QEMU was ended.
    Silent(Duration),
    /// The run took longer than this, and QEMU was ended.
    Overlong(Duration),
    /// The caller had seen enough.
    Stopped,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("the guest reported success"),
            Self::Failure => f.write_str("the guest reported a failure"),
            Self::Crash(status) => {
                write!(f, "QEMU ended with {status}, which no guest asked for (a reset or a refused command line)")
            }
            Self::Silent(limit) => write!(f, "no output for {} s, QEMU was ended", limit.as_secs()),
            Self::Overlong(limit) => write!(f, "longer than {} s, QEMU was ended", limit.as_secs()),
            Self::Stopped => f.write_str("stopped by its caller"),
        }
    }
}

/// What is left of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Host time from start to end.
    pub elapsed: Duration,
    /// The last serial lines, oldest first.
    pub tail: Vec<String>,
    /// What QEMU itself had to say.
    pub messages: String,
    /// The part of its time in which a busy virtual CPU waited for one of the host's; 0 where the host does not say.
    pub waited: f64,
}

impl Outcome {
    /// The ending, the last serial lines and QEMU's own messages, for a person.
    pub fn report(&self) -> String {
        let mut text = format!("{} after {:.1} s", self.ending, self.elapsed.as_secs_f64());
        if !self.tail.is_empty() {
            text.push_str(&format!("; the last {} serial lines:", self.tail.len()));
        }
        for line in &self.tail {
            text.push_str("\n  | ");
            text.push_str(line);
        }
        if !self.messages.trim().is_empty() {
            text.push_str("\nQEMU said: ");
            text.push_str(self.messages.trim());
        }
        text
    }
}

/// QEMU could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The emulator did not start.
    #[error("cannot start {emulator}: {source}")]
    Start {
        /// Its program name.
        emulator: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The emulator could not be waited for or ended.
    #[error("lost {emulator}: {source}")]
    Lost {
        /// Its program name.
        emulator: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Boots and waits for the end. Each serial line is given to `on_line`, which may end the run.
pub fn run(
    launch: &Launch,
    limits: Limits,
    on_line: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Outcome, RunError> {
    let emulator = launch.machine.emulator();
    let mut child = command(launch).spawn().map_err(|source| RunError::Start { emulator, source })?;
    let started = Instant::now();
    let typed = child.stdin.take().map(|stream| (stream, launch.input.clone()));
    let messages = child.stderr.take().map(|mut stream| {
        thread::spawn(move || {
            let mut text = Vec::new();
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let (sender, receiver) = channel();
    let reader = child.stdout.take().map(|stream| thread::spawn(move || forward(stream, typed, &sender)));
    let mut lines = Lines { partial: Vec::new(), tail: VecDeque::new() };
    let mut waiting = Waiting::of(child.id());
    let stop = watch(&receiver, limits, started, &mut lines, &mut |line| {
        waiting.look();
        on_line(line)
    });
    if stop.is_some() {
        child.kill().map_err(|source| RunError::Lost { emulator, source })?;
    }
    let status = child.wait().map_err(|source| RunError::Lost { emulator, source })?;
    if let Some(reader) = reader {
        let _ = reader.join();
    }
    let ending = stop.unwrap_or_else(|| judge(launch.machine, status));
    let messages = messages.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Ok(Outcome { ending, elapsed: started.elapsed(), tail: lines.tail.into(), messages, waited: waiting.part() })
}

/// The emulator's command, which ends with its parent where the host offers that.
pub(super) fn command(launch: &Launch) -> Command {
    let guardian = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("setpriv"))
        .find(|file| file.is_file());
    let mut command = match guardian {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", launch.machine.emulator()]);
            command
        }
        None => Command::new(launch.machine.emulator()),
    };
    let input = if launch.input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.args(launch.arguments()).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Feeds the serial line from a thread of its own: the guest takes bytes when it wants.
fn type_input(mut stream: ChildStdin, bytes: Vec<u8>) {
    // The thread ends when QEMU does, because writing to a closed pipe fails.
    thread::spawn(move || {
        let _ = stream.write_all(&bytes);
    });
}

/// Passes the guest's output on. Its input begins with its first words: what is typed before then may be lost.
fn forward(mut stream: impl Read, mut typed: Option<(ChildStdin, Vec<u8>)>, sender: &Sender<Vec<u8>>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
            return;
        }
        if let Some((stream, bytes)) = typed.take() {
            type_input(stream, bytes);
        }
    }
}

/// Passes lines on until the output ends (`None`) or the run has to be ended for a reason.
fn watch(
    receiver: &Receiver<Vec<u8>>,
    limits: Limits,
    started: Instant,
    lines: &mut Lines,
    on_line: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Option<Ending> {
    loop {
        let left = limits.total.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Some(Ending::Overlong(limits.total));
        }
        match receiver.recv_timeout(left.min(limits.silence)) {
            Ok(bytes) => {
                if lines.take(&bytes, on_line).is_break() {
                    return Some(Ending::Stopped);
                }
            }
            Err(RecvTimeoutError::Timeout) if left <= limits.silence => return Some(Ending::Overlong(limits.total)),
            Err(RecvTimeoutError::Timeout) => return Some(Ending::Silent(limits.silence)),
            Err(RecvTimeoutError::Disconnected) => {
                // A last line without its end is still a line.
                return lines.finish(on_line).is_break().then_some(Ending::Stopped);
            }
        }
    }
}

/// Turns bytes into lines and keeps the last ones.
struct Lines {
    partial: Vec<u8>,
    tail: VecDeque<String>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        for &byte in bytes {
            if byte == b'\n' || self.partial.len() >= LONGEST_LINE {
                self.finish(on_line)?;
            }
            if byte != b'\n' {
                self.partial.push(byte);
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(&mut self, on_line: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        let bytes = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned();
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        let flow = if line.is_empty() { ControlFlow::Continue(()) } else { on_line(&line) };
        if !line.is_empty() {
            self.tail.push_back(line);
        }
        flow
    }
}

pub(super) fn judge(machine: Machine, status: ExitStatus) -> Ending {
    match status.code() {
        Some(code) if code == machine.success_status() => Ending::Success,
        Some(code) if code == machine.failure_status() => Ending::Failure,
        _ => Ending::Crash(status),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn watch_bytes(chunks: &[&[u8]], limits: Limits, keep_open: bool) -> (Option<Ending>, Vec<String>) {
        let (sender, receiver) = channel();
        for chunk in chunks {
            sender.send(chunk.to_vec()).unwrap();
        }
        let sender = keep_open.then_some(sender);
        let mut lines = Lines { partial: Vec::new(), tail: VecDeque::new() };
        let mut seen = Vec::new();
        let ending = watch(&receiver, limits, Instant::now(), &mut lines, &mut |line| {
            seen.push(line.to_owned());
            if line == "stop" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        drop(sender);
        (ending, seen)
    }

    const PATIENT: Limits = Limits { silence: Duration::from_secs(60), total: Duration::from_secs(120) };

    #[test]
    fn lines_are_joined_across_reads_and_the_last_one_needs_no_end() {
        let (ending, seen) = watch_bytes(&[b"one\r\ntw", b"o\n\n", b"three"], PATIENT, false);
        assert_eq!(ending, None);
        assert_eq!(seen, ["one", "two", "three"]);
    }

    #[test]
    fn the_caller_can_end_the_run() {
        let (ending, seen) = watch_bytes(&[b"go\nstop\nmore\n"], PATIENT, true);
        assert_eq!(ending, Some(Ending::Stopped));
        assert_eq!(seen, ["go", "stop"]);
    }

    #[test]
    fn silence_is_told_from_a_run_that_is_too_long() {
        let silent = Limits { silence: Duration::from_millis(10), total: Duration::from_secs(60) };
        assert_eq!(watch_bytes(&[b"x\n"], silent, true).0, Some(Ending::Silent(silent.silence)));
        let overlong = Limits { silence: Duration::from_secs(60), total: Duration::from_millis(10) };
        assert_eq!(watch_bytes(&[b"x\n"], overlong, true).0, Some(Ending::Overlong(overlong.total)));
    }

    #[test]
    fn a_line_that_never_ends_is_cut() {
        let long = vec![b'x'; LONGEST_LINE + 10];
        let (_, seen) = watch_bytes(&[&long], PATIENT, false);
        assert_eq!(seen.iter().map(String::len).collect::<Vec<_>>(), [LONGEST_LINE, 10]);
    }

    #[test]
    fn only_the_guests_own_statuses_are_no_crash() {
        let status = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(judge(Machine::Q35, status(33)), Ending::Success);
        assert_eq!(judge(Machine::Q35, status(35)), Ending::Failure);
        // A triple fault under -no-reboot ends QEMU with 0.
        assert_eq!(judge(Machine::Q35, status(0)), Ending::Crash(status(0)));
        assert_eq!(judge(Machine::Virt, status(0)), Ending::Success);
        assert_eq!(judge(Machine::Virt, status(1)), Ending::Failure);
        assert_eq!(judge(Machine::Virt, ExitStatus::from_raw(9)), Ending::Crash(ExitStatus::from_raw(9)));
    }

    #[test]
    fn a_report_carries_the_last_lines_and_what_qemu_said() {
        let outcome = Outcome {
            ending: Ending::Silent(Duration::from_secs(5)),
            elapsed: Duration::from_secs(6),
            tail: vec!["tessera: last words".into()],
            messages: "qemu: hm\n".into(),
            waited: 0.0,
        };
        let report = outcome.report();
        assert!(report.starts_with("no output for 5 s"), "{report}");
        assert!(report.contains("  | tessera: last words") && report.ends_with("QEMU said: qemu: hm"), "{report}");
    }
}
