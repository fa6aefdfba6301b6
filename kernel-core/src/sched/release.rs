//! The release queue: threads whose budget is used up, by the time of their next refill.
//!
//! Nothing has a budget yet, so nothing is ever put here and [`ReleaseQueue::next_refill`] is always `None`; the place
//! exists because `next_event`, the thread states and the invariants name it.

use tessera_hal::Instant;

/// Who waits for a refill on one CPU. Empty until budgets come.
#[derive(Debug, Default)]
pub struct ReleaseQueue(());

impl ReleaseQueue {
    /// A queue where nobody waits.
    pub const fn new() -> Self {
        Self(())
    }

    /// When the first refill comes.
    pub const fn next_refill(&self) -> Option<Instant> {
        None
    }

    /// How many wait.
    pub const fn len(&self) -> usize {
        0
    }

    /// Whether nobody waits.
    pub const fn is_empty(&self) -> bool {
        true
    }
}
