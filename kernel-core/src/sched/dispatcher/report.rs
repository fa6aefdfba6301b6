//! What the scheduler tells about threads and CPUs.

use super::super::account::{Paid, Ran};
use super::super::entity::{Entity, ThreadId};
use super::super::next_event::Fires;
use super::super::vtime::Weight;
use super::change::Owned;
use super::{CpuError, Dispatcher, StaleThread};
use crate::sync::{Masked, ThreadState};
use tessera_abi::scheduling::LatencyClass;
use tessera_hal::{CpuId, CpuSet, Duration, Requests, SchedHal};

/// A thread at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot<const WORDS: usize = 8> {
    /// Its share.
    pub weight: Weight,
    /// What it wants of its latency.
    pub class: LatencyClass,
    /// How long it runs at a time: its own wish or what its class gets.
    pub request: Duration,
    /// Where it may run.
    pub affinity: CpuSet<WORDS>,
    /// What it does.
    pub state: ThreadState,
    /// Where it is, or was last.
    pub cpu: CpuId,
    /// Time that it ran, without interrupts.
    pub runtime: Duration,
    /// The same, scaled by its weights, in reference-weight nanoseconds.
    pub virtual_runtime_ns: u64,
    /// Time that it waited for a CPU.
    pub runnable: Duration,
    /// The longest that it waited at once.
    pub longest_wait: Duration,
    /// The most dispatches of others on its CPU between a wake-up, a start or a move and its own first one there.
    pub most_passed_by: u64,
    /// The longest that it ran before it was charged.
    pub longest_charge: Duration,
    /// How often it was put on a CPU, or left there for another request.
    pub dispatches: u64,
    /// How many of these were outside its affinity at that moment. Always zero.
    pub dispatches_outside: u64,
    /// How often another one, due before, took its CPU within its request.
    pub preemptions: u64,
    /// How often it blocked.
    pub voluntary_blocks: u64,
    /// How often it was dispatched on another CPU than the last time.
    pub migrations: u64,
}

/// A CPU at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuSnapshot {
    /// Since `begin`.
    pub elapsed: Duration,
    /// Who ran. Closes to `elapsed`.
    pub ran: Ran,
    /// Who paid. Closes to `elapsed`.
    pub paid: Paid,
    /// How often the clockevent fired, by set of reasons.
    pub fires: Fires,
    /// Fires with a grid point that was armed and due.
    pub grid_fires: u64,
    /// Kicks that this CPU sent to others.
    pub kicks_sent: u64,
    /// Kicks that it served.
    pub kicks_received: u64,
    /// Threads that it took from other CPUs.
    pub steals: u64,
    /// Dispatches of another thread than the one before.
    pub switches: u64,
    /// How often the clockevent could not be armed.
    pub arm_failures: u64,
    /// The longest time charged at once.
    pub longest_charge: Duration,
    /// The thread that runs.
    pub current: Option<ThreadId>,
    /// How many wait.
    pub waiting: usize,
}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// The thread as it is now, charged up to now. Any CPU, any context.
    pub fn snapshot(&self, thread: ThreadId) -> Result<Snapshot<WORDS>, StaleThread> {
        let _masked = Masked::new(&self.hal);
        let (entity, slot, owned) = self.own(thread)?;
        match owned {
            Owned::Claimed { last_cpu } => {
                let snapshot = take(entity, ThreadState::Blocked, last_cpu, Duration::ZERO);
                self.give_back(entity, slot, last_cpu);
                Ok(snapshot)
            }
            Owned::OnQueue(mut queue, state) => {
                let now = self.hal.now();
                queue.bring_up_to_date(&self.threads, now);
                // One that still waits has waited until now.
                let waits = match state {
                    ThreadState::Queued => now.saturating_duration_since(entity.waiting_since.get()),
                    _ => Duration::ZERO,
                };
                Ok(take(entity, state, queue.cpu, waits))
            }
        }
    }

    /// The CPU as it is now, counted up to now. Any CPU, any context.
    pub fn cpu_snapshot(&self, cpu: CpuId) -> Result<CpuSnapshot, CpuError> {
        if cpu.index() >= self.hal.cpu_count() {
            return Err(CpuError::NoSuchCpu(cpu));
        }
        let mut queue = self.lock(cpu);
        queue.bring_up_to_date(&self.threads, self.hal.now());
        Ok(CpuSnapshot {
            elapsed: queue.ledger.elapsed(),
            ran: queue.ledger.ran(),
            paid: queue.ledger.paid(),
            fires: queue.fires.clone(),
            grid_fires: queue.fires.periodic(),
            kicks_sent: self.published(cpu).kicks_sent(),
            kicks_received: queue.counters.kicks_received,
            steals: queue.counters.steals,
            switches: queue.counters.switches,
            arm_failures: queue.counters.arm_failures,
            longest_charge: queue.counters.longest_charge,
            current: queue.current.map(|current| self.id(current.slot)),
            waiting: queue.tree.len(),
        })
    }

    /// What may be asked of a CPU's decisions; for [`Dispatcher::serve`].
    pub const SERVED: Requests = Requests::RESCHEDULE
        .union(Requests::REARM)
        .union(Requests::CHARGE_AND_STOP)
        .union(Requests::DRAIN_WAKES)
        .union(Requests::BALANCE)
        .union(Requests::TIMER);
}

fn take<const WORDS: usize>(
    entity: &Entity<WORDS>,
    state: ThreadState,
    cpu: CpuId,
    waits: Duration,
) -> Snapshot<WORDS> {
    let counters = &entity.counters;
    Snapshot {
        weight: entity.weight.get(),
        class: entity.class.get(),
        request: entity.request.get(),
        affinity: entity.affinity(),
        state,
        cpu,
        runtime: counters.runtime.get(),
        virtual_runtime_ns: counters.virtual_runtime.get(),
        runnable: counters.runnable.get().saturating_add(waits),
        longest_wait: counters.longest_wait.get().max(waits),
        most_passed_by: counters.most_passed_by.get(),
        longest_charge: counters.longest_charge.get(),
        dispatches: counters.dispatches.get(),
        dispatches_outside: counters.dispatches_outside.get(),
        preemptions: counters.preemptions.get(),
        voluntary_blocks: counters.voluntary_blocks.get(),
        migrations: counters.migrations.get(),
    }
}
