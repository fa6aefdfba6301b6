//! What the leader and the participants share: one command at a time to one CPU, and a few words for its data.
//!
//! Every word is an atomic; a command is published with release after its data, an answer likewise.

use super::{Skip, Summary, Verdict, Violation};
use crate::CpuId;
use core::sync::atomic::{AtomicU64, Ordering};

/// What a participant is told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Run the checks of one CPU.
    Local,
    /// Take turns in reading the clock.
    Clock,
    /// Hold and serve kicks as the phase says.
    Kicks,
    /// Read the mailbox at each kick.
    Mailbox,
    /// Idle until kicked.
    Idle,
    /// Return.
    Finish,
}

/// What a participant in [`Step::Kicks`] does now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Let interrupts in, serve nothing.
    Hold = 1,
    /// Mask interrupts.
    Masked,
    /// Serve the request word.
    Serve,
    /// Go back to waiting for commands.
    Leave,
}

/// One run of the suite on one machine.
#[derive(Debug)]
pub struct Session {
    /// sequence (32 bits) | CPU (16) | step (16)
    command: AtomicU64,
    answered: AtomicU64,
    pub(super) phase: AtomicU64,
    pub(super) phase_entered: AtomicU64,
    /// Whose turn it is, or what was seen; by step.
    pub(super) turn: AtomicU64,
    pub(super) mailbox: AtomicU64,
    pub(super) seen: AtomicU64,
    pub(super) seen_second: AtomicU64,
    /// CPUs by the number that they gave themselves.
    named: [AtomicU64; 8],
    held: AtomicU64,
    broken: AtomicU64,
    skipped: AtomicU64,
}

/// A command that was given, to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Command {
    pub(super) step: Step,
    cpu: CpuId,
    sequence: u64,
}

const STEPS: [Step; 6] = [Step::Local, Step::Clock, Step::Kicks, Step::Mailbox, Step::Idle, Step::Finish];

impl Session {
    /// A session in which nothing was said yet. It serves one run.
    pub const fn new() -> Self {
        Self {
            command: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            phase: AtomicU64::new(0),
            phase_entered: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            mailbox: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            seen_second: AtomicU64::new(0),
            named: [const { AtomicU64::new(0) }; 8],
            held: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Tells `cpu` to do `step`, with fresh data words. Only the leader, after the last command was answered.
    pub(super) fn issue(&self, step: Step, cpu: CpuId) -> Command {
        for word in [&self.phase, &self.phase_entered, &self.turn, &self.mailbox, &self.seen, &self.seen_second] {
            word.store(0, Ordering::Relaxed);
        }
        let sequence = (self.command.load(Ordering::Relaxed) >> 32) + 1;
        let command = sequence << 32 | u64::from(cpu.get()) << 16 | step as u64;
        self.command.store(command, Ordering::Release);
        Command { step, cpu, sequence }
    }

    /// Tells every participant to return.
    pub(super) fn finish(&self) {
        let _ = self.issue(Step::Finish, CpuId::BOOT);
    }

    /// The command for `cpu` that it has not answered yet.
    pub(super) fn command_for(&self, cpu: CpuId, last: Option<Command>) -> Option<Command> {
        let raw = self.command.load(Ordering::Acquire);
        let sequence = raw >> 32;
        let step = *STEPS.get((raw & 0xffff) as usize)?;
        let target = CpuId::new((raw >> 16) as u16);
        let is_new = sequence > last.map_or(0, |command| command.sequence);
        (is_new && (step == Step::Finish || target == cpu)).then_some(Command { step, cpu: target, sequence })
    }

    pub(super) fn answer(&self, command: Command) {
        self.answered.store(command.sequence, Ordering::Release);
    }

    pub(super) fn is_answered(&self, command: Command) -> bool {
        self.answered.load(Ordering::Acquire) >= command.sequence
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u64, Ordering::Release);
    }

    pub(super) fn has_entered(&self, phase: Phase) -> bool {
        self.phase_entered.load(Ordering::Acquire) == phase as u64
    }

    /// Notes that a CPU named itself so; answers whether it was the first.
    pub(super) fn name(&self, cpu: CpuId) -> bool {
        let bit = 1 << (cpu.index() % 64);
        self.named.get(cpu.index() / 64).is_some_and(|word| word.fetch_or(bit, Ordering::AcqRel) & bit == 0)
    }

    pub(super) fn count(&self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Holds => &self.held,
            Verdict::Broken(_) => &self.broken,
            Verdict::Skipped(_) => &self.skipped,
        };
        counter.fetch_add(1, Ordering::AcqRel);
    }

    /// What was found so far, over all CPUs.
    pub fn summary(&self) -> Summary {
        Summary {
            held: self.held.load(Ordering::Acquire),
            broken: self.broken.load(Ordering::Acquire),
            skipped: self.skipped.load(Ordering::Acquire),
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

/// For checks between two CPUs whose partner never answered.
pub(super) const NO_ANSWER: Verdict = Verdict::Broken(Violation::NeverCame);
/// For checks between two CPUs on a machine with one.
pub(super) const ALONE: Verdict = Verdict::Skipped(Skip::NeedsAnotherCpu);
