//! Runs the HAL conformance suite on this machine, one line per check, then ends the run.

use core::fmt::{self, Write};
use spin::Once;
use tessera_arch_aarch64::machine::ArmMachine;
use tessera_hal::conformance::{Counters, Limits, Probe, Session, Suite, lead};
use tessera_hal::{BootInfo, CpuId, CpuSet, ExitStatus, Instant, Interrupt, IrqLine, Machine, SchedHal};

static COUNTERS: Counters<1> = Counters::new();
static SESSION: Session = Session::new();
static MACHINE: Once<&'static ArmMachine> = Once::new();

struct Eye(&'static ArmMachine);

impl Probe for Eye {
    fn timer_fires(&self, cpu: CpuId) -> u64 {
        COUNTERS.timer_fires(cpu)
    }
    fn timer_fired_at(&self, cpu: CpuId) -> Instant {
        COUNTERS.timer_fired_at(cpu)
    }
    fn kicks(&self, cpu: CpuId) -> u64 {
        COUNTERS.kicks(cpu)
    }
    fn device_interrupts(&self, cpu: CpuId) -> u64 {
        COUNTERS.device_interrupts(cpu)
    }
    fn spare_line(&self) -> Option<IrqLine> {
        self.0.spare_line()
    }
    fn absent_line(&self) -> IrqLine {
        IrqLine(u32::MAX)
    }
    fn raise_spare_line(&self) -> bool {
        self.0.spare_line().is_some_and(|line| self.0.raise(line))
    }
}

struct Console(&'static ArmMachine);

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.console_write(text.as_bytes());
        Ok(())
    }
}

fn hook(interrupt: Interrupt) {
    if let Some(machine) = MACHINE.get() {
        COUNTERS.record(machine.this_cpu(), interrupt, machine.now());
    }
}

/// Runs the suite; the status says whether the machine conforms.
pub fn run(machine: &'static ArmMachine, boot: &BootInfo<'_>) -> ! {
    MACHINE.call_once(|| machine);
    machine.set_interrupt_hook(hook);
    let mut console = Console(machine);
    // The console takes everything.
    let _ = write!(console, "tessera: ");
    let _ = machine.describe(&mut console);
    let frames: u64 = boot.memory.iter().map(|region| region.frames).sum();
    let _ = writeln!(console, ", {} MiB free; HAL conformance", frames / 256);
    let eye = Eye(machine);
    let suite = Suite::new(machine, &eye, Limits::default());
    let summary = lead(&suite, &SESSION, &CpuSet::of(CpuId::BOOT), &mut |outcome| {
        let _ = writeln!(console, "{outcome}");
    });
    let _ = writeln!(console, "held {}, broken {}, skipped {}", summary.held, summary.broken, summary.skipped);
    machine.power_off(if summary.passed() { ExitStatus::Success } else { ExitStatus::Failure })
}
