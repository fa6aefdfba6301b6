//! S7 to S9: masking.

use super::{Must, Probe, Skip, Suite, Verdict, Violation};
use crate::{CpuId, InterruptState, SchedHal};

impl<H: SchedHal, P: Probe> Suite<'_, H, P> {
    pub(super) fn check_interrupts(&self, cpu: CpuId, kick_works: bool, tell: &mut dyn FnMut(Must, Verdict)) {
        self.start_clean(cpu);
        tell(Must::MaskNests, self.mask_nests().into());
        let skipped = Verdict::Skipped(Skip::Needs(Must::SelfKickArrives));
        let (holds_back, delivers) = if kick_works { self.mask_holds_back(cpu) } else { (skipped, skipped) };
        tell(Must::MaskHoldsBack, holds_back);
        tell(Must::MaskDelivers, delivers);
    }

    fn mask_nests(&self) -> Result<(), Violation> {
        let expect = |expected| match self.hal.mask_interrupts() {
            state if state == expected => Ok(state),
            state => Err(Violation::WrongInterruptState(state)),
        };
        self.unmask();
        let outer = expect(InterruptState::Unmasked)?;
        let inner = expect(InterruptState::Masked)?;
        self.hal.restore_interrupts(inner);
        let _ = expect(InterruptState::Masked)?;
        self.hal.restore_interrupts(outer);
        let _ = expect(InterruptState::Unmasked)?;
        Ok(())
    }

    /// One kick to itself while masked: none may arrive before the restore, one must after it.
    fn mask_holds_back(&self, cpu: CpuId) -> (Verdict, Verdict) {
        self.start_clean(cpu);
        let before = self.probe.kicks(cpu);
        self.mask();
        self.hal.send_kick_interrupt(cpu);
        self.settle();
        let early = self.probe.kicks(cpu) - before;
        self.unmask();
        let came = self.wait(self.limits.patience, || self.probe.kicks(cpu) > before);
        (Verdict::of(early == 0, Violation::Unexpected { cpu, count: early }), Verdict::of(came, Violation::NeverCame))
    }
}
