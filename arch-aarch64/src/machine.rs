//! [`ArmMachine`]: the CPU side and the device side as one `Machine`.
//!
//! No state of its own: what is per CPU stands in [`crate::percpu`], what is a device in [`Devices`].

use crate::devices::Devices;
use crate::features::{Features, features};
use crate::page_entry::Entry;
use crate::percpu::{self, PerCpu};
use crate::user::Context;
use crate::{cache, fpu, halt, interrupts, paging, panic, power, secondary, user, vectors};
use core::arch::asm;
use core::fmt;
use core::ops::Range;
use spin::Once;
use tessera_hal::machine::FlushScope;
use tessera_hal::{
    ArmError, Clockevent, CpuId, CpuSet, CpuTopology, ExitStatus, Frame, Instant, Interrupt, InterruptState, IrqLine,
    Machine, RequestWord, Route, RouteError, SchedHal, SpaceTag, Trap,
};

/// How often a random number is asked for before the source counts as broken.
const RANDOM_TRIES: usize = 10;
const ELF_AARCH64: u16 = 183;

static MACHINE: Once<ArmMachine> = Once::new();

/// The machine.
pub struct ArmMachine {
    name: &'static str,
    devices: &'static Devices,
}

impl ArmMachine {
    /// The machine around its devices: prepares the areas and stacks of all CPUs. Once, on the boot CPU, before boot
    /// memory is handed over.
    pub fn new(name: &'static str, devices: &'static Devices) -> &'static Self {
        for (index, &affinity) in devices.cpus().iter().enumerate().skip(1) {
            percpu::prepare(CpuId::new(index as u16), affinity);
        }
        interrupts::set_devices(devices);
        panic::set_stop_others(stop_others);
        MACHINE.call_once(|| Self { name, devices })
    }

    /// The machine, once it is made.
    pub fn get() -> Option<&'static Self> {
        MACHINE.get()
    }
}

/// The area of a CPU that exists.
///
/// # Panics
/// For another number: a caller that makes CPUs up is broken.
fn area_of(cpu: CpuId) -> &'static PerCpu {
    match percpu::of(cpu) {
        Some(area) => area,
        None => panic!("there is no CPU {cpu}"),
    }
}

/// Stops all other CPUs, whatever they do.
fn stop_others() {
    let Some(machine) = MACHINE.get() else { return };
    let this = percpu::this().cpu();
    for index in 0..machine.devices.cpus().len() {
        let cpu = CpuId::new(index as u16);
        if cpu != this && secondary::is_running(cpu) {
            machine.devices.send(cpu, vectors::HALT);
        }
    }
    halt::wait_for_others();
}

impl SchedHal for ArmMachine {
    fn now(&self) -> Instant {
        self.devices.now()
    }

    fn cpu_count(&self) -> usize {
        self.devices.cpus().len()
    }

    fn this_cpu(&self) -> CpuId {
        percpu::this().cpu()
    }

    fn topology(&self, cpu: CpuId) -> CpuTopology {
        self.devices.topology(cpu)
    }

    fn mask_interrupts(&self) -> InterruptState {
        interrupts::mask()
    }

    fn restore_interrupts(&self, state: InterruptState) {
        interrupts::restore(state);
    }

    fn clockevent(&self) -> Clockevent {
        self.devices.clockevent()
    }

    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        self.devices.arm(deadline);
        Ok(())
    }

    fn disarm(&self) {
        self.devices.disarm();
    }

    fn request_word(&self, cpu: CpuId) -> &RequestWord {
        &area_of(cpu).requests
    }

    fn send_kick_interrupt(&self, cpu: CpuId) {
        self.devices.send(cpu, vectors::KICK);
    }

    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        interrupts::without_interrupts(|| self.devices.route_irq(line, route))
    }

    fn idle(&self) {
        interrupts::idle();
    }
}

impl Machine for ArmMachine {
    type Entry = Entry;
    type Context = Context;
    const ELF_MACHINE: u16 = ELF_AARCH64;

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}, {}, {}", self.name, self.devices, features())
    }

    fn frame_bytes(&self, frame: Frame) -> *mut u8 {
        paging::direct(frame.start())
    }

    fn user_range(&self) -> Range<usize> {
        paging::USER_RANGE
    }

    /// The kernel's half has a root register of its own, so there is nothing to fill in.
    fn prepare_root(&self, _root: Frame) {}

    fn entries_written(&self) {
        paging::settle();
    }

    fn code_written(&self, frame: Frame) {
        cache::sync_code(frame);
    }

    fn load_root(&self, root: Frame, tag: &SpaceTag) {
        paging::load(root.start(), tag);
    }

    fn load_kernel_root(&self) {
        paging::load_empty();
    }

    fn flush(&self, tag: &SpaceTag, scope: FlushScope) {
        paging::flush(tag, scope);
    }

    fn flush_is_broadcast(&self) -> bool {
        true
    }

    fn run_user(&self, context: &mut Context) -> Trap {
        user::run(context)
    }

    fn save_user_state(&self, context: &mut Context) {
        fpu::save(&mut context.fpu);
    }

    fn set_interrupt_hook(&self, hook: fn(Interrupt)) {
        interrupts::set_hook(hook);
    }

    fn start_secondaries(&'static self) -> CpuSet {
        secondary::start(self.devices)
    }

    fn release_secondaries(&'static self, entry: fn(CpuId) -> !) {
        secondary::release(self.devices, entry);
    }

    fn console_write(&self, bytes: &[u8]) {
        self.devices.serial().write(bytes);
    }

    fn console_read(&self) -> Option<u8> {
        self.devices.serial().read()
    }

    fn console_line(&self) -> Option<IrqLine> {
        self.devices.serial().enable_receive_interrupt();
        self.devices.serial_line()
    }

    fn raise_line(&self, line: IrqLine) -> bool {
        interrupts::without_interrupts(|| self.devices.gic().raise(line))
    }

    fn entropy(&self) -> Option<u64> {
        features().contains(Features::RANDOM).then(random).flatten()
    }

    fn stop_others(&self) {
        if halt::claim() {
            stop_others();
        }
    }

    fn power_off(&self, status: ExitStatus) -> ! {
        power::power_off(status)
    }
}

/// A number from RNDR, which may be out of numbers for a while.
fn random() -> Option<u64> {
    (0..RANDOM_TRIES).find_map(|_| {
        let (value, failed): (u64, u64);
        // SAFETY: the caller has checked that the register exists (RNDR); reading it sets the zero flag on failure.
        unsafe {
            asm!("mrs {0}, s3_3_c2_c4_0", "cset {1}, eq", out(reg) value, out(reg) failed, options(nomem, nostack))
        };
        (failed == 0).then_some(value)
    })
}
