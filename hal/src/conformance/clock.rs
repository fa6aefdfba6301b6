//! S1, S3 to S6: the clock of one CPU, who it says it is, and where the CPUs stand.

use super::{Must, Probe, Suite, Verdict, Violation};
use crate::{CpuId, CpuSet, CpuTopology, SchedHal};

const READINGS: usize = 20_000;
/// Enough turns of a loop for any counter to step, and an end for one that does not.
const PATIENT_READINGS: usize = 10_000_000;

impl<H: SchedHal, P: Probe> Suite<'_, H, P> {
    /// Answers whether time passes at all.
    pub(super) fn check_clock(&self, tell: &mut dyn FnMut(Must, Verdict)) -> bool {
        let advances = self.clock_advances();
        tell(Must::ClockAdvances, advances);
        tell(Must::ClockIsMonotonic, self.clock_is_monotonic());
        advances.holds()
    }

    pub(super) fn time_passes(&self) -> bool {
        self.clock_advances().holds()
    }

    pub(super) fn check_identity(&self, cpu: CpuId, tell: &mut dyn FnMut(Must, Verdict)) {
        tell(Must::CpuIsStable, self.names_itself(cpu));
        tell(Must::RequestWordsAreFixed, self.request_words_are_fixed());
    }

    pub(super) fn check_topology(&self, online: &CpuSet, tell: &mut dyn FnMut(Must, Verdict)) {
        tell(Must::TopologyNests, self.topology_nests(online).into());
    }

    fn clock_advances(&self) -> Verdict {
        let start = self.hal.now();
        for _ in 0..PATIENT_READINGS {
            if self.hal.now() != start {
                return Verdict::Holds;
            }
            self.probe.relax();
        }
        Verdict::Broken(Violation::ClockStoodStill(start))
    }

    fn clock_is_monotonic(&self) -> Verdict {
        let mut first = self.hal.now();
        for _ in 0..READINGS {
            let second = self.hal.now();
            if second < first {
                return Verdict::Broken(Violation::ClockWentBack { first, second });
            }
            first = second;
        }
        Verdict::Holds
    }

    fn names_itself(&self, cpu: CpuId) -> Verdict {
        for _ in 0..1_000 {
            let name = self.hal.this_cpu();
            if name != cpu || name.index() >= self.hal.cpu_count() {
                return Verdict::Broken(Violation::NamedItself(name));
            }
        }
        Verdict::Holds
    }

    fn request_words_are_fixed(&self) -> Verdict {
        let cpus = || (0..self.hal.cpu_count() as u16).map(CpuId::new);
        let word = |cpu| core::ptr::from_ref(self.hal.request_word(cpu));
        for cpu in cpus() {
            if word(cpu) != word(cpu) || cpus().any(|other| other != cpu && word(other) == word(cpu)) {
                return Verdict::Broken(Violation::RequestWordMoved(cpu));
            }
        }
        Verdict::Holds
    }

    fn topology_nests(&self, online: &CpuSet) -> Result<(), Violation> {
        for cpu in online.iter() {
            let one = self.hal.topology(cpu);
            for other in online.iter().map(|other| self.hal.topology(other)) {
                if !nests(one, other) {
                    return Err(Violation::TopologyDiffers(one, other));
                }
            }
            let again = self.hal.topology(cpu);
            if again != one {
                return Err(Violation::TopologyDiffers(one, again));
            }
        }
        Ok(())
    }
}

/// An inner domain lies in one outer domain.
fn nests(one: CpuTopology, other: CpuTopology) -> bool {
    (one.core != other.core || one.cluster == other.cluster) && (one.cluster != other.cluster || one.node == other.node)
}
