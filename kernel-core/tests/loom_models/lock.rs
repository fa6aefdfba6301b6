//! Model tests of the lock and of the cells that it guards: the check itself must find who forgets the lock.

use crate::support::{LocksOnly, holds, is_refused};
use kernel_core::sync::level::Queue;
use kernel_core::sync::{QueueOwned, SpinLock};
use loom::sync::Arc;
use loom::thread;

struct Guarded {
    machine: LocksOnly,
    lock: SpinLock<(), Queue>,
    field: QueueOwned<u32>,
}

fn add_twice(add: fn(&Guarded)) {
    let guarded = Arc::new(Guarded { machine: LocksOnly::new(), lock: SpinLock::new(()), field: QueueOwned::new(0) });
    let other = Arc::clone(&guarded);
    let other = thread::spawn(move || add(&other));
    add(&guarded);
    other.join().expect("the other ends");
    assert_eq!(guarded.field.get(), 2);
}

fn with_the_lock() {
    add_twice(|guarded| {
        let _guard = guarded.lock.lock(&guarded.machine);
        guarded.field.update(|value| value + 1);
    });
}

fn without_the_lock() {
    add_twice(|guarded| {
        guarded.field.update(|value| value + 1);
    });
}

#[test]
fn a_guarded_cell_is_changed_by_one_at_a_time() {
    holds(with_the_lock);
}

#[test]
fn a_cell_that_is_touched_without_its_lock_is_found() {
    is_refused(without_the_lock);
}
