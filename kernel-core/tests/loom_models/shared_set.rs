//! Model tests of a set of CPUs.

use crate::support::{LocksOnly, holds_and_finds};
use kernel_core::sync::SharedSet;
use loom::sync::Arc;
use loom::thread;
use tessera_hal::sync::Fault;
use tessera_hal::{CpuId, CpuSet};

type Set = SharedSet<1>;

/// CPUs of the same word come and go; whoever is in is always found.
fn a_member_is_found_while_others_come_and_go() {
    let set = Arc::new(Set::new());
    set.insert(&LocksOnly::new(), CpuId::new(1));
    let others: Vec<_> = [2, 3]
        .map(|cpu| {
            let set = Arc::clone(&set);
            thread::spawn(move || {
                let hal = LocksOnly::new();
                assert!(set.insert(&hal, CpuId::new(cpu)) && set.remove(&hal, CpuId::new(cpu)));
            })
        })
        .into();
    assert!(set.among(&CpuSet::ALL).contains(CpuId::new(1)));
    for other in others {
        other.join().expect("the other ends");
    }
    assert_eq!(set.look(&CpuSet::ALL), (CpuSet::of(CpuId::new(1)), 1));
    assert!(set.remove(&LocksOnly::new(), CpuId::new(1)));
    assert_eq!(set.look(&CpuSet::ALL), (CpuSet::EMPTY, 0));
}

#[test]
fn members_are_never_hidden_by_others() {
    holds_and_finds(Fault::CountByLoadAndStore, a_member_is_found_while_others_come_and_go);
}

/// Who is seen in the set is seen by way of the root too, and is removed by one of those who try.
fn a_member_is_counted_before_it_is_in() {
    let set = Arc::new(Set::new());
    let inserted = Arc::clone(&set);
    let inserter = thread::spawn(move || assert!(inserted.insert(&LocksOnly::new(), CpuId::new(0))));
    if set.contains(CpuId::BOOT) {
        assert!(set.among(&CpuSet::ALL).contains(CpuId::BOOT));
    }
    inserter.join().expect("the inserter ends");
    let removed = Arc::clone(&set);
    let remover = thread::spawn(move || removed.remove(&LocksOnly::new(), CpuId::BOOT));
    let here = set.remove(&LocksOnly::new(), CpuId::BOOT);
    assert_ne!(here, remover.join().expect("the remover ends"));
    assert_eq!(set.look(&CpuSet::ALL), (CpuSet::EMPTY, 0));
}

#[test]
fn a_member_is_never_in_without_being_counted() {
    holds_and_finds(Fault::MemberBeforeCount, a_member_is_counted_before_it_is_in);
}
