//! Quotas: all or nothing, in one or in a chain.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::limits::{Exceeded, MAX_QUOTA_DEPTH, Quota, QuotaChain, TooDeep};
use std::sync::Arc;

#[test]
fn a_charge_fits_whole_or_fails_and_says_why() {
    let quota = Quota::new(10);
    assert_eq!(quota.charge(7), Ok(()));
    assert_eq!(quota.charge(4), Err(Exceeded { asked: 4, used: 7, limit: 10 }));
    assert_eq!(quota.charge(u32::MAX), Err(Exceeded { asked: u32::MAX, used: 7, limit: 10 }));
    assert_eq!(quota.charge(3), Ok(()));
    assert_eq!((quota.used(), quota.limit()), (10, 10));
    quota.release(4);
    assert_eq!(quota.used(), 6);
}

#[test]
fn a_release_of_too_much_mints_nothing() {
    let quota = Quota::new(10);
    quota.charge(3).expect("fits");
    quota.release(5);
    assert_eq!(quota.used(), 0);
    assert!(quota.charge(11).is_err());
}

#[test]
fn a_derived_quota_charges_all_that_it_is_part_of_or_none() {
    let root = Arc::new(QuotaChain::root(10));
    let middle = Arc::new(QuotaChain::derive(Arc::clone(&root), 8).expect("not deep"));
    let leaf = QuotaChain::derive(Arc::clone(&middle), 100).expect("not deep");
    let used = || [root.used(), middle.used(), leaf.used()];
    assert_eq!(leaf.charge(5), Ok(()));
    assert_eq!(used(), [5, 5, 5]);
    assert_eq!(root.charge(4), Ok(()));
    assert_eq!(leaf.charge(2), Err(Exceeded { asked: 2, used: 9, limit: 10 }), "the root has no room");
    assert_eq!(used(), [9, 5, 5]);
    leaf.release(5);
    assert_eq!(used(), [4, 0, 0]);
    assert_eq!(leaf.charge(9), Err(Exceeded { asked: 9, used: 0, limit: 8 }), "the middle has no room");
    assert_eq!(used(), [4, 0, 0]);
}

#[test]
fn a_chain_of_quotas_is_bounded() {
    let mut last = Arc::new(QuotaChain::root(1));
    for _ in 1..MAX_QUOTA_DEPTH {
        last = Arc::new(QuotaChain::derive(last, 1).expect("not deep yet"));
    }
    assert_eq!(last.charge(1), Ok(()));
    assert_eq!(QuotaChain::derive(last, 1).err(), Some(TooDeep));
}
