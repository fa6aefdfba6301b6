//! Model tests of a ring's ownership.

use crate::support::holds_and_finds;
use kernel_core::ring::{RingMode, RingOwner, Role};
use kernel_core::sync::QueueOwned;
use loom::sync::Arc;
use loom::thread;
use tessera_hal::sync::Fault;

#[derive(Default)]
struct Shared {
    owner: RingOwner,
    sq_head: QueueOwned<u32>,
}

impl Shared {
    fn consume(&self, role: Role) -> u32 {
        match self.owner.begin(role) {
            Ok(_owned) => {
                self.sq_head.update(|head| head + 1);
                1
            }
            Err(_) => 0,
        }
    }
}

fn one_consumes_at_a_time() {
    let ring = Arc::new(Shared::default());
    let other = Arc::clone(&ring);
    let other = thread::spawn(move || other.consume(Role::Caller));
    let consumed = ring.consume(Role::Caller) + other.join().expect("the other ends");
    assert!(consumed >= 1);
    assert_eq!(ring.sq_head.get(), consumed);
}

fn a_poller_begins_after_the_caller_has_ended() {
    let ring = Arc::new(Shared::default());
    let poller = Arc::clone(&ring);
    let poller = thread::spawn(move || {
        let owner = &poller.owner;
        let Ok(starting) = owner.advance(RingMode::Syscall, 0, RingMode::Starting) else { return 0 };
        let running = owner.advance(RingMode::Starting, starting, RingMode::Running).expect("only the poller is here");
        poller.consume(Role::Poller { generation: running })
    });
    let consumed = ring.consume(Role::Caller) + poller.join().expect("the poller ends");
    assert!(consumed >= 1);
    assert_eq!(ring.sq_head.get(), consumed);
}

#[test]
fn two_callers_never_consume_together() {
    holds_and_finds(Fault::RingClaimByLoadAndStore, one_consumes_at_a_time);
}

#[test]
fn a_caller_and_a_poller_never_consume_together() {
    holds_and_finds(Fault::RingClaimByLoadAndStore, a_poller_begins_after_the_caller_has_ended);
}
