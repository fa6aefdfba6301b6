//! Reading submissions, writing completions.

use super::completed::Completed;
use super::owner::Consumption;
use super::submission::Submission;
use core::fmt;
use tessera_abi::ring::{CQ_ENTRIES, CompletionEntry, SQ_ENTRIES, SubmissionEntry};

/// The memory of one ring, as the kernel reaches it. All accesses are of whole fields; no reference to the memory is
/// ever made, since the program may write it at the same time.
pub trait RingMemory {
    /// Loads the program's `sq_tail`, with acquire.
    fn sq_tail(&self) -> u32;
    /// Loads the program's `cq_head`, with acquire.
    fn cq_head(&self) -> u32;
    /// Stores the kernel's `sq_head`, with release.
    fn publish_sq_head(&self, head: u32);
    /// Stores the kernel's `cq_tail`, with release.
    fn publish_cq_tail(&self, tail: u32);
    /// Copies the submission at `place`, which is below `SQ_ENTRIES`, reading each byte once.
    fn read_submission(&self, place: u32) -> SubmissionEntry;
    /// Writes the completion at `place`, which is below `CQ_ENTRIES`.
    fn write_completion(&self, place: u32, entry: &CompletionEntry);
}

/// The kernel's side of one ring. Guarded by whoever holds its [`Consumption`] or the lock of its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ring {
    sq_head: u32,
    cq_tail: u32,
    /// Completions that have a place reserved and are not written yet.
    outstanding: u32,
}

/// The program's indices make no sense. Nothing was consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingError {
    /// More submissions are claimed than the queue holds.
    SubmissionTail {
        /// Where the kernel is.
        head: u32,
        /// What the program says.
        tail: u32,
    },
    /// More completions are said to be unread than the queue holds, or some that were not written are said to be read.
    CompletionHead {
        /// What the program says.
        head: u32,
        /// Where the kernel is.
        tail: u32,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SubmissionTail { head, tail } => write!(f, "submission tail {tail} is out of range (head {head})"),
            Self::CompletionHead { head, tail } => write!(f, "completion head {head} is out of range (tail {tail})"),
        }
    }
}

impl core::error::Error for RingError {}

/// What a handler made of a submission.
#[must_use = "a submission that is not completed must be remembered"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Now(Completed),
    /// The handler has noted it and will say so with [`Ring::complete_later`].
    Later,
    /// It is done, and nothing more must be consumed now (the thread blocks, ends or hands its CPU over).
    NowAndStop(Completed),
    /// As `Later`, and nothing more must be consumed now.
    LaterAndStop,
}

/// Carries submissions out.
pub trait Handler {
    /// Who pays for the work: the calling thread, or another on whose behalf a poller works.
    type Account: ?Sized;

    /// Carries out one submission, which is never a NOP, on `account`. `user_data` comes back with a later completion.
    fn submission(&mut self, account: &Self::Account, user_data: u64, submission: &Submission) -> Outcome;
}

/// What was consumed.
#[must_use = "entries may be left in the queue"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consumed {
    /// Submissions taken.
    pub submissions: u32,
    /// Submissions that are still there: because of `max`, a full completion queue, or a handler that said stop.
    pub left: u32,
    /// Completions that the program can read.
    pub completions: u32,
}

impl Ring {
    /// A ring with nothing in it.
    pub const fn new() -> Self {
        Self { sq_head: 0, cq_tail: 0, outstanding: 0 }
    }

    /// Submissions that will complete later.
    pub const fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// How many completions the program has not read.
    pub fn unread(&self, memory: &impl RingMemory) -> Result<u32, RingError> {
        let head = memory.cq_head();
        match self.cq_tail.wrapping_sub(head) {
            unread @ 0..=CQ_ENTRIES => Ok(unread),
            _ => Err(RingError::CompletionHead { head, tail: self.cq_tail }),
        }
    }

    /// How many submissions wait.
    fn waiting(&self, memory: &impl RingMemory) -> Result<u32, RingError> {
        let tail = memory.sq_tail();
        match tail.wrapping_sub(self.sq_head) {
            waiting @ 0..=SQ_ENTRIES => Ok(waiting),
            _ => Err(RingError::SubmissionTail { head: self.sq_head, tail }),
        }
    }

    /// Completes a submission whose outcome was `Later`. Its place was reserved, so this cannot fail. Answers false, and
    /// writes nothing, if none is outstanding.
    pub fn complete_later(&mut self, memory: &impl RingMemory, user_data: u64, completed: Completed) -> bool {
        let Some(outstanding) = self.outstanding.checked_sub(1) else { return false };
        self.outstanding = outstanding;
        self.complete(memory, user_data, completed);
        true
    }

    /// Forgets a submission whose outcome was `Later` and that nobody will answer. Answers false if none is outstanding.
    pub fn abandon(&mut self) -> bool {
        let any = self.outstanding > 0;
        self.outstanding = self.outstanding.saturating_sub(1);
        any
    }

    fn complete(&mut self, memory: &impl RingMemory, user_data: u64, completed: Completed) {
        memory.write_completion(self.cq_tail % CQ_ENTRIES, &completed.entry(user_data));
        self.cq_tail = self.cq_tail.wrapping_add(1);
        memory.publish_cq_tail(self.cq_tail);
    }

    fn take(&mut self, memory: &impl RingMemory) -> SubmissionEntry {
        let entry = memory.read_submission(self.sq_head % SQ_ENTRIES);
        self.sq_head = self.sq_head.wrapping_add(1);
        memory.publish_sq_head(self.sq_head);
        entry
    }
}

/// Consumes at most `max` submissions of a ring that `_owner` gives the right to consume, on `account`.
///
/// The program's indices are read once, at the beginning: what it submits or reads meanwhile counts next time, so a
/// program on another CPU cannot keep the kernel here. Does not block, allocates nothing.
pub fn consume<H: Handler>(
    ring: &mut Ring,
    memory: &impl RingMemory,
    _owner: &Consumption<'_>,
    max: u32,
    account: &H::Account,
    handler: &mut H,
) -> Result<Consumed, RingError> {
    let waiting = ring.waiting(memory)?;
    let unread = ring.unread(memory)?;
    // A place for each completion, those that are outstanding included. The program may have moved its head back since
    // those were reserved; then there is no room.
    let room = CQ_ENTRIES.saturating_sub(unread).saturating_sub(ring.outstanding);
    let limit = waiting.min(room).min(max);
    let written_before = ring.cq_tail;
    let mut submissions = 0;
    let mut stop = false;
    while submissions < limit && !stop {
        submissions += 1;
        stop = consume_one(ring, memory, account, handler);
    }
    let completions = unread.saturating_add(ring.cq_tail.wrapping_sub(written_before));
    Ok(Consumed { submissions, left: waiting - submissions, completions })
}

/// Consumes one submission; answers whether the handler said stop.
fn consume_one<H: Handler>(ring: &mut Ring, memory: &impl RingMemory, account: &H::Account, handler: &mut H) -> bool {
    let entry = ring.take(memory);
    let outcome = match Submission::decode(&entry) {
        Ok(Submission::Nop { argument }) => Outcome::Now(Completed::Value(argument)),
        Ok(submission) => handler.submission(account, entry.user_data, &submission),
        Err(error) => Outcome::Now(Completed::Transport(error)),
    };
    match outcome {
        Outcome::Now(completed) | Outcome::NowAndStop(completed) => ring.complete(memory, entry.user_data, completed),
        Outcome::Later | Outcome::LaterAndStop => ring.outstanding += 1,
    }
    matches!(outcome, Outcome::NowAndStop(_) | Outcome::LaterAndStop)
}
