//! Threads.
//!
//! Who may touch what: the execution state belongs to the CPU that runs the thread, which holds its lock from the
//! dispatch to the next decision; ring and operations are shared with timers, servers and other threads. A thread is only
//! handed to the dispatcher after its execution lock was released, so a CPU that gets it next never waits.
//! Lock order: execution, then operations, then the ring.

use crate::{
    call::Unfinished,
    operation::{OperationRef, Operations},
    process::Process,
    ring::Ring,
    thread_table::Place,
};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use hal::{CpuSet, Instant, Machine, SystemCall, VirtualAddress};
use heapless::Vec;
use kernel_core::sched::{Snapshot, ThreadId, TimerId};
use spin::{Mutex, Once};
use tessera_abi::limits::ENDING_WAITERS;

/// A `cap_enter` that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// How many completions it waits for.
    pub min_complete: u32,
    /// When it gives up.
    pub deadline: Option<Instant>,
    /// The timer that ends it.
    pub timer: Option<TimerId>,
    /// When it began.
    pub began: Instant,
}

/// What only the CPU that runs the thread touches.
pub struct Execution<M: Machine> {
    /// The user registers.
    pub context: M::Context,
    /// The system call that has not returned yet.
    pub wait: Option<Wait>,
    /// The system call that is to be made again before user mode is entered.
    pub again: Option<SystemCall>,
    /// The submission that goes on first when it is.
    pub unfinished: Option<Unfinished<M>>,
}

/// As many wait for this end as may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyWaiters;

/// Those that wait for an end, or the fact that it has come.
pub struct EndWaiters(Mutex<EndState>);

struct EndState {
    has_come: bool,
    waiters: Vec<OperationRef, ENDING_WAITERS>,
}

impl Default for EndWaiters {
    fn default() -> Self {
        Self(Mutex::new(EndState { has_come: false, waiters: Vec::new() }))
    }
}

impl EndWaiters {
    /// Adds one. `false`: the end has come, and nobody needs to wait.
    pub fn add(&self, waiter: OperationRef) -> Result<bool, TooManyWaiters> {
        let mut state = self.0.lock();
        if state.has_come {
            return Ok(false);
        }
        state.waiters.push(waiter).map(|()| true).map_err(|_| TooManyWaiters)
    }

    /// Forgets one whose thread ends.
    pub fn remove(&self, waiter: OperationRef) {
        let mut state = self.0.lock();
        if let Some(place) = state.waiters.iter().position(|other| *other == waiter) {
            state.waiters.swap_remove(place);
        }
    }

    /// The end has come: gives all who waited, once.
    pub fn end(&self) -> Vec<OperationRef, ENDING_WAITERS> {
        let mut state = self.0.lock();
        state.has_come = true;
        core::mem::take(&mut state.waiters)
    }

    /// Whether the end has come.
    pub fn has_come(&self) -> bool {
        self.0.lock().has_come
    }
}

/// A thread.
pub struct Thread<M: Machine> {
    /// Its place in the kernel's table; the number is also the dispatcher's payload.
    pub place: Place<M>,
    /// What the dispatcher calls it, and programs too.
    pub id: ThreadId,
    /// Its number in reports, never used again.
    pub serial: u64,
    /// Its number within its process, 0 for the first one.
    pub number: u32,
    /// Its process.
    pub process: Arc<Process<M>>,
    /// The CPUs that its spawner permits; the thread may narrow its mask within, never widen it.
    pub permitted: CpuSet,
    /// Its ring.
    pub ring: Ring<M>,
    /// Where its ring stands in its process.
    pub ring_address: VirtualAddress,
    /// Its outstanding operations.
    pub operations: Mutex<Operations<M>>,
    /// Its registers and system call.
    pub execution: Mutex<Execution<M>>,
    /// The code that it ended with.
    pub exit_code: Once<i32>,
    /// Its last account.
    pub last_snapshot: Once<Snapshot>,
    /// Those that join it.
    pub waiters: EndWaiters,
    /// It was joined or detached: nobody can join it.
    pub claimed: AtomicBool,
    /// Its process ends and it is being taken off.
    condemned: AtomicBool,
    /// Somebody takes its things back.
    retiring: AtomicBool,
}

/// What a [`Thread`] is made of.
pub struct ThreadParts<M: Machine> {
    /// Its place.
    pub place: Place<M>,
    /// What the dispatcher calls it.
    pub id: ThreadId,
    /// Its number in reports.
    pub serial: u64,
    /// Its number within its process.
    pub number: u32,
    /// Its process.
    pub process: Arc<Process<M>>,
    /// The CPUs that its spawner permits.
    pub permitted: CpuSet,
    /// Its ring.
    pub ring: Ring<M>,
    /// Where its ring stands in its process.
    pub ring_address: VirtualAddress,
    /// Its operations.
    pub operations: Operations<M>,
    /// Its registers.
    pub context: M::Context,
}

impl<M: Machine> Thread<M> {
    /// A thread that has not run.
    pub fn new(parts: ThreadParts<M>) -> Self {
        let ThreadParts { place, id, serial, number, process, permitted, ring, ring_address, operations, context } =
            parts;
        let execution = Mutex::new(Execution { context, wait: None, again: None, unfinished: None });
        Self {
            place,
            id,
            serial,
            number,
            process,
            permitted,
            ring,
            ring_address,
            operations: Mutex::new(operations),
            execution,
            exit_code: Once::new(),
            last_snapshot: Once::new(),
            waiters: EndWaiters::default(),
            claimed: AtomicBool::new(false),
            condemned: AtomicBool::new(false),
            retiring: AtomicBool::new(false),
        }
    }

    /// Its place in the kernel's table.
    pub const fn index(&self) -> u32 {
        self.place.index()
    }

    /// Says that the thread is being taken off.
    pub fn condemn(&self) {
        self.condemned.store(true, Ordering::Release);
    }

    /// Whether the thread is being taken off.
    pub fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Acquire)
    }

    /// Makes the caller the one who takes the thread's things back. Of several who try, one succeeds.
    pub fn begin_retirement(&self) -> bool {
        !self.retiring.swap(true, Ordering::AcqRel)
    }
}
