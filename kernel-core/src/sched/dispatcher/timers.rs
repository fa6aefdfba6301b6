//! Timers: absolute deadlines that fire on the CPU that armed them, in `serve`.

use super::{Dispatcher, Guard};
use crate::slab::InsertError;
use crate::timer::{TimerError, TimerId, TimerPayload};
use tessera_hal::{Instant, Requests, SchedHal};

/// Timers that one `serve` fires at most; more that are due fire at once afterwards.
const FIRES_AT_ONCE: usize = 64;

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// Makes room for `count` armed timers in all. `create` does it for eight per thread. May allocate.
    pub fn reserve_timers(&self, count: u32) -> Result<(), InsertError> {
        self.timers.reserve(count)
    }

    /// Arms a timer on this CPU: `serve` will give `payload` to its caller once `deadline` has come. A deadline in the
    /// past is due at once. Allocates nothing. Any context.
    pub fn arm_timer(&self, deadline: Instant, payload: TimerPayload) -> Result<TimerId, TimerError> {
        let mut queue = self.lock(self.hal.this_cpu());
        let id = queue.timers.arm(&self.timers, deadline, payload)?;
        if !queue.deciding && queue.timers.next_deadline(&self.timers) == Some(deadline) {
            let now = self.hal.now();
            self.reprogram(&mut queue, now);
        }
        Ok(id)
    }

    /// Cancels a timer; answers whether it will not fire any more because of this call. Any CPU, any context.
    pub fn cancel_timer(&self, timer: TimerId) -> bool {
        let Some(cancelled) = self.timers.cancel(timer) else { return false };
        let mut queue = self.lock(cancelled.cpu);
        queue.timers.unlink(&self.timers, cancelled);
        // The clockevent stays as it is: a fire for nothing costs less than programming it for each timeout that was
        // not needed.
        true
    }

    /// Fires what is due. The queue is unlocked while `expired` runs, so it may wake threads and arm timers.
    pub(super) fn fire_timers<'a>(
        &'a self,
        mut queue: Guard<'a, H>,
        now: Instant,
        expired: &mut dyn FnMut(TimerPayload),
    ) -> Guard<'a, H> {
        let cpu = queue.cpu;
        for _ in 0..FIRES_AT_ONCE {
            let Some(payload) = queue.timers.fire(&self.timers, now) else { return queue };
            queue.deciding = true;
            drop(queue);
            self.note_firing(cpu, true);
            expired(payload);
            self.note_firing(cpu, false);
            queue = self.lock(cpu);
            queue.deciding = false;
        }
        if queue.timers.next_deadline(&self.timers).is_some_and(|deadline| deadline <= now) {
            let _ = self.hal.request_word(cpu).post(Requests::REARM);
        }
        queue
    }
}
