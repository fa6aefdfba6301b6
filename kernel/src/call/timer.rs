//! `Timer`.

use super::{Answer, Reply, Request, TOO_MANY_OPERATIONS};
use crate::{
    call::Results,
    expiry::Expiry,
    kernel::Kernel,
    operation::{Operation, OperationRef, WaitsFor},
    submission::Caller,
};
use hal::{Instant, Machine};
use kernel_core::ring::Completed;
use tessera_abi::ring::ParkOutcome;
use tessera_schema::generated::{interfaces::timer::Call, messages::TimerNowResults};

impl<M: Machine> Caller<'_, M> {
    pub(super) fn timer<'r>(&mut self, call: Call, request: &Request<'r, M>) -> Answer<'r, M> {
        match call {
            Call::Now => Ok(Reply::of(&TimerNowResults { now_ns: self.kernel.machine.now().as_nanos() })),
            Call::Sleep(params) => self.sleep(Instant::from_nanos(params.deadline_ns), request),
        }
    }

    /// Arms a timer for the call, or answers it at once if the deadline has passed.
    fn sleep<'r>(&mut self, deadline: Instant, request: &Request<'r, M>) -> Answer<'r, M> {
        if deadline <= self.kernel.machine.now() {
            return Ok(Reply::empty());
        }
        let operation = Operation { pending: *request.pending, waits_for: WaitsFor::Sleep { timer: None } };
        let reference = self.kernel.begin_for(self.thread, operation).ok_or(TOO_MANY_OPERATIONS)?;
        if self.kernel.arm_for(reference, deadline) {
            return Ok(Reply::Later);
        }
        drop(self.kernel.take(reference));
        Err(TOO_MANY_OPERATIONS)
    }
}

impl<M: Machine> Kernel<M> {
    /// Arms the timer of an operation that has begun. It fires on this CPU, outside system calls, so it cannot fire before
    /// it is remembered. Answers `false` if no timer is left.
    pub fn arm_for(&self, reference: OperationRef, deadline: Instant) -> bool {
        let Ok(armed) = self.arm(deadline, Expiry::Operation(reference)) else { return false };
        if let Some(thread) = self.threads.get(reference.thread) {
            let mut operations = thread.operations.lock();
            match operations.get(reference.key).map(|operation| &mut operation.waits_for) {
                Some(WaitsFor::Sleep { timer } | WaitsFor::Park { timer, .. }) => *timer = Some(armed),
                _ => {
                    drop(operations);
                    self.disarm(armed);
                }
            }
        }
        true
    }

    /// The deadline of an operation has come. Any CPU.
    pub fn operation_expired(&self, reference: OperationRef) {
        let Some((thread, operation)) = self.take(reference) else { return };
        let completed = match &operation.waits_for {
            WaitsFor::Park { key, .. } => {
                self.parks.cancel(key, reference);
                thread.process.quotas.parks.release(1);
                Completed::Value(ParkOutcome::TimedOut as u64)
            }
            _ => self.deliver(&thread, Results::empty(), &operation.pending),
        };
        self.finish(&thread, &operation, completed, None);
    }
}
