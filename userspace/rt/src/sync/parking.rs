//! How a thread sleeps on a word, and how it is woken.

use crate::{client::ParkSpace, ring, start};
use core::sync::atomic::{AtomicU32, Ordering};
use tessera_abi::ring::TransportError;

/// How threads sleep. Words are compared and sleepers added in one step with respect to [`unpark`](Parking::unpark), so
/// that whoever changes a word and then unparks loses nobody.
pub trait Parking {
    /// Sleeps as long as the word has the expected value, at most until the deadline (nanoseconds since boot). May return
    /// at any time for no reason.
    fn park(word: &AtomicU32, expected: u32, deadline_ns: Option<u64>);

    /// Wakes at most `most` sleepers of the word at this address, the longest sleeper first. The word itself may be gone:
    /// whoever was about to sleep there may have gone on and freed it.
    fn unpark(word: *const AtomicU32, most: u32);

    /// Whether the deadline has come.
    fn is_over(deadline_ns: u64) -> bool;
}

/// PARK and UNPARK of the kernel. Without a ParkSpace, threads look at the word every 100 us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelParking {}

/// How long a thread without ParkSpace sleeps between two looks.
const LOOK_AGAIN_NS: u64 = 100_000;

impl Parking for KernelParking {
    fn park(word: &AtomicU32, expected: u32, deadline_ns: Option<u64>) {
        let ring = ring::current();
        let outcome = match space() {
            Some(space) => ring.park(space, word, expected, deadline_ns).map(drop),
            // One completion more than there are: none comes, unless an operation of the program ends.
            None if word.load(Ordering::Acquire) == expected => ring.enter(ring.waiting() + 1, LOOK_AGAIN_NS).map(drop),
            None => Ok(()),
        };
        match outcome {
            // As many parks or operations as there may be: sleep a little, look again.
            Err(error) if error.is_transport(TransportError::Overloaded) => {
                let _ = ring.enter(ring.waiting() + 1, LOOK_AGAIN_NS);
            }
            Err(error) => panic!("cannot park: {error}"),
            Ok(()) => {}
        }
    }

    fn unpark(word: *const AtomicU32, most: u32) {
        let Some(space) = space() else { return };
        match ring::current().unpark_address(space, word.addr(), most) {
            // The word's memory is gone, and whoever slept there was told so.
            Err(error) if error.is_transport(TransportError::BadWord) => {}
            // A sleeper that is not woken would sleep for ever: better to end here.
            Err(error) => panic!("cannot unpark: {error}"),
            Ok(_) => {}
        }
    }

    fn is_over(deadline_ns: u64) -> bool {
        // Without a clock nothing can be awaited, so every wait is over at once.
        crate::time::now_ns().is_none_or(|now_ns| now_ns >= deadline_ns)
    }
}

fn space() -> Option<u64> {
    start::granted_interface(ParkSpace::INTERFACE)
}
