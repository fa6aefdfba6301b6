//! A bounded queue between threads: any number of senders and receivers, no allocation.

use super::{Condvar, KernelParking, Mutex, Parking};
use core::fmt;

/// A queue of at most `N` messages. Senders sleep while it is full, receivers while it is empty.
pub struct Channel<T, const N: usize, P = KernelParking> {
    queue: Mutex<Queue<T, N>, P>,
    not_empty: Condvar<P>,
    not_full: Condvar<P>,
}

/// A ring of messages; `None` where there is none.
struct Queue<T, const N: usize> {
    messages: [Option<T>; N],
    first: usize,
    count: usize,
    is_closed: bool,
}

/// The channel was closed; the message comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed<T>(pub T);

/// Why a message was not sent; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The queue is full.
    Full(T),
    /// The channel was closed.
    Closed(T),
}

/// Why no message was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryReceiveError {
    /// The queue is empty.
    Empty,
    /// The channel was closed, and all its messages were received.
    Closed,
}

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Full(_)) { "Full" } else { "Closed" })
    }
}

impl<T, const N: usize> Queue<T, N> {
    fn push(&mut self, message: T) -> Result<(), TrySendError<T>> {
        if self.is_closed {
            return Err(TrySendError::Closed(message));
        }
        if self.count >= N {
            return Err(TrySendError::Full(message));
        }
        self.messages[(self.first + self.count) % N] = Some(message);
        self.count += 1;
        Ok(())
    }

    fn pop(&mut self) -> Result<T, TryReceiveError> {
        let message = self.messages.get_mut(self.first).and_then(Option::take);
        let none = if self.is_closed { TryReceiveError::Closed } else { TryReceiveError::Empty };
        let message = message.ok_or(none)?;
        self.first = (self.first + 1) % N;
        self.count -= 1;
        Ok(message)
    }
}

impl<T, const N: usize, P: Parking> Channel<T, N, P> {
    /// An empty channel.
    pub const fn new() -> Self {
        const { assert!(N > 0, "a channel has room for a message") };
        let queue = Queue { messages: [const { None }; N], first: 0, count: 0, is_closed: false };
        Self { queue: Mutex::new(queue), not_empty: Condvar::new(), not_full: Condvar::new() }
    }

    /// Sends a message if there is room.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.queue.lock().push(message)?;
        self.not_empty.notify_one();
        Ok(())
    }

    /// Sends a message; sleeps until there is room.
    pub fn send(&self, mut message: T) -> Result<(), Closed<T>> {
        let mut queue = self.queue.lock();
        loop {
            match queue.push(message) {
                Ok(()) => break,
                Err(TrySendError::Closed(message)) => return Err(Closed(message)),
                Err(TrySendError::Full(unsent)) => message = unsent,
            }
            queue = self.not_full.wait(queue);
        }
        drop(queue);
        self.not_empty.notify_one();
        Ok(())
    }

    /// Receives the oldest message, if there is one.
    pub fn try_receive(&self) -> Result<T, TryReceiveError> {
        let message = self.queue.lock().pop()?;
        self.not_full.notify_one();
        Ok(message)
    }

    /// Receives the oldest message; sleeps until there is one. `None`: the channel was closed and is empty.
    pub fn receive(&self) -> Option<T> {
        let mut queue = self.queue.lock();
        let message = loop {
            match queue.pop() {
                Ok(message) => break message,
                Err(TryReceiveError::Closed) => return None,
                Err(TryReceiveError::Empty) => queue = self.not_empty.wait(queue),
            }
        };
        drop(queue);
        self.not_full.notify_one();
        Some(message)
    }

    /// Lets nobody send any more. What was sent can still be received.
    pub fn close(&self) {
        self.queue.lock().is_closed = true;
        self.not_empty.notify_all();
        self.not_full.notify_all();
    }

    /// How many messages wait at this moment.
    pub fn len(&self) -> usize {
        self.queue.lock().count
    }

    /// Whether none waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T, const N: usize, P: Parking> Default for Channel<T, N, P> {
    fn default() -> Self {
        Self::new()
    }
}
