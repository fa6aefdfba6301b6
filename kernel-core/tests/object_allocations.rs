//! What the objects of the kernel may allocate: endpoints nothing once they are made, the others only when they grow.
//!
//! A test binary of its own, since it counts what the whole process allocates.
#![cfg(not(any(loom, shuttle)))]

mod counting;

use counting::allocations;
use kernel_core::cap::{Handle, Table, TransferMode};
use kernel_core::endpoint::{CallStep, Endpoint, ReceiveStep, Receiver, ServerId};
use kernel_core::limits::Quota;
use kernel_core::park::Bucket;
use tessera_abi::limits::{ENDPOINT_IN_FLIGHT, ENDPOINT_QUEUE, ENDPOINT_RECEIVERS};

/// How many allocations `work` makes.
fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = allocations();
    work();
    allocations() - before
}

#[test]
fn an_endpoint_allocates_nothing_once_it_is_made_however_full_it_gets() {
    let mut endpoint = Endpoint::<[u64; 4], [u64; 4]>::new().expect("memory");
    let receiver = Receiver { token: [0; 4], server: ServerId(1) };
    let work = || {
        for number in 0..ENDPOINT_IN_FLIGHT as u64 {
            assert_eq!(endpoint.receive(receiver), Ok(ReceiveStep::Waiting));
            assert!(matches!(endpoint.call([number; 4]), Ok(CallStep::Deliver(_))));
        }
        for number in 0..ENDPOINT_QUEUE as u64 {
            assert_eq!(endpoint.call([100 + number; 4]), Ok(CallStep::Queued));
        }
        (0..ENDPOINT_RECEIVERS).for_each(|_| assert_eq!(endpoint.receive(receiver), Ok(ReceiveStep::Waiting)));
        // Everything in flight comes back on top of the full queues.
        for number in 0..ENDPOINT_IN_FLIGHT as u64 {
            assert!(endpoint.cancel_call(|caller| caller[0] == number).is_some());
            assert_eq!(endpoint.requeue_front([number; 4]), Ok(()));
            assert_eq!(endpoint.put_receiver_back(receiver), Ok(()));
        }
        assert_eq!((endpoint.queued(), endpoint.receiving()), (128, 128));
        let mut ended = 0;
        endpoint.close(&mut |_| ended += 1, &mut |_| ());
        assert_eq!(ended, 128);
    };
    assert_eq!(allocations_of(work), 0);
}

#[test]
fn a_table_allocates_only_for_slots_that_it_never_had() {
    let fill = |table: &mut Table<u32>| -> Vec<Handle> { std::iter::from_fn(|| table.insert(7).ok()).collect() };
    let (mut here, mut there) = (Table::new(256), Table::new(256));
    let wanted = fill(&mut here).into_iter().map(|handle| (handle, TransferMode::Move));
    let wanted: Vec<_> = wanted.take(16).collect();
    for handle in fill(&mut there) {
        assert_eq!(there.remove(handle), Ok(7));
    }
    let work = || {
        let reservation = there.reserve(16).expect("room");
        let taken = here.take(&wanted).expect("all valid");
        assert_eq!(there.fill(reservation, taken).len(), 16);
        (0..16).for_each(|_| assert!(here.insert(8).is_ok()));
        assert!(here.insert(8).is_err());
        while !here.drain_step(64, &mut |_| ()) {}
    };
    assert_eq!(allocations_of(work), 0);
    // It takes memory by chunks of 64 slots: four for the slots, and some for the list of chunks.
    let mut new = Table::new(256);
    let count = allocations_of(|| (0..256).for_each(|object| assert!(new.insert(object).is_ok())));
    assert!((4..=8).contains(&count), "{count}");
}

#[test]
fn a_bucket_allocates_only_while_it_grows_and_a_quota_never() {
    let (mut bucket, quota) = (Bucket::new(), Quota::new(100));
    let mut round = || {
        for waiter in 0..100_u32 {
            quota.charge(1).expect("fits");
            bucket.park(waiter % 3, waiter).expect("room");
        }
        assert_eq!(bucket.unpark(0, 30, &mut |_| quota.release(1)), 30);
        bucket.drain(|_| true, &mut |_| quota.release(1));
        assert_eq!((bucket.len(), quota.used()), (0, 0));
    };
    assert!(allocations_of(&mut round) > 0, "it grows");
    assert_eq!(allocations_of(&mut round), 0);
}
