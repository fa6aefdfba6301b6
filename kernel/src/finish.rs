//! The end of a run: all CPUs stop, everything is reported once more and checked, and the machine is powered off.

use crate::report::Cursor;
use crate::{kernel::Kernel, line::JsonObject, memory::object::GraveStep};
use core::sync::atomic::Ordering;
use hal::{CpuId, Duration, ExitStatus, Machine};

/// Ends the run. Interrupts are on, all CPUs have stopped; only the boot CPU.
pub fn finish<M: Machine>(kernel: &'static Kernel<M>) -> ! {
    let at = kernel.machine.now();
    let mut next = Some(Cursor::default());
    while let Some(cursor) = next {
        next = kernel.report_record(cursor, at, true);
    }
    kernel.report_silent();
    kernel.report_trace();
    check_dispatcher(kernel);
    check_accounting(kernel);
    check_memory(kernel);
    let reason = match kernel.run.init_is_over.load(Ordering::Acquire) {
        true => "all programs have exited",
        false => "time is up",
    };
    let (status, name) = match kernel.run.has_failed() {
        true => (ExitStatus::Failure, "failure"),
        false => (ExitStatus::Success, "success"),
    };
    kernel.print(|line| {
        let mut record = JsonObject::record(line, "end")?;
        record.value("at_ns", at.saturating_duration_since(kernel.run.started).as_nanos())?;
        record.text("reason", reason)?;
        record.text("status", name)?;
        record.end()
    });
    kernel.machine.power_off(status)
}

/// Says that something is violated, which makes the run a failure.
fn violated<M: Machine>(kernel: &Kernel<M>, what: core::fmt::Arguments<'_>) {
    kernel.run.fail();
    kernel.console.print(format_args!("tessera: violation: {what}"));
}

/// Says that CPUs go on although the run is over.
pub fn violated_stop<M: Machine>(kernel: &Kernel<M>, limit: Duration) {
    let missing = kernel.online.difference(&kernel.run.stopped.snapshot());
    violated(kernel, format_args!("CPUs {missing} have not stopped within {limit}"));
}

fn check_dispatcher<M: Machine>(kernel: &Kernel<M>) {
    if let Err(violation) = kernel.dispatcher.check_invariants() {
        violated(kernel, format_args!("{violation}"));
    }
}

/// Both partitions of each CPU's time close to the time that has passed, to the nanosecond.
fn check_accounting<M: Machine>(kernel: &Kernel<M>) {
    for cpu in kernel.online.iter() {
        let Ok(snapshot) = kernel.dispatcher.cpu_snapshot(cpu) else { continue };
        let (ran, paid, elapsed) = (snapshot.ran.total(), snapshot.paid.total(), snapshot.elapsed);
        if ran != elapsed || paid != elapsed {
            violated(kernel, format_args!("CPU {cpu}: {elapsed} passed, {ran} ran, {paid} were paid"));
        }
    }
}

/// Everything that programs had comes back. CPUs that did not stop may still use a space: then nothing is freed.
fn check_memory<M: Machine>(kernel: &Kernel<M>) {
    if let Some((process, cpus)) = kernel.find_loaded() {
        violated(kernel, format_args!("{} is still loaded on CPUs {cpus}", process.name));
        return;
    }
    kernel.abandon_all();
    while kernel.objects.free_step(64) == GraveStep::Unfinished {}
    let (free, total) = (kernel.frames.free_count(), kernel.frames.total());
    if free != total {
        violated(kernel, format_args!("{} of {total} frames have leaked", total - free));
    }
    if kernel.frames.promised_count() != 0 {
        violated(kernel, format_args!("{} frames are promised to nobody", kernel.frames.promised_count()));
    }
    let objects = kernel.objects.objects();
    if objects != 0 {
        violated(kernel, format_args!("{objects} memory objects have leaked"));
    }
}

/// Ends a run that could not begin: one line, then power off.
pub fn refuse<M: Machine>(machine: &'static M, error: &dyn core::fmt::Display) -> ! {
    debug_assert_eq!(machine.this_cpu(), CpuId::BOOT);
    crate::console::Console::new(machine).print(format_args!("tessera: error: {error}"));
    machine.power_off(ExitStatus::Failure)
}
