//! What the typed clients stand on: a transport that brings a call to the kernel, and the way of every call through it.
//!
//! No client allocates. Parameters are encoded on the stack; results that are numbers alone are decoded from it, others
//! stand in a buffer of the caller.

use crate::message::{DecodeError, EncodeError, Message};
use tessera_abi::transfer::TransferEntry;

/// Bytes of the buffer for results that are numbers alone, and for the exception that may come instead.
const RESULTS_BYTES: usize = 512;

/// How calls reach the kernel.
pub trait Transport {
    /// Why a call gave no results: the transport's own reasons, exceptions, and messages that do not fit.
    type Error: From<EncodeError> + From<DecodeError>;

    /// Calls a method and waits for its results, which stand at the beginning of `results` afterwards. `lent` travels
    /// with the parameters; what comes with the results stands at the beginning of `received`.
    #[expect(clippy::too_many_arguments, reason = "a submission has these fields")]
    fn call(
        &self,
        handle: u64,
        interface: u64,
        method: u16,
        params: &[u8],
        lent: &[TransferEntry],
        results: &mut [u8],
        received: &mut [TransferEntry],
    ) -> Result<Returned, Self::Error>;
}

/// What a call brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Returned {
    /// Bytes of the results.
    pub length: usize,
    /// How many capabilities came with them.
    pub capabilities: usize,
}

/// A capability, and the way to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target<T> {
    pub transport: T,
    pub handle: u64,
}

impl<T: Transport> Target<T> {
    /// Calls a method (interface and ordinal) whose results are numbers alone. Gives them, and the handles of the
    /// capabilities that came with them.
    pub fn call<'p, R: for<'r> Message<'r>, const PARAMS: usize, const GIVEN: usize>(
        &self,
        method: (u64, u16),
        params: &impl Message<'p>,
        lent: &[TransferEntry],
    ) -> Result<(R, [u64; GIVEN]), T::Error> {
        self.call_into::<R, PARAMS, GIVEN>(method, params, lent, &mut [0; RESULTS_BYTES])
    }

    /// Calls a method whose results borrow from `buffer`, where the exception that may come instead needs room too.
    pub fn call_into<'p, 'r, R: Message<'r>, const PARAMS: usize, const GIVEN: usize>(
        &self,
        (interface, method): (u64, u16),
        params: &impl Message<'p>,
        lent: &[TransferEntry],
        buffer: &'r mut [u8],
    ) -> Result<(R, [u64; GIVEN]), T::Error> {
        let mut encoded = [0; PARAMS];
        let length = params.encode(&mut encoded)?;
        let encoded = encoded.get(..length).unwrap_or_default();
        let mut received = [TransferEntry::default(); GIVEN];
        let Returned { length, capabilities } =
            self.transport.call(self.handle, interface, method, encoded, lent, buffer, &mut received)?;
        if capabilities != GIVEN {
            return Err(DecodeError::Capabilities { expected: GIVEN, received: capabilities }.into());
        }
        let results = R::decode(buffer.get(..length).unwrap_or_default())?;
        Ok((results, received.map(|entry| entry.handle)))
    }
}
