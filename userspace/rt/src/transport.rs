//! The way of every typed client to the kernel: the ring of the thread that calls.

use crate::{
    CallError,
    ring::{
        self, MethodId,
        operations::{Callee, Returned},
    },
};
use tessera_abi::transfer::TransferEntry;
use tessera_schema::client::Transport;

/// The calling thread's own ring. A client over it can be used by any thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwnRing;

impl Transport for OwnRing {
    type Error = CallError;

    fn call(
        &self,
        handle: u64,
        interface: u64,
        method: u16,
        params: &[u8],
        lent: &[TransferEntry],
        results: &mut [u8],
        received: &mut [TransferEntry],
    ) -> Result<Returned, CallError> {
        let callee = Callee { handle, method: MethodId { interface, method } };
        ring::current().call(callee, params, lent, results, received)
    }
}
