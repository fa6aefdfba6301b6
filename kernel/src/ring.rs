//! A thread's ring: frames of the direct map under `kernel-core`'s ring protocol.
//!
//! NOPs and malformed submissions are completed on the spot; any other is taken out with its completion's place reserved
//! and executed without the lock, so neither a slow call nor a late completion ever waits for the other. Lock level:
//! leaf.

use crate::memory::direct;
use core::sync::atomic::{AtomicU32, Ordering};
use hal::{Frame, Machine};
use kernel_core::ring::{
    Completed, Handler, Outcome, Ring as Indices, RingError, RingMemory, RingOwner, Role, Submission, consume,
};
use spin::Mutex;
use tessera_abi::ring::{CQE_BYTES, CompletionEntry, NEED_WAKEUP, RING_PAGES, SQE_BYTES, SubmissionEntry, header};

/// Where a ring stands in memory.
struct Pages<M: Machine> {
    machine: &'static M,
    frames: [Frame; RING_PAGES],
}

impl<M: Machine> Pages<M> {
    fn header(&self, offset: usize) -> &AtomicU32 {
        direct::word32(self.machine, self.frames[0], offset)
    }
}

impl<M: Machine> RingMemory for Pages<M> {
    fn sq_tail(&self) -> u32 {
        self.header(header::SQ_TAIL).load(Ordering::Acquire)
    }

    fn cq_head(&self) -> u32 {
        self.header(header::CQ_HEAD).load(Ordering::Acquire)
    }

    fn publish_sq_head(&self, head: u32) {
        self.header(header::SQ_HEAD).store(head, Ordering::Release);
    }

    fn publish_cq_tail(&self, tail: u32) {
        self.header(header::CQ_TAIL).store(tail, Ordering::Release);
    }

    fn read_submission(&self, place: u32) -> SubmissionEntry {
        let mut bytes = [0; SQE_BYTES];
        direct::read(self.machine, self.frames[1], place as usize * SQE_BYTES, &mut bytes);
        decode(&bytes)
    }

    fn write_completion(&self, place: u32, entry: &CompletionEntry) {
        let mut bytes = [0; CQE_BYTES];
        bytes[0..8].copy_from_slice(&entry.user_data.to_ne_bytes());
        bytes[8..12].copy_from_slice(&entry.status.to_ne_bytes());
        bytes[12..16].copy_from_slice(&entry.flags.to_ne_bytes());
        bytes[16..24].copy_from_slice(&entry.value.to_ne_bytes());
        bytes[24..32].copy_from_slice(&entry.capabilities.to_ne_bytes());
        direct::write(self.machine, self.frames[2], place as usize * CQE_BYTES, &bytes);
    }
}

struct State {
    indices: Indices,
    /// The thread is gone: late completions are dropped.
    closed: bool,
}

/// A submission that was taken out and must be completed. Never a NOP.
#[must_use = "its completion's place stays reserved until it is completed"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingSubmission {
    /// From the submission.
    pub user_data: u64,
    /// What it asks for.
    pub submission: Submission,
}

/// Takes the first submission out and stops there.
struct TakeOne(Option<PendingSubmission>);

impl Handler for TakeOne {
    type Account = ();

    fn submission(&mut self, (): &(), user_data: u64, submission: &Submission) -> Outcome {
        self.0 = Some(PendingSubmission { user_data, submission: *submission });
        Outcome::LaterAndStop
    }
}

/// The ring.
pub struct Ring<M: Machine> {
    pages: Pages<M>,
    state: Mutex<State>,
    owner: RingOwner,
}

impl<M: Machine> Ring<M> {
    /// A ring over three zeroed frames.
    pub fn new(machine: &'static M, frames: [Frame; RING_PAGES]) -> Self {
        let pages = Pages { machine, frames };
        pages.header(header::FLAGS).store(NEED_WAKEUP, Ordering::Release);
        let state = Mutex::new(State { indices: Indices::new(), closed: false });
        Self { pages, state, owner: RingOwner::default() }
    }

    /// Completions that the program has not read.
    pub fn available(&self) -> Result<u32, RingError> {
        self.state.lock().indices.unread(&self.pages)
    }

    /// Consumes up to `budget` submissions, at most to the next that is not done by itself, which the caller must
    /// complete. `None`: nothing more can be consumed now.
    pub fn next_submission(&self, budget: &mut u32) -> Result<Option<PendingSubmission>, RingError> {
        // Only a poller could be in the way, and there is none yet: then nothing is consumed.
        let Ok(owner) = self.owner.begin(Role::Caller) else { return Ok(None) };
        let mut taken = TakeOne(None);
        let indices = &mut self.state.lock().indices;
        let consumed = consume(indices, &self.pages, &owner, *budget, &(), &mut taken)?;
        *budget = budget.saturating_sub(consumed.submissions);
        Ok(taken.0)
    }

    /// Writes the completion of a submission that was taken out. Answers whether the program can still see it.
    pub fn complete(&self, user_data: u64, completed: Completed) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.indices.complete_later(&self.pages, user_data, completed)
    }

    /// Nothing is written from now on: the frames are about to be freed.
    pub fn close(&self) {
        self.state.lock().closed = true;
    }
}

/// The entry that these bytes hold, in the layout of [`SubmissionEntry`].
fn decode(bytes: &[u8; SQE_BYTES]) -> SubmissionEntry {
    let word16 = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let word32 = |at: usize| u32::from(word16(at)) | u32::from(word16(at + 2)) << 16;
    let word64 = |at: usize| u64::from(word32(at)) | u64::from(word32(at + 4)) << 32;
    SubmissionEntry {
        operation: bytes[0],
        flags: bytes[1],
        method: word16(2),
        params_len: word32(4),
        handle: word64(8),
        user_data: word64(16),
        interface: word64(24),
        params: word64(32),
        results: word64(40),
        results_len: word32(48),
        capabilities: word32(52),
        argument: word64(56),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;
    use tessera_abi::ring::{CQ_ENTRIES, Operation, SQ_ENTRIES};

    struct Program {
        ring: Ring<TestMachine>,
        tail: u32,
    }

    impl Program {
        fn new() -> Self {
            let frames = TestMachine::with_frames(RING_PAGES as u64);
            let promise = frames.commit(RING_PAGES as u64).unwrap();
            let pages = core::array::from_fn(|_| promise.allocate());
            Self { ring: Ring::new(TestMachine::get(), pages), tail: 0 }
        }

        fn submit(&mut self, operation: Operation, user_data: u64) {
            let pages = &self.ring.pages;
            let offset = (self.tail % SQ_ENTRIES) as usize * SQE_BYTES;
            direct::write(pages.machine, pages.frames[1], offset, &[operation as u8]);
            direct::write(pages.machine, pages.frames[1], offset + 16, &user_data.to_ne_bytes());
            self.tail = self.tail.wrapping_add(1);
            pages.header(header::SQ_TAIL).store(self.tail, Ordering::Release);
        }

        fn call(&self) -> Option<u64> {
            self.ring.next_submission(&mut 64).unwrap().map(|pending| pending.user_data)
        }

        fn completion(&self, place: u32) -> (u64, i32) {
            let mut bytes = [0; 16];
            let pages = &self.ring.pages;
            direct::read(pages.machine, pages.frames[2], place as usize * CQE_BYTES, &mut bytes);
            let user_data = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
            (user_data, i32::from_ne_bytes(bytes[8..12].try_into().unwrap()))
        }
    }

    #[test]
    fn calls_come_out_one_by_one_and_complete_in_any_order() {
        let mut program = Program::new();
        program.submit(Operation::Call, 7);
        program.submit(Operation::Nop, 8);
        program.submit(Operation::Call, 9);
        assert_eq!(program.call(), Some(7));
        assert_eq!(program.ring.available(), Ok(0));
        assert_eq!(program.call(), Some(9), "the NOP before it is complete");
        assert_eq!(program.call(), None);
        assert!(program.ring.complete(9, Completed::Results { length: 16, capabilities: 0 }));
        assert!(program.ring.complete(7, Completed::Value(0)));
        assert_eq!(program.ring.available(), Ok(3));
        assert_eq!([0, 1, 2].map(|place| program.completion(place)), [(8, 0), (9, 16), (7, 0)]);
    }

    #[test]
    fn the_budget_bounds_what_is_consumed() {
        let mut program = Program::new();
        (0..10).for_each(|number| program.submit(Operation::Nop, number));
        let mut budget = 4;
        assert_eq!(program.ring.next_submission(&mut budget), Ok(None));
        assert_eq!((budget, program.ring.available()), (0, Ok(4)));
    }

    #[test]
    fn nothing_is_taken_whose_completion_has_no_place() {
        let mut program = Program::new();
        let mut taken = 0;
        for number in 0..200 {
            program.submit(Operation::Call, number);
            if program.call().is_none() {
                break;
            }
            taken += 1;
        }
        assert_eq!(taken, CQ_ENTRIES);
        assert!(program.ring.complete(1, Completed::Value(0)), "a promised completion has its place");
    }

    #[test]
    fn indices_out_of_range_are_an_error() {
        let mut program = Program::new();
        program.submit(Operation::Call, 7);
        program.ring.pages.header(header::SQ_TAIL).store(SQ_ENTRIES + 1, Ordering::Release);
        assert!(program.ring.next_submission(&mut 64).is_err());
        program.ring.pages.header(header::SQ_TAIL).store(1, Ordering::Release);
        program.ring.pages.header(header::CQ_HEAD).store(5, Ordering::Release);
        assert!(program.ring.available().is_err());
        program.ring.pages.header(header::CQ_HEAD).store(0, Ordering::Release);
        assert_eq!(program.call(), Some(7), "nothing was consumed");
    }

    #[test]
    fn a_closed_ring_drops_late_completions() {
        let mut program = Program::new();
        program.submit(Operation::Call, 7);
        assert_eq!(program.call(), Some(7));
        program.ring.close();
        assert!(!program.ring.complete(7, Completed::Value(0)));
        assert_eq!(program.ring.available(), Ok(0));
    }
}
