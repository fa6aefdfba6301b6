//! Where a thread stands: what a person asks who wonders why it does not run.

use super::super::entity::ThreadId;
use super::change::Owned;
use super::{Dispatcher, StaleThread};
use crate::sync::{Masked, ThreadState};
use tessera_hal::{CpuId, Instant, SchedHal};

/// The most waiting threads that are looked at.
pub const MOST_AHEAD: u32 = 64;

/// Where a thread stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// What it does.
    pub state: ThreadState,
    /// The CPU whose queue it is on, or on which it ran last.
    pub cpu: CpuId,
    /// Threads that are ahead of it there: the one that runs, and those that wait and are due before it.
    pub ahead: u32,
    /// There may be more than `ahead` says.
    pub is_least: bool,
    /// Since when it waits for a CPU, if it does.
    pub waiting_since: Option<Instant>,
}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Where a thread stands now. Looks at [`MOST_AHEAD`] waiting threads at most. Any CPU, any context.
    pub fn position(&self, thread: ThreadId) -> Result<Position, StaleThread> {
        let _masked = Masked::new(&self.hal);
        let (entity, slot, owned) = self.own(thread)?;
        match owned {
            Owned::Claimed { last_cpu } => {
                self.give_back(entity, slot, last_cpu);
                let state = ThreadState::Blocked;
                Ok(Position { state, cpu: last_cpu, ahead: 0, is_least: false, waiting_since: None })
            }
            Owned::OnQueue(queue, state @ ThreadState::Queued) => {
                let nodes = queue.nodes(&self.threads);
                let looked = queue.tree.iter(&nodes).take(MOST_AHEAD as usize).position(|other| other == slot);
                let runs = u32::from(queue.current.is_some());
                let waiting = looked.map_or(MOST_AHEAD, |place| place as u32);
                let since = Some(entity.waiting_since.get());
                let (ahead, is_least) = (waiting + runs, looked.is_none());
                Ok(Position { state, cpu: queue.cpu, ahead, is_least, waiting_since: since })
            }
            Owned::OnQueue(queue, state) => {
                Ok(Position { state, cpu: queue.cpu, ahead: 0, is_least: false, waiting_since: None })
            }
        }
    }
}
