//! Starts the secondary CPUs by PSCI, all at once, and waits once for all.
//!
//! A started CPU begins in `secondary_entry` with translation off, takes its own stack and comes to `secondary_start`.
//! From there it arrives and waits to be let into the kernel. The boot CPU may abandon it before, so a CPU that is late never
//! enters the kernel; both sides move by compare-exchange and one of them wins. One that the firmware refuses to start is
//! abandoned at once.
//!
//! Waiting CPUs idle, so that hundreds of them on few host cores do not slow the boot CPU down. They are woken by kicks.

use crate::devices::Devices;
use crate::percpu::{self, MAX_CPUS};
use crate::{boot, entry, halt, interrupts, paging, psci, vectors};
use core::hint;
use spin::Once;
use tessera_hal::port::stages::{Stage, Stages};
use tessera_hal::{CpuId, CpuSet, Duration};

/// What every started CPU must know.
static DEVICES: Once<&'static Devices> = Once::new();
static STAGES: Stages<MAX_CPUS> = Stages::new();
/// Where the kernel is entered, once it may be.
static KERNEL: Once<fn(CpuId) -> !> = Once::new();

/// How long all CPUs together may take, and how much more each of them adds.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_PER_CPU: Duration = Duration::from_millis(20);

// The CPU's number shares the word that PSCI hands over with the address of the root table.
const _: () = assert!(MAX_CPUS <= tessera_hal::PAGE_SIZE);

/// Starts all other CPUs and answers those that run (the boot CPU included). Once, on the boot CPU.
pub fn start(devices: &'static Devices) -> CpuSet {
    DEVICES.call_once(|| devices);
    let boot = CpuSet::of(CpuId::BOOT);
    let wanted = CpuSet::first(devices.cpus().len()).difference(&boot);
    wanted.iter().for_each(|cpu| turn_on(devices, cpu));
    let patience = PATIENCE.saturating_add(Duration::from_nanos(PATIENCE_PER_CPU.as_nanos() * wanted.len() as u64));
    wait(devices, patience, || wanted.iter().all(|cpu| !STAGES.is(cpu, Stage::Absent)));
    STAGES.settle(&wanted, Stage::Arrived, Stage::Absent).union(&boot)
}

/// Lets the CPUs that run into the kernel, at `entry` with interrupts masked. Once.
pub fn release(devices: &Devices, entry: fn(CpuId) -> !) {
    KERNEL.call_once(|| entry);
    let others = CpuSet::<8>::first(devices.cpus().len()).difference(&CpuSet::of(CpuId::BOOT));
    others.iter().filter(|&cpu| is_running(cpu)).for_each(|cpu| devices.send(cpu, vectors::KICK));
}

fn turn_on(devices: &Devices, cpu: CpuId) {
    let context = paging::kernel_root().0 | u64::from(cpu.get());
    let started =
        devices.cpus().get(cpu.index()).map(|&affinity| psci::cpu_on(affinity, entry::secondary_address(), context));
    if !matches!(started, Some(Ok(()))) {
        // It has not been heard of, so nobody has moved it.
        let _ = STAGES.advance(cpu, Stage::Absent, Stage::Abandoned);
    }
}

/// Whether `cpu` is running: it came up in time, or it is the boot CPU.
pub fn is_running(cpu: CpuId) -> bool {
    cpu == CpuId::BOOT || STAGES.is(cpu, Stage::Arrived)
}

/// Those of the first `count` CPUs that did not come up in time.
pub fn late(count: usize) -> CpuSet {
    STAGES.abandoned(count)
}

/// Waits until `done`, but no longer than `limit`.
fn wait(devices: &Devices, limit: Duration, done: impl Fn() -> bool) {
    let end = devices.now().saturating_add(limit);
    while !done() && devices.now() < end {
        hint::spin_loop();
    }
}

/// Where the entry code leads to, on the CPU's own stack with everything masked.
pub(crate) extern "C" fn secondary_start(index: usize) -> ! {
    let cpu = CpuId::new(index as u16);
    let (Some(area), Some(devices)) = (percpu::of(cpu), DEVICES.get()) else { halt::forever() };
    boot::bring_up_secondary(area);
    // Without its interrupts it would be of no use: it does not arrive, and the boot line says so.
    if devices.enable_here().is_err() || !STAGES.advance(cpu, Stage::Absent, Stage::Arrived) {
        halt::forever();
    }
    loop {
        if let Some(entry) = KERNEL.get() {
            entry(cpu)
        }
        interrupts::idle();
    }
}
