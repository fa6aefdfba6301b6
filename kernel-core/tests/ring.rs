//! The ring: nothing is lost, nothing hostile is believed.
#![cfg(not(any(loom, shuttle)))]

mod ring_memory;

use kernel_core::ring::{Completed, Handler, Outcome, Ring, RingError, RingOwner, Role, Submission, consume};
use proptest::prelude::*;
use ring_memory::Memory;
use std::collections::VecDeque;
use tessera_abi::ring::{
    CQ_ENTRIES, CompletionEntry, EXCEPTION, Operation, RECEIVE_BYTES, SQ_ENTRIES, SubmissionEntry, TransportError,
};

fn nop(user_data: u64) -> SubmissionEntry {
    SubmissionEntry { operation: Operation::Nop as u8, user_data, argument: !user_data, ..Default::default() }
}

fn call(user_data: u64, method: u16) -> SubmissionEntry {
    SubmissionEntry { operation: Operation::Call as u8, user_data, method, handle: 7, ..Default::default() }
}

/// Method 0 completes at once, 1 later, 2 at once with a stop, 3 with an exception.
#[derive(Default)]
struct Methods {
    later: VecDeque<u64>,
    accounts: Vec<u64>,
}

impl Handler for Methods {
    type Account = u64;

    fn submission(&mut self, account: &u64, user_data: u64, submission: &Submission) -> Outcome {
        self.accounts.push(*account);
        let Submission::Call(call) = submission else { return Outcome::Now(Completed::Value(0)) };
        match call.method {
            1 => {
                self.later.push_back(user_data);
                Outcome::Later
            }
            2 => Outcome::NowAndStop(Completed::Results { length: 8, capabilities: 0 }),
            3 => Outcome::Now(Completed::Exception { length: 16 }),
            _ => Outcome::Now(Completed::Results { length: 8, capabilities: 0 }),
        }
    }
}

fn run(
    ring: &mut Ring,
    memory: &Memory,
    max: u32,
    methods: &mut Methods,
) -> Result<kernel_core::ring::Consumed, RingError> {
    let owner = RingOwner::default();
    let owned = owner.begin(Role::Caller).expect("nobody else consumes");
    consume(ring, memory, &owned, max, &42, methods)
}

#[test]
fn submissions_complete_in_order_with_what_they_carried() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    for entry in [nop(1), call(2, 0), call(3, 3)] {
        assert!(memory.submit(entry));
    }
    let consumed = run(&mut ring, &memory, 64, &mut methods).expect("in order");
    assert_eq!((consumed.submissions, consumed.left, consumed.completions), (3, 0, 3));
    let completions: Vec<_> = std::iter::from_fn(|| memory.reap()).collect();
    assert_eq!(completions[0], CompletionEntry { user_data: 1, value: !1, ..Default::default() });
    assert_eq!(completions[1], CompletionEntry { user_data: 2, status: 8, ..Default::default() });
    assert_eq!(completions[2], CompletionEntry { user_data: 3, status: 16, flags: EXCEPTION, ..Default::default() });
    assert_eq!(methods.accounts, [42, 42]);
}

#[test]
fn no_more_than_the_maximum_is_consumed_and_the_rest_is_said_to_be_left() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    (0..10).for_each(|n| assert!(memory.submit(nop(n))));
    let consumed = run(&mut ring, &memory, 4, &mut methods).expect("in order");
    assert_eq!((consumed.submissions, consumed.left), (4, 6));
    let consumed = run(&mut ring, &memory, 0, &mut methods).expect("in order");
    assert_eq!((consumed.submissions, consumed.left), (0, 6));
}

#[test]
fn a_handler_that_says_stop_leaves_the_rest_in_the_queue() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    for entry in [nop(1), call(2, 2), nop(3)] {
        assert!(memory.submit(entry));
    }
    let consumed = run(&mut ring, &memory, 64, &mut methods).expect("in order");
    assert_eq!((consumed.submissions, consumed.left, consumed.completions), (2, 1, 2));
}

#[test]
fn a_full_completion_queue_stops_consumption_and_loses_nothing() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    let mut submitted = 0;
    for _ in 0..4 {
        while memory.submit(nop(submitted)) {
            submitted += 1;
        }
        let _ = run(&mut ring, &memory, 64, &mut methods).expect("in order");
    }
    assert_eq!(submitted, u64::from(CQ_ENTRIES + SQ_ENTRIES));
    let mut reaped = 0;
    while let Some(completion) = memory.reap() {
        assert_eq!(completion.user_data, reaped);
        reaped += 1;
        let _ = run(&mut ring, &memory, 64, &mut methods).expect("in order");
    }
    assert_eq!(reaped, submitted);
}

#[test]
fn a_call_that_completes_later_keeps_its_place() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    for n in 0..u64::from(CQ_ENTRIES) {
        assert!(memory.submit(call(n, 1)));
        let _ = run(&mut ring, &memory, 1, &mut methods).expect("in order");
    }
    assert_eq!(ring.outstanding(), CQ_ENTRIES);
    assert!(memory.submit(nop(1000)));
    let consumed = run(&mut ring, &memory, 64, &mut methods).expect("in order");
    assert_eq!((consumed.submissions, consumed.left), (0, 1), "every place is reserved");
    while let Some(user_data) = methods.later.pop_back() {
        assert!(ring.complete_later(&memory, user_data, Completed::Results { length: 0, capabilities: 0 }));
    }
    assert!(!ring.complete_later(&memory, 0, Completed::Value(0)), "nothing is outstanding");
    assert_eq!(memory.reap().map(|completion| completion.user_data), Some(u64::from(CQ_ENTRIES) - 1));
    assert_eq!(run(&mut ring, &memory, 64, &mut methods).map(|consumed| consumed.submissions), Ok(1));
}

#[test]
fn unknown_operations_and_reserved_fields_are_transport_errors() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    let refused = [
        (SubmissionEntry { operation: 7, ..nop(1) }, TransportError::UnknownOperation),
        (SubmissionEntry { operation: 255, ..nop(1) }, TransportError::UnknownOperation),
        (SubmissionEntry { flags: 1, ..nop(1) }, TransportError::ReservedField),
        (SubmissionEntry { capabilities: 1, ..nop(1) }, TransportError::ReservedField),
        (SubmissionEntry { handle: 1, ..nop(1) }, TransportError::ReservedField),
        (SubmissionEntry { results_len: 1, ..nop(1) }, TransportError::ReservedField),
        (SubmissionEntry { flags: 1, ..call(1, 0) }, TransportError::ReservedField),
        (SubmissionEntry { argument: 1, ..call(1, 0) }, TransportError::BadCapabilities),
    ];
    for (entry, error) in refused {
        assert!(memory.submit(entry));
        let consumed = run(&mut ring, &memory, 64, &mut methods).expect("in order");
        assert_eq!(consumed.submissions, 1);
        assert_eq!(memory.reap().map(|completion| completion.status), Some(-(error as i32)), "{entry:?}");
    }
    assert!(methods.accounts.is_empty(), "none of them reached a handler");
}

#[test]
fn indices_out_of_range_consume_nothing_and_are_named() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    assert!(memory.submit(nop(1)));
    for tail in [SQ_ENTRIES + 1, u32::MAX, 1 << 31] {
        memory.sq_tail.set(tail);
        let error = RingError::SubmissionTail { head: 0, tail };
        assert_eq!(run(&mut ring, &memory, 64, &mut methods), Err(error));
    }
    memory.sq_tail.set(1);
    for head in [1, 1 << 31, 0_u32.wrapping_sub(CQ_ENTRIES + 1)] {
        memory.cq_head.set(head);
        let error = RingError::CompletionHead { head, tail: 0 };
        assert_eq!(run(&mut ring, &memory, 64, &mut methods), Err(error));
    }
    assert_eq!((memory.reads.get(), ring), (0, Ring::new()));
    memory.cq_head.set(0);
    assert_eq!(run(&mut ring, &memory, 64, &mut methods).map(|consumed| consumed.submissions), Ok(1));
}

#[test]
fn completions_come_in_the_order_in_which_the_calls_end() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    for entry in [call(1, 1), call(2, 0), call(3, 1), nop(4)] {
        assert!(memory.submit(entry));
    }
    let consumed = run(&mut ring, &memory, 64, &mut methods).expect("in order");
    assert_eq!((consumed.submissions, consumed.completions, ring.outstanding()), (4, 2, 2));
    for user_data in [3, 1] {
        assert!(ring.complete_later(&memory, user_data, Completed::Results { length: 0, capabilities: 0 }));
    }
    let completions: Vec<_> = std::iter::from_fn(|| memory.reap()).map(|completion| completion.user_data).collect();
    assert_eq!(completions, [2, 4, 3, 1]);
}

#[test]
fn every_operation_but_a_nop_reaches_the_handler() {
    let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
    let word = SubmissionEntry { params_len: 4, handle: 7, ..Default::default() };
    let receive = SubmissionEntry { results_len: RECEIVE_BYTES, handle: 7, ..Default::default() };
    let entries = [
        (Operation::Nop, SubmissionEntry::default()),
        (Operation::Call, call(0, 0)),
        (Operation::Recv, receive),
        (Operation::Return, call(0, 0)),
        (Operation::Release, call(0, 0)),
        (Operation::Park, word),
        (Operation::Unpark, word),
    ];
    for (operation, entry) in entries {
        assert!(memory.submit(SubmissionEntry { operation: operation as u8, ..entry }));
    }
    assert_eq!(run(&mut ring, &memory, 64, &mut methods).map(|consumed| consumed.completions), Ok(7));
    assert!(std::iter::from_fn(|| memory.reap()).all(|completion| completion.status >= 0));
    assert_eq!(methods.accounts.len(), 6);
}

proptest! {
    #[test]
    fn indices_wrap_without_loss_or_repetition(
        batches in prop::collection::vec((0..80_u32, 0..80_u32, 0..200_u32, 0..4_u16), 1..200),
    ) {
        let (mut ring, memory, mut methods) = (Ring::new(), Memory::new(), Methods::default());
        let (mut submitted, mut completed) = (0_u64, std::collections::BTreeSet::new());
        for (submit, max, reap, method) in batches {
            for _ in 0..submit {
                let entry = if submitted % 3 == 0 { nop(submitted) } else { call(submitted, method) };
                if !memory.submit(entry) {
                    break;
                }
                submitted += 1;
            }
            let consumed = run(&mut ring, &memory, max, &mut methods).expect("in order");
            prop_assert!(consumed.submissions <= max);
            if reap % 2 == 0 {
                while let Some(user_data) = methods.later.pop_front() {
                    prop_assert!(ring.complete_later(&memory, user_data, Completed::Value(0)));
                }
            }
            for completion in std::iter::from_fn(|| memory.reap()).take(reap as usize) {
                prop_assert!(completed.insert(completion.user_data), "{} twice", completion.user_data);
            }
        }
        while methods.later.pop_front().is_some_and(|later| ring.complete_later(&memory, later, Completed::Value(0))) {}
        while memory.sq_head.get() != memory.sq_tail.get() || memory.cq_head.get() != memory.cq_tail.get() {
            let _ = run(&mut ring, &memory, 64, &mut methods).expect("in order");
            while methods.later.pop_front().is_some_and(|it| ring.complete_later(&memory, it, Completed::Value(0))) {}
            completed.extend(std::iter::from_fn(|| memory.reap()).map(|completion| completion.user_data));
        }
        prop_assert!(completed.into_iter().eq(0..submitted));
    }
}
