//! Parked threads: first asleep, first woken, and only on their own word.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::park::{BUCKET_LIMIT, BUCKETS, Bucket, Overloaded, ParkKey, bucket_of};
use proptest::prelude::*;
use std::collections::VecDeque;

fn word(address: u64) -> ParkKey {
    ParkKey::Private { process: 1, address }
}

fn bucket_with(waiters: impl IntoIterator<Item = (u64, u32)>) -> Bucket<ParkKey, u32> {
    let mut bucket = Bucket::new();
    waiters.into_iter().for_each(|(address, waiter)| bucket.park(word(address), waiter).expect("room"));
    bucket
}

fn unpark(bucket: &mut Bucket<ParkKey, u32>, address: u64, most: u32) -> Vec<u32> {
    let mut woken = Vec::new();
    assert_eq!(bucket.unpark(word(address), most, &mut |waiter| woken.push(waiter)) as usize, woken.len());
    woken
}

#[test]
fn the_longest_sleeper_is_woken_first_and_others_sleep_on() {
    let mut bucket = bucket_with([(4, 1), (8, 2), (4, 3), (4, 4)]);
    assert_eq!(unpark(&mut bucket, 4, 0), []);
    assert_eq!(unpark(&mut bucket, 4, 2), [1, 3]);
    assert_eq!(unpark(&mut bucket, 12, 9), []);
    assert_eq!(unpark(&mut bucket, 4, u32::MAX), [4]);
    assert_eq!(unpark(&mut bucket, 8, 1), [2]);
    assert!(bucket.is_empty());
}

#[test]
fn a_cancelled_waiter_is_not_woken_and_a_woken_one_not_cancelled() {
    let mut bucket = bucket_with([(4, 1), (4, 2), (8, 2)]);
    assert!(bucket.cancel(word(4), |&waiter| waiter == 2));
    assert!(!bucket.cancel(word(4), |&waiter| waiter == 2), "the one on the other word is another");
    assert_eq!(unpark(&mut bucket, 4, 9), [1]);
    assert!(!bucket.cancel(word(4), |&waiter| waiter == 1));
    assert_eq!(bucket.len(), 1);
}

#[test]
fn a_drain_takes_those_whose_words_are_gone() {
    let mut bucket = bucket_with([(4, 1), (8, 2), (4096, 3), (12, 4)]);
    let mut woken = Vec::new();
    let is_gone = |key: &ParkKey| matches!(key, ParkKey::Private { address: 0..4096, .. });
    bucket.drain(is_gone, &mut |waiter| woken.push(waiter));
    assert_eq!((woken, bucket.len()), (vec![1, 2, 4], 1));
}

#[test]
fn a_full_bucket_refuses_and_keeps_what_it_has() {
    let mut bucket = bucket_with((0..BUCKET_LIMIT as u32).map(|waiter| (4, waiter)));
    assert_eq!(bucket.park(word(4), 0), Err(Overloaded));
    assert_eq!(unpark(&mut bucket, 4, 1), [0]);
    assert_eq!(bucket.park(word(4), 7), Ok(()));
    assert_eq!(bucket.len(), BUCKET_LIMIT);
}

#[test]
fn equal_keys_share_a_bucket_and_neighbouring_words_spread() {
    let mut used = vec![0; BUCKETS];
    for address in (0..4096_u64).map(|number| number * 4) {
        assert_eq!(bucket_of(word(address), 99), bucket_of(word(address), 99));
        used[bucket_of(word(address), 99)] += 1;
    }
    // 16 in the mean; a bucket with 48 would be 8 standard deviations away.
    assert!(used.iter().all(|&count| (1..48).contains(&count)), "{used:?}");
}

#[test]
fn who_does_not_know_the_seed_does_not_know_who_shares_a_bucket() {
    let target = word(0);
    let colliding = |seed: u64| -> Vec<u64> {
        (1..10_000)
            .map(|number| number * 4)
            .filter(|&it| bucket_of(word(it), seed) == bucket_of(target, seed))
            .collect()
    };
    let (known, actual) = (colliding(1), colliding(2));
    let still = known.iter().filter(|address| actual.contains(address)).count();
    assert!(known.len() > 10 && still * 4 < known.len(), "{still} of {}", known.len());
}

#[derive(Clone, Debug)]
enum Step {
    Park { word: u64 },
    Unpark { word: u64, most: u32 },
    Cancel { word: u64, pick: prop::sample::Index },
    Drain { below: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u64).prop_map(|word| Step::Park { word }),
        3 => (0..4_u64, 0..5_u32).prop_map(|(word, most)| Step::Unpark { word, most }),
        2 => (0..4_u64, any::<prop::sample::Index>()).prop_map(|(word, pick)| Step::Cancel { word, pick }),
        1 => (0..4_u64).prop_map(|below| Step::Drain { below }),
    ]
}

proptest! {
    #[test]
    fn each_word_has_a_queue_of_its_own_and_nobody_leaves_twice(steps in prop::collection::vec(step(), 1..200)) {
        let mut bucket = Bucket::new();
        let mut model: [VecDeque<u32>; 4] = Default::default();
        for (waiter, step) in (0..).zip(steps) {
            let mut out = Vec::new();
            match step {
                Step::Park { word: at } => {
                    prop_assert_eq!(bucket.park(word(at), waiter), Ok(()));
                    model[at as usize].push_back(waiter);
                }
                Step::Unpark { word: at, most } => {
                    let woken = bucket.unpark(word(at), most, &mut |waiter| out.push(waiter));
                    let queue = &mut model[at as usize];
                    let expected: Vec<_> = queue.drain(..queue.len().min(most as usize)).collect();
                    prop_assert_eq!((woken as usize, &out), (expected.len(), &expected));
                }
                Step::Cancel { word: at, pick } => {
                    let chosen = pick.index(waiter as usize + 1) as u32;
                    let queue = &mut model[at as usize];
                    let expected = queue.iter().position(|&its| its == chosen);
                    prop_assert_eq!(bucket.cancel(word(at), |&its| its == chosen), expected.is_some());
                    expected.and_then(|index| queue.remove(index));
                }
                Step::Drain { below } => {
                    bucket.drain(|key| (0..below).any(|at| *key == word(at)), &mut |waiter| out.push(waiter));
                    let mut expected: Vec<_> = model[..below as usize].iter_mut().flat_map(|queue| queue.drain(..)).collect();
                    // Waiters are numbered as they come.
                    expected.sort_unstable();
                    prop_assert_eq!(out, expected);
                }
            }
            prop_assert_eq!(bucket.len(), model.iter().map(VecDeque::len).sum::<usize>());
        }
    }
}
