//! Model tests of revocation.

use crate::support::holds_and_finds;
use kernel_core::cap::Revocation;
use kernel_core::sync::QueueOwned;
use loom::thread;
use std::sync::Arc;
use tessera_hal::sync::Fault;

/// Who finds a capability revoked sees what was done before it was.
fn revocation_carries_what_was_done_before() {
    let root = Revocation::new(None).expect("not deep");
    let leaf = Revocation::new(Some(Arc::clone(&root))).expect("not deep");
    let done = Arc::new(QueueOwned::new(0_u32));
    let before = Arc::clone(&done);
    let revoker = thread::spawn(move || {
        before.set(7);
        root.revoke();
    });
    if leaf.is_revoked() {
        assert_eq!(done.get(), 7);
    }
    revoker.join().expect("the revoker ends");
    assert!(leaf.is_revoked());
}

#[test]
fn a_revocation_is_seen_with_what_was_done_before_it() {
    holds_and_finds(Fault::RevokeWithoutRelease, revocation_carries_what_was_done_before);
}
