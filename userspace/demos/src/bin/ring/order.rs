//! Completions come in the order of ends, not of submissions.

use crate::{
    answer, call, next,
    operations::{INTERFACE, pair},
    park, receive, submit, unpark, with_user_data,
};
use core::sync::atomic::AtomicU32;
use demos::Findings;
use tessera_rt::{CallError, Client, abi::ring::RECEIVE_BYTES, client::ParkSpace, ring};

/// How many of a kind are outstanding at a time.
const COUNT: usize = 8;

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    parks(findings)?;
    calls(findings)
}

/// Parks on words of their own, woken from the last to the first.
fn parks(findings: &mut Findings) -> Result<(), CallError> {
    static WORDS: [AtomicU32; COUNT] = [const { AtomicU32::new(0) }; COUNT];
    let space = ParkSpace::granted()?.handle();
    let word = |number: usize| crate::address(WORDS[number].as_ptr());
    for number in 0..COUNT {
        submit(&with_user_data(park(space, word(number), 0), number as u64))?;
    }
    ring::current().enter(0, 0)?;
    for number in (0..COUNT).rev() {
        submit(&with_user_data(unpark(space, word(number), 1), 100))?;
    }
    for number in (0..COUNT).rev() {
        findings.equal("the park that ended", next()?.user_data, number as u64);
        findings.equal("its unpark", next()?.user_data, 100);
    }
    Ok(())
}

/// Calls received in their order and answered in the reverse.
fn calls(findings: &mut Findings) -> Result<(), CallError> {
    let (endpoint, client) = pair()?;
    let mut results = [[0; 8]; COUNT];
    let mut received = [0; RECEIVE_BYTES as usize];
    for (number, results) in results.iter_mut().enumerate() {
        submit(&with_user_data(call(client, INTERFACE, number as u16, results), number as u64))?;
    }
    let mut ids = [0; COUNT];
    for (number, id) in ids.iter_mut().enumerate() {
        submit(&with_user_data(receive(endpoint, &mut received), 200))?;
        let delivery = next()?;
        findings.equal("a delivery", delivery.user_data, 200);
        findings.equal("its method", received.get(24).copied(), Some(number as u8));
        *id = delivery.value;
    }
    for (number, id) in ids.iter().enumerate().rev() {
        submit(&with_user_data(answer(endpoint, *id, &[number as u8]), 300))?;
        let mut both = [next()?.user_data, next()?.user_data];
        both.sort_unstable();
        findings.equal("the call that ended, and its answer", both, [number as u64, 300]);
    }
    for (number, results) in results.iter().enumerate() {
        findings.equal("the answer's place", results[0], number as u8);
    }
    ring::current().release(client)?;
    ring::current().release(endpoint)
}
