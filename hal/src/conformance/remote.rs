//! The checks of two CPUs, S2, S5, S20 to S23 and S25: the leader's half, and [`Suite::obey`], the participant's.

use super::kick::{POSTED, expect_merged};
use super::session::{ALONE, Command, NO_ANSWER, Phase, Step};
use super::{Must, Outcome, Probe, Session, Skip, Suite, Verdict, Violation};
use crate::{CpuId, CpuSet, Instant, Requests, SchedHal, Ticket};
use core::sync::atomic::Ordering;

const CLOCK_TURNS: u64 = 2_000;
const MAILBOX_TURNS: u64 = 200;

impl<H: SchedHal, P: Probe> Suite<'_, H, P> {
    /// The leader's half, with every other CPU in turn.
    pub(super) fn check_others(&self, session: &Session, online: &CpuSet, report: &mut dyn FnMut(Outcome)) {
        let name = self.hal.this_cpu();
        session.name(name);
        self.start_clean(CpuId::BOOT);
        if online.len() < 2 {
            for must in [Must::ClockAgrees, Must::CpusAreDistinct, Must::KickArrives, Must::KickOrdersStores] {
                report(Outcome { must, cpu: CpuId::BOOT, verdict: ALONE });
            }
        }
        for cpu in online.iter().filter(|&cpu| cpu != CpuId::BOOT) {
            let mut tell = |must, verdict| report(Outcome { must, cpu, verdict });
            let local = session.issue(Step::Local, cpu);
            // The participant reports its own checks; their number is bounded, and each of their waits ends.
            if !self.wait(self.limits.patience.saturating_mul(64), || session.is_answered(local)) {
                tell(Must::CpusAreDistinct, NO_ANSWER);
                continue;
            }
            tell(Must::CpusAreDistinct, distinct(session));
            tell(Must::ClockAgrees, self.clocks_agree(session, cpu));
            let arrives = self.kick_arrives(session, cpu, online);
            tell(Must::KickArrives, arrives.into());
            type Check<S> = fn(&S, &Session, CpuId) -> Result<(), Violation>;
            let checks: [(Must, Check<Self>); 4] = [
                (Must::KicksCoalesce, Self::kicks_coalesce),
                (Must::KickIsAcknowledged, Self::kick_is_acknowledged),
                (Must::KickOrdersStores, Self::kick_orders_stores),
                (Must::IdleWakesByKick, Self::idle_wakes_by_kick),
            ];
            for (must, check) in checks {
                let verdict = match arrives {
                    Ok(()) => check(self, session, cpu).into(),
                    Err(_) => Verdict::Skipped(Skip::Needs(Must::KickArrives)),
                };
                tell(must, verdict);
            }
        }
    }

    fn clocks_agree(&self, session: &Session, cpu: CpuId) -> Verdict {
        let command = session.issue(Step::Clock, cpu);
        let violation = self.take_clock_turns(session, 0);
        if !self.wait(self.limits.patience, || session.is_answered(command)) {
            return NO_ANSWER;
        }
        let (first, second) = (session.seen.load(Ordering::Relaxed), session.seen_second.load(Ordering::Relaxed));
        let there = (first > second).then(|| Violation::ClockWentBack {
            first: Instant::from_nanos(first),
            second: Instant::from_nanos(second),
        });
        violation.or(there).map_or(Verdict::Holds, Verdict::Broken)
    }

    /// Reads the clock in every turn that is `mine` (0: even ones, 1: odd ones) and compares with the last reading, which
    /// is the partner's.
    fn take_clock_turns(&self, session: &Session, mine: u64) -> Option<Violation> {
        let mut violation = None;
        for turn in (mine..CLOCK_TURNS).step_by(2) {
            if !self.wait(self.limits.patience, || session.turn.load(Ordering::Acquire) == turn) {
                return Some(Violation::NeverCame);
            }
            let first = Instant::from_nanos(session.mailbox.load(Ordering::Relaxed));
            let second = self.hal.now();
            if second < first {
                violation = violation.or(Some(Violation::ClockWentBack { first, second }));
            }
            session.mailbox.store(second.as_nanos(), Ordering::Relaxed);
            session.turn.store(turn + 1, Ordering::Release);
        }
        violation
    }

    fn kick_arrives(&self, session: &Session, cpu: CpuId, online: &CpuSet) -> Result<(), Violation> {
        let others = || online.iter().filter(move |&other| other != cpu);
        let elsewhere = || others().map(|other| self.probe.kicks(other)).sum::<u64>();
        self.in_kicks_step(session, cpu, |_| {
            self.go(session, Phase::Hold)?;
            let (here, there) = (self.probe.kicks(cpu), elsewhere());
            let _ = self.hal.kick(cpu, Requests::RESCHEDULE);
            self.expect(|| self.probe.kicks(cpu) > here)?;
            self.settle();
            match elsewhere() - there {
                0 => Ok(()),
                count => Err(Violation::Unexpected { cpu: CpuId::BOOT, count }),
            }
        })
    }

    fn kicks_coalesce(&self, session: &Session, cpu: CpuId) -> Result<(), Violation> {
        self.in_kicks_step(session, cpu, |_| {
            self.go(session, Phase::Masked)?;
            let before = self.probe.kicks(cpu);
            let mut last = self.hal.kick(cpu, POSTED[0]);
            for &requests in &POSTED[1..] {
                last = self.hal.kick(cpu, requests);
            }
            self.settle();
            self.go(session, Phase::Hold)?;
            self.expect(|| self.probe.kicks(cpu) > before)?;
            self.serve(session, cpu, last)?;
            let taken = Requests::from_bits_truncate(session.seen.load(Ordering::Relaxed) as u16);
            expect_merged(cpu, taken, self.probe.kicks(cpu) - before)
        })
    }

    fn kick_is_acknowledged(&self, session: &Session, cpu: CpuId) -> Result<(), Violation> {
        self.in_kicks_step(session, cpu, |_| {
            self.go(session, Phase::Hold)?;
            let ticket = self.hal.kick(cpu, Requests::CLEANUP);
            self.settle();
            if self.hal.request_word(cpu).is_acknowledged(ticket) {
                return Err(Violation::AcknowledgedEarly);
            }
            self.serve(session, cpu, ticket)
        })
    }

    fn serve(&self, session: &Session, cpu: CpuId, last: Ticket) -> Result<(), Violation> {
        self.go(session, Phase::Serve)?;
        self.expect(|| self.hal.request_word(cpu).is_acknowledged(last))
    }

    fn kick_orders_stores(&self, session: &Session, cpu: CpuId) -> Result<(), Violation> {
        let command = session.issue(Step::Mailbox, cpu);
        self.expect(|| session.has_entered(Phase::Hold))?;
        let mut result = Ok(());
        for stored in 1..=MAILBOX_TURNS {
            self.probe.store(&session.mailbox, stored);
            self.hal.send_kick_interrupt(cpu);
            self.expect(|| session.turn.load(Ordering::Acquire) == stored)?;
            let read = session.seen.load(Ordering::Relaxed);
            if read != stored {
                result = Err(Violation::StaleStore { stored, read });
            }
        }
        self.expect(|| session.is_answered(command))?;
        result
    }

    fn idle_wakes_by_kick(&self, session: &Session, cpu: CpuId) -> Result<(), Violation> {
        let command = session.issue(Step::Idle, cpu);
        self.expect(|| session.has_entered(Phase::Masked))?;
        self.settle();
        let _ = self.hal.kick(cpu, Requests::RESCHEDULE);
        self.wait(self.limits.patience.saturating_mul(2), || session.is_answered(command));
        if session.seen.load(Ordering::Acquire) == 1 { Ok(()) } else { Err(Violation::NeverCame) }
    }

    /// Runs `body` while the participant is in [`Step::Kicks`], and brings it back whatever the answer is.
    fn in_kicks_step(
        &self,
        session: &Session,
        cpu: CpuId,
        body: impl FnOnce(&Self) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let command = session.issue(Step::Kicks, cpu);
        let result = body(self);
        session.enter(Phase::Leave);
        self.expect(|| session.is_answered(command)).and(result)
    }

    fn go(&self, session: &Session, phase: Phase) -> Result<(), Violation> {
        session.enter(phase);
        self.expect(|| session.has_entered(phase))
    }

    fn expect(&self, condition: impl FnMut() -> bool) -> Result<(), Violation> {
        if self.wait(self.limits.patience, condition) { Ok(()) } else { Err(Violation::NeverCame) }
    }

    /// The participant's half: does what the leader says until it says to finish.
    pub(super) fn obey(&self, session: &Session, cpu: CpuId, report: &mut dyn FnMut(Outcome)) {
        let mut last: Option<Command> = None;
        loop {
            let Some(command) = session.command_for(cpu, last) else {
                self.probe.relax();
                continue;
            };
            last = Some(command);
            match command.step {
                Step::Local => {
                    if !session.name(self.hal.this_cpu()) {
                        session.seen.store(u64::from(self.hal.this_cpu().get()) + 1, Ordering::Relaxed);
                    }
                    self.check_this_cpu(cpu, report);
                }
                Step::Clock => self.answer_clock_turns(session),
                Step::Kicks => self.hold_and_serve(session, cpu),
                Step::Mailbox => self.read_mailbox(session, cpu),
                Step::Idle => self.idle_until_kicked(session, cpu),
                Step::Finish => return,
            }
            self.start_clean(cpu);
            session.answer(command);
        }
    }

    fn answer_clock_turns(&self, session: &Session) {
        if let Some(Violation::ClockWentBack { first, second }) = self.take_clock_turns(session, 1) {
            session.seen.store(first.as_nanos(), Ordering::Relaxed);
            session.seen_second.store(second.as_nanos(), Ordering::Relaxed);
        }
    }

    fn hold_and_serve(&self, session: &Session, cpu: CpuId) {
        let word = self.hal.request_word(cpu);
        loop {
            let phase = session.phase.load(Ordering::Acquire);
            match phase {
                phase if phase == Phase::Hold as u64 => self.unmask(),
                phase if phase == Phase::Masked as u64 => self.mask(),
                phase if phase == Phase::Serve as u64 => {
                    let taken = word.take();
                    session.seen.fetch_or(u64::from(taken.requests.bits()), Ordering::Relaxed);
                    word.acknowledge(taken);
                }
                phase if phase == Phase::Leave as u64 => break,
                _ => {}
            }
            session.phase_entered.store(phase, Ordering::Release);
            self.probe.relax();
        }
        self.unmask();
    }

    fn read_mailbox(&self, session: &Session, cpu: CpuId) {
        let mut kicks = self.probe.kicks(cpu);
        session.phase_entered.store(Phase::Hold as u64, Ordering::Release);
        for turn in 1..=MAILBOX_TURNS {
            if !self.wait(self.limits.patience, || self.probe.kicks(cpu) > kicks) {
                return;
            }
            kicks = self.probe.kicks(cpu);
            session.seen.store(session.mailbox.load(Ordering::Relaxed), Ordering::Relaxed);
            session.turn.store(turn, Ordering::Release);
        }
    }

    /// The timer is a safety net: a HAL that loses the kick must not hang the suite. It is armed again until the kick
    /// was posted and a whole further net has passed without it.
    fn idle_until_kicked(&self, session: &Session, cpu: CpuId) {
        let (kicks, mut fires) = (self.probe.kicks(cpu), self.probe.timer_fires(cpu));
        let end = self.hal.now().saturating_add(self.limits.patience);
        self.mask();
        self.arm_net();
        session.phase_entered.store(Phase::Masked as u64, Ordering::Release);
        while self.probe.kicks(cpu) == kicks {
            if self.hal.now() >= end && self.hal.request_word(cpu).is_pending() {
                return;
            }
            if self.probe.timer_fires(cpu) > fires {
                fires = self.probe.timer_fires(cpu);
                self.arm_net();
            }
            self.hal.idle();
        }
        session.seen.store(1, Ordering::Release);
    }

    fn arm_net(&self) {
        // Without a timer there is no net; that it works was checked before.
        let _ = self.hal.arm(self.hal.now().saturating_add(self.limits.quiet.saturating_mul(8)));
    }
}

fn distinct(session: &Session) -> Verdict {
    match session.seen.load(Ordering::Relaxed) {
        0 => Verdict::Holds,
        taken => Verdict::Broken(Violation::NamedItself(CpuId::new((taken - 1) as u16))),
    }
}
