//! Submissions: what the ring's seven operations do.
//!
//! A submission completes now, or it becomes an [`Operation`] and completes later. Errors come in layers: a negative
//! status when a submission did not reach its object or the results did not reach the program, an exception when the
//! object refuses. Nothing is ever clamped.

use crate::{
    call::{Results, Unfinished},
    kernel::Kernel,
    object::Object,
    operation::{Operation, OperationRef},
    ring::PendingSubmission,
    thread::Thread,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::{Machine, VirtualAddress};
use kernel_core::{
    ring::{Completed, Receive, Return, Submission},
    sched::ThreadId,
};
use tessera_abi::ring::TransportError;
use tessera_schema::message::ExceptionKind;

/// The thread that submits, and what its submissions do to itself.
pub struct Caller<'a, M: Machine> {
    /// The kernel.
    pub kernel: &'static Kernel<M>,
    /// The thread.
    pub thread: &'a Arc<Thread<M>>,
    /// Who is to be woken last, and gets the caller's CPU if the caller blocks.
    pub handoff: Option<ThreadId>,
    /// The thread ends, with this code.
    pub exit: Option<i32>,
    /// The new thread pointer.
    pub thread_pointer: Option<VirtualAddress>,
    /// The submission that is not finished.
    pub unfinished: Option<Unfinished<M>>,
}

impl<'a, M: Machine> Caller<'a, M> {
    /// A caller that has done nothing yet.
    pub const fn new(kernel: &'static Kernel<M>, thread: &'a Arc<Thread<M>>) -> Self {
        Self { kernel, thread, handoff: None, exit: None, thread_pointer: None, unfinished: None }
    }

    /// Makes a submission an operation. `None`: there are too many, and the submission was completed with that.
    pub fn begin(&mut self, operation: Operation<M>) -> Option<OperationRef> {
        let user_data = operation.pending.user_data;
        let begun = self.kernel.begin_for(self.thread, operation);
        if begun.is_none() {
            self.complete(user_data, Completed::Transport(TransportError::Overloaded));
        }
        begun
    }

    /// Completes a submission of the caller's own.
    pub fn complete(&self, user_data: u64, completed: Completed) {
        self.thread.ring.complete(user_data, completed);
    }

    /// Carries a submission out.
    pub fn submit(&mut self, pending: &PendingSubmission) {
        let completed = match &pending.submission {
            Submission::Nop { argument } => Ok(Some(Completed::Value(*argument))),
            Submission::Call(_) => self.call(pending),
            Submission::Receive(receive) => self.receive(pending, receive).map(|()| None),
            Submission::Return(answer) => self.answer(answer).map(|()| Some(Completed::Value(0))),
            Submission::Release { handle } => self.release(*handle).map(|()| Some(Completed::Value(0))),
            Submission::Park(park) => self.park(pending, park),
            Submission::Unpark(unpark) => self.unpark(pending, unpark).map(|()| None),
        };
        match completed {
            Ok(None) => {}
            Ok(Some(completed)) => self.complete(pending.user_data, completed),
            Err(error) => self.complete(pending.user_data, Completed::Transport(error)),
        }
    }

    fn receive(&mut self, pending: &PendingSubmission, receive: &Receive) -> Result<(), TransportError> {
        let Object::Endpoint(serving) = self.thread.process.capability(receive.handle)?.object else {
            return Err(TransportError::WrongInterface);
        };
        serving.endpoint().receive(self, *pending);
        Ok(())
    }

    fn answer(&mut self, answer: &Return) -> Result<(), TransportError> {
        let Object::Endpoint(serving) = self.thread.process.capability(answer.handle)?.object else {
            return Err(TransportError::WrongInterface);
        };
        serving.endpoint().answer(self, answer)
    }

    fn release(&mut self, handle: u64) -> Result<(), TransportError> {
        let process = self.thread.process.clone();
        let capability = process.release(handle)?;
        if let Object::Endpoint(serving) = &capability.object {
            serving.endpoint().server_left(&process, Some(self));
        }
        Ok(())
    }
}

impl<M: Machine> Kernel<M> {
    /// Begins an operation of any thread. `None`: it has too many, or has ended.
    pub fn begin_for(&self, thread: &Thread<M>, operation: Operation<M>) -> Option<OperationRef> {
        let begun = thread.operations.lock().insert(operation);
        let key = begun.ok()?;
        self.counters.operations.fetch_add(1, Ordering::Relaxed);
        Some(OperationRef { thread: thread.index(), key })
    }

    /// Takes an operation out, to complete it. `None`: somebody else has.
    pub fn take(&self, reference: OperationRef) -> Option<(Arc<Thread<M>>, Operation<M>)> {
        let thread = self.threads.get(reference.thread)?;
        let operation = thread.operations.lock().take(reference.key)?;
        self.counters.operations.fetch_sub(1, Ordering::Relaxed);
        Some((thread, operation))
    }

    /// Looks at an operation without taking it out. `None`: it is over.
    pub fn look_at<T>(
        &self,
        reference: OperationRef,
        work: impl FnOnce(&Arc<Thread<M>>, &PendingSubmission, u64) -> T,
    ) -> Option<T> {
        let thread = self.threads.get(reference.thread)?;
        let (pending, badge) = {
            let mut operations = thread.operations.lock();
            let operation = operations.get(reference.key)?;
            (operation.pending, operation.waits_for.badge())
        };
        Some(work(&thread, &pending, badge))
    }

    /// Completes an operation that was taken out, and wakes its thread: at once, or as the last act of `caller`, which
    /// may hand its CPU over.
    pub fn finish(
        &self,
        thread: &Thread<M>,
        operation: &Operation<M>,
        completed: Completed,
        caller: Option<&mut Caller<'_, M>>,
    ) {
        if !thread.ring.complete(operation.pending.user_data, completed) {
            return;
        }
        match caller {
            Some(caller) if caller.thread.id == thread.id => {}
            Some(caller) => {
                if let Some(earlier) = caller.handoff.replace(thread.id).filter(|&earlier| earlier != thread.id) {
                    self.wake(earlier);
                }
            }
            None => self.wake(thread.id),
        }
    }

    /// Completes an operation with an error of the transport, if nobody else has completed it.
    pub fn complete(&self, reference: OperationRef, error: TransportError) {
        if let Some((thread, operation)) = self.take(reference) {
            self.finish(&thread, &operation, Completed::Transport(error), None);
        }
    }

    /// Completes a call with an exception, if nobody else has completed it.
    pub fn refuse(&self, reference: OperationRef, kind: ExceptionKind, reason: &'static str) {
        if let Some((thread, operation)) = self.take(reference) {
            let completed = self.deliver(&thread, Results::exception(kind, reason), &operation.pending);
            self.finish(&thread, &operation, completed, None);
        }
    }
}
