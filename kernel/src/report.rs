//! Reports: one JSON line per thread and CPU each second, and at the end of the run.
//!
//! The boot CPU prints them between two runs of user mode, outside all locks, for at most [`STEP`] at a time; then it
//! goes back to its threads and a timer brings it here again.

use crate::{
    expiry::Expiry,
    kernel::Kernel,
    line::{JsonObject, Line},
    process::{Ending, Process},
    thread::Thread,
};
use core::{fmt, sync::atomic::Ordering};
use hal::{CpuId, Duration, Instant, Machine};
use kernel_core::sched::{CpuSnapshot, Snapshot, ThreadState};

/// The time between two reports.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long one step prints, before one more line; and how long user mode gets until the next step.
pub const STEP: Duration = Duration::from_millis(2);

/// The next record of a report: threads first, then CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cursor {
    /// The first thread at this place of the table, or behind it.
    Thread(u32),
    /// The CPU with this place among those online.
    Cpu(usize),
}

impl Default for Cursor {
    fn default() -> Self {
        Self::Thread(0)
    }
}

/// A report that is being printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Progress {
    at: Instant,
    next: Cursor,
}

/// Where the boot CPU stands with its reports.
pub struct Reporter {
    /// When the current second began.
    second: Instant,
    current: Option<Progress>,
    /// When the next step is due, if no timer is armed for it.
    to_arm: Option<Instant>,
}

impl Reporter {
    /// Nothing printed yet.
    pub const fn new(started: Instant) -> Self {
        Self { second: started, current: None, to_arm: None }
    }

    /// Arms the timers of the first report and of the end of the run.
    pub fn arm_first<M: Machine>(&mut self, kernel: &Kernel<M>) {
        if kernel.run.reports {
            self.second = self.second.saturating_add(PERIOD);
            self.to_arm = Some(self.second);
            self.arm(kernel);
        }
        if let Some(length) = kernel.run.length {
            let end = kernel.run.started.saturating_add(length);
            if kernel.arm(end, Expiry::EndOfRun).is_err() {
                kernel.run.fail();
                kernel.end_run();
            }
        }
    }

    /// Arms the timer of the next step. Interrupts are masked.
    pub fn arm<M: Machine>(&mut self, kernel: &Kernel<M>) {
        if let Some(at) = self.to_arm {
            // Without a free timer the report waits for the next pass through the loop.
            if kernel.arm(at, Expiry::Report).is_ok() {
                self.to_arm = None;
            }
        }
    }

    /// Prints some records.
    pub fn step<M: Machine>(&mut self, kernel: &Kernel<M>) {
        let began = kernel.machine.now();
        let progress = self.current.get_or_insert(Progress { at: began, next: Cursor::default() });
        let mut now = began;
        while now.saturating_duration_since(began) < STEP {
            let Some(next) = kernel.report_record(progress.next, progress.at, false) else {
                self.current = None;
                while self.second <= now {
                    self.second = self.second.saturating_add(PERIOD);
                }
                self.to_arm = Some(self.second);
                return;
            };
            progress.next = next;
            now = kernel.machine.now();
        }
        self.to_arm = Some(now.saturating_add(STEP));
    }
}

/// The name of a thread's state in records.
const fn state_name(state: ThreadState) -> &'static str {
    match state {
        ThreadState::Vacant => "vacant",
        ThreadState::Blocked => "blocked",
        ThreadState::Waking => "waking",
        ThreadState::Queued => "queued",
        ThreadState::ReleasedLater => "releasedLater",
        ThreadState::Handoff => "handoff",
        ThreadState::Current => "running",
        ThreadState::Exiting => "exiting",
    }
}

impl<M: Machine> Kernel<M> {
    /// Prints a record and answers which is the next one; `None`: there was none any more.
    pub fn report_record(&self, cursor: Cursor, at: Instant, is_final: bool) -> Option<Cursor> {
        match cursor {
            Cursor::Thread(place) => Some(self.report_thread(place, at, is_final)),
            Cursor::Cpu(index) => {
                let cpu = self.online.iter().nth(index)?;
                if let Ok(snapshot) = self.dispatcher.cpu_snapshot(cpu) {
                    self.print(|line| self.cpu_record(line, cpu, &snapshot, at, is_final));
                }
                Some(Cursor::Cpu(index + 1))
            }
        }
    }

    fn report_thread(&self, place: u32, at: Instant, is_final: bool) -> Cursor {
        let Some((place, thread)) = self.threads.next_from(place) else { return Cursor::Cpu(0) };
        if let Ok(snapshot) = self.dispatcher.snapshot(thread.id) {
            match (thread.process.silent, is_final) {
                (true, true) => self.counters.silent.add(snapshot.runtime),
                (true, false) => {}
                (false, _) => {
                    let state = state_name(snapshot.state);
                    self.print(|line| self.thread_record(line, &thread, &snapshot, state, at, is_final));
                }
            }
        }
        Cursor::Thread(place + 1)
    }

    /// Prints the last record of a thread that has ended.
    pub fn report_thread_end(&self, thread: &Thread<M>) {
        let Some(snapshot) = thread.last_snapshot.get() else { return };
        if thread.process.silent {
            self.counters.silent.add(snapshot.runtime);
        } else {
            let at = self.machine.now();
            self.print(|line| self.thread_record(line, thread, snapshot, "exited", at, true));
            self.name_in_trace(thread);
        }
    }

    /// Prints what silent processes' threads had, so that the accounts of the run can be closed. The last of them were
    /// counted by the final report.
    pub fn report_silent(&self) {
        let silent = &self.counters.silent;
        self.print(|line| {
            let mut record = JsonObject::record(line, "silent")?;
            record.value("threads", silent.count())?;
            record.value("runtime_ns", silent.runtime_ns())?;
            record.end()
        });
    }

    /// Formats one line and writes it.
    pub fn print(&self, format: impl FnOnce(&mut Line) -> fmt::Result) {
        let mut line = Line::new();
        // A line takes everything; what does not fit is cut and would not parse.
        let _ = format(&mut line);
        debug_assert!(!line.is_truncated(), "a record is longer than a line");
        self.console.write_lines(line.as_bytes());
    }

    /// How long after the beginning of the run.
    pub fn since_start(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.run.started).as_nanos()
    }

    fn thread_record(
        &self,
        line: &mut Line,
        thread: &Thread<M>,
        snapshot: &Snapshot,
        state: &str,
        at: Instant,
        is_final: bool,
    ) -> fmt::Result {
        let mut record = JsonObject::record(line, "thread")?;
        record.value("at_ns", self.since_start(at))?;
        record.value("final", is_final)?;
        record.value("id", thread.serial)?;
        match thread.number {
            0 => record.text("name", &thread.process.name)?,
            number => record.text("name", format_args!("{}:{number}", thread.process.name))?,
        }
        record.value("cpu", snapshot.cpu)?;
        record.value("weight", snapshot.weight.get())?;
        record.text("class", snapshot.class.name())?;
        record.value("request_ns", snapshot.request.as_nanos())?;
        record.text("affinity", snapshot.affinity.intersection(&self.online))?;
        record.text("state", state)?;
        record.value("runtime_ns", snapshot.runtime.as_nanos())?;
        record.value("virtual_runtime_ns", snapshot.virtual_runtime_ns)?;
        record.value("runnable_ns", snapshot.runnable.as_nanos())?;
        record.value("longest_wait_ns", snapshot.longest_wait.as_nanos())?;
        record.value("most_passed_by", snapshot.most_passed_by)?;
        record.value("longest_charge_ns", snapshot.longest_charge.as_nanos())?;
        record.value("dispatches", snapshot.dispatches)?;
        record.value("dispatches_outside", snapshot.dispatches_outside)?;
        record.value("preemptions", snapshot.preemptions)?;
        record.value("voluntary_blocks", snapshot.voluntary_blocks)?;
        record.value("migrations", snapshot.migrations)?;
        record.value("progress", thread.process.progress(self.machine))?;
        record.end()
    }

    fn cpu_record(
        &self,
        line: &mut Line,
        cpu: CpuId,
        snapshot: &CpuSnapshot,
        at: Instant,
        is_final: bool,
    ) -> fmt::Result {
        let mut record = JsonObject::record(line, "cpu")?;
        record.value("at_ns", self.since_start(at))?;
        record.value("final", is_final)?;
        record.value("id", cpu)?;
        record.value("elapsed_ns", snapshot.elapsed.as_nanos())?;
        record.value("thread_ns", snapshot.ran.thread.as_nanos())?;
        record.value("interrupt_ns", snapshot.ran.interrupt_and_switch.as_nanos())?;
        record.value("idle_ns", snapshot.ran.idle.as_nanos())?;
        record.value("paid_context_ns", snapshot.paid.context.as_nanos())?;
        record.value("paid_fair_ns", snapshot.paid.fair_share.as_nanos())?;
        record.value("paid_unattributed_ns", snapshot.paid.unattributed.as_nanos())?;
        record.value("paid_idle_ns", snapshot.paid.idle.as_nanos())?;
        record.value("fires", snapshot.fires.total())?;
        record.value("grid_fires", snapshot.grid_fires)?;
        record.value("kicks_sent", snapshot.kicks_sent)?;
        record.value("kicks_received", snapshot.kicks_received)?;
        record.value("steals", snapshot.steals)?;
        record.value("switches", snapshot.switches)?;
        record.value("longest_charge_ns", snapshot.longest_charge.as_nanos())?;
        record.value("device_interrupts", self.cpu(cpu).device_interrupts.load(Ordering::Relaxed))?;
        record.end()
    }

    /// Says how a program ended: a line for people and a record.
    pub fn report_exit(&self, process: &Process<M>, ending: Ending) {
        if process.silent {
            return;
        }
        if matches!(ending, Ending::Exit(code) if code != 0) {
            self.run.fail();
        }
        let name = &process.name;
        match ending {
            Ending::Exit(code) => self.console.print(format_args!("{name} exited with code {code}")),
            Ending::Fault(fault) => self.console.print(format_args!("{name} was ended: {fault}")),
            Ending::Killed => self.console.print(format_args!("{name} was killed")),
        }
        self.print(|line| {
            let mut record = JsonObject::record(line, "exit")?;
            record.text("name", &name.program)?;
            record.value("instance", name.instance)?;
            match ending {
                Ending::Exit(code) => record.value("code", code)?,
                Ending::Fault(fault) => record.text("fault", fault)?,
                Ending::Killed => record.value("killed", true)?,
            }
            record.end()
        });
    }
}
