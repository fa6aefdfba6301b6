//! The ring's program side against a fake kernel that consumes the queue as the real one does.

use super::{
    operations::{Answer, Callee, ReceiveBuffer},
    *,
};
use std::{boxed::Box, vec::Vec};
use tessera_abi::{
    ring::{EXCEPTION, TransportError},
    transfer::{RECEIVED_CALL_BYTES, ReceivedCall, TransferEntry},
};
use tessera_schema::message::{Exception, ExceptionKind};

/// What the fake kernel does with a submission: nothing now, or a completion (its user data is filled in).
type Consumer = Box<dyn FnMut(&SubmissionEntry) -> Option<CompletionEntry>>;

#[repr(C, align(4096))]
struct Pages([u8; RING_PAGES * PAGE_BYTES]);

/// Gives the calling thread a ring that this kernel consumes. The pages are never freed: a ring lives as long as its
/// thread.
fn with_kernel(mut consume: Consumer) -> Ring {
    let pages: &'static mut Pages = Box::leak(Box::new(Pages([0; RING_PAGES * PAGE_BYTES])));
    let address = (&raw mut *pages).expose_provenance();
    arch::become_thread(
        address,
        Box::new(move |_, min_complete, _| {
            let ring = current();
            consume_all(ring, &mut consume);
            let waiting = ring.waiting();
            assert!(waiting as usize >= min_complete, "the thread would sleep for ever");
            waiting as isize
        }),
    );
    current()
}

fn consume_all(ring: Ring, consume: &mut Consumer) {
    let tail = ring.word(header::SQ_TAIL).load(Ordering::Acquire);
    let mut head = ring.word(header::SQ_HEAD).load(Ordering::Relaxed);
    while head != tail {
        // SAFETY: the slot was filled by the program, as its tail says.
        let entry = unsafe { ring.submission(head).read() };
        head = head.wrapping_add(1);
        if let Some(completion) = consume(&entry) {
            complete(ring, CompletionEntry { user_data: entry.user_data, ..completion });
        }
    }
    ring.word(header::SQ_HEAD).store(head, Ordering::Release);
}

fn complete(ring: Ring, completion: CompletionEntry) {
    let tail = ring.word(header::CQ_TAIL).load(Ordering::Relaxed);
    assert!(ring.waiting() < CQ_ENTRIES, "the completion queue overflows");
    // SAFETY: the slot is free, as the program's head says.
    unsafe { ring.completion(tail).write(completion) };
    ring.word(header::CQ_TAIL).store(tail.wrapping_add(1), Ordering::Release);
}

/// Completes NOPs as the real kernel does.
fn nops() -> Ring {
    with_kernel(Box::new(|entry| Some(CompletionEntry { value: entry.argument, ..Default::default() })))
}

const CALLEE: Callee = Callee { handle: 9, method: MethodId { interface: 77, method: 3 } };

#[test]
fn a_call_takes_its_completion_out_of_the_middle_and_leaves_the_others_in_their_order() {
    let ring = nops();
    for number in 0..40 {
        ring.submit_nop(number, u64::from(number)).unwrap();
        if number % 7 == 3 {
            assert_eq!(ring.nop(1000), Ok(1000));
        }
    }
    ring.enter(40, WAIT_FOREVER).unwrap();
    let order: Vec<u64> = core::iter::from_fn(|| ring.complete()).map(|entry| entry.user_data).collect();
    assert_eq!(order, (0..40).collect::<Vec<u64>>());
}

#[test]
fn a_completion_that_comes_while_the_others_are_looked_at_is_not_waited_for_again() {
    let ring = nops();
    ring.submit_nop(1, 0).unwrap();
    ring.enter(1, WAIT_FOREVER).unwrap();
    let has_come = Cell::new(false);
    let found = ring.wait_until(|entry| {
        // Another CPU completes the operation behind the look.
        if !has_come.replace(true) {
            complete(ring, CompletionEntry { user_data: 7, ..Default::default() });
        }
        entry.user_data == 7
    });
    assert_eq!(found.map(|entry| entry.user_data), Ok(7));
}

#[test]
fn a_call_that_might_find_no_room_for_its_completion_is_refused_before_it_is_made() {
    let ring = nops();
    for number in 0..CQ_ENTRIES {
        if ring.submission_room() == 0 {
            ring.enter(0, 0).unwrap();
        }
        ring.submit_nop(number, 0).unwrap();
    }
    assert_eq!(ring.nop(1), Err(CallError::TooManyOutstanding));
    ring.enter(CQ_ENTRIES, WAIT_FOREVER).unwrap();
    ring.complete().unwrap();
    assert_eq!(ring.nop(1), Ok(1));
    assert_eq!(core::iter::from_fn(|| ring.complete()).count(), CQ_ENTRIES as usize - 1);
}

#[test]
fn a_full_submission_queue_is_emptied_by_the_next_call() {
    let ring = nops();
    (0..SQ_ENTRIES).for_each(|number| ring.submit_nop(number, 0).unwrap());
    assert_eq!(ring.submit_nop(99, 0), Err(QueueFull));
    assert_eq!(ring.nop(5), Ok(5));
    assert_eq!(ring.waiting(), SQ_ENTRIES);
}

#[test]
fn indices_wrap() {
    let ring = nops();
    for word in [header::SQ_HEAD, header::SQ_TAIL, header::CQ_HEAD, header::CQ_TAIL] {
        ring.word(word).store(u32::MAX - 2, Ordering::Relaxed);
    }
    (0..10).for_each(|value| assert_eq!(ring.nop(value), Ok(value)));
}

#[test]
fn a_call_carries_capabilities_both_ways() {
    let ring = with_kernel(Box::new(|entry| {
        let array = core::ptr::with_exposed_provenance_mut::<TransferEntry>(entry.argument as usize);
        // SAFETY: the program's array has sixteen entries and lives until the completion.
        let array = unsafe { core::slice::from_raw_parts_mut(array, 16) };
        assert_eq!((entry.capabilities, array[0].handle), (1 | 2 << 16, 4));
        array[0] = TransferEntry { handle: 50, detail: 1 };
        array[1] = TransferEntry { handle: 51, detail: 2 };
        Some(CompletionEntry { capabilities: 2, ..Default::default() })
    }));
    let mut received = [TransferEntry::default(); 2];
    let returned = ring.call(CALLEE, b"", &[TransferEntry { handle: 4, detail: 0 }], &mut [0; 8], &mut received);
    assert_eq!(returned, Ok(Returned { length: 0, capabilities: 2 }));
    assert_eq!(received.map(|entry| entry.handle), [50, 51]);
    let too_many = [TransferEntry::default(); 17];
    let refused = ring.call(CALLEE, b"", &too_many, &mut [0; 8], &mut []);
    assert_eq!(refused, Err(CallError::TooManyCapabilities(17)));
}

#[test]
fn an_exception_and_a_negative_status_are_errors() {
    let ring = with_kernel(Box::new(|entry| {
        if entry.method == 3 {
            return Some(CompletionEntry { status: -(TransportError::Revoked as i32), ..Default::default() });
        }
        let results = core::ptr::with_exposed_provenance_mut::<u8>(entry.results as usize);
        // SAFETY: the buffer has so many bytes and lives until the completion.
        let results = unsafe { core::slice::from_raw_parts_mut(results, entry.results_len as usize) };
        let status = Exception { kind: ExceptionKind::Overloaded, reason: "full" }.encode(results).unwrap() as i32;
        Some(CompletionEntry { status, flags: EXCEPTION, ..Default::default() })
    }));
    let outcome = ring.call(CALLEE, b"", &[], &mut [0; 128], &mut []);
    assert!(outcome.unwrap_err().is_transport(TransportError::Revoked));
    let other = Callee { method: MethodId { method: 4, ..CALLEE.method }, ..CALLEE };
    let outcome = ring.call(other, b"", &[], &mut [0; 128], &mut []).unwrap_err();
    assert_eq!(outcome.exception(), Some(ExceptionKind::Overloaded));
}

#[test]
fn an_answer_and_the_next_call_take_one_entry_into_the_kernel() {
    let ring = with_kernel(Box::new(|entry| {
        if entry.operation == Operation::Return as u8 {
            return Some(CompletionEntry { status: -(TransportError::NoSuchCall as i32), ..Default::default() });
        }
        let header = ReceivedCall { interface: 77, badge: 6, caller: 5, method: 3, capabilities: 0, params_len: 2 };
        let buffer = core::ptr::with_exposed_provenance_mut::<u8>(entry.results as usize);
        // SAFETY: the buffer is larger than the header and lives until the completion; it has no alignment.
        unsafe { buffer.cast::<ReceivedCall>().write_unaligned(header) };
        // SAFETY: the parameters' place follows the header in the same buffer.
        unsafe { buffer.wrapping_add(size_of::<ReceivedCall>()).copy_from(b"hi".as_ptr(), 2) };
        Some(CompletionEntry { status: 34, value: 1234, ..Default::default() })
    }));
    let mut buffer = ReceiveBuffer::new();
    let answer = Answer { call: 1, is_exception: false, results: b"", given: &[] };
    let (replied, received) = ring.reply_and_receive(8, answer, &mut buffer).unwrap();
    assert!(replied.unwrap_err().is_transport(TransportError::NoSuchCall));
    assert_eq!((received.call, received.header.badge, received.header.method), (1234, 6, 3));
    assert_eq!((received.params, received.capabilities.len()), (&b"hi"[..], 0));
}

#[test]
fn an_answer_that_completes_before_the_wait_for_the_next_call_is_counted_once() {
    let ring = with_kernel(Box::new(|entry| {
        let is_receive = entry.operation == Operation::Recv as u8;
        Some(CompletionEntry { status: if is_receive { 32 } else { 0 }, ..Default::default() })
    }));
    // The answer fills the queue, so the receive enters the kernel to make room.
    (0..SQ_ENTRIES - 1).for_each(|number| ring.submit_nop(number, 0).unwrap());
    let mut buffer = ReceiveBuffer::new();
    let answer = Answer { call: 1, is_exception: false, results: b"", given: &[] };
    assert!(ring.reply_and_receive(8, answer, &mut buffer).is_ok_and(|(replied, _)| replied.is_ok()));
    assert_eq!(ring.waiting(), SQ_ENTRIES - 1);
}

#[test]
fn a_server_whose_program_has_given_the_endpoint_up_ends_well_and_one_that_never_had_it_does_not() {
    for calls in [0, 2] {
        let mut left = calls;
        with_kernel(Box::new(move |entry| {
            let status = match (entry.operation == Operation::Recv as u8, left) {
                (true, 0) => -(TransportError::InvalidHandle as i32),
                (true, _) => {
                    left -= 1;
                    RECEIVED_CALL_BYTES as i32
                }
                (false, _) => 0,
            };
            Some(CompletionEntry { status, ..Default::default() })
        }));
        let mut served = 0;
        let outcome = crate::server::serve(8, |_, _| {
            served += 1;
            Ok(())
        });
        assert_eq!((served, outcome.is_ok()), (calls, calls > 0));
    }
}

#[test]
fn parking_names_the_word_and_tells_its_outcome() {
    let ring = with_kernel(Box::new(|entry| {
        assert_eq!((entry.params_len, entry.capabilities, entry.argument), (4, 7, u64::MAX));
        Some(CompletionEntry { value: 1, ..Default::default() })
    }));
    let word = AtomicU32::new(8);
    assert_eq!(ring.park(1, &word, 7, None), Ok(tessera_abi::ring::ParkOutcome::Differs));
}

#[cfg(feature = "heap")]
#[test]
fn calls_that_are_under_way_end_in_any_order_and_none_is_left_behind() {
    let mut held = Vec::new();
    let ring = with_kernel(Box::new(move |entry| {
        let completion = CompletionEntry { value: 0, ..Default::default() };
        // The first two end with the third, the latest first.
        held.push(entry.user_data);
        if held.len() < 3 {
            return None;
        }
        let ring = current();
        complete(ring, CompletionEntry { user_data: held[1], ..completion });
        complete(ring, CompletionEntry { user_data: held[0], ..completion });
        Some(completion)
    }));
    let begin = || ring.begin_call(CALLEE, b"", &[], 16, 0).unwrap();
    let mut calls: Vec<_> = (0..3).map(|_| begin()).collect();
    assert!(calls[0].poll().is_none());
    let order: Vec<usize> = core::iter::from_fn(|| ring.wait_any(&mut calls).unwrap())
        .map(|(index, ended)| {
            assert!(ended.unwrap().results().is_empty());
            index
        })
        .collect();
    assert_eq!(order, [0, 1, 2]);
    assert_eq!(ring.waiting(), 0);
}
