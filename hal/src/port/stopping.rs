//! Who stops the machine when the kernel panics: one CPU, and only once.

use crate::CpuId;
use core::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, Ordering},
};

/// Nobody stops the machine; else the number of the CPU that does, plus one.
const NOBODY: u32 = 0;
/// How often the others are looked at before a CPU that does not answer is left alone.
const PATIENCE: u32 = 2_000_000;

/// The right to stop the machine.
#[derive(Debug)]
pub struct StopClaim(AtomicU32);

impl StopClaim {
    /// Nobody has it.
    pub const fn new() -> Self {
        Self(AtomicU32::new(NOBODY))
    }

    /// Claims it for a CPU. Only the first one gets it, as often as it asks.
    pub fn claim(&self, cpu: CpuId) -> bool {
        let mine = u32::from(cpu.get()) + 1;
        match self.0.compare_exchange(NOBODY, mine, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(holder) => holder == mine,
        }
    }

    /// Whether another CPU has it, so that this one must stop.
    pub fn is_anothers(&self, cpu: CpuId) -> bool {
        let holder = self.0.load(Ordering::Acquire);
        holder != NOBODY && holder != u32::from(cpu.get()) + 1
    }
}

impl Default for StopClaim {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits, within reason, until all others have stopped.
pub fn wait_until(mut all_have_stopped: impl FnMut() -> bool) {
    for _ in 0..PATIENCE {
        if all_have_stopped() {
            return;
        }
        spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cpu_keeps_the_claim_and_all_others_must_stop() {
        let claim = StopClaim::new();
        let (first, second) = (CpuId::BOOT, CpuId::new(1));
        assert!(!claim.is_anothers(first) && !claim.is_anothers(second), "nobody has asked");
        assert!(claim.claim(first) && claim.claim(first));
        assert!(!claim.claim(second));
        assert_eq!((claim.is_anothers(first), claim.is_anothers(second)), (false, true));
    }

    #[test]
    fn a_cpu_that_never_stops_is_left_alone() {
        let mut looks = 0_u32;
        wait_until(|| {
            looks += 1;
            false
        });
        assert_eq!(looks, PATIENCE);
    }
}
