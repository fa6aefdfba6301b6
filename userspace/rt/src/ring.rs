//! A thread's side of its ring: fill submissions, enter the kernel, take completions.
//!
//! Each thread has a ring of its own, which its thread pointer names; [`current`] finds it. So nothing here is locked,
//! and a [`Ring`] cannot leave its thread. Any number of operations (up to the kernel's limit) may be outstanding and
//! complete in any order: whoever waits for one takes its completion out of the middle of the completion queue and leaves
//! the others, in their order, to [`Ring::complete`].
//!
//! [`operations`] has a function for each operation that waits for its end.

pub mod operations;
#[cfg(feature = "heap")]
pub mod pending;

use crate::{CallError, arch};
use core::{
    cell::Cell,
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};
pub use operations::{MethodId, Returned};
use tessera_abi::{
    ring::{
        CQ_ENTRIES, CompletionEntry, Operation, PROGRAM_AREA, RING_PAGES, SQ_ENTRIES, SQE_BYTES, SubmissionEntry,
        header,
    },
    system_call::WAIT_FOREVER,
};

const PAGE_BYTES: usize = 4096;
/// User data with this bit is the runtime's: completions that somebody waits for.
const AWAITED: u64 = 1 << 63;

/// What the runtime keeps in the program's part of the header page. All zero is how it begins.
#[repr(C)]
struct ProgramArea {
    /// The kernel's word at `SELF_ADDRESS`.
    self_address: u64,
    next_user_data: Cell<u64>,
    /// Submissions whose completion was not taken out of the queue.
    outstanding: Cell<u32>,
}

/// Where in the header page the last messages of a thread stand, behind [`ProgramArea`].
const LAST_MESSAGES: usize = PROGRAM_AREA + 64;

const _: () = assert!(size_of::<ProgramArea>() <= LAST_MESSAGES - PROGRAM_AREA);

/// The calling thread's ring.
#[derive(Clone, Copy)]
pub struct Ring {
    base: NonNull<u8>,
    /// Only its own thread uses a ring.
    own: PhantomData<*mut u8>,
}

/// The submission queue is full: enter the kernel first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

impl From<QueueFull> for CallError {
    fn from(QueueFull: QueueFull) -> Self {
        Self::QueueFull
    }
}

/// The calling thread's ring.
pub fn current() -> Ring {
    let base = NonNull::new(core::ptr::with_exposed_provenance_mut(arch::ring_address()));
    // Without a ring there is no way to say what went wrong.
    let Some(base) = base else { crate::exit(crate::PANIC_EXIT_CODE) };
    Ring { base, own: PhantomData }
}

impl Ring {
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the offsets are those of aligned `u32` words in the header page, which stays mapped as long as the
        // thread lives; kernel and program touch them as atomics alone.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().wrapping_add(offset).cast()) }
    }

    /// One of the header's words, for proofs of what the kernel does with indices that make no sense.
    ///
    /// # Safety
    ///
    /// `offset` is one of [`header`]. Before the runtime uses the ring again, the word is what it was: with other indices
    /// the kernel may carry out entries that nobody has filled.
    pub unsafe fn header_word(&self, offset: usize) -> &AtomicU32 {
        self.word(offset)
    }

    fn area(&self) -> &ProgramArea {
        let area = self.base.as_ptr().wrapping_add(PROGRAM_AREA).cast::<ProgramArea>();
        // SAFETY: the header page from `PROGRAM_AREA` on belongs to the program, is mapped, aligned, zero at first, and
        // used by this thread alone, through cells.
        unsafe { &*area }
    }

    fn submission(&self, index: u32) -> *mut SubmissionEntry {
        let offset = PAGE_BYTES + (index % SQ_ENTRIES) as usize * SQE_BYTES;
        self.base.as_ptr().wrapping_add(offset).cast()
    }

    fn completion(&self, index: u32) -> *mut CompletionEntry {
        let offset = (RING_PAGES - 1) * PAGE_BYTES + (index % CQ_ENTRIES) as usize * size_of::<CompletionEntry>();
        self.base.as_ptr().wrapping_add(offset).cast()
    }

    /// Where the ring stands, for programs that try what happens if another thread writes it.
    pub fn address(&self) -> usize {
        self.base.as_ptr().expose_provenance()
    }

    /// How many submissions the queue has room for.
    pub fn submission_room(&self) -> u32 {
        let tail = self.word(header::SQ_TAIL).load(Ordering::Relaxed);
        let head = self.word(header::SQ_HEAD).load(Ordering::Acquire);
        SQ_ENTRIES.saturating_sub(tail.wrapping_sub(head))
    }

    /// Puts a submission into the queue. The kernel sees it when the program next enters.
    ///
    /// # Safety
    ///
    /// What the entry points at, if it is memory of this program, stays alive until the completion was taken: what the
    /// kernel writes to is untouched by others as long. The highest bit of the user data is clear: the runtime knows its
    /// own completions by it.
    pub unsafe fn submit(&self, entry: &SubmissionEntry) -> Result<(), QueueFull> {
        let tail = self.word(header::SQ_TAIL).load(Ordering::Relaxed);
        if self.submission_room() == 0 {
            return Err(QueueFull);
        }
        // SAFETY: the slot lies in the ring's second page, is aligned, and free: the kernel has consumed what stood
        // there, as its head says.
        unsafe { self.submission(tail).write(*entry) };
        self.word(header::SQ_TAIL).store(tail.wrapping_add(1), Ordering::Release);
        let outstanding = &self.area().outstanding;
        outstanding.set(outstanding.get().saturating_add(1));
        Ok(())
    }

    /// Submits a NOP, which completes with `argument` as its value. Its user data has 32 bits, so that it is never taken
    /// for the runtime's.
    pub fn submit_nop(&self, user_data: u32, argument: u64) -> Result<(), QueueFull> {
        let user_data = user_data.into();
        let entry = SubmissionEntry { operation: Operation::Nop as u8, user_data, argument, ..Default::default() };
        // SAFETY: a NOP has no buffers.
        unsafe { self.submit(&entry) }
    }

    /// Enters the kernel, which consumes the submissions, until `min_complete` completions wait or the time is over.
    /// Gives how many wait.
    pub fn enter(&self, min_complete: u32, timeout_ns: u64) -> Result<u32, CallError> {
        match arch::cap_enter(min_complete, timeout_ns) {
            error @ ..0 => Err(CallError::SystemCall(error as i32)),
            waiting => Ok(waiting as u32),
        }
    }

    /// Takes the next completion.
    pub fn complete(&self) -> Option<CompletionEntry> {
        self.take(|_| true)
    }

    /// How many completions wait to be taken.
    pub fn waiting(&self) -> u32 {
        let head = self.word(header::CQ_HEAD).load(Ordering::Relaxed);
        self.word(header::CQ_TAIL).load(Ordering::Acquire).wrapping_sub(head).min(CQ_ENTRIES)
    }

    /// Takes the first completion that matches; the others stay, in their order.
    fn take(&self, matches: impl Fn(&CompletionEntry) -> bool) -> Option<CompletionEntry> {
        let head = self.word(header::CQ_HEAD).load(Ordering::Relaxed);
        let (found, entry) = (0..self.waiting()).find_map(|place| {
            // SAFETY: the slot lies in the ring's third page, is aligned, and was filled by the kernel, as its tail says.
            let entry = unsafe { self.completion(head.wrapping_add(place)).read() };
            matches(&entry).then_some((place, entry))
        })?;
        for place in (0..found).rev() {
            let (from, to) = (head.wrapping_add(place), head.wrapping_add(place + 1));
            // SAFETY: both slots lie between the program's head and the kernel's tail, so they are the program's; the
            // kernel writes at its tail alone.
            unsafe { self.completion(to).copy_from_nonoverlapping(self.completion(from), 1) };
        }
        self.word(header::CQ_HEAD).store(head.wrapping_add(1), Ordering::Release);
        let outstanding = &self.area().outstanding;
        outstanding.set(outstanding.get().saturating_sub(1));
        Some(entry)
    }

    /// Submits an entry whose completion somebody will wait for. Gives its user data.
    ///
    /// # Safety
    ///
    /// As for [`Ring::submit`], but for the user data, which this function gives.
    unsafe fn submit_awaited(&self, entry: SubmissionEntry) -> Result<u64, CallError> {
        let area = self.area();
        // With so many, this operation's completion could wait in the kernel for room that nobody makes.
        if area.outstanding.get() >= CQ_ENTRIES {
            return Err(CallError::TooManyOutstanding);
        }
        let user_data = area.next_user_data.get() | AWAITED;
        area.next_user_data.set(user_data.wrapping_add(1));
        let entry = SubmissionEntry { user_data, ..entry };
        // SAFETY: the caller keeps what the entry points at.
        if unsafe { self.submit(&entry) }.is_err() {
            self.enter(0, 0)?;
            // SAFETY: as above.
            unsafe { self.submit(&entry) }?;
        }
        Ok(user_data)
    }

    /// Waits for the completion with this user data.
    fn wait_for(&self, user_data: u64) -> Result<CompletionEntry, CallError> {
        self.wait_until(|entry| entry.user_data == user_data)
    }

    /// Waits for a completion that matches.
    fn wait_until(&self, matches: impl Fn(&CompletionEntry) -> bool) -> Result<CompletionEntry, CallError> {
        loop {
            // Counted before they are looked at: one that comes meanwhile may be it, and is one more than these.
            let seen = self.waiting();
            if let Some(entry) = self.take(&matches) {
                return Ok(entry);
            }
            // No more than the queue holds were submitted.
            self.enter(seen + 1, WAIT_FOREVER)?;
        }
    }

    /// Submits an entry and waits for its completion; a negative status is an error.
    ///
    /// # Safety
    ///
    /// As for [`Ring::submit`], but for the user data. Nothing has to live longer than this call.
    unsafe fn perform(&self, entry: SubmissionEntry) -> Result<CompletionEntry, CallError> {
        // SAFETY: the caller keeps what the entry points at until the wait is over.
        let user_data = unsafe { self.submit_awaited(entry) }?;
        succeeded(self.wait_for(user_data)?)
    }

    /// The bytes behind the runtime's own in the header page, from `offset` on, for the last messages of a thread.
    fn last_messages(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: the sum is clamped to the header page.
        unsafe { self.base.add((LAST_MESSAGES + offset).min(PAGE_BYTES)) }
    }
}

/// A negative status is an error of the transport.
fn succeeded(completion: CompletionEntry) -> Result<CompletionEntry, CallError> {
    if completion.status < 0 { Err(CallError::Transport(completion.status)) } else { Ok(completion) }
}

#[cfg(test)]
mod tests;
