//! Servers: programs that answer the calls of an endpoint.
//!
//! [`serve`] is the loop of a server that answers each call before it takes the next, with one system call for both. A
//! server that answers later keeps the call's id and uses [`Ring::receive`](crate::ring::Ring::receive) and
//! [`Ring::reply`](crate::ring::Ring::reply) itself.

use crate::{
    CallError,
    message::{EncodeError, Exception, ExceptionKind, Message},
    ring::{
        self,
        operations::{Answer, ReceiveBuffer, Received},
    },
};
use tessera_abi::{
    ring::{MAX_MESSAGE_BYTES, TransportError},
    transfer::{MAX_TRANSFER, TransferEntry},
};

/// Why a server does not do what a call asks: the caller's exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What kind of reason.
    pub kind: ExceptionKind,
    /// The reason, for people.
    pub reason: &'static str,
}

impl Refusal {
    /// A parameter has a value that the method does not take.
    pub const fn invalid_argument(reason: &'static str) -> Self {
        Self { kind: ExceptionKind::InvalidArgument, reason }
    }

    /// The interface has no such method.
    pub const fn unimplemented() -> Self {
        Self { kind: ExceptionKind::Unimplemented, reason: "the server has no such method" }
    }

    /// It went wrong.
    pub const fn failed(reason: &'static str) -> Self {
        Self { kind: ExceptionKind::Failed, reason }
    }
}

impl From<EncodeError> for Refusal {
    fn from(_: EncodeError) -> Self {
        Self::failed("the results are longer than a message")
    }
}

/// What goes back with an answer.
pub struct Results {
    bytes: [u8; MAX_MESSAGE_BYTES as usize],
    length: usize,
    given: [TransferEntry; MAX_TRANSFER],
    given_count: usize,
}

impl Results {
    const fn new() -> Self {
        Self {
            bytes: [0; MAX_MESSAGE_BYTES as usize],
            length: 0,
            given: [TransferEntry { handle: 0, detail: 0 }; MAX_TRANSFER],
            given_count: 0,
        }
    }

    /// Answers with these bytes.
    pub fn set_bytes(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let (needed, available) = (bytes.len(), self.bytes.len());
        let place = self.bytes.get_mut(..needed).ok_or(EncodeError::BufferTooSmall { needed, available })?;
        place.copy_from_slice(bytes);
        self.length = needed;
        Ok(())
    }

    /// Answers with a struct of a schema.
    pub fn set<'p>(&mut self, message: &impl Message<'p>) -> Result<(), Refusal> {
        self.length = message.encode(&mut self.bytes)?;
        Ok(())
    }

    /// Lets a capability go along: [`copied`](crate::client::copied) or [`moved`](crate::client::moved).
    pub fn give(&mut self, capability: TransferEntry) -> Result<(), Refusal> {
        let place = self.given.get_mut(self.given_count).ok_or(Refusal::failed("too many capabilities"))?;
        *place = capability;
        self.given_count += 1;
        Ok(())
    }

    fn clear(&mut self) {
        (self.length, self.given_count) = (0, 0);
    }

    /// The answer to a call, as the handler left it.
    fn answer(&mut self, call: u64, outcome: Result<(), Refusal>) -> Answer<'_> {
        if let Err(Refusal { kind, reason }) = outcome {
            self.clear();
            // A reason that does not fit is left out; the kind always fits.
            let encoded = Exception { kind, reason }.encode(&mut self.bytes);
            let encoded = encoded.or_else(|_| Exception { kind, reason: "" }.encode(&mut self.bytes));
            self.length = encoded.unwrap_or(0);
        }
        Answer {
            call,
            is_exception: outcome.is_err(),
            results: self.bytes.get(..self.length).unwrap_or_default(),
            given: self.given.get(..self.given_count).unwrap_or_default(),
        }
    }
}

/// Answers the calls of an endpoint until it is gone, or until the program has given its capability up while a call was
/// answered (as a client in the same program may, once it has its answer). Capabilities that come with a call are the handler's to keep or to
/// release.
///
/// A caller that cannot take its answer any more, because it has ended or has no room, is no error.
pub fn serve(
    endpoint: u64,
    mut handler: impl FnMut(&Received<'_>, &mut Results) -> Result<(), Refusal>,
) -> Result<(), CallError> {
    let (mut results, mut buffer) = (Results::new(), ReceiveBuffer::new());
    let ring = ring::current();
    let mut received = ring.receive(endpoint, &mut buffer);
    let mut has_served = false;
    loop {
        let call = match received {
            Ok(call) => call,
            Err(error) if error.is_transport(TransportError::Disconnected) => return Ok(()),
            Err(error) if has_served && error.is_transport(TransportError::InvalidHandle) => return Ok(()),
            Err(error) => return Err(error),
        };
        has_served = true;
        results.clear();
        let (id, outcome) = (call.call, handler(&call, &mut results));
        let answer = results.answer(id, outcome);
        received = ring.reply_and_receive(endpoint, answer, &mut buffer).map(|(_, call)| call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::messages::TimerNowResults;

    #[test]
    fn an_answer_holds_what_the_handler_set() {
        let mut results = Results::new();
        results.set(&TimerNowResults { now_ns: 5 }).unwrap();
        results.give(TransferEntry { handle: 7, detail: 1 }).unwrap();
        let answer = results.answer(3, Ok(()));
        assert_eq!((answer.call, answer.is_exception, answer.given.len()), (3, false, 1));
        assert_eq!(TimerNowResults::decode(answer.results).unwrap().now_ns, 5);
    }

    #[test]
    fn a_refusal_gives_an_exception_and_no_capability() {
        let mut results = Results::new();
        results.set_bytes(b"half done").unwrap();
        results.give(TransferEntry::default()).unwrap();
        let answer = results.answer(3, Err(Refusal::invalid_argument("no")));
        let exception = Exception::decode(answer.results).unwrap();
        assert_eq!((exception.kind, exception.reason), (ExceptionKind::InvalidArgument, "no"));
        assert!(answer.is_exception && answer.given.is_empty());
    }

    #[test]
    fn results_that_do_not_fit_are_refused() {
        let mut results = Results::new();
        assert!(results.set_bytes(&[0; MAX_MESSAGE_BYTES as usize]).is_ok());
        assert!(results.set_bytes(&[0; MAX_MESSAGE_BYTES as usize + 1]).is_err());
        for _ in 0..MAX_TRANSFER {
            results.give(TransferEntry::default()).unwrap();
        }
        assert!(results.give(TransferEntry::default()).is_err());
    }
}
