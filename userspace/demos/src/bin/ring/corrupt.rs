//! Indices that make no sense are refused, nothing is consumed, and with good ones everything goes on.

use crate::{next, nop, submit};
use core::sync::atomic::Ordering;
use demos::Findings;
use tessera_rt::{
    CallError,
    abi::{
        ring::{CQ_ENTRIES, SQ_ENTRIES, header},
        system_call::SystemCallError,
    },
    ring,
};

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let ring = ring::current();
    // So that there is an unread completion and a submission that waits.
    submit(&nop(1, 11))?;
    ring.enter(1, u64::MAX)?;
    submit(&nop(2, 22))?;
    submission_tail(findings)?;
    completion_head(findings)?;
    kernels_words(findings)?;
    let too_many = ring.enter(CQ_ENTRIES + 1, 0);
    let invalid = CallError::SystemCall(-(SystemCallError::InvalidArgument as i32));
    findings.equal("more completions than there is room for", too_many, Err(invalid));
    for (user_data, value) in [(1, 11), (2, 22)] {
        let completion = next()?;
        findings.equal("a NOP after all that", (completion.user_data, completion.value), (user_data, value));
    }
    findings.equal("completions left", ring.enter(0, 0)?, 0);
    Ok(())
}

/// Puts `bad` into a word, enters, and puts back what was there.
fn enter_with(offset: usize, bad: impl FnOnce(u32) -> u32) -> Result<u32, CallError> {
    let ring = ring::current();
    // SAFETY: the word is put back before the runtime uses the ring again, and the bad values here make the kernel refuse
    // the ring as a whole.
    let word = unsafe { ring.header_word(offset) };
    let good = word.load(Ordering::SeqCst);
    word.store(bad(good), Ordering::SeqCst);
    let outcome = ring.enter(0, 0);
    word.store(good, Ordering::SeqCst);
    outcome
}

const CORRUPT: Result<u32, CallError> = Err(CallError::SystemCall(-(SystemCallError::CorruptRing as i32)));

fn submission_tail(findings: &mut Findings) -> Result<(), CallError> {
    let waiting = 1;
    for ahead in [SQ_ENTRIES + 1 - waiting, 1000, u32::MAX / 2, u32::MAX - waiting] {
        let outcome = enter_with(header::SQ_TAIL, |good| good.wrapping_add(ahead));
        findings.check(outcome == CORRUPT, format_args!("a tail {ahead} further gave {outcome:?}"));
    }
    findings.equal("unread, still", ring::current().waiting(), 1);
    findings.equal("waiting, still", ring::current().submission_room(), SQ_ENTRIES - waiting);
    Ok(())
}

fn completion_head(findings: &mut Findings) -> Result<(), CallError> {
    // One is unread: two ahead is beyond the tail, and 128 back is more than the queue holds.
    for ahead in [2, 1000, u32::MAX / 2, u32::MAX - CQ_ENTRIES + 1] {
        let outcome = enter_with(header::CQ_HEAD, |good| good.wrapping_add(ahead));
        findings.check(outcome == CORRUPT, format_args!("a head {ahead} further gave {outcome:?}"));
    }
    findings.equal("waiting, still", ring::current().submission_room(), SQ_ENTRIES - 1);
    Ok(())
}

/// The kernel reads nothing back that it has written itself.
fn kernels_words(findings: &mut Findings) -> Result<(), CallError> {
    let ring = ring::current();
    for offset in [header::SQ_HEAD, header::CQ_TAIL, header::FLAGS] {
        // SAFETY: the word is put back before the runtime looks at it.
        let word = unsafe { ring.header_word(offset) };
        let good = word.load(Ordering::SeqCst);
        word.store(0xdead_beef, Ordering::SeqCst);
        let outcome = ring.enter(0, 0);
        // Entering consumed the NOP that waited, at the first time, and said so where it says such things.
        if word.load(Ordering::SeqCst) == 0xdead_beef {
            word.store(good, Ordering::SeqCst);
        }
        findings.equal("unread", outcome, Ok(2));
    }
    Ok(())
}
