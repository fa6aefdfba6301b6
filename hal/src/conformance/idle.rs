//! S24 to S26: idle, on one CPU. That a kick of another CPU ends it is checked in `remote`.

use super::{Must, Probe, Skip, Suite, Verdict, Violation};
use crate::{CpuId, Duration, InterruptState, SchedHal};

impl<H: SchedHal, P: Probe> Suite<'_, H, P> {
    pub(super) fn check_idle(
        &self,
        cpu: CpuId,
        timer_works: bool,
        kick_works: bool,
        tell: &mut dyn FnMut(Must, Verdict),
    ) {
        let unless = |works: bool, must, check: &dyn Fn() -> Verdict| {
            if works { check() } else { Verdict::Skipped(Skip::Needs(must)) }
        };
        let by_timer = unless(timer_works, Must::TimerFires, &|| self.idle_wakes_by_timer(cpu).into());
        tell(Must::IdleWakesByTimer, by_timer);
        let by_kick = unless(kick_works, Must::SelfKickArrives, &|| self.idle_wakes_by_own_kick(cpu));
        tell(Must::IdleWakesByKick, by_kick);
        let masked = unless(timer_works, Must::TimerFires, &|| self.idle_returns_masked(cpu).into());
        tell(Must::IdleReturnsMasked, masked);
        self.hal.disarm();
        self.unmask();
    }

    /// Once with a deadline that comes while it waits, once with one that passed while masked.
    fn idle_wakes_by_timer(&self, cpu: CpuId) -> Result<(), Violation> {
        for passed in [false, true] {
            self.start_clean(cpu);
            let before = self.probe.timer_fires(cpu);
            self.mask();
            let deadline = self.hal.now().saturating_add(Duration::from_millis(2));
            self.hal.arm(deadline).map_err(Violation::ArmRefused)?;
            if passed {
                self.wait(Duration::from_millis(3), || false);
            }
            if !self.idle_until(|| self.probe.timer_fires(cpu) > before) {
                return Err(Violation::NeverCame);
            }
        }
        Ok(())
    }

    fn idle_wakes_by_own_kick(&self, cpu: CpuId) -> Verdict {
        self.start_clean(cpu);
        let before = self.probe.kicks(cpu);
        self.mask();
        self.hal.send_kick_interrupt(cpu);
        Verdict::of(self.idle_until(|| self.probe.kicks(cpu) > before), Violation::NeverCame)
    }

    fn idle_returns_masked(&self, cpu: CpuId) -> Result<(), Violation> {
        self.start_clean(cpu);
        self.mask();
        self.hal.arm(self.hal.now()).map_err(Violation::ArmRefused)?;
        self.hal.idle();
        match self.hal.mask_interrupts() {
            InterruptState::Masked => Ok(()),
            state => Err(Violation::WrongInterruptState(state)),
        }
    }

    /// Idles, with interrupts masked around each call, until `condition` holds. Answers whether it did within the
    /// suite's patience.
    pub(super) fn idle_until(&self, condition: impl Fn() -> bool) -> bool {
        let end = self.hal.now().saturating_add(self.limits.patience);
        while !condition() {
            if self.hal.now() >= end {
                return false;
            }
            self.mask();
            self.hal.idle();
        }
        true
    }
}
