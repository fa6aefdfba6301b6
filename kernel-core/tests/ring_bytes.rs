//! Any bytes as what a program does with its ring: each submission is consumed once, as the model says, and no index
//! that the program writes, at any time, makes the kernel look elsewhere, look twice or stay.
#![cfg(not(any(loom, shuttle)))]

mod ring_form;
mod ring_memory;

use kernel_core::ring::{
    Completed, Consumed, Handler, Outcome, Ring, RingError, RingMemory, RingOwner, Role, Submission, consume,
};
use proptest::prelude::*;
use ring_form::{REFUSALS, decode, entry};
use ring_memory::Memory;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use tessera_abi::ring::{CQ_ENTRIES, CompletionEntry, SQ_ENTRIES, SubmissionEntry};
use tessera_fuzz::{Entry, Input, any_bytes, config, corpus};

static CORPUS: LazyLock<Vec<Entry>> =
    LazyLock::new(|| corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/ring")));

/// What the kernel makes of a submission that reaches it.
fn outcome(user_data: u64) -> Outcome {
    match user_data % 8 {
        0 => Outcome::Later,
        1 => Outcome::LaterAndStop,
        2 => Outcome::NowAndStop(Completed::Value(1)),
        3 => Outcome::Now(Completed::Exception { length: 16 }),
        _ => Outcome::Now(Completed::Results { length: 8, capabilities: 1 }),
    }
}

/// Those that reached the kernel.
#[derive(Default)]
struct Handled(Vec<(u64, Submission)>);

impl Handler for Handled {
    type Account = ();

    fn submission(&mut self, (): &(), user_data: u64, submission: &Submission) -> Outcome {
        self.0.push((user_data, *submission));
        outcome(user_data)
    }
}

/// A ring's memory that watches what the kernel does with it.
struct Watched<'a> {
    memory: &'a Memory,
    reads: Cell<u32>,
    writes: RefCell<Vec<(u32, CompletionEntry)>>,
    /// What the program writes into the header while the kernel reads the first submission.
    race: Cell<Option<(u8, u32)>>,
}

impl<'a> Watched<'a> {
    fn new(memory: &'a Memory, race: Option<(u8, u32)>) -> Self {
        Self { memory, reads: Cell::new(0), writes: RefCell::default(), race: Cell::new(race) }
    }
}

impl RingMemory for Watched<'_> {
    fn sq_tail(&self) -> u32 {
        self.memory.sq_tail()
    }
    fn cq_head(&self) -> u32 {
        self.memory.cq_head()
    }
    fn publish_sq_head(&self, head: u32) {
        self.memory.publish_sq_head(head);
    }
    fn publish_cq_tail(&self, tail: u32) {
        self.memory.publish_cq_tail(tail);
    }
    fn read_submission(&self, place: u32) -> SubmissionEntry {
        assert!(place < SQ_ENTRIES, "submission {place} is outside the queue");
        self.reads.set(self.reads.get() + 1);
        assert!(self.reads.get() <= SQ_ENTRIES, "more is consumed than the queue holds");
        if let Some((which, value)) = self.race.take() {
            write_header(self.memory, which, value);
        }
        self.memory.read_submission(place)
    }
    fn write_completion(&self, place: u32, entry: &CompletionEntry) {
        assert!(place < CQ_ENTRIES, "completion {place} is outside the queue");
        self.writes.borrow_mut().push((place, *entry));
        self.memory.write_completion(place, entry);
    }
}

/// The program may write all four indices; the kernel reads two of them and trusts none.
fn write_header(memory: &Memory, which: u8, value: u32) {
    let index = [&memory.sq_tail, &memory.cq_head, &memory.sq_head, &memory.cq_tail][usize::from(which % 4)];
    index.set(value);
}

/// Where a program has come to in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reached {
    Operation(u8),
    Refusal(i32),
    BadTail,
    BadHead,
}

/// What the ring must do.
#[derive(Default)]
struct Model {
    sq_head: u32,
    cq_tail: u32,
    /// The user data of what completes later.
    outstanding: Vec<u64>,
    reached: BTreeSet<Reached>,
}

/// What one consumption must do.
struct Expected {
    consumed: Consumed,
    handled: Vec<(u64, Submission)>,
    writes: Vec<(u32, CompletionEntry)>,
}

impl Model {
    fn write(&mut self, user_data: u64, completed: Completed) -> (u32, CompletionEntry) {
        let place = self.cq_tail % CQ_ENTRIES;
        self.cq_tail = self.cq_tail.wrapping_add(1);
        (place, completed.entry(user_data))
    }

    /// What becomes of a submission, and whether it reaches the handler.
    fn judge(&mut self, entry: &SubmissionEntry) -> (Outcome, Option<Submission>) {
        match decode(entry) {
            Ok(submission) => {
                self.reached.insert(Reached::Operation(entry.operation));
                match submission {
                    Submission::Nop { argument } => (Outcome::Now(Completed::Value(argument)), None),
                    other => (outcome(entry.user_data), Some(other)),
                }
            }
            Err(error) => {
                self.reached.insert(Reached::Refusal(error as i32));
                (Outcome::Now(Completed::Transport(error)), None)
            }
        }
    }

    fn consume(&mut self, memory: &Memory, max: u32) -> Result<Expected, RingError> {
        let (tail, head) = (memory.sq_tail.get(), memory.cq_head.get());
        let waiting = tail.wrapping_sub(self.sq_head);
        if waiting > SQ_ENTRIES {
            self.reached.insert(Reached::BadTail);
            return Err(RingError::SubmissionTail { head: self.sq_head, tail });
        }
        let unread = self.cq_tail.wrapping_sub(head);
        if unread > CQ_ENTRIES {
            self.reached.insert(Reached::BadHead);
            return Err(RingError::CompletionHead { head, tail: self.cq_tail });
        }
        let (mut submissions, mut handled, mut writes) = (0, Vec::new(), Vec::new());
        let mut room = CQ_ENTRIES.saturating_sub(unread + self.outstanding.len() as u32);
        let mut stops = false;
        while submissions < waiting.min(max) && room > 0 && !stops {
            let entry = memory.submissions.borrow()[(self.sq_head % SQ_ENTRIES) as usize];
            self.sq_head = self.sq_head.wrapping_add(1);
            (submissions, room) = (submissions + 1, room - 1);
            let (outcome, submission) = self.judge(&entry);
            handled.extend(submission.map(|submission| (entry.user_data, submission)));
            match outcome {
                Outcome::Now(completed) | Outcome::NowAndStop(completed) => {
                    writes.push(self.write(entry.user_data, completed));
                }
                Outcome::Later | Outcome::LaterAndStop => self.outstanding.push(entry.user_data),
            }
            stops = matches!(outcome, Outcome::NowAndStop(_) | Outcome::LaterAndStop);
        }
        let completions = unread + writes.len() as u32;
        let consumed = Consumed { submissions, left: waiting - submissions, completions };
        Ok(Expected { consumed, handled, writes })
    }
}

/// A ring, its program and what must come of both.
#[derive(Default)]
struct World {
    ring: Ring,
    memory: Memory,
    model: Model,
    last: SubmissionEntry,
    race: Option<(u8, u32)>,
}

impl World {
    fn consume(&mut self, max: u32) {
        let watched = Watched::new(&self.memory, self.race.take());
        let (before, owner, mut handled) = (self.ring, RingOwner::default(), Handled::default());
        // Before the consumption: afterwards the header may say something else.
        let expected = self.model.consume(&self.memory, max);
        let owned = owner.begin(Role::Caller).expect("nobody else consumes");
        let consumed = consume(&mut self.ring, &watched, &owned, max, &(), &mut handled);
        assert_eq!(consumed, expected.as_ref().map(|expected| expected.consumed).map_err(|error| *error));
        let writes = watched.writes.into_inner();
        let Ok(expected) = expected else {
            assert_eq!((self.ring, watched.reads.get(), writes.len()), (before, 0, 0));
            return;
        };
        assert_eq!(watched.reads.get(), expected.consumed.submissions, "each entry is read once");
        assert_eq!((handled.0, &writes), (expected.handled, &expected.writes));
        if expected.consumed.submissions > 0 {
            assert_eq!(self.memory.sq_head.get(), self.model.sq_head);
        }
        if !writes.is_empty() {
            assert_eq!(self.memory.cq_tail.get(), self.model.cq_tail);
        }
    }

    fn complete_later(&mut self, pick: u8) {
        let count = self.model.outstanding.len();
        let chosen = (count > 0).then(|| self.model.outstanding.swap_remove(usize::from(pick) % count));
        let expected = chosen.map(|user_data| self.model.write(user_data, Completed::Value(7)));
        let watched = Watched::new(&self.memory, None);
        assert_eq!(self.ring.complete_later(&watched, chosen.unwrap_or(0), Completed::Value(7)), chosen.is_some());
        assert_eq!(watched.writes.into_inner(), Vec::from_iter(expected));
    }

    /// Carries out the next operation. `None`: the bytes are at their end.
    fn step(&mut self, bytes: &mut Input<'_>) -> Option<()> {
        let memory = &self.memory;
        match bytes.index(10)? {
            0 => {
                self.last = entry(bytes.array()?);
                memory.submit(self.last);
            }
            1 => {
                for _ in 0..bytes.byte()? {
                    self.last.user_data = self.last.user_data.wrapping_add(1);
                    memory.submit(self.last);
                }
            }
            2 => self.consume(bytes.byte()?.into()),
            3 => write_header(memory, bytes.byte()?, bytes.u32()?),
            4 => {
                // Close to what is right, so that it is consumed.
                memory.sq_tail.set(self.model.sq_head.wrapping_add(u32::from(bytes.byte()?) % (SQ_ENTRIES + 8)));
                memory.cq_head.set(self.model.cq_tail.wrapping_sub(u32::from(bytes.byte()?) % (CQ_ENTRIES + 8)));
            }
            5 => std::iter::from_fn(|| memory.reap()).take(bytes.byte()?.into()).for_each(drop),
            6 => self.complete_later(bytes.byte()?),
            7 => assert_eq!(self.ring.abandon(), self.model.outstanding.pop().is_some()),
            8 => {
                let place = bytes.index(SQ_ENTRIES as usize)?;
                memory.submissions.borrow_mut()[place] = entry(bytes.array()?);
            }
            _ => self.race = Some((bytes.byte()?, bytes.u32()?)),
        }
        assert_eq!(self.ring.outstanding() as usize, self.model.outstanding.len());
        Some(())
    }
}

/// Carries out all of it, and answers where it came to.
fn run(bytes: &[u8]) -> BTreeSet<Reached> {
    let (mut world, mut bytes) = (World::default(), Input::new(bytes));
    while world.step(&mut bytes).is_some() {}
    world.model.reached
}

#[test]
fn the_corpus_has_every_operation_and_every_refusal() {
    let reached: BTreeSet<Reached> = CORPUS.iter().flat_map(|entry| run(&entry.bytes)).collect();
    let operations = (0..7).map(Reached::Operation);
    let refusals = REFUSALS.map(|error| Reached::Refusal(error as i32));
    let all = operations.chain(refusals);
    assert_eq!(reached, all.chain([Reached::BadTail, Reached::BadHead]).collect());
}

proptest! {
    #![proptest_config(config(4_000))]

    #[test]
    fn any_bytes_are_consumed_once_or_refused_by_type(bytes in any_bytes(&CORPUS, 400)) {
        run(&bytes);
    }
}
