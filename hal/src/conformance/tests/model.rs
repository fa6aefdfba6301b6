//! A machine of host threads, correct unless it is told to have one defect. Interrupts are delivered when the thread of
//! a CPU calls into the model while they are not masked.

use crate::conformance::{Counters, Probe};
use crate::{
    ArmError, Clockevent, CpuId, CpuTopology, Duration, Instant, Interrupt, InterruptState, IrqLine, RequestWord,
    Requests, Route, RouteError, SchedHal, Ticket,
};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::vec::Vec;

/// One defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    ClockStandsStill,
    ClockStepsBack,
    ClocksDiffer,
    CpuForgetsItself,
    CpusShareNumber,
    CoreInTwoClusters,
    RestoreAlwaysUnmasks,
    MaskLeaks,
    MaskDrops,
    NoResolution,
    TimerDead,
    TimerPeriodic,
    TimerEarly,
    TimerFiresElsewhere,
    PastForgotten,
    RearmKeepsFirst,
    DisarmIgnored,
    FarDeadlineWraps,
    RequestWordShared,
    SelfKickLost,
    RemoteKickLost,
    KickBroadcast,
    KickDropsLater,
    AcknowledgedEarly,
    StoreOvertaken,
    IdleLosesTimer,
    IdleLosesKick,
    IdleReturnsUnmasked,
    RouteReadsBackMasked,
    MaskedLineDelivers,
    LineGoesElsewhere,
    AbsentLineAccepted,
    AbsentCpuAccepted,
}

#[derive(Default)]
struct Cpu {
    masked: bool,
    deadline: Option<Instant>,
    period: Duration,
    kicked: bool,
    device: bool,
    readings: u64,
}

pub(super) struct Model {
    cpus: Vec<Mutex<Cpu>>,
    words: Vec<RequestWord>,
    counters: Counters<8>,
    ticks: AtomicU64,
    started: Option<std::time::Instant>,
    fault: Option<Fault>,
    route: Mutex<Route>,
    held_back_store: Mutex<u64>,
}

const SPARE: IrqLine = IrqLine(7);
const MAX: Duration = Duration::from_secs(1_000);

std::thread_local! {
    static CPU: Cell<u16> = const { Cell::new(0) };
}

impl Model {
    /// Every look at the clock takes a microsecond.
    pub(super) fn in_virtual_time(cpus: u16, fault: Option<Fault>) -> Self {
        Self {
            cpus: (0..cpus).map(|_| Mutex::new(Cpu { masked: true, ..Cpu::default() })).collect(),
            words: (0..cpus).map(|_| RequestWord::new()).collect(),
            counters: Counters::new(),
            ticks: AtomicU64::new(50_000_000),
            started: None,
            fault,
            route: Mutex::new(Route::Masked),
            held_back_store: Mutex::new(0),
        }
    }

    pub(super) fn in_real_time(cpus: u16, fault: Option<Fault>) -> Self {
        Self { started: Some(std::time::Instant::now()), ..Self::in_virtual_time(cpus, fault) }
    }

    /// Makes the calling thread the thread of `cpu`.
    pub(super) fn become_cpu(&self, cpu: CpuId) {
        CPU.set(cpu.get());
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn here(&self) -> CpuId {
        CpuId::new(CPU.get())
    }

    fn cpu<R>(&self, cpu: CpuId, act: impl FnOnce(&mut Cpu) -> R) -> R {
        act(&mut self.cpus[cpu.index()].lock().unwrap())
    }

    fn read_clock(&self) -> Instant {
        let ticks = match self.started {
            Some(started) => 50_000_000 + started.elapsed().as_nanos() as u64,
            None if self.has(Fault::ClockStandsStill) => 50_000_000,
            None => self.ticks.fetch_add(1_000, SeqCst),
        };
        Instant::from_nanos(ticks)
    }

    /// Delivers to this CPU what is due and not masked.
    fn poll(&self) {
        let now = self.read_clock();
        let here = self.here();
        let interrupts = self.cpu(here, |cpu| {
            let mut interrupts = Vec::new();
            if cpu.masked && !self.has(Fault::MaskLeaks) {
                return interrupts;
            }
            if cpu.deadline.is_some_and(|deadline| deadline <= now) {
                cpu.deadline = self.has(Fault::TimerPeriodic).then(|| now.saturating_add(cpu.period));
                interrupts.push(Interrupt::Timer);
            }
            if std::mem::take(&mut cpu.kicked) {
                interrupts.push(Interrupt::Kick);
            }
            if std::mem::take(&mut cpu.device) {
                interrupts.push(Interrupt::Device(SPARE));
            }
            interrupts
        });
        for interrupt in interrupts {
            let elsewhere = self.has(Fault::TimerFiresElsewhere) && interrupt == Interrupt::Timer;
            self.counters.record(if elsewhere { CpuId::BOOT } else { here }, interrupt, now);
        }
    }

    fn interrupt(&self, cpu: CpuId) {
        self.cpu(cpu, |cpu| cpu.kicked = true);
    }
}

impl SchedHal for Model {
    fn now(&self) -> Instant {
        let now = self.read_clock();
        let readings = self.cpu(self.here(), |cpu| {
            cpu.readings += 1;
            cpu.readings
        });
        match self.fault {
            Some(Fault::ClockStepsBack) if readings.is_multiple_of(1_999) => {
                now.saturating_sub(Duration::from_micros(10))
            }
            Some(Fault::ClocksDiffer) if self.here() != CpuId::BOOT => now.saturating_sub(Duration::from_millis(40)),
            _ => now,
        }
    }

    fn cpu_count(&self) -> usize {
        self.cpus.len()
    }

    fn this_cpu(&self) -> CpuId {
        match self.fault {
            Some(Fault::CpuForgetsItself) if self.read_clock().as_nanos().is_multiple_of(7_000) => CpuId::new(1),
            Some(Fault::CpusShareNumber) => CpuId::BOOT,
            _ => self.here(),
        }
    }

    fn topology(&self, cpu: CpuId) -> CpuTopology {
        let cluster = if self.has(Fault::CoreInTwoClusters) { cpu.get() % 2 } else { 0 };
        CpuTopology { core: cpu.get() / 2, cluster, node: 0 }
    }

    fn mask_interrupts(&self) -> InterruptState {
        match self.cpu(self.here(), |cpu| std::mem::replace(&mut cpu.masked, true)) {
            true => InterruptState::Masked,
            false => InterruptState::Unmasked,
        }
    }

    fn restore_interrupts(&self, state: InterruptState) {
        let masked = state == InterruptState::Masked && !self.has(Fault::RestoreAlwaysUnmasks);
        self.cpu(self.here(), |cpu| {
            if cpu.masked && !masked && self.has(Fault::MaskDrops) {
                cpu.kicked = false;
            }
            cpu.masked = masked;
        });
        self.poll();
    }

    fn clockevent(&self) -> Clockevent {
        let resolution = Duration::from_nanos(if self.has(Fault::NoResolution) { 0 } else { 1_000 });
        Clockevent { resolution, min: Duration::from_micros(1), max: MAX }
    }

    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        let now = self.read_clock();
        let distance = deadline.saturating_duration_since(now);
        self.cpu(self.here(), |cpu| {
            let armed = match self.fault {
                Some(Fault::TimerDead) => None,
                Some(Fault::PastForgotten) if distance.is_zero() => None,
                Some(Fault::FarDeadlineWraps) if distance > MAX => Some(now),
                Some(Fault::TimerEarly) => Some(now.saturating_add(Duration::from_nanos(distance.as_nanos() / 4 * 3))),
                Some(Fault::RearmKeepsFirst) => Some(cpu.deadline.map_or(deadline, |first| first.min(deadline))),
                _ => Some(deadline.min(now.saturating_add(MAX))),
            };
            cpu.deadline = armed;
            cpu.period = distance.max(Duration::from_millis(1));
        });
        Ok(())
    }

    fn disarm(&self) {
        if !self.has(Fault::DisarmIgnored) {
            self.cpu(self.here(), |cpu| cpu.deadline = None);
        }
    }

    fn request_word(&self, cpu: CpuId) -> &RequestWord {
        &self.words[if self.has(Fault::RequestWordShared) { 0 } else { cpu.index() }]
    }

    fn send_kick_interrupt(&self, cpu: CpuId) {
        let lost = if cpu == self.here() { Fault::SelfKickLost } else { Fault::RemoteKickLost };
        if self.has(lost) {
            return;
        }
        match self.fault {
            Some(Fault::KickBroadcast) => (0..self.cpus.len() as u16).for_each(|cpu| self.interrupt(CpuId::new(cpu))),
            _ => self.interrupt(cpu),
        }
    }

    fn kick(&self, cpu: CpuId, requests: Requests) -> Ticket {
        let word = self.request_word(cpu);
        let dropped = self.has(Fault::KickDropsLater) && word.is_pending();
        let posted = word.post(if dropped { Requests::empty() } else { requests });
        if self.has(Fault::AcknowledgedEarly) {
            let taken = word.take();
            word.acknowledge(taken);
            let _ = word.post(taken.requests);
        }
        if posted.must_interrupt {
            self.send_kick_interrupt(cpu);
        }
        posted.ticket
    }

    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        if line != SPARE && !self.has(Fault::AbsentLineAccepted) {
            return Err(RouteError::NoSuchLine(line));
        }
        if let Route::Cpu(cpu) = route
            && cpu.index() >= self.cpus.len()
            && !self.has(Fault::AbsentCpuAccepted)
        {
            return Err(RouteError::NoSuchCpu(cpu));
        }
        let previous = std::mem::replace(&mut *self.route.lock().unwrap(), route);
        Ok(if self.has(Fault::RouteReadsBackMasked) { Route::Masked } else { previous })
    }

    fn idle(&self) {
        let here = self.here();
        self.cpu(here, |cpu| {
            cpu.masked = false;
            if self.has(Fault::IdleLosesKick) {
                cpu.kicked = false;
            }
            if self.has(Fault::IdleLosesTimer) {
                cpu.deadline = None;
            }
        });
        self.poll();
        self.cpu(here, |cpu| cpu.masked = !self.has(Fault::IdleReturnsUnmasked));
        std::thread::yield_now();
    }
}

impl Probe for Model {
    fn timer_fires(&self, cpu: CpuId) -> u64 {
        self.counters.timer_fires(cpu)
    }

    fn timer_fired_at(&self, cpu: CpuId) -> Instant {
        self.counters.timer_fired_at(cpu)
    }

    fn kicks(&self, cpu: CpuId) -> u64 {
        self.counters.kicks(cpu)
    }

    fn device_interrupts(&self, cpu: CpuId) -> u64 {
        self.counters.device_interrupts(cpu)
    }

    fn spare_line(&self) -> Option<IrqLine> {
        Some(SPARE)
    }

    fn absent_line(&self) -> IrqLine {
        IrqLine(99)
    }

    fn raise_spare_line(&self) -> bool {
        let target = match *self.route.lock().unwrap() {
            Route::Cpu(_) if self.has(Fault::LineGoesElsewhere) => Some(CpuId::new(1)),
            Route::Cpu(cpu) => Some(cpu),
            Route::Masked => self.has(Fault::MaskedLineDelivers).then_some(CpuId::BOOT),
        };
        if let Some(cpu) = target {
            self.cpu(cpu, |cpu| cpu.device = true);
        }
        true
    }

    fn relax(&self) {
        self.poll();
        if self.started.is_some() {
            std::thread::yield_now();
        }
    }

    fn store(&self, word: &AtomicU64, value: u64) {
        let visible = if self.has(Fault::StoreOvertaken) {
            std::mem::replace(&mut *self.held_back_store.lock().unwrap(), value)
        } else {
            value
        };
        word.store(visible, SeqCst);
    }
}
