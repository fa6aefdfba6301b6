//! The program's side of its ring: fill submissions, enter the kernel, take completions.
//!
//! Any number of submissions (up to the queue's size) may be outstanding; [`Ring::call`] keeps completions that it was
//! not waiting for and hands them to the next [`Ring::complete`]. A program has one thread, so one borrow at a time is
//! enough; a second one (a panic in the middle of a call) is refused.

use crate::{CallError, arch};
use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};
use tessera_abi::{
    ring::{
        CQ_ENTRIES, CompletionEntry, EXCEPTION, MAX_MESSAGE_BYTES, Operation, RING_PAGES, SQ_ENTRIES, SubmissionEntry,
        header,
    },
    system_call::WAIT_FOREVER,
};

const PAGE_BYTES: usize = 4096;
/// Completions that a call may set aside.
const SET_ASIDE: usize = 16;

/// The ring and what the program keeps beside it.
pub struct Ring {
    base: *mut u8,
    next_user_data: u64,
    /// Submissions whose completion was not taken out of the queue.
    outstanding: u32,
    set_aside: [Option<CompletionEntry>; SET_ASIDE],
}

/// The submission queue is full: enter the kernel first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

/// A method: the interface's id and the method's ordinal in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MethodId {
    /// The interface's id.
    pub interface: u64,
    /// The method's ordinal.
    pub method: u16,
}

/// How a call completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completed {
    /// The results' bytes.
    Results(usize),
    /// The exception's bytes.
    Exception(usize),
}

struct Shared {
    taken: AtomicBool,
    ring: UnsafeCell<Ring>,
}

// SAFETY: `with` lets one borrow at a time through, and a program has one thread.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared {
    taken: AtomicBool::new(true),
    ring: UnsafeCell::new(Ring {
        base: ptr::null_mut(),
        next_user_data: 1 << 63,
        outstanding: 0,
        set_aside: [None; SET_ASIDE],
    }),
};

/// Makes the ring at `address` the program's.
///
/// # Safety
///
/// `address` is that of the ring that the kernel mapped for this thread, and this is called once.
pub unsafe fn initialize(address: usize) {
    // SAFETY: `taken` is set from the start, so nobody else has a reference before the store below.
    unsafe { (*SHARED.ring.get()).base = address as *mut u8 };
    SHARED.taken.store(false, Ordering::Release);
}

/// Runs `work` with the ring, or gives `None` if it is in use (or not there yet).
pub fn with<T>(work: impl FnOnce(&mut Ring) -> T) -> Option<T> {
    if SHARED.taken.swap(true, Ordering::Acquire) {
        return None;
    }
    // SAFETY: the swap above saw the ring free, so this is the only reference until `taken` is cleared.
    let result = work(unsafe { &mut *SHARED.ring.get() });
    SHARED.taken.store(false, Ordering::Release);
    Some(result)
}

impl Ring {
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the offsets are those of aligned `u32` words in the header page, which stays mapped; kernel and
        // program touch them as atomics alone.
        unsafe { AtomicU32::from_ptr(self.base.wrapping_add(offset).cast()) }
    }

    /// Puts a submission into the queue. The kernel sees it when the program next enters.
    ///
    /// # Safety
    ///
    /// If the entry is a CALL whose addresses lie in memory of this program, then the results buffer stays alive and
    /// untouched until the completion was taken, and the parameters until the program has entered the kernel. The
    /// highest bit of the user data is clear: [`Ring::call`] knows its own completions by it.
    pub unsafe fn submit(&mut self, entry: &SubmissionEntry) -> Result<(), QueueFull> {
        let tail = self.word(header::SQ_TAIL).load(Ordering::Relaxed);
        let head = self.word(header::SQ_HEAD).load(Ordering::Acquire);
        if tail.wrapping_sub(head) >= SQ_ENTRIES {
            return Err(QueueFull);
        }
        let slot = PAGE_BYTES + (tail % SQ_ENTRIES) as usize * size_of::<SubmissionEntry>();
        // SAFETY: the slot lies in the ring's second page, is aligned, and free: the kernel has consumed what stood
        // there, as its head says.
        unsafe { self.base.wrapping_add(slot).cast::<SubmissionEntry>().write(*entry) };
        self.word(header::SQ_TAIL).store(tail.wrapping_add(1), Ordering::Release);
        self.outstanding = self.outstanding.saturating_add(1);
        Ok(())
    }

    /// Submits a NOP, which completes with `argument` as its value. Its user data has 32 bits, so that it is never taken
    /// for a call's.
    pub fn submit_nop(&mut self, user_data: u32, argument: u64) -> Result<(), QueueFull> {
        let user_data = user_data.into();
        let entry = SubmissionEntry { operation: Operation::Nop as u8, user_data, argument, ..Default::default() };
        // SAFETY: a NOP has no buffers.
        unsafe { self.submit(&entry) }
    }

    /// Enters the kernel, which consumes the submissions, until `min_complete` completions wait or the time is over.
    /// Gives how many wait.
    pub fn enter(&mut self, min_complete: u32, timeout_ns: u64) -> Result<u32, CallError> {
        match arch::cap_enter(min_complete, timeout_ns) {
            error @ ..0 => Err(CallError::SystemCall(error as i32)),
            waiting => Ok(waiting as u32),
        }
    }

    /// Takes the next completion.
    pub fn complete(&mut self) -> Option<CompletionEntry> {
        let set_aside = self.set_aside.iter_mut().find_map(Option::take);
        set_aside.or_else(|| self.complete_fresh())
    }

    fn complete_fresh(&mut self) -> Option<CompletionEntry> {
        let head = self.word(header::CQ_HEAD).load(Ordering::Relaxed);
        let tail = self.word(header::CQ_TAIL).load(Ordering::Acquire);
        if head == tail {
            return None;
        }
        let slot = (RING_PAGES - 1) * PAGE_BYTES + (head % CQ_ENTRIES) as usize * size_of::<CompletionEntry>();
        // SAFETY: the slot lies in the ring's third page, is aligned, and was filled by the kernel, as its tail says.
        let entry = unsafe { self.base.wrapping_add(slot).cast::<CompletionEntry>().read() };
        self.word(header::CQ_HEAD).store(head.wrapping_add(1), Ordering::Release);
        self.outstanding = self.outstanding.saturating_sub(1);
        Some(entry)
    }

    /// Calls a method with these parameters and waits for its completion. The results or the exception are in
    /// `results`. Refused if more completions could come before than can be set aside: a call that was submitted must be
    /// waited for, since the kernel writes to `results`.
    pub fn call(
        &mut self,
        handle: u64,
        method: MethodId,
        params: &[u8],
        results: &mut [u8],
    ) -> Result<Completed, CallError> {
        let set_aside = self.set_aside.iter().flatten().count();
        if set_aside + self.outstanding as usize > SET_ASIDE {
            return Err(CallError::TooManyOutstanding);
        }
        let user_data = self.next_user_data;
        self.next_user_data = user_data.wrapping_add(1) | 1 << 63;
        let entry = SubmissionEntry {
            operation: Operation::Call as u8,
            method: method.method,
            params_len: u32::try_from(params.len()).unwrap_or(u32::MAX),
            handle,
            user_data,
            interface: method.interface,
            params: params.as_ptr().addr() as u64,
            results: results.as_mut_ptr().expose_provenance() as u64,
            results_len: results.len().min(MAX_MESSAGE_BYTES as usize) as u32,
            ..Default::default()
        };
        // SAFETY: both buffers live until `wait_for` has seen the completion.
        unsafe { self.submit(&entry) }.map_err(|QueueFull| CallError::QueueFull)?;
        let completion = self.wait_for(user_data)?;
        match completion.status {
            error @ ..0 => Err(CallError::Transport(error)),
            bytes if completion.flags & EXCEPTION != 0 => Ok(Completed::Exception(bytes as usize)),
            bytes => Ok(Completed::Results(bytes as usize)),
        }
    }

    fn wait_for(&mut self, user_data: u64) -> Result<CompletionEntry, CallError> {
        loop {
            while let Some(entry) = self.complete_fresh() {
                if entry.user_data == user_data {
                    return Ok(entry);
                }
                // There is a free one: `call` has counted.
                if let Some(free) = self.set_aside.iter_mut().find(|slot| slot.is_none()) {
                    *free = Some(entry);
                }
            }
            self.enter(1, WAIT_FOREVER)?;
        }
    }
}
