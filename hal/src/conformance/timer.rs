//! S10 to S17: the one-shot clockevent of the CPU that runs the check.

use super::{Must, Probe, Skip, Suite, Verdict, Violation};
use crate::{CpuId, Duration, Instant, SchedHal};

/// A scheduler's grid must be reachable in one step, and a request must be many steps long.
const LONGEST_RESOLUTION: Duration = Duration::from_micros(100);
const SHORTEST_MAX: Duration = Duration::from_millis(20);
/// The timer may count on another oscillator than the clock: a fire may be early by this part of the distance.
const DRIFT: u64 = 512;

impl<H: SchedHal, P: Probe> Suite<'_, H, P> {
    /// Answers whether the timer fires at all, which other checks use.
    pub(super) fn check_timer(&self, cpu: CpuId, tell: &mut dyn FnMut(Must, Verdict)) -> bool {
        tell(Must::ClockeventIsSane, self.clockevent_is_sane());
        let fires = self.timer_fires(cpu);
        tell(Must::TimerFires, fires.into());
        type Check<S> = fn(&S, CpuId) -> Result<(), Violation>;
        let checks: [(Must, Check<Self>); 6] = [
            (Must::TimerFiresOnce, Self::timer_fires_once),
            (Must::TimerIsNotEarly, Self::timer_is_not_early),
            (Must::PastFiresAtOnce, Self::past_fires_at_once),
            (Must::RearmReplaces, Self::rearm_replaces),
            (Must::DisarmStops, Self::disarm_stops),
            (Must::BeyondMaxIsHeld, Self::beyond_max_is_held),
        ];
        for (must, check) in checks {
            let verdict = match fires {
                Ok(()) => check(self, cpu).into(),
                Err(_) => Verdict::Skipped(Skip::Needs(Must::TimerFires)),
            };
            tell(must, verdict);
        }
        self.hal.disarm();
        fires.is_ok()
    }

    fn clockevent_is_sane(&self) -> Verdict {
        let descriptor = self.hal.clockevent();
        let usable = !descriptor.resolution.is_zero()
            && descriptor.resolution <= LONGEST_RESOLUTION
            && descriptor.min < descriptor.max
            && descriptor.max >= SHORTEST_MAX;
        Verdict::of(usable, Violation::BadClockevent(descriptor))
    }

    fn timer_fires(&self, cpu: CpuId) -> Result<(), Violation> {
        let others = || (0..self.hal.cpu_count() as u16).map(CpuId::new).filter(move |&other| other != cpu);
        let elsewhere = || others().map(|other| self.probe.timer_fires(other)).sum::<u64>();
        let before = self.clean_count(cpu);
        let before_elsewhere = elsewhere();
        self.arm_in(self.step())?;
        self.await_fire(cpu, before)?;
        match elsewhere() - before_elsewhere {
            0 => Ok(()),
            count => Err(Violation::Unexpected { cpu: others().next().unwrap_or(cpu), count }),
        }
    }

    fn timer_fires_once(&self, cpu: CpuId) -> Result<(), Violation> {
        let before = self.clean_count(cpu);
        self.arm_in(self.step())?;
        self.await_fire(cpu, before)?;
        self.wait(self.limits.quiet.saturating_add(self.step().saturating_mul(4)), || false);
        self.expect_fires(cpu, before + 1)
    }

    fn timer_is_not_early(&self, cpu: CpuId) -> Result<(), Violation> {
        for part in 1..=8 {
            let before = self.clean_count(cpu);
            let distance = Duration::from_nanos(self.step().as_nanos() / part);
            let deadline = self.arm_in(distance)?;
            self.await_fire(cpu, before)?;
            self.expect_not_early(cpu, deadline, distance)?;
        }
        Ok(())
    }

    fn past_fires_at_once(&self, cpu: CpuId) -> Result<(), Violation> {
        let now = self.hal.now();
        for deadline in [now, now.saturating_sub(self.step()), Instant::from_nanos(1), Instant::ORIGIN] {
            let before = self.clean_count(cpu);
            self.hal.arm(deadline).map_err(Violation::ArmRefused)?;
            self.await_fire(cpu, before)?;
        }
        Ok(())
    }

    /// To a later deadline (one fire, at the later one) and to an earlier one (it need not wait for the later one).
    fn rearm_replaces(&self, cpu: CpuId) -> Result<(), Violation> {
        let mut apart = self.limits.quiet;
        while !self.later_replaces(cpu, apart)? {
            apart = apart.saturating_mul(2);
            if apart > self.limits.patience {
                return Err(Violation::NeverCame);
            }
        }
        let before = self.clean_count(cpu);
        self.arm_in(self.limits.patience.saturating_mul(4))?;
        self.arm_in(self.step())?;
        self.await_fire(cpu, before)
    }

    /// Answers whether the check meant anything: a host that paused between the two calls until the first deadline has
    /// let that fire leave before it was replaced, which is allowed.
    fn later_replaces(&self, cpu: CpuId, apart: Duration) -> Result<bool, Violation> {
        let before = self.clean_count(cpu);
        let state = self.hal.mask_interrupts();
        let first = self.arm_in(apart);
        let second = self.arm_in(apart.saturating_mul(3));
        let replaced_at = self.hal.now();
        self.hal.restore_interrupts(state);
        let (first, second) = (first?, second?);
        if replaced_at >= first {
            return Ok(false);
        }
        self.wait(apart.saturating_mul(3), || self.probe.timer_fires(cpu) > before);
        self.await_fire(cpu, before)?;
        // Nearer to the second deadline than to the first.
        self.expect_not_early(cpu, second.saturating_sub(apart), Duration::ZERO)?;
        self.settle();
        self.expect_fires(cpu, before + 1)?;
        Ok(true)
    }

    fn disarm_stops(&self, cpu: CpuId) -> Result<(), Violation> {
        let before = self.clean_count(cpu);
        let state = self.hal.mask_interrupts();
        let armed = self.arm_in(self.limits.quiet);
        self.hal.disarm();
        self.hal.restore_interrupts(state);
        let deadline = armed?;
        // A host that paused between the two calls has let the fire leave before it was called back, which is allowed.
        if self.hal.now() >= deadline {
            self.settle();
            return self.disarm_stops_unhurried(cpu);
        }
        self.wait(self.limits.quiet.saturating_mul(2), || false);
        self.expect_fires(cpu, before)
    }

    /// The same with a distance that no pause of the host comes near.
    fn disarm_stops_unhurried(&self, cpu: CpuId) -> Result<(), Violation> {
        let before = self.clean_count(cpu);
        let deadline = self.arm_in(self.limits.patience)?;
        self.hal.disarm();
        self.wait(self.limits.patience.saturating_add(self.limits.quiet), || self.hal.now() > deadline);
        self.settle();
        self.expect_fires(cpu, before)
    }

    /// A quarter of the longest distance is watched at most: the timer may fire early, at that distance.
    fn beyond_max_is_held(&self, cpu: CpuId) -> Result<(), Violation> {
        let max = self.hal.clockevent().max;
        let watch = Duration::from_nanos(self.limits.quiet.as_nanos().min(max.as_nanos() / 4));
        let now = self.hal.now();
        let distances =
            [max.saturating_add(Duration::from_nanos(1)), max.saturating_mul(2), max.saturating_mul(1 << 16)];
        let deadlines = distances.map(|distance| now.saturating_add(distance));
        for deadline in deadlines.into_iter().chain([Instant::from_nanos(u64::MAX)]) {
            let before = self.clean_count(cpu);
            self.hal.arm(deadline).map_err(Violation::ArmRefused)?;
            self.wait(watch, || false);
            self.expect_fires(cpu, before)?;
        }
        Ok(())
    }

    /// A short distance that the clockevent can do.
    fn step(&self) -> Duration {
        let descriptor = self.hal.clockevent();
        Duration::from_millis(1).max(descriptor.min).min(descriptor.max)
    }

    /// Stops the timer and answers how often it has fired so far.
    fn clean_count(&self, cpu: CpuId) -> u64 {
        self.start_clean(cpu);
        self.probe.timer_fires(cpu)
    }

    fn arm_in(&self, distance: Duration) -> Result<Instant, Violation> {
        let deadline = self.hal.now().saturating_add(distance);
        self.hal.arm(deadline).map_err(Violation::ArmRefused).map(|()| deadline)
    }

    fn await_fire(&self, cpu: CpuId, before: u64) -> Result<(), Violation> {
        if self.wait(self.limits.patience, || self.probe.timer_fires(cpu) > before) {
            Ok(())
        } else {
            Err(Violation::NeverCame)
        }
    }

    fn expect_fires(&self, cpu: CpuId, expected: u64) -> Result<(), Violation> {
        match self.probe.timer_fires(cpu).saturating_sub(expected) {
            0 => Ok(()),
            count => Err(Violation::Unexpected { cpu, count }),
        }
    }

    fn expect_not_early(&self, cpu: CpuId, deadline: Instant, distance: Duration) -> Result<(), Violation> {
        let slack = self.hal.clockevent().resolution.saturating_add(Duration::from_nanos(distance.as_nanos() / DRIFT));
        let fired_at = self.probe.timer_fired_at(cpu);
        if fired_at.saturating_add(slack) >= deadline { Ok(()) } else { Err(Violation::Early { deadline, fired_at }) }
    }
}
