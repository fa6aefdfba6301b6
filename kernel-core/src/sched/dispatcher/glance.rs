//! A look at a queue that changes nothing: no time is charged by it.

use super::{CpuError, Dispatcher};
use tessera_hal::{CpuId, SchedHal};

/// A CPU's queue, as its last decision left it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// How many threads wait.
    pub waiting: usize,
    /// How often a thread was put on this CPU, or left there for another request.
    pub dispatches: u64,
}

impl<H: SchedHal, const WORDS: usize> Dispatcher<H, WORDS> {
    /// A look at a CPU's queue. Any CPU, any context; takes its lock, charges nobody.
    pub fn glance(&self, cpu: CpuId) -> Result<Glance, CpuError> {
        if cpu.index() >= self.hal.cpu_count() {
            return Err(CpuError::NoSuchCpu(cpu));
        }
        let queue = self.lock(cpu);
        Ok(Glance { waiting: queue.tree.len(), dispatches: queue.counters.dispatches })
    }
}
