//! Synchronization of the threads of a process: they sleep in the kernel (PARK) and wake each other (UNPARK), and where
//! nobody has to wait there is no call.
//!
//! Every type is generic over how its threads sleep ([`Parking`]), so that the very code that programs use is tested on a
//! host. Programs leave the parameter alone: [`KernelParking`] parks by the calling thread's ring and the ParkSpace that
//! the program was granted.

mod channel;
mod condvar;
mod mutex;
mod once;
mod parking;
mod semaphore;

pub use channel::{Channel, Closed, TryReceiveError, TrySendError};
pub use condvar::{Condvar, WaitOutcome};
pub use mutex::{Mutex, MutexGuard, RawMutex};
pub use once::Once;
pub use parking::{KernelParking, Parking};
pub use semaphore::Semaphore;

#[cfg(test)]
mod tests;
