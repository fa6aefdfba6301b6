//! Operations that a thread has begun and that complete later: sleeps, calls, receives, parks, waits for an end.
//!
//! An operation is one slot of its thread's table. Whoever wants to complete it (a timer, a server, an UNPARK, the end of
//! a process) holds an [`OperationRef`], a plain number, and must take the operation out first: of several who try, one
//! succeeds, and a reference to an operation that is over finds nothing. So no registry keeps a thread alive, and a late
//! timer never completes a later operation. Lock level: leaf; what is taken out is dropped after the lock is released.

use crate::{ipc::Endpoint, process::Process, ring::PendingSubmission, thread::Thread};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use hal::Machine;
use kernel_core::{park::ParkKey, ring::Submission, sched::TimerId};
use tessera_abi::limits::{OUTSTANDING_OPERATIONS, TIMED_OPERATIONS};

/// The most operations with a timer that one thread can have outstanding.
pub const MAX_TIMED: u32 = TIMED_OPERATIONS as u32;

/// Names one operation of one thread for as long as it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperationRef {
    /// The thread's place in the kernel's table, below 2^21.
    pub thread: u32,
    /// The operation.
    pub key: OperationKey,
}

/// Names one operation among those of its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperationKey {
    /// Which slot, below 64.
    pub place: u8,
    /// Which operation, counted over all threads that ever had this place in the kernel's table.
    pub generation: u32,
}

const THREAD_BITS: u32 = 21;
const PLACE_BITS: u32 = 6;

impl OperationRef {
    /// As 59 bits.
    pub const fn to_raw(self) -> u64 {
        self.key.generation as u64 | (self.thread as u64) << 32 | (self.key.place as u64) << (32 + THREAD_BITS)
    }

    /// Back from 59 bits.
    pub const fn from_raw(raw: u64) -> Self {
        let place = (raw >> (32 + THREAD_BITS)) as u8 & ((1 << PLACE_BITS) - 1);
        let thread = (raw >> 32) as u32 & ((1 << THREAD_BITS) - 1);
        Self { thread, key: OperationKey { place, generation: raw as u32 } }
    }
}

/// What an operation waits for; who must forget it when it ends early.
pub enum WaitsFor<M: Machine> {
    /// A deadline.
    Sleep {
        /// Unset for an instant, while it is armed.
        timer: Option<TimerId>,
    },
    /// A byte from the console.
    Input,
    /// The answer of a server.
    Call {
        /// Where the call waits, or was received.
        endpoint: Arc<Endpoint<M>>,
        /// The badge of the client's capability.
        badge: u64,
    },
    /// A call.
    Receive(Arc<Endpoint<M>>),
    /// An UNPARK.
    Park {
        /// The word.
        key: ParkKey,
        /// Its deadline, if it has one.
        timer: Option<TimerId>,
    },
    /// The end of a process.
    ProcessEnd(Arc<Process<M>>),
    /// The end of a thread.
    ThreadEnd(Arc<Thread<M>>),
}

impl<M: Machine> WaitsFor<M> {
    /// The badge that a call carries.
    pub const fn badge(&self) -> u64 {
        match self {
            Self::Call { badge, .. } => *badge,
            _ => 0,
        }
    }

    /// What a person is told.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Sleep { .. } => "a deadline",
            Self::Input => "console input",
            Self::Call { .. } => "the answer to a call",
            Self::Receive(_) => "a call",
            Self::Park { .. } => "an unpark",
            Self::ProcessEnd(_) => "the end of a process",
            Self::ThreadEnd(_) => "the end of a thread",
        }
    }
}

/// An operation that has not completed.
pub struct Operation<M: Machine> {
    /// The submission that it completes.
    pub pending: PendingSubmission,
    /// What for.
    pub waits_for: WaitsFor<M>,
}

impl<M: Machine> Operation<M> {
    /// Whether it has, or is about to get, a timer. The same as long as it lasts.
    const fn is_timed(&self) -> bool {
        match (&self.waits_for, &self.pending.submission) {
            (WaitsFor::Sleep { .. }, _) => true,
            (WaitsFor::Park { .. }, Submission::Park(park)) => park.deadline.is_some(),
            _ => false,
        }
    }
}

/// As many operations are outstanding as may be, or the thread has ended. Gives the operation back.
pub struct TooMany<M: Machine>(pub Operation<M>);

struct Slot<M: Machine> {
    generation: u32,
    operation: Operation<M>,
}

/// The operations of a thread.
pub struct Operations<M: Machine> {
    slots: Box<[Option<Slot<M>>]>,
    /// A set bit is a free slot.
    free: u64,
    next_generation: u32,
    timed: u32,
    closed: bool,
}

impl<M: Machine> Operations<M> {
    /// None yet. `None`: there is no memory.
    pub fn new(next_generation: u32) -> Option<Self> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(OUTSTANDING_OPERATIONS).ok()?;
        slots.resize_with(OUTSTANDING_OPERATIONS, || None);
        Some(Self { slots: slots.into_boxed_slice(), free: u64::MAX, next_generation, timed: 0, closed: false })
    }

    /// Adds one.
    pub fn insert(&mut self, operation: Operation<M>) -> Result<OperationKey, TooMany<M>> {
        let timed = self.timed + u32::from(operation.is_timed());
        let place = self.free.trailing_zeros();
        if self.closed || timed > MAX_TIMED || place as usize >= self.slots.len() {
            return Err(TooMany(operation));
        }
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        self.free &= !(1 << place);
        self.timed = timed;
        self.slots[place as usize] = Some(Slot { generation, operation });
        Ok(OperationKey { place: place as u8, generation })
    }

    fn slot(&mut self, key: OperationKey) -> Option<&mut Option<Slot<M>>> {
        let slot = self.slots.get_mut(usize::from(key.place))?;
        slot.as_ref().is_some_and(|slot| slot.generation == key.generation).then_some(slot)
    }

    /// Looks at one; `None` if it is over.
    pub fn get(&mut self, key: OperationKey) -> Option<&mut Operation<M>> {
        self.slot(key)?.as_mut().map(|slot| &mut slot.operation)
    }

    /// The park in a slot, if it is one: its key, its word's address, what it waits on.
    pub fn park_at(&self, place: u8) -> Option<(OperationKey, u64, ParkKey)> {
        let Slot { generation, operation } = self.slots.get(usize::from(place))?.as_ref()?;
        match (&operation.waits_for, &operation.pending.submission) {
            (WaitsFor::Park { key, .. }, Submission::Park(park)) => {
                Some((OperationKey { place, generation: *generation }, park.word, *key))
            }
            _ => None,
        }
    }

    /// Takes one out: who gets it must complete it. `None`: it is over.
    pub fn take(&mut self, key: OperationKey) -> Option<Operation<M>> {
        let operation = self.slot(key)?.take()?.operation;
        self.free |= 1 << key.place;
        self.timed -= u32::from(operation.is_timed());
        Some(operation)
    }

    /// No more are accepted.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Takes any one out.
    pub fn take_any(&mut self) -> Option<(OperationKey, Operation<M>)> {
        let place = (!self.free).trailing_zeros() as u8;
        let generation = self.slots.get(usize::from(place))?.as_ref()?.generation;
        let key = OperationKey { place, generation };
        Some((key, self.take(key)?))
    }

    /// Every one, as it is.
    pub fn iter(&self) -> impl Iterator<Item = &Operation<M>> {
        self.slots.iter().flatten().map(|slot| &slot.operation)
    }

    /// How many there are.
    pub const fn len(&self) -> u32 {
        self.free.count_zeros()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.free == u64::MAX
    }

    /// The generation that the next thread with this place in the kernel's table begins with.
    pub const fn next_generation(&self) -> u32 {
        self.next_generation
    }
}

const _: () = assert!(OUTSTANDING_OPERATIONS == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;
    use kernel_core::ring::Park;

    fn sleep(user_data: u64) -> Operation<TestMachine> {
        let pending = PendingSubmission { user_data, submission: Submission::Release { handle: 0 } };
        Operation { pending, waits_for: WaitsFor::Sleep { timer: None } }
    }

    fn input(user_data: u64) -> Operation<TestMachine> {
        Operation { waits_for: WaitsFor::Input, ..sleep(user_data) }
    }

    fn insert(operations: &mut Operations<TestMachine>, operation: Operation<TestMachine>) -> OperationKey {
        operations.insert(operation).ok().expect("there is room")
    }

    #[test]
    fn a_late_reference_finds_nothing_although_its_slot_is_used_again() {
        let mut operations = Operations::new(7).unwrap();
        let first = insert(&mut operations, sleep(1));
        assert_eq!(first.generation, 7);
        assert_eq!(operations.take(first).map(|operation| operation.pending.user_data), Some(1));
        let second = insert(&mut operations, sleep(2));
        assert_eq!(second.place, first.place);
        assert!(operations.take(first).is_none());
        assert!(operations.get(first).is_none());
        assert_eq!(operations.next_generation(), 9);
        assert!(operations.get(second).is_some());
    }

    #[test]
    fn operations_and_their_timers_are_bounded_and_ended_threads_begin_none() {
        let mut operations = Operations::new(0).unwrap();
        for number in 0..u64::from(MAX_TIMED) {
            insert(&mut operations, sleep(number));
        }
        assert!(operations.insert(sleep(99)).is_err());
        for number in operations.len() as usize..OUTSTANDING_OPERATIONS {
            insert(&mut operations, input(number as u64));
        }
        assert!(operations.insert(input(99)).is_err());
        let all = core::iter::from_fn(|| operations.take_any()).count();
        assert_eq!((all, operations.len(), operations.is_empty()), (OUTSTANDING_OPERATIONS, 0, true));
        operations.close();
        assert!(operations.insert(input(99)).is_err());
    }

    #[test]
    fn a_park_counts_among_those_with_a_timer_only_if_it_gives_up() {
        let park = |deadline| {
            let park = Park { handle: 0, word: 4, expected: 0, deadline };
            let pending = PendingSubmission { user_data: 0, submission: Submission::Park(park) };
            let key = ParkKey::Private { process: 1, address: 4 };
            Operation::<TestMachine> { pending, waits_for: WaitsFor::Park { key, timer: None } }
        };
        let mut operations = Operations::new(0).unwrap();
        for _ in 0..OUTSTANDING_OPERATIONS - MAX_TIMED as usize {
            insert(&mut operations, park(None));
        }
        for _ in 0..MAX_TIMED {
            insert(&mut operations, park(Some(1)));
        }
        operations.take_any();
        assert!(operations.insert(park(Some(1))).is_err(), "the first one had no deadline");
        assert!(operations.insert(park(None)).is_ok());
    }

    #[test]
    fn references_survive_the_way_through_a_number() {
        let key = OperationKey { place: 63, generation: 0xfedc_ba98 };
        for thread in [0, 5, (1 << THREAD_BITS) - 1] {
            let reference = OperationRef { thread, key };
            assert!(reference.to_raw() < 1 << 59);
            assert_eq!(OperationRef::from_raw(reference.to_raw()), reference);
        }
    }
}
