//! Model tests of the slab.

use crate::support::{holds, holds_and_finds};
use kernel_core::slab::{Id, Slab, Slot};
use kernel_core::sync::QueueOwned;
use loom::sync::Arc;
use loom::thread;
use tessera_hal::sync::Fault;

type Numbers = Slab<QueueOwned<u32>>;

fn slab() -> Arc<Numbers> {
    let slab = Slab::new(2);
    slab.reserve(2).expect("memory");
    Arc::new(slab)
}

fn an_entry_that_is_found_is_set_up() {
    let slab = slab();
    let reader = Arc::clone(&slab);
    let reader = thread::spawn(move || {
        if let Ok(number) = reader.get(Id::from_parts(Slot::new(0), 1)) {
            assert_eq!(number.get(), 7);
        }
    });
    let id = slab.insert_reserved(|number, _| number.set(7)).expect("room");
    assert_eq!(id, Id::from_parts(Slot::new(0), 1));
    reader.join().expect("the reader ends");
}

fn an_entry_is_removed_once_and_its_slot_is_given_out_once() {
    let slab = slab();
    let id = slab.insert_reserved(|number, _| number.set(1)).expect("room");
    let other = Arc::clone(&slab);
    let work = move |slab: &Numbers, mark: u32| {
        let removed = slab.remove(id).is_ok();
        let new = slab.insert_reserved(|number, _| number.set(mark));
        (removed, new.ok().map(|new| (new, slab.get(new).map(QueueOwned::get))))
    };
    let other = thread::spawn(move || work(&other, 20));
    let (removed, mine) = work(&slab, 10);
    let (removed_there, theirs) = other.join().expect("the other ends");
    assert!(removed != removed_there);
    let (mine, theirs) = (mine.expect("two slots"), theirs.expect("two slots"));
    assert!(mine.0.slot() != theirs.0.slot());
    assert_eq!((mine.1, theirs.1), (Ok(10), Ok(20)));
}

#[test]
fn publication_carries_the_contents() {
    holds_and_finds(Fault::SlabPublishWithoutRelease, an_entry_that_is_found_is_set_up);
}

#[test]
fn removal_and_reuse_have_one_winner() {
    holds(an_entry_is_removed_once_and_its_slot_is_given_out_once);
}
