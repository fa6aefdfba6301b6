//! The two system calls.
//!
//! `cap_enter` consumes the submission queue, at most [`SQ_ENTRIES`] entries a call, then waits by a state change: the
//! thread remembers what it waits for and blocks; whenever it is dispatched again it looks at its ring before it
//! enters user mode. A completion that comes between the look and the block leaves a wake token with the dispatcher,
//! which the block consumes: no wake-up is lost.

use crate::{
    expiry::Expiry,
    kernel::Kernel,
    thread::{Thread, Wait},
};
use hal::{Duration, Instant, Machine, SystemCall};
use kernel_core::ring::RingError;
use tessera_abi::{
    ring::{CQ_ENTRIES, SQ_ENTRIES},
    system_call::{CAP_ENTER, EXIT, SystemCallError, WAIT_FOREVER},
};

/// What a system call does with its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemCallOutcome {
    /// It returns this.
    Return(isize),
    /// The caller waits.
    Wait(Wait),
    /// Something is to be served first; then the call is made again and goes on where it was.
    Again,
    /// The program ends.
    Exit(i32),
}

/// How far a submission queue was consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Consumed {
    /// Nothing is left, or the bound of one call was reached.
    All,
    /// There may be more, after what is to be served first.
    Part,
}

/// The result word of an error.
const fn error(error: SystemCallError) -> isize {
    -(error as i32 as isize)
}

const CORRUPT: isize = error(SystemCallError::CorruptRing);

impl<M: Machine> Kernel<M> {
    /// Handles a system call of the running thread. Interrupts are on.
    pub fn system_call(&self, thread: &Thread<M>, call: &SystemCall) -> SystemCallOutcome {
        match call.number {
            CAP_ENTER => self.cap_enter(thread, call.arguments[0], call.arguments[1] as u64),
            // Exit codes are 32 bits wide.
            EXIT => SystemCallOutcome::Exit(call.arguments[0] as i32),
            _ => SystemCallOutcome::Return(error(SystemCallError::NoSuchCall)),
        }
    }

    fn cap_enter(&self, thread: &Thread<M>, min_complete: usize, timeout_ns: u64) -> SystemCallOutcome {
        let Some(min_complete) = u32::try_from(min_complete).ok().filter(|&count| count <= CQ_ENTRIES) else {
            return SystemCallOutcome::Return(error(SystemCallError::InvalidArgument));
        };
        match self.consume(thread) {
            Ok(Consumed::All) => {}
            Ok(Consumed::Part) => return SystemCallOutcome::Again,
            Err(_) => return SystemCallOutcome::Return(CORRUPT),
        }
        let now = self.machine.now();
        let timeout = (timeout_ns != WAIT_FOREVER).then_some(Duration::from_nanos(timeout_ns));
        let deadline = timeout.map(|timeout| now.saturating_add(timeout));
        let wait = Wait { min_complete, deadline, timer: None };
        match self.poll(thread, &wait, now) {
            Some(result) => SystemCallOutcome::Return(result),
            None => self.begin_wait(thread, wait),
        }
    }

    /// Consumes what is queued now; what the program adds meanwhile waits for the next call. Each call that is executed
    /// may be long (a write to a slow console), so after each one this CPU's request word comes first.
    fn consume(&self, thread: &Thread<M>) -> Result<Consumed, RingError> {
        let word = self.machine.request_word(self.machine.this_cpu());
        let mut budget = SQ_ENTRIES;
        while let Some(pending) = thread.ring.next_submission(&mut budget)? {
            self.execute(thread, &pending);
            if word.is_pending() {
                return Ok(Consumed::Part);
            }
        }
        Ok(Consumed::All)
    }

    fn begin_wait(&self, thread: &Thread<M>, mut wait: Wait) -> SystemCallOutcome {
        if let Some(deadline) = wait.deadline {
            let expiry = Expiry::EnterTimeout { thread: thread.index };
            match self.dispatcher.arm_timer(deadline, expiry.to_raw()) {
                Ok(timer) => wait.timer = Some(timer),
                // Without a timer the wait could last for ever: it ends at once, as if the time had passed.
                Err(_) => return SystemCallOutcome::Return(available(thread)),
            }
        }
        SystemCallOutcome::Wait(wait)
    }

    /// What a waiting `cap_enter` returns, once it does.
    pub fn poll(&self, thread: &Thread<M>, wait: &Wait, now: Instant) -> Option<isize> {
        let count = match thread.ring.available() {
            Ok(count) => count,
            Err(_) => return Some(CORRUPT),
        };
        let over = count >= wait.min_complete || wait.deadline.is_some_and(|deadline| deadline <= now);
        over.then_some(count as isize)
    }

    /// Ends a wait: its timer is not needed any more.
    pub fn end_wait(&self, wait: &Wait) {
        if let Some(timer) = wait.timer {
            self.dispatcher.cancel_timer(timer);
        }
    }
}

fn available<M: Machine>(thread: &Thread<M>) -> isize {
    thread.ring.available().map_or(CORRUPT, |count| count as isize)
}
