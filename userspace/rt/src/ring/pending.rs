//! Calls that a program does not wait for at once (feature `heap`): their buffers are their own.

use super::{
    Ring,
    operations::{Callee, TransferArray, call_entry, returned},
    succeeded,
};
use crate::CallError;
use alloc::{boxed::Box, vec};
use core::mem;
use tessera_abi::{ring::CompletionEntry, system_call::WAIT_FOREVER, transfer::TransferEntry};

/// A call that is under way. It stays with the thread that made it.
#[must_use]
pub struct Pending {
    ring: Ring,
    user_data: u64,
    /// `None` when the call has ended.
    buffers: Option<Box<Buffers>>,
}

/// What the kernel writes to until the call has ended.
struct Buffers {
    params: Box<[u8]>,
    results: Box<[u8]>,
    array: TransferArray,
}

/// What a call brought.
pub struct Ended {
    buffers: Box<Buffers>,
    length: usize,
    capabilities: usize,
}

impl Ended {
    /// The results.
    pub fn results(&self) -> &[u8] {
        self.buffers.results.get(..self.length).unwrap_or_default()
    }

    /// The capabilities that came with them.
    pub fn capabilities(&self) -> &[TransferEntry] {
        self.buffers.array.entries().get(..self.capabilities).unwrap_or_default()
    }
}

impl Ring {
    /// Begins a call: puts it into the submission queue, which the kernel sees when the thread next enters. There is
    /// room for `results_bytes` of results (or of an exception) and for `room` capabilities.
    pub fn begin_call(
        &self,
        callee: Callee,
        params: &[u8],
        lent: &[TransferEntry],
        results_bytes: usize,
        room: usize,
    ) -> Result<Pending, CallError> {
        let mut buffers = Box::new(Buffers {
            params: params.into(),
            results: vec![0; results_bytes].into_boxed_slice(),
            array: TransferArray::new(lent, room)?,
        });
        let mut entry = call_entry(callee, &buffers.params, &mut buffers.results);
        buffers.array.name_in(&mut entry);
        // SAFETY: the buffers are on the heap and stay there, untouched, until `Pending` has seen the completion.
        let user_data = unsafe { self.submit_awaited(entry) }?;
        Ok(Pending { ring: *self, user_data, buffers: Some(buffers) })
    }
}

/// What the first of several calls that ended brought, and which one it is.
pub type FirstEnded = (usize, Result<Ended, CallError>);

impl Ring {
    /// Waits until one of these calls has ended; `None` if all have before.
    pub fn wait_any(&self, calls: &mut [Pending]) -> Result<Option<FirstEnded>, CallError> {
        loop {
            // Counted before they are looked at: one that comes meanwhile is one more than these.
            let seen = self.waiting();
            let ended = calls.iter_mut().enumerate().find_map(|(index, call)| Some((index, call.poll()?)));
            if ended.is_some() || calls.iter().all(|call| call.buffers.is_none()) {
                return Ok(ended);
            }
            self.enter(seen + 1, WAIT_FOREVER)?;
        }
    }
}

impl Pending {
    /// What the call brought, if it has ended. Does not enter the kernel.
    pub fn poll(&mut self) -> Option<Result<Ended, CallError>> {
        let user_data = self.user_data;
        let completion = self.ring.take(|entry| entry.user_data == user_data)?;
        self.end(&completion)
    }

    /// Waits until the call has ended.
    pub fn wait(mut self) -> Result<Ended, CallError> {
        let completion = self.ring.wait_for(self.user_data)?;
        self.end(&completion).unwrap_or(Err(CallError::QueueFull))
    }

    fn end(&mut self, completion: &CompletionEntry) -> Option<Result<Ended, CallError>> {
        let buffers = self.buffers.take()?;
        let returned = succeeded(*completion).and_then(|completion| returned(&completion, &buffers.results));
        Some(returned.map(|returned| Ended { buffers, length: returned.length, capabilities: returned.capabilities }))
    }
}

impl Drop for Pending {
    /// Waits: the kernel would write to buffers that are gone. A ring that answers no more keeps them.
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take()
            && self.ring.wait_for(self.user_data).is_err()
        {
            mem::forget(buffers);
        }
    }
}
