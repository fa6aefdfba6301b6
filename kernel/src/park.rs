//! PARK and UNPARK: waiting on words of memory.
//!
//! A park compares and queues under the lock of the word's bucket, an unpark takes the first ones out under the same lock:
//! a word that was changed before its unpark is seen. Words of shared memory are known by object and offset, so that
//! processes meet wherever they have mapped it. Lock order: bucket, then the address space.

use crate::{
    call::Unfinished,
    kernel::Kernel,
    memory::{
        address_space::WordKey,
        user_copy::{key_of_word, read_word},
    },
    object::Object,
    operation::{Operation, OperationRef, WaitsFor},
    process::Process,
    ring::PendingSubmission,
    submission::Caller,
    thread::Thread,
};
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use hal::{Instant, Machine};
use heapless::Vec;
use kernel_core::{
    park::{BUCKETS, Bucket, Overloaded, ParkKey, bucket_of},
    ring::{Completed, Park, Unpark},
};
use spin::Mutex;
use tessera_abi::{
    limits::OUTSTANDING_OPERATIONS,
    ring::{ParkOutcome, TransportError},
};

/// Waiters that are completed between two looks at a bucket.
const STEP: usize = 64;

/// An UNPARK of many.
pub struct UnparkInProgress {
    /// Whose.
    pub pending: PendingSubmission,
    key: ParkKey,
    left: u32,
    woken: u32,
}

/// All words that somebody waits on.
pub struct Parks {
    buckets: [Mutex<Bucket<ParkKey, OperationRef>>; BUCKETS],
    count: AtomicU64,
    seed: u64,
}

impl Parks {
    /// Nobody waits. `seed` is a number that programs do not know.
    pub const fn new(seed: u64) -> Self {
        Self { buckets: [const { Mutex::new(Bucket::new()) }; BUCKETS], count: AtomicU64::new(0), seed }
    }

    fn bucket(&self, key: &ParkKey) -> &Mutex<Bucket<ParkKey, OperationRef>> {
        &self.buckets[bucket_of(*key, self.seed)]
    }

    /// How many wait.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Forgets one that waits. Answers whether it did.
    pub fn cancel(&self, key: &ParkKey, waiter: OperationRef) -> bool {
        let waited = self.bucket(key).lock().cancel(*key, |other| *other == waiter);
        self.count.fetch_sub(waited.into(), Ordering::Relaxed);
        waited
    }

    /// Takes up to [`STEP`] of those out that wait on `key`.
    fn take(&self, key: ParkKey, most: u32) -> Vec<OperationRef, STEP> {
        let mut taken = Vec::new();
        let most = most.min(STEP as u32);
        self.bucket(&key).lock().unpark(key, most, &mut |waiter| keep(&mut taken, waiter));
        self.count.fetch_sub(taken.len() as u64, Ordering::Relaxed);
        taken
    }
}

/// Keeps a reference; no more are taken than there is room for.
fn keep(list: &mut Vec<OperationRef, STEP>, reference: OperationRef) {
    let pushed = list.push(reference);
    debug_assert!(pushed.is_ok(), "more waiters were taken than asked for");
}

impl<M: Machine> Caller<'_, M> {
    fn park_key(&self, handle: u64, word: u64) -> Result<ParkKey, TransportError> {
        let process = &self.thread.process;
        let Object::ParkSpace = process.capability(handle)?.object else { return Err(TransportError::WrongInterface) };
        let key = key_of_word(&process.space, word).map_err(|_| TransportError::BadWord)?;
        Ok(match key {
            WordKey::Private(address) => ParkKey::Private { process: process.id, address: address.0 as u64 },
            WordKey::Shared { object, offset } => ParkKey::Shared { object, offset },
        })
    }

    /// Waits for an unpark, if the word still has the expected value.
    pub fn park(&mut self, pending: &PendingSubmission, park: &Park) -> Result<Option<Completed>, TransportError> {
        let kernel = self.kernel;
        let key = self.park_key(park.handle, park.word)?;
        let outcome = |outcome: ParkOutcome| Ok(Some(Completed::Value(outcome as u64)));
        let deadline = park.deadline.map(Instant::from_nanos);
        if deadline.is_some_and(|deadline| deadline <= kernel.machine.now()) {
            let value = read_word(kernel.machine, &self.thread.process.space, park.word);
            let differs = value.map_err(|_| TransportError::BadWord)? != park.expected;
            return outcome(if differs { ParkOutcome::Differs } else { ParkOutcome::TimedOut });
        }
        let process = self.thread.process.clone();
        process.quotas.parks.charge(1).map_err(|_| TransportError::Overloaded)?;
        let operation = Operation { pending: *pending, waits_for: WaitsFor::Park { key, timer: None } };
        let Some(reference) = kernel.begin_for(self.thread, operation) else {
            process.quotas.parks.release(1);
            return Err(TransportError::Overloaded);
        };
        match kernel.queue_park(&process, key, park, reference) {
            Ok(true) => {}
            refused => {
                drop(kernel.take(reference));
                process.quotas.parks.release(1);
                return refused.map(|_| Some(Completed::Value(ParkOutcome::Differs as u64)));
            }
        }
        if let Some(deadline) = deadline
            && !kernel.arm_for(reference, deadline)
            && kernel.take(reference).is_some()
        {
            kernel.parks.cancel(&key, reference);
            process.quotas.parks.release(1);
            return Err(TransportError::Overloaded);
        }
        Ok(None)
    }

    /// Wakes those that wait, in steps. Completes with how many they were.
    pub fn unpark(&mut self, pending: &PendingSubmission, unpark: &Unpark) -> Result<(), TransportError> {
        let key = self.park_key(unpark.handle, unpark.word)?;
        self.unpark_step(UnparkInProgress { pending: *pending, key, left: unpark.most, woken: 0 });
        Ok(())
    }

    /// Wakes up to `STEP`. Threads on other CPUs can park as fast as this one wakes them, so this CPU serves what was
    /// asked of it between two steps.
    pub fn unpark_step(&mut self, mut unpark: UnparkInProgress) {
        let waiters = self.kernel.parks.take(unpark.key, unpark.left);
        let is_last = waiters.len() < STEP;
        for waiter in waiters {
            let woken = u32::from(self.kernel.end_park(waiter, ParkOutcome::Woken, Some(self)));
            unpark.woken += woken;
            unpark.left -= woken;
        }
        if is_last || unpark.left == 0 {
            self.complete(unpark.pending.user_data, Completed::Value(unpark.woken.into()));
        } else {
            self.unfinished = Some(Unfinished::Unpark(unpark));
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Queues a park if the word has the expected value. The word is read under the bucket's lock.
    fn queue_park(
        &self,
        process: &Process<M>,
        key: ParkKey,
        park: &Park,
        reference: OperationRef,
    ) -> Result<bool, TransportError> {
        let mut bucket = self.parks.bucket(&key).lock();
        let value = read_word(self.machine, &process.space, park.word).map_err(|_| TransportError::BadWord)?;
        if value != park.expected {
            return Ok(false);
        }
        bucket.park(key, reference).map_err(|Overloaded| TransportError::Overloaded)?;
        self.parks.count.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn end_park(&self, waiter: OperationRef, outcome: ParkOutcome, caller: Option<&mut Caller<'_, M>>) -> bool {
        let Some((thread, operation)) = self.take(waiter) else { return false };
        if let WaitsFor::Park { timer: Some(timer), .. } = operation.waits_for {
            self.disarm(timer);
        }
        thread.process.quotas.parks.release(1);
        self.finish(&thread, &operation, Completed::Value(outcome as u64), caller);
        true
    }

    /// Ends a process's parks on words of a range that is mapped no more. A park that is begun meanwhile finds no word.
    pub fn end_parks_in(&self, process: &Process<M>, range: &Range<u64>) {
        if process.quotas.parks.used() == 0 {
            return;
        }
        // From behind: a thread that leaves the list gives its place to the last one, which was seen.
        let mut place = process.threads.lock().live.len();
        while place > 0 {
            place -= 1;
            let thread = process.threads.lock().live.get(place).cloned();
            if let Some(thread) = thread {
                self.end_parks_of(&thread, range);
            }
        }
    }

    fn end_parks_of(&self, thread: &Thread<M>, range: &Range<u64>) {
        for place in 0..OUTSTANDING_OPERATIONS as u8 {
            let found = thread.operations.lock().park_at(place).filter(|(_, word, _)| range.contains(word));
            let Some((key, _, park)) = found else { continue };
            let reference = OperationRef { thread: thread.index(), key };
            // One that is not queued is being ended by somebody else, or has not looked at its word yet.
            if self.parks.cancel(&park, reference) {
                self.end_park(reference, ParkOutcome::Unmapped, None);
            }
        }
    }
}
