//! `ThreadSpawner`, `ThreadHandle` and `ThreadControl`.

use super::{Answer, Reply, Request, Results, TOO_MANY_OPERATIONS, failed, invalid, overloaded, process};
use crate::{
    kernel::Kernel,
    object::Object,
    operation::{Operation, OperationRef, WaitsFor},
    spawn::ThreadStart,
    submission::Caller,
    thread::Thread,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::{Machine, VirtualAddress};
use tessera_schema::generated::{
    interfaces::{thread_control, thread_handle, thread_spawner},
    messages::{CreateThreadParams, CreateThreadResults, ThreadEnding},
};

impl<M: Machine> Caller<'_, M> {
    pub(super) fn thread_spawner<'r>(
        &mut self,
        call: thread_spawner::Call<'_>,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        let thread_spawner::Call::Create(params) = call;
        let places = request.places(1)?;
        let kernel = self.kernel;
        let thread = self.create(&params, request)?;
        let results = Results::of(&CreateThreadResults { thread_id: thread.id.as_u64() });
        // One that was ended meanwhile is stale, and needs no start.
        let _ = kernel.dispatcher.start(thread.id, Some(kernel.machine.this_cpu()));
        Ok(request.give_with(results, [Object::Thread(thread).into()], places))
    }

    fn create(
        &self,
        params: &CreateThreadParams<'_>,
        request: &Request<'_, M>,
    ) -> Result<Arc<Thread<M>>, super::Refused> {
        let address = |value| usize::try_from(value).map(VirtualAddress).map_err(|_| invalid("no such address"));
        let start = ThreadStart {
            entry: self.user_address(params.entry)?,
            stack: address(params.stack)?,
            argument: params.argument as usize,
            thread_pointer: match params.tls_base {
                0 => None,
                base => Some(self.user_address(base)?),
            },
        };
        let most = &self.thread.permitted;
        let attributes = process::attributes(params.weight, params.class, params.request_ns, params.affinity, most)?;
        self.kernel.make_thread(request.process, start, attributes).map_err(process::thread_refusal)
    }

    fn user_address(&self, address: u64) -> Result<VirtualAddress, super::Refused> {
        let user = self.kernel.machine.user_range();
        let address = usize::try_from(address).ok().filter(|address| user.contains(address));
        address.map(VirtualAddress).ok_or(invalid("the address is not one that programs can have"))
    }

    pub(super) fn thread_handle<'r>(
        &mut self,
        thread: &Arc<Thread<M>>,
        call: thread_handle::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        match call {
            thread_handle::Call::Join => self.join(thread, request),
            thread_handle::Call::Detach => {
                claim(thread)?;
                Ok(Reply::empty())
            }
            thread_handle::Call::Snapshot => self.snapshot(thread),
        }
    }

    fn join<'r>(&mut self, thread: &Arc<Thread<M>>, request: &Request<'r, M>) -> Answer<'r, M> {
        if Arc::ptr_eq(thread, self.thread) {
            return Err(invalid("a thread cannot wait for its own end"));
        }
        claim(thread)?;
        let operation = Operation { pending: *request.pending, waits_for: WaitsFor::ThreadEnd(thread.clone()) };
        let Some(reference) = self.kernel.begin_for(self.thread, operation) else {
            thread.claimed.store(false, Ordering::Release);
            return Err(TOO_MANY_OPERATIONS);
        };
        match thread.waiters.add(reference) {
            Ok(true) => Ok(Reply::Later),
            Ok(false) => self.answer_now(reference, ending(thread)),
            Err(_) => {
                drop(self.kernel.take(reference));
                thread.claimed.store(false, Ordering::Release);
                Err(overloaded("too many wait for the end of this thread"))
            }
        }
    }

    pub(super) fn thread_control<'r>(&mut self, call: thread_control::Call, request: &Request<'r, M>) -> Answer<'r, M> {
        match call {
            thread_control::Call::Exit(params) => {
                self.exit = Some(params.code.cast_signed());
                Ok(Reply::empty())
            }
            thread_control::Call::SetTlsBase(params) => {
                self.thread_pointer = Some(self.user_address(params.address)?);
                Ok(Reply::empty())
            }
            thread_control::Call::Handle => {
                let places = request.places(1)?;
                Ok(request.give(Object::Thread(self.thread.clone()), places))
            }
        }
    }
}

fn claim<M: Machine>(thread: &Thread<M>) -> Result<(), super::Refused> {
    match thread.claimed.swap(true, Ordering::AcqRel) {
        false => Ok(()),
        true => Err(failed("the thread was joined or detached before")),
    }
}

fn ending<M: Machine>(thread: &Thread<M>) -> Results {
    Results::of(&ThreadEnding { code: thread.exit_code.get().copied().unwrap_or(0).cast_unsigned() })
}

impl<M: Machine> Kernel<M> {
    /// Tells the one who joins that a thread has ended.
    pub fn complete_join(&self, waiter: OperationRef, thread: &Thread<M>) {
        let Some((joining, operation)) = self.take(waiter) else { return };
        let completed = self.deliver(&joining, ending(thread), &operation.pending);
        self.finish(&joining, &operation, completed, None);
    }
}
