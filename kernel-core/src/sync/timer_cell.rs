//! [`TimerCell`]: whether a timer is armed, on which CPU, and that it is either fired or cancelled, never both.
//!
//! Armed state, CPU and generation stand in one word. Firing and cancelling are the same step, a compare-exchange from
//! armed to done, so exactly one of them wins; the winner of a cancel then needs the lock of the CPU that the word
//! named, to unlink the timer, and nobody can have moved it to another one meanwhile.
//!
//! Ordering: arming releases the timer's contents, a claim acquires them.

use super::shim::{AtomicU64, Ordering};
use tessera_hal::CpuId;
use tessera_hal::sync::Fault;

const ARMED: u64 = 1;

const fn armed(generation: u32, cpu: CpuId) -> u64 {
    (generation as u64) << 32 | (cpu.get() as u64) << 16 | ARMED
}

/// One timer's cell. See the module.
#[derive(Debug)]
pub struct TimerCell(AtomicU64);

impl Default for TimerCell {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl TimerCell {
    /// Arms the timer on `cpu`. Only whoever sets the slot up, before anybody else knows the generation.
    pub fn arm(&self, generation: u32, cpu: CpuId) {
        self.0.store(armed(generation, cpu), Ordering::Release);
    }

    /// The CPU on which the timer is armed. It may be old at once.
    pub fn armed_on(&self, generation: u32) -> Option<CpuId> {
        let word = self.0.load(Ordering::Acquire);
        let cpu = CpuId::new((word >> 16) as u16);
        (word == armed(generation, cpu)).then_some(cpu)
    }

    /// Ends the armed state, to fire the timer or to cancel it; answers the CPU on which it was armed, to one caller
    /// only. Any CPU, any context.
    pub fn claim(&self, generation: u32) -> Option<CpuId> {
        let done = u64::from(generation) << 32;
        if Fault::TimerByLoadAndStore.is_active() {
            let cpu = self.armed_on(generation)?;
            self.0.store(done, Ordering::Release);
            return Some(cpu);
        }
        loop {
            let cpu = self.armed_on(generation)?;
            if self.replace(armed(generation, cpu), done) {
                return Some(cpu);
            }
        }
    }

    /// Moves an armed timer to another CPU; answers false if it was claimed before. Only who holds the locks of both.
    pub fn move_to(&self, generation: u32, from: CpuId, to: CpuId) -> bool {
        self.replace(armed(generation, from), armed(generation, to))
    }

    fn replace(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const HERE: CpuId = CpuId::new(2);
    const THERE: CpuId = CpuId::new(5);

    #[test]
    fn an_armed_timer_is_claimed_once() {
        let cell = TimerCell::default();
        cell.arm(3, HERE);
        assert_eq!(cell.armed_on(3), Some(HERE));
        assert_eq!(cell.claim(3), Some(HERE));
        assert_eq!((cell.claim(3), cell.armed_on(3)), (None, None));
    }

    #[test]
    fn another_generation_claims_nothing() {
        let cell = TimerCell::default();
        assert_eq!(cell.claim(0), None);
        cell.arm(3, HERE);
        assert_eq!(cell.claim(1), None);
        assert_eq!(cell.armed_on(3), Some(HERE));
    }

    #[test]
    fn a_claimed_timer_does_not_move() {
        let cell = TimerCell::default();
        cell.arm(3, HERE);
        assert!(cell.move_to(3, HERE, THERE));
        assert_eq!(cell.claim(3), Some(THERE));
        assert!(!cell.move_to(3, THERE, HERE));
    }
}
