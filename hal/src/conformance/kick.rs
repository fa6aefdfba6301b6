//! S19 and, as far as one CPU can show them, S21 and S22: a CPU that kicks itself.

use super::{Must, Probe, Skip, Suite, Verdict, Violation};
use crate::{CpuId, Requests, SchedHal};

pub(super) const POSTED: [Requests; 3] = [Requests::RESCHEDULE, Requests::TLB, Requests::REARM];

impl<H: SchedHal, P: Probe> Suite<'_, H, P> {
    /// Answers whether this CPU can kick itself, which other checks use.
    pub(super) fn check_own_kick(&self, cpu: CpuId, tell: &mut dyn FnMut(Must, Verdict)) -> bool {
        let arrives = self.own_kick_arrives(cpu);
        tell(Must::SelfKickArrives, arrives);
        if arrives.holds() {
            tell(Must::KicksCoalesce, self.own_kicks_coalesce(cpu).into());
            tell(Must::KickIsAcknowledged, self.own_kick_is_acknowledged(cpu));
        } else {
            tell(Must::KicksCoalesce, Verdict::Skipped(Skip::Needs(Must::SelfKickArrives)));
            tell(Must::KickIsAcknowledged, Verdict::Skipped(Skip::Needs(Must::SelfKickArrives)));
        }
        arrives.holds()
    }

    fn own_kick_arrives(&self, cpu: CpuId) -> Verdict {
        self.start_clean(cpu);
        let before = self.probe.kicks(cpu);
        let _ = self.hal.kick(cpu, Requests::RESCHEDULE);
        Verdict::of(self.wait(self.limits.patience, || self.probe.kicks(cpu) > before), Violation::NeverCame)
    }

    fn own_kicks_coalesce(&self, cpu: CpuId) -> Result<(), Violation> {
        self.start_clean(cpu);
        let before = self.probe.kicks(cpu);
        self.mask();
        for requests in POSTED {
            let _ = self.hal.kick(cpu, requests);
        }
        self.unmask();
        if !self.wait(self.limits.patience, || self.probe.kicks(cpu) > before) {
            return Err(Violation::NeverCame);
        }
        let taken = self.hal.request_word(cpu).take();
        self.hal.request_word(cpu).acknowledge(taken);
        self.settle();
        expect_merged(cpu, taken.requests, self.probe.kicks(cpu) - before)
    }

    fn own_kick_is_acknowledged(&self, cpu: CpuId) -> Verdict {
        self.start_clean(cpu);
        let word = self.hal.request_word(cpu);
        let ticket = self.hal.kick(cpu, Requests::CLEANUP);
        self.settle();
        if word.is_acknowledged(ticket) {
            return Verdict::Broken(Violation::AcknowledgedEarly);
        }
        word.acknowledge(word.take());
        Verdict::of(word.is_acknowledged(ticket), Violation::NeverCame)
    }
}

/// All that was posted was taken at once, with at most as many interrupts as there were posts.
pub(super) fn expect_merged(cpu: CpuId, taken: Requests, interrupts: u64) -> Result<(), Violation> {
    if taken != POSTED.into_iter().fold(Requests::empty(), Requests::union) {
        return Err(Violation::WrongRequests(taken));
    }
    match interrupts.saturating_sub(POSTED.len() as u64) {
        0 => Ok(()),
        count => Err(Violation::Unexpected { cpu, count }),
    }
}
