//! A completion queue that nobody reads loses nothing: what has no place stays in the submission queue.

use crate::{address, next, nop, park, submit, unpark, with_user_data};
use core::sync::atomic::AtomicU32;
use demos::Findings;
use tessera_rt::{
    CallError, Client,
    abi::ring::{CQ_ENTRIES, ParkOutcome, SQ_ENTRIES},
    client::ParkSpace,
    ring,
};

/// Submissions of the long run: several times what both queues hold.
const MANY: u64 = 1000;

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    fill(findings)?;
    reserved(findings)?;
    trickle(findings)
}

/// Fills both queues without reading.
fn fill(findings: &mut Findings) -> Result<(), CallError> {
    let ring = ring::current();
    let all = u64::from(SQ_ENTRIES + CQ_ENTRIES);
    for number in 0..all {
        submit(&nop(number, number * 3))?;
    }
    let unread = ring.enter(CQ_ENTRIES, u64::MAX)?;
    findings.equal("unread completions", unread, CQ_ENTRIES);
    findings.equal("room for one more", ring.submission_room(), 0);
    ring.enter(CQ_ENTRIES, u64::MAX)?;
    findings.equal("room after entering again", ring.submission_room(), 0);
    for number in 0..all {
        let completion = next()?;
        let is_next = (completion.user_data, completion.value) == (number, number * 3);
        findings.check(is_next, format_args!("NOP {number} ended as {completion:?}"));
    }
    findings.equal("completions left", ring.enter(0, 0)?, 0);
    Ok(())
}

/// An operation that ends later has its place, however full the queue is.
fn reserved(findings: &mut Findings) -> Result<(), CallError> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let (ring, space, word) = (ring::current(), ParkSpace::granted()?.handle(), address(WORD.as_ptr()));
    submit(&with_user_data(park(space, word, 0), 500))?;
    for number in 0..u64::from(CQ_ENTRIES) {
        submit(&nop(number, 0))?;
    }
    findings.equal("unread beside a reserved place", ring.enter(0, 0)?, CQ_ENTRIES - 1);
    submit(&with_user_data(unpark(space, word, 1), 600))?;
    ring.enter(0, 0)?;
    findings.equal("nothing more is taken", ring.waiting(), CQ_ENTRIES - 1);
    for number in 0..u64::from(CQ_ENTRIES) {
        findings.equal("a NOP beside a park", next()?.user_data, number);
    }
    let woken = next()?;
    findings.equal("the park", (woken.user_data, woken.value), (500, ParkOutcome::Woken as u64));
    findings.equal("its unpark", next()?.user_data, 600);
    Ok(())
}

/// One read for each submission, with full queues all the time.
fn trickle(findings: &mut Findings) -> Result<(), CallError> {
    let ring = ring::current();
    let (mut submitted, mut read, mut in_order) = (0, 0, 0);
    while read < MANY {
        while submitted < MANY && ring.submission_room() > 0 {
            submit(&nop(submitted, 0))?;
            submitted += 1;
        }
        ring.enter(1, u64::MAX)?;
        if let Some(completion) = ring.complete() {
            in_order += u64::from(completion.user_data == read);
            read += 1;
        }
    }
    findings.equal("completions in order", in_order, MANY);
    Ok(())
}
