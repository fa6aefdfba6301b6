//! The memory of a ring, for tests that are its program.

use kernel_core::ring::RingMemory;
use std::cell::{Cell, RefCell};
use tessera_abi::ring::{CQ_ENTRIES, CompletionEntry, SQ_ENTRIES, SubmissionEntry};

/// A ring's memory with the program's side of it.
pub struct Memory {
    pub sq_head: Cell<u32>,
    pub sq_tail: Cell<u32>,
    pub cq_head: Cell<u32>,
    pub cq_tail: Cell<u32>,
    pub submissions: RefCell<Vec<SubmissionEntry>>,
    pub completions: RefCell<Vec<CompletionEntry>>,
    pub reads: Cell<u32>,
}

impl Memory {
    pub fn new() -> Self {
        let zero = || Cell::new(0);
        Self {
            sq_head: zero(),
            sq_tail: zero(),
            cq_head: zero(),
            cq_tail: zero(),
            submissions: RefCell::new(vec![SubmissionEntry::default(); SQ_ENTRIES as usize]),
            completions: RefCell::new(vec![CompletionEntry::default(); CQ_ENTRIES as usize]),
            reads: zero(),
        }
    }

    /// Submits, unless the program finds the queue full.
    pub fn submit(&self, entry: SubmissionEntry) -> bool {
        let tail = self.sq_tail.get();
        if tail.wrapping_sub(self.sq_head.get()) >= SQ_ENTRIES {
            return false;
        }
        self.submissions.borrow_mut()[(tail % SQ_ENTRIES) as usize] = entry;
        self.sq_tail.set(tail.wrapping_add(1));
        true
    }

    /// The next completion.
    pub fn reap(&self) -> Option<CompletionEntry> {
        let head = self.cq_head.get();
        if head == self.cq_tail.get() {
            return None;
        }
        self.cq_head.set(head.wrapping_add(1));
        Some(self.completions.borrow()[(head % CQ_ENTRIES) as usize])
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl RingMemory for Memory {
    fn sq_tail(&self) -> u32 {
        self.sq_tail.get()
    }
    fn cq_head(&self) -> u32 {
        self.cq_head.get()
    }
    fn publish_sq_head(&self, head: u32) {
        self.sq_head.set(head);
    }
    fn publish_cq_tail(&self, tail: u32) {
        self.cq_tail.set(tail);
    }
    fn read_submission(&self, place: u32) -> SubmissionEntry {
        self.reads.set(self.reads.get() + 1);
        self.submissions.borrow()[place as usize]
    }
    fn write_completion(&self, place: u32, entry: &CompletionEntry) {
        self.completions.borrow_mut()[place as usize] = *entry;
    }
}
