//! The two system calls.
//!
//! `cap_enter` consumes the submission queue, at most [`SQ_ENTRIES`] entries a call, then waits by a state change: the
//! thread remembers what it waits for and blocks; whenever it is dispatched again it looks at its ring before it
//! enters user mode. A completion that comes between the look and the block leaves a wake token with the dispatcher,
//! which the block consumes: no wake-up is lost.

use crate::{
    expiry::Expiry,
    kernel::Kernel,
    submission::Caller,
    thread::{Execution, Thread, Wait},
};
use hal::{Duration, Instant, Machine, SystemCall, UserContext};
use kernel_core::{ring::RingError, sched::ThreadId};
use tessera_abi::{
    ring::{CQ_ENTRIES, SQ_ENTRIES},
    system_call::{CAP_ENTER, EXIT, SystemCallError, WAIT_FOREVER},
};

/// What a system call does with its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemCallOutcome {
    /// It returns this.
    Return(isize),
    /// The caller waits. It was about to wake this thread, which may have its CPU.
    Wait(Wait, Option<ThreadId>),
    /// Something is to be served first; then the call is made again and goes on where it was.
    Again,
    /// The program ends.
    Exit(i32),
    /// The thread ends.
    ExitThread(i32),
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
    pub fn system_call(
        &'static self,
        thread: &alloc::sync::Arc<Thread<M>>,
        execution: &mut Execution<M>,
        call: &SystemCall,
    ) -> SystemCallOutcome {
        match call.number {
            CAP_ENTER => self.cap_enter(thread, execution, call.arguments[0], call.arguments[1] as u64),
            // Exit codes are 32 bits wide.
            EXIT => SystemCallOutcome::Exit(call.arguments[0] as i32),
            _ => SystemCallOutcome::Return(error(SystemCallError::NoSuchCall)),
        }
    }

    fn cap_enter(
        &'static self,
        thread: &alloc::sync::Arc<Thread<M>>,
        execution: &mut Execution<M>,
        min_complete: usize,
        timeout_ns: u64,
    ) -> SystemCallOutcome {
        let Some(min_complete) = u32::try_from(min_complete).ok().filter(|&count| count <= CQ_ENTRIES) else {
            return SystemCallOutcome::Return(error(SystemCallError::InvalidArgument));
        };
        let mut caller = Caller::new(self, thread);
        caller.unfinished = execution.unfinished.take();
        let consumed = self.consume(&mut caller);
        if let Some(address) = caller.thread_pointer {
            execution.context.set_thread_pointer(address);
        }
        execution.unfinished = caller.unfinished.take();
        let handoff = caller.handoff.take();
        let outcome = match (caller.exit, consumed) {
            (Some(code), _) => SystemCallOutcome::ExitThread(code),
            (None, Ok(Consumed::Part)) => SystemCallOutcome::Again,
            (None, Err(_)) => SystemCallOutcome::Return(CORRUPT),
            (None, Ok(Consumed::All)) => self.wait_or_return(thread, min_complete, timeout_ns, handoff),
        };
        if let (Some(thread), false) = (handoff, matches!(outcome, SystemCallOutcome::Wait(..))) {
            self.wake(thread);
        }
        outcome
    }

    fn wait_or_return(
        &self,
        thread: &Thread<M>,
        min_complete: u32,
        timeout_ns: u64,
        handoff: Option<ThreadId>,
    ) -> SystemCallOutcome {
        let now = self.machine.now();
        let timeout = (timeout_ns != WAIT_FOREVER).then_some(Duration::from_nanos(timeout_ns));
        let deadline = timeout.map(|timeout| now.saturating_add(timeout));
        let wait = Wait { min_complete, deadline, timer: None, began: now };
        match self.poll(thread, &wait, now) {
            Some(result) => SystemCallOutcome::Return(result),
            None => self.begin_wait(thread, wait, handoff),
        }
    }

    /// Consumes what is queued now; what the program adds meanwhile waits for the next call. Each submission that is
    /// carried out may be long (a write to a slow console), so after each one this CPU's request word comes first.
    fn consume(&self, caller: &mut Caller<'_, M>) -> Result<Consumed, RingError> {
        let word = self.machine.request_word(self.machine.this_cpu());
        let mut budget = SQ_ENTRIES;
        loop {
            while let Some(unfinished) = caller.unfinished.take() {
                caller.go_on(unfinished);
                if word.is_pending() {
                    return Ok(Consumed::Part);
                }
            }
            let Some(pending) = caller.thread.ring.next_submission(&mut budget)? else { return Ok(Consumed::All) };
            caller.submit(&pending);
            if caller.exit.is_some() {
                return Ok(Consumed::All);
            }
            if word.is_pending() {
                return Ok(Consumed::Part);
            }
        }
    }

    fn begin_wait(&self, thread: &Thread<M>, mut wait: Wait, handoff: Option<ThreadId>) -> SystemCallOutcome {
        if let Some(deadline) = wait.deadline {
            let expiry = Expiry::EnterTimeout { thread: thread.index() };
            match self.arm(deadline, expiry) {
                Ok(timer) => wait.timer = Some(timer),
                // Without a timer the wait could last for ever: it ends at once, as if the time had passed.
                Err(_) => return SystemCallOutcome::Return(available(thread)),
            }
        }
        SystemCallOutcome::Wait(wait, handoff)
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
            self.disarm(timer);
        }
    }
}

fn available<M: Machine>(thread: &Thread<M>) -> isize {
    thread.ring.available().map_or(CORRUPT, |count| count as isize)
}
