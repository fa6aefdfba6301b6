//! Threads and what they wait for.
//!
//! Who may touch what: the execution state belongs to the CPU that runs the thread, which holds its lock from the
//! dispatch to the next decision; ring and sleeps are shared with timers that fire on other CPUs. A thread is only
//! handed to the dispatcher after its execution lock was released, so a CPU that gets it next never waits.
//! Lock order: execution, then sleeps, then the ring.

use crate::{process::Process, ring::Ring};
use alloc::sync::Arc;
use hal::{CpuSet, Instant, Machine, SystemCall};
use kernel_core::ring::Call;
use kernel_core::sched::{ThreadId, TimerId};
use spin::Mutex;

/// The most sleeps that one thread can have outstanding.
pub const MAX_SLEEPS: usize = 16;

/// A `cap_enter` that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// How many completions it waits for.
    pub min_complete: u32,
    /// When it gives up.
    pub deadline: Option<Instant>,
    /// The timer that ends it.
    pub timer: Option<TimerId>,
}

/// What only the CPU that runs the thread touches.
pub struct Execution<M: Machine> {
    /// The user registers.
    pub context: M::Context,
    /// The system call that has not returned yet.
    pub wait: Option<Wait>,
    /// The system call that is to be made again before user mode is entered.
    pub again: Option<SystemCall>,
}

/// A call that was taken out of the ring and must be completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingCall {
    /// From the submission.
    pub user_data: u64,
    /// What it asks for.
    pub call: Call,
}

/// A `Timer.sleep` that has not completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sleep {
    /// The call that it completes.
    pub pending: PendingCall,
    /// The timer that ends it.
    pub timer: Option<TimerId>,
}

/// Names one sleep of one thread for as long as it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SleepKey {
    /// Which slot.
    pub slot: u8,
    /// Which use of the slot.
    pub generation: u16,
}

#[derive(Clone, Copy, Default)]
struct SleepSlot {
    generation: u16,
    sleep: Option<Sleep>,
}

/// The sleeps of a thread.
#[derive(Default)]
pub struct Sleeps {
    slots: [SleepSlot; MAX_SLEEPS],
}

impl Sleeps {
    /// Takes a free slot. `None`: too many are outstanding.
    pub fn insert(&mut self, sleep: Sleep) -> Option<SleepKey> {
        let index = self.slots.iter().position(|slot| slot.sleep.is_none())?;
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1);
        slot.sleep = Some(sleep);
        Some(SleepKey { slot: index as u8, generation: slot.generation })
    }

    fn slot(&mut self, key: SleepKey) -> Option<&mut SleepSlot> {
        self.slots.get_mut(usize::from(key.slot)).filter(|slot| slot.generation == key.generation)
    }

    /// Remembers the timer of a sleep.
    pub fn set_timer(&mut self, key: SleepKey, timer: TimerId) {
        if let Some(sleep) = self.slot(key).and_then(|slot| slot.sleep.as_mut()) {
            sleep.timer = Some(timer);
        }
    }

    /// Ends a sleep. `None`: it has ended before.
    pub fn remove(&mut self, key: SleepKey) -> Option<Sleep> {
        self.slot(key).and_then(|slot| slot.sleep.take())
    }

    /// Ends all.
    pub fn drain(&mut self) -> impl Iterator<Item = Sleep> + '_ {
        self.slots.iter_mut().filter_map(|slot| slot.sleep.take())
    }
}

/// A thread.
pub struct Thread<M: Machine> {
    /// Its place in the kernel's table, which is also the dispatcher's payload.
    pub index: u32,
    /// What the dispatcher calls it.
    pub id: ThreadId,
    /// Its process.
    pub process: Arc<Process<M>>,
    /// The CPUs that its spawner permits; the thread may narrow its mask within, never widen it.
    pub spawner_mask: CpuSet,
    /// Its ring.
    pub ring: Ring<M>,
    /// Its outstanding sleeps.
    pub sleeps: Mutex<Sleeps>,
    /// Its registers and system call.
    pub execution: Mutex<Execution<M>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    use kernel_core::ring::Transfer;

    fn sleep(user_data: u64) -> Sleep {
        let call = Call {
            handle: 0,
            interface: 0,
            method: 0,
            params: 0,
            params_len: 0,
            results: 0,
            results_len: 0,
            transfer: Transfer::default(),
        };
        Sleep { pending: PendingCall { user_data, call }, timer: None }
    }

    #[test]
    fn sleeps_are_bounded_and_a_late_timer_cannot_end_the_next_one() {
        let mut sleeps = Sleeps::default();
        let first = sleeps.insert(sleep(1)).unwrap();
        assert_eq!(sleeps.remove(first), Some(sleep(1)));
        let second = sleeps.insert(sleep(2)).unwrap();
        assert_eq!(second.slot, first.slot);
        assert_eq!(sleeps.remove(first), None);
        for _ in 1..MAX_SLEEPS {
            sleeps.insert(sleep(1)).unwrap();
        }
        assert_eq!(sleeps.insert(sleep(1)), None);
        assert_eq!(sleeps.drain().count(), MAX_SLEEPS);
        assert_eq!(sleeps.remove(second), None);
    }
}
