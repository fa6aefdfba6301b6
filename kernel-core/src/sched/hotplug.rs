//! Hotplug: CPUs leave and join while the machine runs.

use super::dispatcher::{CpuError, Dispatcher};
use super::run_tree::stealable;
use crate::slab::Slot;
use crate::sync::Masked;
use crate::sync::shim::relax;
use tessera_hal::{CpuId, CpuSet, Requests, SchedHal};

/// Timers that are moved under one pair of locks.
const TIMERS_AT_ONCE: usize = 64;

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// A CPU leaves: it runs no thread from now on, and those that may run elsewhere are moved, as are its timers. A
    /// thread that may run nowhere else waits for the CPU to join again. Of several calls at once that would take the
    /// last CPUs away, some fail. Any CPU, not in an interrupt.
    pub fn cpu_leave(&self, cpu: CpuId) -> Result<(), CpuError> {
        self.exists(cpu)?;
        let _masked = Masked::new(self.hal());
        let mut others = self.online.among(&CpuSet::ALL);
        if !others.remove(cpu) {
            return Ok(());
        }
        if others.is_empty() {
            return Err(CpuError::LastOnline(cpu));
        }
        self.online.remove(self.hal(), cpu);
        // Another call may have taken the others away since. Removals have one order, so the last one sees it.
        let Some(heir) = self.online.among(&CpuSet::ALL).lowest() else {
            self.online.insert(self.hal(), cpu);
            return Err(CpuError::LastOnline(cpu));
        };
        self.lock(cpu).online = false;
        self.idle.remove(self.hal(), cpu);
        while let Some(slot) = self.take_movable(cpu) {
            self.place_moved(slot, cpu);
        }
        while self.hand_timers_over(cpu, heir) {}
        for cpu in [cpu, heir] {
            self.request(cpu, Requests::RESCHEDULE);
        }
        Ok(())
    }

    /// Moves some timers of a CPU that leaves; answers whether there are more.
    fn hand_timers_over(&self, from: CpuId, heir: CpuId) -> bool {
        let mut heirs = self.lock(heir);
        let Some(mut theirs) = self.try_lock(from) else {
            drop(heirs);
            relax();
            return true;
        };
        if theirs.online {
            return false; // It has joined again.
        }
        (0..TIMERS_AT_ONCE).all(|_| heirs.timers.adopt_one(&self.timers, &mut theirs.timers))
    }

    /// A CPU joins (again).
    pub fn cpu_join(&self, cpu: CpuId) -> Result<(), CpuError> {
        self.exists(cpu)?;
        let _masked = Masked::new(self.hal());
        self.lock(cpu).online = true;
        self.online.insert(self.hal(), cpu);
        self.request(cpu, Requests::RESCHEDULE);
        Ok(())
    }

    fn exists(&self, cpu: CpuId) -> Result<(), CpuError> {
        if cpu.index() < self.hal().cpu_count() { Ok(()) } else { Err(CpuError::NoSuchCpu(cpu)) }
    }

    /// Takes a thread off the queue of a CPU that leaves, if one may run elsewhere.
    fn take_movable(&self, cpu: CpuId) -> Option<Slot> {
        let mut queue = self.lock(cpu);
        if queue.online {
            return None; // It has joined again.
        }
        queue.bring_up_to_date(&self.threads, self.hal().now());
        let nodes = queue.nodes(&self.threads);
        let movable = |slot: &Slot| !self.online.among(&self.threads[*slot].affinity()).is_empty();
        let slot = stealable(&queue.tree, &nodes).find(movable)?;
        queue.dequeue(&self.threads, slot);
        self.publish(&mut queue);
        Some(slot)
    }
}
