//! Model tests of quotas.

use crate::support::holds_and_finds;
use kernel_core::limits::{Quota, QuotaChain};
use kernel_core::sync::QueueOwned;
use loom::thread;
use std::sync::Arc;
use tessera_hal::sync::Fault;

/// A place for one, and what it protects.
struct Place {
    quota: Quota,
    inside: QueueOwned<u32>,
}

impl Place {
    /// Takes the place, works inside, and gives it back.
    fn visit(&self) -> u32 {
        if self.quota.charge(1).is_err() {
            return 0;
        }
        self.inside.update(|count| count + 1);
        self.quota.release(1);
        1
    }
}

fn the_last_place_has_one_owner() {
    let place = Arc::new(Place { quota: Quota::new(1), inside: QueueOwned::default() });
    let other = Arc::clone(&place);
    let other = thread::spawn(move || other.visit());
    let visits = place.visit() + other.join().expect("the other ends");
    assert!(visits >= 1);
    assert_eq!((place.inside.get(), place.quota.used()), (visits, 0));
}

fn charges_and_releases_add_up() {
    let quota = Arc::new(Quota::new(3));
    quota.charge(2).expect("nothing else is charged");
    let other = Arc::clone(&quota);
    let other = thread::spawn(move || other.release(2));
    quota.charge(1).expect("it fits before and after the release");
    other.join().expect("the other ends");
    assert_eq!(quota.used(), 1);
}

fn two_derived_quotas_never_exceed_what_they_are_part_of() {
    let root = Arc::new(QuotaChain::root(1));
    let derived = || QuotaChain::derive(Arc::clone(&root), 1).expect("not deep");
    let (mine, theirs) = (derived(), derived());
    let charge = |chain: &QuotaChain| u32::from(chain.charge(1).is_ok());
    let other = thread::spawn(move || {
        let charged = charge(&theirs);
        assert_eq!(theirs.used(), charged, "a charge that fails leaves nothing");
        charged
    });
    let charged = charge(&mine);
    assert_eq!(mine.used(), charged);
    assert_eq!(charged + other.join().expect("the other ends"), 1);
    assert_eq!(root.used(), 1);
}

#[test]
fn a_limit_of_one_is_mutual_exclusion() {
    holds_and_finds(Fault::QuotaByLoadAndStore, the_last_place_has_one_owner);
}

#[test]
fn no_charge_and_no_release_is_lost() {
    holds_and_finds(Fault::QuotaByLoadAndStore, charges_and_releases_add_up);
}

#[test]
fn a_chain_is_charged_whole_or_not_at_all() {
    holds_and_finds(Fault::QuotaByLoadAndStore, two_derived_quotas_never_exceed_what_they_are_part_of);
}
