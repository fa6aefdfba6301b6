//! S27 to S31: device interrupts, with a line that nobody uses.

use super::{Must, Probe, Skip, Suite, Verdict, Violation};
use crate::{CpuId, CpuSet, IrqLine, Route, RouteError, SchedHal};

impl<H: SchedHal, P: Probe> Suite<'_, H, P> {
    pub(super) fn check_routing(&self, online: &CpuSet, tell: &mut dyn FnMut(Must, Verdict)) {
        self.start_clean(CpuId::BOOT);
        tell(Must::RouteRefusesLine, self.refuses_absent_line());
        let Some(line) = self.probe.spare_line() else {
            for must in [Must::RouteReadsBack, Must::RouteMasks, Must::RouteDelivers, Must::RouteRefusesCpu] {
                tell(must, Verdict::Skipped(Skip::NoSpareLine));
            }
            return;
        };
        tell(Must::RouteReadsBack, self.route_reads_back(line, online).into());
        tell(Must::RouteRefusesCpu, self.refuses_absent_cpu(line).into());
        let (delivers, masks) = self.delivers_and_masks(line, online);
        tell(Must::RouteDelivers, delivers);
        tell(Must::RouteMasks, masks);
    }

    fn refuses_absent_line(&self) -> Verdict {
        let line = self.probe.absent_line();
        match self.hal.route_irq(line, Route::Cpu(CpuId::BOOT)) {
            Err(RouteError::NoSuchLine(refused)) if refused == line => Verdict::Holds,
            Err(error) => Verdict::Broken(Violation::RouteRefused(error)),
            Ok(_) => Verdict::Broken(Violation::RouteAccepted),
        }
    }

    fn route_reads_back(&self, line: IrqLine, online: &CpuSet) -> Result<(), Violation> {
        self.route(line, Route::Masked)?;
        let mut last = Route::Masked;
        for route in online.iter().map(Route::Cpu).chain([Route::Masked, Route::Masked]) {
            match self.route(line, route) {
                Ok(previous) if previous == last => last = route,
                Ok(previous) => return Err(Violation::WrongRoute(previous)),
                // A field that is too narrow for this CPU is refused by name, and nothing has changed.
                Err(Violation::RouteRefused(RouteError::UnreachableCpu { .. })) => {}
                Err(violation) => return Err(violation),
            }
        }
        Ok(())
    }

    fn refuses_absent_cpu(&self, line: IrqLine) -> Result<(), Violation> {
        let absent = CpuId::new(self.hal.cpu_count() as u16);
        self.route(line, Route::Cpu(CpuId::BOOT))?;
        match self.hal.route_irq(line, Route::Cpu(absent)) {
            Err(RouteError::NoSuchCpu(cpu)) if cpu == absent => {}
            Err(error) => return Err(Violation::RouteRefused(error)),
            Ok(_) => return Err(Violation::RouteAccepted),
        }
        match self.route(line, Route::Masked)? {
            Route::Cpu(CpuId::BOOT) => Ok(()),
            route => Err(Violation::WrongRoute(route)),
        }
    }

    /// Raises the line routed to each CPU, and masked. A line that was raised while masked may stay pending (edges are
    /// remembered), so the masked case comes last.
    fn delivers_and_masks(&self, line: IrqLine, online: &CpuSet) -> (Verdict, Verdict) {
        let counts = || online.iter().map(|cpu| self.probe.device_interrupts(cpu)).sum::<u64>();
        for cpu in online.iter() {
            match self.route(line, Route::Cpu(cpu)) {
                Ok(_) => {}
                Err(Violation::RouteRefused(RouteError::UnreachableCpu { .. })) => continue,
                Err(violation) => {
                    return (Verdict::Broken(violation), Verdict::Skipped(Skip::Needs(Must::RouteReadsBack)));
                }
            }
            let (here, all) = (self.probe.device_interrupts(cpu), counts());
            if !self.probe.raise_spare_line() {
                let _ = self.route(line, Route::Masked);
                return (Verdict::Skipped(Skip::CannotRaise), Verdict::Skipped(Skip::CannotRaise));
            }
            let came = self.wait(self.limits.patience, || self.probe.device_interrupts(cpu) > here);
            self.settle();
            if !came || counts() != all + 1 {
                let violation = Violation::Unexpected { cpu, count: counts() - all };
                let violation = if came { violation } else { Violation::NeverCame };
                return (Verdict::Broken(violation), Verdict::Skipped(Skip::Needs(Must::RouteDelivers)));
            }
        }
        let before = counts();
        let masked = self.route(line, Route::Masked);
        self.probe.raise_spare_line();
        self.settle();
        let count = counts() - before;
        let masks = match masked {
            Err(violation) => Verdict::Broken(violation),
            Ok(_) => Verdict::of(count == 0, Violation::Unexpected { cpu: CpuId::BOOT, count }),
        };
        (Verdict::Holds, masks)
    }

    fn route(&self, line: IrqLine, route: Route) -> Result<Route, Violation> {
        self.hal.route_irq(line, route).map_err(Violation::RouteRefused)
    }
}
