//! How far each CPU has come on its way into the kernel.
//!
//! The boot CPU waits for the others and may abandon one before each step; a CPU that is late never goes on. Both sides
//! move by compare-exchange, so one of them wins.

use crate::{CpuId, CpuSet};
use core::sync::atomic::{AtomicU8, Ordering};

/// How far a CPU has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Stage {
    /// It has not been heard of.
    Absent,
    /// It runs on its own stack and can take interrupts.
    Arrived,
    /// It took part in what the boot CPU checks of all.
    Checked,
    /// It came too late, or the firmware refused to start it. It will never run.
    Abandoned,
}

/// The stages of up to `N` CPUs.
#[derive(Debug)]
pub struct Stages<const N: usize>([AtomicU8; N]);

impl<const N: usize> Stages<N> {
    /// All absent.
    pub const fn new() -> Self {
        Self([const { AtomicU8::new(Stage::Absent as u8) }; N])
    }

    /// Whether a CPU is at `stage`. One that the list has no room for is nowhere.
    pub fn is(&self, cpu: CpuId, stage: Stage) -> bool {
        self.0.get(cpu.index()).is_some_and(|place| place.load(Ordering::Acquire) == stage as u8)
    }

    /// Moves a CPU on; `false` if it was not where it should be.
    #[must_use = "a CPU that was abandoned must not go on"]
    pub fn advance(&self, cpu: CpuId, from: Stage, to: Stage) -> bool {
        let exchange = |place: &AtomicU8| {
            place.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        self.0.get(cpu.index()).is_some_and(exchange)
    }

    /// Those of `cpus` that reached `stage`; those that are still `before` it are abandoned there.
    pub fn settle(&self, cpus: &CpuSet, stage: Stage, before: Stage) -> CpuSet {
        let reached = |cpu: &CpuId| !self.advance(*cpu, before, Stage::Abandoned) && self.is(*cpu, stage);
        cpus.iter().filter(reached).collect()
    }

    /// Those of the first `count` CPUs that were abandoned.
    pub fn abandoned(&self, count: usize) -> CpuSet {
        CpuSet::<8>::first(count.min(N)).iter().filter(|&cpu| self.is(cpu, Stage::Abandoned)).collect()
    }
}

impl<const N: usize> Default for Stages<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_late_is_abandoned_and_cannot_go_on() {
        let stages = Stages::<4>::new();
        let (early, late) = (CpuId::new(1), CpuId::new(2));
        let both: CpuSet = [early, late].into_iter().collect();
        assert!(stages.advance(early, Stage::Absent, Stage::Arrived));
        assert_eq!(stages.settle(&both, Stage::Arrived, Stage::Absent), CpuSet::of(early));
        assert!(!stages.advance(late, Stage::Absent, Stage::Arrived));
        assert!(stages.advance(early, Stage::Arrived, Stage::Checked));
        assert_eq!(stages.settle(&CpuSet::of(early), Stage::Checked, Stage::Arrived), CpuSet::of(early));
        assert_eq!(stages.abandoned(4), CpuSet::of(late));
    }

    #[test]
    fn a_cpu_that_was_given_up_earlier_has_not_come() {
        let stages = Stages::<4>::new();
        assert!(stages.advance(CpuId::new(1), Stage::Absent, Stage::Abandoned));
        assert!(stages.settle(&CpuSet::of(CpuId::new(1)), Stage::Arrived, Stage::Absent).is_empty());
    }

    #[test]
    fn a_cpu_beyond_the_list_is_nowhere() {
        let stages = Stages::<4>::new();
        assert!(!stages.is(CpuId::new(4), Stage::Absent));
        assert!(!stages.advance(CpuId::new(4), Stage::Absent, Stage::Arrived));
    }
}
