//! Threads that sleep on a word of memory, in the order in which they came.
//!
//! The kernel holds an array of [`BUCKETS`] buckets, each in a spin lock of its own, and finds the one of a key with
//! [`bucket_of`]. It compares the word with the expected value while it holds the bucket's lock, and an UNPARK takes the
//! same lock after the program has changed the word: so no wake is lost between the comparison and the sleep.
//!
//! A bucket holds at most [`BUCKET_LIMIT`] waiters and allocates only when it grows. Every operation looks at each
//! waiter of the bucket at most once. Nothing is woken here: whoever is to be woken is given out, and the kernel wakes
//! it when it has let go of the lock.

use crate::scramble::scramble;
use alloc::collections::VecDeque;
use core::fmt;
use tessera_abi::limits::PARKS;

/// Buckets of the kernel's array. A power of two.
pub const BUCKETS: usize = 256;

/// The most waiters of one bucket: as many as one process can park at all.
pub const BUCKET_LIMIT: usize = PARKS as usize;

/// What a thread sleeps on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ParkKey {
    /// A word that only one process sees.
    Private {
        /// The process.
        process: u64,
        /// The word's address in it.
        address: u64,
    },
    /// A word of a memory object, wherever it is mapped.
    Shared {
        /// The object.
        object: u64,
        /// The word's place in it, in bytes.
        offset: u64,
    },
}

/// The bucket of a key: below [`BUCKETS`].
///
/// Programs choose their addresses, so `seed` should be a number that they do not know: else one of them could fill the
/// bucket in which another parks.
pub const fn bucket_of(key: ParkKey, seed: u64) -> usize {
    let (kind, owner, place) = match key {
        ParkKey::Private { process, address } => (1, process, address),
        ParkKey::Shared { object, offset } => (2, object, offset),
    };
    (scramble(scramble(scramble(seed ^ kind) ^ owner) ^ place) % BUCKETS as u64) as usize
}

/// The bucket is full, or there is no memory for another waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overloaded;

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room for another parked thread (at most {BUCKET_LIMIT} in a bucket)")
    }
}

impl core::error::Error for Overloaded {}

/// Those that sleep on the keys of one bucket.
#[derive(Debug)]
pub struct Bucket<K, W> {
    waiters: VecDeque<(K, W)>,
}

impl<K, W> Default for Bucket<K, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, W> Bucket<K, W> {
    /// An empty bucket. Allocates nothing.
    pub const fn new() -> Self {
        Self { waiters: VecDeque::new() }
    }

    /// How many sleep here.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody sleeps here.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

impl<K: Copy + Eq, W: Copy> Bucket<K, W> {
    /// Adds a waiter behind all others. May allocate.
    pub fn park(&mut self, key: K, waiter: W) -> Result<(), Overloaded> {
        if self.waiters.len() >= BUCKET_LIMIT {
            return Err(Overloaded);
        }
        self.waiters.try_reserve(1).map_err(|_| Overloaded)?;
        self.waiters.push_back((key, waiter));
        Ok(())
    }

    /// Takes out at most `most` of those that sleep on `key`, the longest sleeper first, and answers how many.
    pub fn unpark(&mut self, key: K, most: u32, out: &mut impl FnMut(W)) -> u32 {
        let mut woken = 0;
        self.take_out(
            |(its, _)| {
                let wakes = *its == key && woken < most;
                woken += u32::from(wakes);
                wakes
            },
            out,
        );
        woken
    }

    /// Takes out the first of those that sleep on `key` that matches. False: none does; it was woken already.
    pub fn cancel(&mut self, key: K, matches: impl Fn(&W) -> bool) -> bool {
        let found = self.waiters.iter().position(|(its, waiter)| *its == key && matches(waiter));
        found.is_some_and(|index| self.waiters.remove(index).is_some())
    }

    /// Takes out all that sleep on keys that match, the longest sleeper first.
    pub fn drain(&mut self, matches: impl Fn(&K) -> bool, out: &mut impl FnMut(W)) {
        self.take_out(|(key, _)| matches(key), out);
    }

    fn take_out(&mut self, mut leaves: impl FnMut(&(K, W)) -> bool, out: &mut impl FnMut(W)) {
        self.waiters.retain(|entry| {
            let leaves = leaves(entry);
            if leaves {
                out(entry.1);
            }
            !leaves
        });
    }
}
