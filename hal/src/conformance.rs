//! The conformance suite: does this machine keep the HAL contract (`docs/src/hal-contract.md`)?
//!
//! Each check proves one numbered [`Must`] and answers a typed [`Verdict`]. The suite is generic over [`SchedHal`] and
//! runs on the machine itself, at any number of CPUs: the boot CPU calls [`lead`], every other one [`participate`],
//! with one [`Session`] between them. What only the caller can see (how many interrupts arrived where) it says through
//! [`Probe`]; [`Counters`] is a ready-made one.
//!
//! Every wait ends: what must happen is waited for up to [`Limits::patience`], what must not happen is watched for
//! [`Limits::quiet`]. So a conforming HAL passes however slow or loaded its host is, and no verdict is a bound on wall
//! time. The one thing that can hang is an `idle` that never returns; the caller needs a watchdog for that.
//!
//! Context: nothing else may use the clockevent, the request words or the spare line while the suite runs. It is
//! entered with interrupts masked and returns so; in between they are deliverable. It allocates nothing and takes no
//! lock.

mod clock;
mod idle;
mod interrupts;
mod kick;
mod must;
mod probe;
mod remote;
mod routing;
mod session;
#[cfg(test)]
mod tests;
mod timer;
mod verdict;

use crate::{CpuId, CpuSet, Duration, InterruptState, SchedHal};
pub use must::Must;
pub use probe::{Counters, Probe};
pub use session::Session;
pub use verdict::{Outcome, Skip, Summary, Verdict, Violation};

/// How long the suite waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long to wait for what must happen. Only a broken HAL takes that long.
    pub patience: Duration,
    /// How long to watch for what must not happen. Each such check takes that long.
    pub quiet: Duration,
}

impl Default for Limits {
    /// Generous for an emulator whose host is busy: 10 s and 10 ms.
    fn default() -> Self {
        Self { patience: Duration::from_secs(10), quiet: Duration::from_millis(10) }
    }
}

/// What the checks need: the HAL, what the caller sees of it, and how long to wait.
#[derive(Debug)]
pub struct Suite<'a, H: SchedHal, P: Probe> {
    hal: &'a H,
    probe: &'a P,
    limits: Limits,
}

impl<'a, H: SchedHal, P: Probe> Suite<'a, H, P> {
    /// A suite for this HAL.
    pub fn new(hal: &'a H, probe: &'a P, limits: Limits) -> Self {
        Self { hal, probe, limits }
    }

    /// The checks that a CPU can do alone, on the CPU that executes this call, which was started as `cpu`. Without
    /// time nothing else can be checked.
    fn check_this_cpu(&self, cpu: CpuId, report: &mut dyn FnMut(Outcome)) {
        let mut tell = |must, verdict| report(Outcome { must, cpu, verdict });
        if !self.check_clock(&mut tell) {
            return;
        }
        self.check_identity(cpu, &mut tell);
        let kick_works = self.check_own_kick(cpu, &mut tell);
        self.check_interrupts(cpu, kick_works, &mut tell);
        let timer_works = self.check_timer(cpu, &mut tell);
        self.check_idle(cpu, timer_works, kick_works, &mut tell);
    }

    /// Lets time pass until `condition` holds. Answers whether it did before `limit` was over.
    fn wait(&self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let end = self.hal.now().saturating_add(limit);
        while !condition() {
            if self.hal.now() >= end {
                return condition();
            }
            self.probe.relax();
        }
        true
    }

    /// Lets `quiet` pass.
    fn settle(&self) {
        self.wait(self.limits.quiet, || false);
    }

    fn unmask(&self) {
        self.hal.restore_interrupts(InterruptState::Unmasked);
    }

    fn mask(&self) {
        let _ = self.hal.mask_interrupts();
    }

    /// Stops this CPU's timer, waits for a fire that was on its way, forgets what was posted to this CPU, and leaves
    /// interrupts deliverable.
    fn start_clean(&self, cpu: CpuId) {
        self.hal.disarm();
        self.unmask();
        self.settle();
        let word = self.hal.request_word(cpu);
        word.acknowledge(word.take());
    }
}

/// Runs the whole suite from the boot CPU over the CPUs of `online` (this one included), of which every other one is
/// in [`participate`] with the same session, or soon will be. `report` is called once per check and CPU.
pub fn lead<H: SchedHal, P: Probe>(
    suite: &Suite<'_, H, P>,
    session: &Session,
    online: &CpuSet,
    report: &mut dyn FnMut(Outcome),
) -> Summary {
    let mut tell = |outcome: Outcome| {
        session.count(&outcome.verdict);
        report(outcome);
    };
    suite.check_this_cpu(CpuId::BOOT, &mut tell);
    if suite.time_passes() {
        suite.check_topology(online, &mut |must, verdict| tell(Outcome { must, cpu: CpuId::BOOT, verdict }));
        suite.check_routing(online, &mut |must, verdict| tell(Outcome { must, cpu: CpuId::BOOT, verdict }));
        suite.check_others(session, online, &mut tell);
    }
    suite.hal.disarm();
    suite.mask();
    session.finish();
    session.summary()
}

/// Takes part as `cpu`, the number that this CPU was started with. Returns when the leader is done.
pub fn participate<H: SchedHal, P: Probe>(
    suite: &Suite<'_, H, P>,
    session: &Session,
    cpu: CpuId,
    report: &mut dyn FnMut(Outcome),
) {
    suite.unmask();
    suite.obey(session, cpu, &mut |outcome| {
        session.count(&outcome.verdict);
        report(outcome);
    });
    suite.hal.disarm();
    suite.mask();
}
