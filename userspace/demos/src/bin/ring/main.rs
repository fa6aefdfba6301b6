//! The ring: all seven operations, every refusal with its own error, completions in any order, a full completion queue,
//! indices that make no sense, and one ring for each thread.
//!
//! Argument `flood`: submits NOPs and nonsense for ever, beside a neighbour that must not feel it.
#![no_std]
#![no_main]

mod corrupt;
mod flood;
mod operations;
mod order;
mod overflow;
mod refusals;
mod threads;

use demos::Findings;
use tessera_rt::{
    CallError,
    abi::ring::{CompletionEntry, NO_DEADLINE, Operation, RECEIVE_BYTES, SubmissionEntry},
    ring, start,
};

tessera_rt::entry!(main);

fn main() -> i32 {
    if start::argument(0) == Some("flood") {
        flood::run();
    }
    let mut findings = Findings::default();
    findings.part("operations", operations::check);
    findings.part("refusals", refusals::check);
    findings.part("order", order::check);
    findings.part("overflow", overflow::check);
    findings.part("corrupt indices", corrupt::check);
    findings.part("a bounded flood", flood::check);
    findings.part("threads", threads::check);
    findings.exit_code()
}

/// Puts an entry into the queue, entering the kernel if there is no room.
fn submit(entry: &SubmissionEntry) -> Result<(), CallError> {
    let ring = ring::current();
    if ring.submission_room() == 0 {
        ring.enter(0, 0)?;
    }
    // SAFETY: every entry here names statics, memory that its submitter keeps until the completion, or memory that is
    // not the program's.
    unsafe { ring.submit(entry) }?;
    Ok(())
}

/// Waits for one more completion and takes the first one.
fn next() -> Result<CompletionEntry, CallError> {
    let ring = ring::current();
    ring.enter(1, u64::MAX)?;
    ring.complete().ok_or(CallError::QueueFull)
}

/// Submits an entry and takes its completion.
fn perform(entry: &SubmissionEntry) -> Result<CompletionEntry, CallError> {
    submit(entry)?;
    next()
}

/// The parameters of a method that has none.
static EMPTY: [u8; 16] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn address<T>(of: *const T) -> u64 {
    of.expose_provenance() as u64
}

fn nop(user_data: u64, argument: u64) -> SubmissionEntry {
    SubmissionEntry { operation: Operation::Nop as u8, user_data, argument, ..Default::default() }
}

/// A call without parameters whose results are to stand in `results`.
fn call(handle: u64, interface: u64, method: u16, results: &mut [u8]) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Call as u8,
        method,
        params_len: EMPTY.len() as u32,
        handle,
        interface,
        params: address(EMPTY.as_ptr()),
        results: address(results.as_mut_ptr()),
        results_len: results.len() as u32,
        ..Default::default()
    }
}

fn receive(endpoint: u64, buffer: &mut [u8; RECEIVE_BYTES as usize]) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Recv as u8,
        handle: endpoint,
        results: address(buffer.as_mut_ptr()),
        results_len: RECEIVE_BYTES,
        ..Default::default()
    }
}

fn answer(endpoint: u64, call: u64, results: &[u8]) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Return as u8,
        handle: endpoint,
        interface: call,
        params: address(results.as_ptr()),
        params_len: results.len() as u32,
        ..Default::default()
    }
}

fn park(space: u64, word: u64, expected: u32) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Park as u8,
        params_len: 4,
        handle: space,
        params: word,
        capabilities: expected,
        argument: NO_DEADLINE,
        ..Default::default()
    }
}

fn unpark(space: u64, word: u64, most: u32) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Unpark as u8,
        params_len: 4,
        handle: space,
        params: word,
        capabilities: most,
        ..Default::default()
    }
}

fn release(handle: u64) -> SubmissionEntry {
    SubmissionEntry { operation: Operation::Release as u8, handle, ..Default::default() }
}

const fn with_user_data(entry: SubmissionEntry, user_data: u64) -> SubmissionEntry {
    SubmissionEntry { user_data, ..entry }
}
