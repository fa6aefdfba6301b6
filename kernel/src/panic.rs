//! For the platforms' panic handlers: what the kernel knows about the CPU that panics.

use crate::global;
use core::fmt;
use hal::{Machine, SchedHal};

/// Writes the lines that wait for the console, where no lock is in the way.
pub fn write_waiting_lines<M: Machine>() {
    if let Some(kernel) = global::kernel::<M>() {
        kernel.console.write_before_panic();
    }
}

/// Prints the CPU and its thread. Takes no lock: whoever panics may hold any.
pub fn describe_current<M: Machine>(machine: &M, out: &mut dyn fmt::Write) -> fmt::Result {
    let cpu = SchedHal::this_cpu(machine);
    write!(out, "CPU {cpu}")?;
    let Some(kernel) = global::kernel::<M>() else { return write!(out, ", before the kernel has started") };
    let Some(state) = kernel.cpus.get(cpu.index()) else { return Ok(()) };
    match state.current().and_then(|index| kernel.threads.get(index)) {
        Some(thread) => write!(out, ", thread {} ({})", thread.index(), thread.process.name),
        None => write!(out, ", no thread"),
    }
}
