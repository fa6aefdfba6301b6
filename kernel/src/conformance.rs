//! `mode=conformance`: the HAL suite on the machine itself, on all CPUs, one line per check, then power off.

use crate::{console::Console, global, line::JsonObject, line::Line};
use alloc::boxed::Box;
use hal::{
    CpuId, CpuSet, ExitStatus, Instant, Interrupt, IrqLine, Machine,
    conformance::{Counters, Limits, Outcome, Probe, Session, Suite, lead, participate},
};

const CPUS: usize = CpuSet::<8>::CAPACITY;

/// What all CPUs share during the suite.
pub struct Checked<M: Machine> {
    machine: &'static M,
    console: Console<M>,
    session: Session,
    counters: Counters<CPUS>,
}

impl<M: Machine> Probe for Checked<M> {
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
    /// The console receives nothing in this mode, so its line is free.
    fn spare_line(&self) -> Option<IrqLine> {
        self.machine.console_line()
    }
    fn absent_line(&self) -> IrqLine {
        IrqLine(u32::MAX)
    }
    fn raise_spare_line(&self) -> bool {
        self.spare_line().is_some_and(|line| self.machine.raise_line(line))
    }
}

impl<M: Machine> Checked<M> {
    fn report(&self, outcome: Outcome) {
        self.console.print(format_args!("{outcome}"));
    }
}

fn hook<M: Machine>(interrupt: Interrupt) {
    if let Some(checked) = global::checked::<M>() {
        checked.counters.record(checked.machine.this_cpu(), interrupt, checked.machine.now());
    }
}

/// Runs the suite and powers off. The boot CPU, with interrupts masked.
pub fn run<M: Machine>(machine: &'static M) -> ! {
    let checked: &'static Checked<M> = Box::leak(Box::new(Checked {
        machine,
        console: Console::new(machine),
        session: Session::new(),
        counters: Counters::new(),
    }));
    global::publish_checked(checked);
    machine.set_interrupt_hook(hook::<M>);
    let online = match machine.cpu_count() {
        1 => CpuSet::of(CpuId::BOOT),
        _ => machine.start_secondaries(),
    };
    let mut name = Line::new();
    // A line takes everything.
    let _ = machine.describe(&mut name);
    let name = core::str::from_utf8(name.as_bytes()).unwrap_or("unnamed machine");
    checked.console.print(format_args!("tessera: {name}; HAL conformance on CPUs {online}"));
    machine.release_secondaries(secondary::<M>);
    let suite = Suite::new(machine, checked, Limits::default());
    let summary = lead(&suite, &checked.session, &online, &mut |outcome| checked.report(outcome));
    let conforms = summary.passed();
    let mut line = Line::new();
    let status = if conforms { "success" } else { "failure" };
    // A line takes everything.
    let _ = summary_record(&mut line, summary.held, summary.broken, summary.skipped, status);
    checked.console.write_lines(line.as_bytes());
    machine.power_off(if conforms { ExitStatus::Success } else { ExitStatus::Failure })
}

fn summary_record(line: &mut Line, held: u64, broken: u64, skipped: u64, status: &str) -> core::fmt::Result {
    let mut record = JsonObject::record(line, "conformance")?;
    record.value("held", held)?;
    record.value("broken", broken)?;
    record.value("skipped", skipped)?;
    record.text("status", status)?;
    record.end()
}

/// Another CPU takes part, then waits for the machine to be powered off.
fn secondary<M: Machine>(cpu: CpuId) -> ! {
    let Some(checked) = global::checked::<M>() else {
        unreachable!("CPU {cpu} was released before there was a suite to take part in")
    };
    let suite = Suite::new(checked.machine, checked, Limits::default());
    participate(&suite, &checked.session, cpu, &mut |outcome| checked.report(outcome));
    loop {
        checked.machine.idle();
    }
}
