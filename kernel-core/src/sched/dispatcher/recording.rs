//! Where the dispatcher records what it does. Without a recorder each of these is one branch.

use super::super::entity::ThreadId;
use super::super::queue::RunQueue;
use super::super::record::{Arrival, Event, Happening, Recorder};
use super::Dispatcher;
use crate::slab::Slot;
use alloc::collections::TryReserveError;
use tessera_hal::{CpuId, SchedHal};

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Records what happens from here on, up to so many events for each CPU. Allocates, now and never again.
    pub fn record(&mut self, events_per_cpu: u32) -> Result<(), TryReserveError> {
        self.recorder = Some(Recorder::new(self.cpus.len(), events_per_cpu)?);
        Ok(())
    }

    /// What was recorded, if anything is.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// What this CPU does from the point on up to which its time is counted. Under its queue lock.
    #[inline(always)]
    pub(super) fn note_doing(&self, queue: &RunQueue) {
        if let Some(recorder) = &self.recorder {
            self.record_doing(recorder, queue);
        }
    }

    #[cold]
    fn record_doing(&self, recorder: &Recorder, queue: &RunQueue) {
        let what = match (queue.ledger.is_threads(), queue.current) {
            (None, _) => Happening::Interrupted,
            (Some(true), Some(current)) => Happening::Runs(self.id(current.slot)),
            (Some(_), _) => Happening::Idles,
        };
        let (at, waiting) = (queue.ledger.counted_to(), queue.tree.len() as u32);
        recorder.push_doing(queue.cpu, &Event { at, what, waiting });
    }

    /// This CPU has put a thread on a queue, which is up to date and locked.
    #[inline(always)]
    pub(in super::super) fn note_arrival(&self, queue: &RunQueue, slot: Slot, how: impl FnOnce(&Recorder) -> Arrival) {
        if let Some(recorder) = &self.recorder {
            self.record_arrival(recorder, queue, slot, how(recorder));
        }
    }

    #[cold]
    fn record_arrival(&self, recorder: &Recorder, queue: &RunQueue, slot: Slot, how: Arrival) {
        let what = Happening::Arrives { thread: self.id(slot), on: queue.cpu, how };
        let (at, waiting) = (queue.ledger.counted_to(), queue.tree.len() as u32);
        recorder.push(self.hal.this_cpu(), &Event { at, what, waiting });
    }

    /// This CPU wakes a thread.
    pub(super) fn waking(&self) -> impl FnOnce(&Recorder) -> Arrival {
        let cpu = self.hal.this_cpu();
        move |recorder| recorder.waking(cpu)
    }

    /// Who may be about to block here, if that is to be recorded: once it has, others may own it.
    #[inline(always)]
    pub(super) fn may_block(&self, queue: &RunQueue) -> Option<ThreadId> {
        self.recorder.as_ref().and(queue.current).map(|current| self.id(current.slot))
    }

    /// The thread that [`Self::may_block`] gave has blocked.
    pub(super) fn note_blocked(&self, queue: &RunQueue, thread: Option<ThreadId>) {
        if let (Some(recorder), Some(thread)) = (&self.recorder, thread) {
            let (at, waiting) = (queue.ledger.counted_to(), queue.tree.len() as u32);
            recorder.push(queue.cpu, &Event { at, what: Happening::Blocks(thread), waiting });
        }
    }

    /// This CPU ends a thread.
    #[inline(always)]
    pub(super) fn note_end(&self, thread: ThreadId) {
        if let Some(recorder) = &self.recorder {
            let event = Event { at: self.hal.now(), what: Happening::Ends(thread), waiting: 0 };
            recorder.push(self.hal.this_cpu(), &event);
        }
    }

    /// The timers of this CPU fire from here on, or no longer.
    pub(super) fn note_firing(&self, cpu: CpuId, fires: bool) {
        if let Some(recorder) = &self.recorder {
            recorder.set_fires(cpu, fires);
        }
    }
}
