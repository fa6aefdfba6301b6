//! Model tests of the request word, in every interleaving.

use crate::support::holds_and_finds;
use kernel_core::sync::QueueOwned;
use loom::sync::Arc;
use loom::thread;
use tessera_hal::sync::Fault;
use tessera_hal::{RequestWord, Requests};

#[derive(Default)]
struct Mailbox {
    word: RequestWord,
    letter: QueueOwned<u32>,
    answer: QueueOwned<u32>,
}

fn what_was_written_before_a_post_is_seen_by_who_takes_it() {
    let mailbox = Arc::new(Mailbox::default());
    let server = Arc::clone(&mailbox);
    let server = thread::spawn(move || {
        let taken = server.word.take();
        if taken.requests.contains(Requests::RESCHEDULE) {
            assert_eq!(server.letter.get(), 7);
        }
        server.word.acknowledge(taken);
    });
    mailbox.letter.set(7);
    let _ = mailbox.word.post(Requests::RESCHEDULE);
    server.join().expect("the server ends");
}

fn no_post_is_lost_and_each_batch_has_one_interrupt() {
    let mailbox = Arc::new(Mailbox::default());
    let other = Arc::clone(&mailbox);
    let other = thread::spawn(move || other.word.post(Requests::TLB));
    let mine = mailbox.word.post(Requests::RESCHEDULE);
    let first = mailbox.word.take();
    mailbox.word.acknowledge(first);
    assert!(mailbox.word.is_acknowledged(mine.ticket));
    let theirs = other.join().expect("the poster ends");
    let second = mailbox.word.take();
    assert_eq!(first.requests | second.requests, Requests::RESCHEDULE | Requests::TLB);
    let batches = [first, second].iter().filter(|taken| !taken.requests.is_empty()).count();
    assert_eq!(usize::from(mine.must_interrupt) + usize::from(theirs.must_interrupt), batches);
    mailbox.word.acknowledge(second);
    assert!(mailbox.word.is_acknowledged(theirs.ticket));
}

fn what_was_done_before_an_acknowledgement_is_seen_by_who_waited() {
    let mailbox = Arc::new(Mailbox::default());
    let posted = mailbox.word.post(Requests::CHARGE_AND_STOP);
    let server = Arc::clone(&mailbox);
    let server = thread::spawn(move || {
        let taken = server.word.take();
        server.answer.set(9);
        server.word.acknowledge(taken);
    });
    if mailbox.word.is_acknowledged(posted.ticket) {
        assert_eq!(mailbox.answer.get(), 9);
    }
    server.join().expect("the server ends");
}

#[test]
fn a_post_carries_what_the_poster_wrote() {
    holds_and_finds(Fault::PostWithoutRelease, what_was_written_before_a_post_is_seen_by_who_takes_it);
}

#[test]
fn posts_are_never_lost() {
    holds_and_finds(Fault::PostByLoadAndStore, no_post_is_lost_and_each_batch_has_one_interrupt);
}

#[test]
fn an_acknowledgement_carries_what_the_server_did() {
    holds_and_finds(Fault::AcknowledgeWithoutRelease, what_was_done_before_an_acknowledgement_is_seen_by_who_waited);
}
