//! Floods: of NOPs, of nonsense, of both. The kernel takes at most a queue at a time, and the flooder pays.

use crate::{next, nop, submit};
use core::sync::atomic::Ordering;
use demos::{Findings, random::Random};
use tessera_rt::{
    CallError,
    abi::ring::{SQ_ENTRIES, SubmissionEntry},
    ring, start,
};

/// Queues of the bounded flood.
const QUEUES: u64 = 200;

/// A bounded flood: each entry has its completion, each of nonsense an error.
pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let ring = ring::current();
    let mut random = Random::new(start::instance().into());
    let (mut bad, mut errors, mut wrong) = (0_u64, 0_u64, 0_u64);
    for queue in 0..QUEUES {
        for number in 0..SQ_ENTRIES {
            let is_bad = random.below(2) == 1;
            bad += u64::from(is_bad);
            let user_data = queue << 32 | u64::from(number);
            submit(&if is_bad { nonsense(&mut random, user_data) } else { nop(user_data, 0) })?;
        }
        let waiting = ring.enter(SQ_ENTRIES, u64::MAX)?;
        findings.equal("completions of a full queue", waiting, SQ_ENTRIES);
        for number in 0..SQ_ENTRIES {
            let completion = next()?;
            errors += u64::from(completion.status < 0);
            wrong += u64::from(completion.user_data != queue << 32 | u64::from(number));
        }
    }
    findings.check(bad > 0 && errors == bad, format_args!("{errors} errors of {bad} bad entries"));
    findings.equal("completions that were not in order", wrong, 0);
    Ok(())
}

/// An entry of an operation that there is not, or with fields that its operation does not have.
fn nonsense(random: &mut Random, user_data: u64) -> SubmissionEntry {
    let operation = 7 + random.below(249) as u8;
    SubmissionEntry { operation, handle: random.number(), argument: random.number(), user_data, ..Default::default() }
}

/// A flood without end. Its progress is the number of its completions.
pub fn run() -> ! {
    let (ring, mut random, mut count) = (ring::current(), Random::new(7), 0);
    loop {
        for number in 0..SQ_ENTRIES {
            let entry = if number % 2 == 0 { nop(1, 1) } else { nonsense(&mut random, 2) };
            if submit(&entry).is_err() {
                tessera_rt::exit(1);
            }
        }
        if ring.enter(SQ_ENTRIES, u64::MAX).is_err() {
            tessera_rt::exit(2);
        }
        while ring.complete().is_some() {
            count += 1;
        }
        start::progress().store(count, Ordering::Relaxed);
    }
}
