//! The seven operations: what a program says comes out as it said it, and what it must not say gets a typed error.
//! `ring_bytes.rs` has the same for any 64 bytes.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::endpoint::CallId;
use kernel_core::ring::{Call, Completed, Park, Receive, Return, Submission, Transfer, Unpark};
use tessera_abi::ring::{
    CompletionEntry, EXCEPTION, NO_DEADLINE, Operation, RECEIVE_BYTES, SubmissionEntry, TransportError,
};
use tessera_abi::transfer::{MAX_TRANSFER, counts};

/// A valid entry of each operation with every field set that it uses.
fn valid() -> [(SubmissionEntry, Submission); 7] {
    let entry = |operation: Operation| SubmissionEntry {
        operation: operation as u8,
        user_data: 99,
        handle: 1 << 32 | 7,
        ..Default::default()
    };
    let handle = 1 << 32 | 7;
    let word = SubmissionEntry { params: 0x1004, params_len: 4, capabilities: 5, ..Default::default() };
    let transfer = |sent, room| Transfer { array: 0x3000, sent, room };
    let message = SubmissionEntry { params: 0x1000, params_len: 24, argument: 0x3000, ..Default::default() };
    [
        (SubmissionEntry { handle: 0, argument: 17, ..entry(Operation::Nop) }, Submission::Nop { argument: 17 }),
        (
            SubmissionEntry {
                operation: Operation::Call as u8,
                method: 3,
                handle,
                user_data: 99,
                interface: 0xabcd,
                results: 0x2000,
                results_len: 512,
                capabilities: counts(2, 16),
                ..message
            },
            Submission::Call(Call {
                handle,
                interface: 0xabcd,
                method: 3,
                params: 0x1000,
                params_len: 24,
                results: 0x2000,
                results_len: 512,
                transfer: transfer(2, 16),
            }),
        ),
        (
            SubmissionEntry {
                results: 0x2000,
                results_len: RECEIVE_BYTES,
                capabilities: counts(0, 4),
                argument: 0x3000,
                ..entry(Operation::Recv)
            },
            Submission::Receive(Receive {
                handle,
                buffer: 0x2000,
                buffer_len: RECEIVE_BYTES,
                transfer: transfer(0, 4),
            }),
        ),
        (
            SubmissionEntry {
                operation: Operation::Return as u8,
                flags: EXCEPTION as u8,
                handle,
                user_data: 99,
                interface: 0x105,
                capabilities: counts(16, 0),
                ..message
            },
            Submission::Return(Return {
                handle,
                call: CallId::from_raw(0x105),
                is_exception: true,
                results: 0x1000,
                results_len: 24,
                transfer: transfer(16, 0),
            }),
        ),
        (entry(Operation::Release), Submission::Release { handle }),
        (
            SubmissionEntry { operation: Operation::Park as u8, handle, user_data: 99, argument: 1_000_000, ..word },
            Submission::Park(Park { handle, word: 0x1004, expected: 5, deadline: Some(1_000_000) }),
        ),
        (
            SubmissionEntry { operation: Operation::Unpark as u8, handle, user_data: 99, ..word },
            Submission::Unpark(Unpark { handle, word: 0x1004, most: 5 }),
        ),
    ]
}

/// The entry of an operation, from [`valid`].
fn entry_of(operation: Operation) -> SubmissionEntry {
    valid()[operation as usize].0
}

#[test]
fn every_operation_carries_what_its_entry_says() {
    for (number, (entry, submission)) in valid().into_iter().enumerate() {
        assert_eq!(usize::from(entry.operation), number);
        assert_eq!(Submission::decode(&entry), Ok(submission));
    }
}

/// The rows of the table at `SubmissionEntry`: which operations use each field. Flags and counts have their own tests.
#[test]
fn a_field_that_an_operation_does_not_use_must_be_zero() {
    type Field = (&'static str, fn(&mut SubmissionEntry) -> &mut dyn Set, [bool; 7]);
    const X: bool = true;
    const O: bool = false;
    //                                                     NOP CALL RECV RETURN RELEASE PARK UNPARK
    let fields: [Field; 8] = [
        ("method", |entry| &mut entry.method, /*        */ [O, X, O, O, O, O, O]),
        ("handle", |entry| &mut entry.handle, /*        */ [O, X, X, X, X, X, X]),
        ("interface", |entry| &mut entry.interface, /*  */ [O, X, O, X, O, O, O]),
        ("params", |entry| &mut entry.params, /*        */ [O, X, O, X, O, X, X]),
        ("params_len", |entry| &mut entry.params_len, /**/ [O, X, O, X, O, X, X]),
        ("results", |entry| &mut entry.results, /*      */ [O, X, X, O, O, O, O]),
        ("results_len", |entry| &mut entry.results_len, /**/ [O, X, X, O, O, O, O]),
        ("argument", |entry| &mut entry.argument, /*    */ [X, X, X, X, O, X, O]),
    ];
    for (name, field, users) in fields {
        for ((valid, _), uses) in valid().into_iter().zip(users) {
            let mut entry = valid;
            field(&mut entry).set();
            let is_reserved = Submission::decode(&entry) == Err(TransportError::ReservedField);
            assert_eq!(is_reserved, !uses, "{name} of operation {}", entry.operation);
        }
    }
}

/// A field of any width that gets another value.
trait Set {
    fn set(&mut self);
}

impl Set for u16 {
    fn set(&mut self) {
        *self ^= 8;
    }
}

impl Set for u32 {
    fn set(&mut self) {
        *self ^= 8;
    }
}

impl Set for u64 {
    fn set(&mut self) {
        *self ^= 8;
    }
}

#[test]
fn only_a_return_has_a_flag_and_only_that_one() {
    for (valid, _) in valid() {
        for bit in 0..8 {
            let entry = SubmissionEntry { flags: 1 << bit, ..valid };
            let is_accepted = bit == 0 && entry.operation == Operation::Return as u8;
            let expected = if is_accepted { Ok(()) } else { Err(TransportError::ReservedField) };
            assert_eq!(Submission::decode(&entry).map(drop), expected, "bit {bit} of {}", entry.operation);
        }
    }
    let plain = SubmissionEntry { flags: 0, ..entry_of(Operation::Return) };
    assert!(matches!(Submission::decode(&plain), Ok(Submission::Return(Return { is_exception: false, .. }))));
}

#[test]
fn a_receive_has_only_room_a_return_only_sends_and_others_have_no_counts() {
    for (operation, capabilities) in [
        (Operation::Recv, counts(1, 1)),
        (Operation::Return, counts(1, 1)),
        (Operation::Nop, counts(1, 0)),
        (Operation::Nop, counts(0, 1)),
        (Operation::Release, counts(1, 0)),
        (Operation::Release, counts(0, 1)),
    ] {
        let entry = SubmissionEntry { capabilities, ..entry_of(operation) };
        assert_eq!(Submission::decode(&entry), Err(TransportError::ReservedField));
    }
}

#[test]
fn an_array_and_its_counts_go_together_and_are_bounded() {
    let most = MAX_TRANSFER as u16;
    for (operation, count) in [
        (Operation::Call, (|n| counts(n, 0)) as fn(u16) -> u32),
        (Operation::Call, |n| counts(0, n)),
        (Operation::Recv, |n| counts(0, n)),
        (Operation::Return, |n| counts(n, 0)),
    ] {
        let with = |capabilities, argument| {
            let entry = SubmissionEntry { capabilities, argument, ..entry_of(operation) };
            Submission::decode(&entry).map(drop)
        };
        assert_eq!(with(count(0), 0), Ok(()));
        assert_eq!(with(count(most), 0x3000), Ok(()));
        for (capabilities, argument) in
            [(count(0), 0x3000), (count(1), 0), (count(most + 1), 0x3000), (count(u16::MAX), 0x3000)]
        {
            assert_eq!(with(capabilities, argument), Err(TransportError::BadCapabilities), "{capabilities:#x}");
        }
    }
}

#[test]
fn a_receive_has_room_for_any_call() {
    let with =
        |results_len| Submission::decode(&SubmissionEntry { results_len, ..entry_of(Operation::Recv) }).map(drop);
    assert_eq!(with(RECEIVE_BYTES - 1), Err(TransportError::ResultsTooSmall));
    assert_eq!(with(0), Err(TransportError::ResultsTooSmall));
    assert_eq!(with(u32::MAX), Ok(()));
}

#[test]
fn a_word_is_four_aligned_bytes() {
    for operation in [Operation::Park, Operation::Unpark] {
        let with = |params, params_len| {
            Submission::decode(&SubmissionEntry { params, params_len, ..entry_of(operation) }).map(drop)
        };
        assert_eq!(with(0x1000, 4), Ok(()));
        for (params, params_len) in [(0x1001, 4), (0x1002, 4), (0x1003, 4), (u64::MAX, 4), (0x1000, 0), (0x1000, 8)] {
            assert_eq!(with(params, params_len), Err(TransportError::BadWord), "{params:#x}, {params_len}");
        }
    }
}

#[test]
fn a_park_without_a_deadline_never_gives_up() {
    let with = |argument| Submission::decode(&SubmissionEntry { argument, ..entry_of(Operation::Park) });
    assert!(matches!(with(NO_DEADLINE), Ok(Submission::Park(Park { deadline: None, .. }))));
    assert!(matches!(with(0), Ok(Submission::Park(Park { deadline: Some(0), .. }))));
}

#[test]
fn every_ending_has_its_entry() {
    let nothing = CompletionEntry { user_data: 9, ..Default::default() };
    let call = CallId::from_raw(0x105);
    let endings = [
        (Completed::Value(5), CompletionEntry { value: 5, ..nothing }),
        (
            Completed::Results { length: 16, capabilities: 3 },
            CompletionEntry { status: 16, capabilities: 3, ..nothing },
        ),
        (Completed::Exception { length: 24 }, CompletionEntry { status: 24, flags: EXCEPTION, ..nothing }),
        (
            Completed::Received { length: 48, call, capabilities: 2 },
            CompletionEntry { status: 48, value: 0x105, capabilities: 2, ..nothing },
        ),
        (Completed::Transport(TransportError::Disconnected), CompletionEntry { status: -16, ..nothing }),
    ];
    for (completed, entry) in endings {
        assert_eq!(completed.entry(9), entry);
    }
}
