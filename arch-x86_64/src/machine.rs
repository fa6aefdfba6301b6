//! [`X86Machine`]: the CPU side and the device side as one `Machine`.
//!
//! No state of its own: what is per CPU stands in [`crate::percpu`], what is a device in [`Devices`].

use crate::devices::Devices;
use crate::features::{Features, features};
use crate::page_entry::Entry;
use crate::percpu::{self, PerCpu};
use crate::serial::Serial;
use crate::user::Context;
use crate::{apic, boot, fpu, halt, interrupts, paging, panic, power, secondary, user};
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
const ELF_X86_64: u16 = 62;

static MACHINE: Once<X86Machine> = Once::new();

/// The machine.
pub struct X86Machine {
    name: &'static str,
    devices: &'static Devices,
    serial: Serial,
}

impl X86Machine {
    /// The machine around its devices: prepares the areas and stacks of all CPUs. Once, on the boot CPU, before boot
    /// memory is handed over.
    pub fn new(name: &'static str, devices: &'static Devices) -> &'static Self {
        for (index, id) in devices.cpus().iter().enumerate() {
            match percpu::of(CpuId::new(index as u16)) {
                Some(area) => percpu::set_hardware_id(area, id.0),
                None => {
                    percpu::prepare(CpuId::new(index as u16), id.0);
                }
            }
        }
        interrupts::set_devices(devices);
        panic::set_stop_others(stop_others);
        MACHINE.call_once(|| Self { name, devices, serial: Serial::new() })
    }

    /// The machine, once it is made.
    pub fn get() -> Option<&'static Self> {
        MACHINE.get()
    }
}

/// Sets a secondary CPU up, on that CPU.
fn prepare_here(cpu: CpuId) {
    boot::bring_up_secondary(area_of(cpu));
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
        // A CPU that came too late has no handler: it would reset the machine.
        if cpu != this && secondary::is_running(cpu) {
            machine.devices.send(cpu, apic::Command::NonMaskable);
        }
    }
    halt::wait_for_others();
}

impl SchedHal for X86Machine {
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
        self.devices.send_kick(cpu);
    }

    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        self.devices.route_irq(line, route)
    }

    fn idle(&self) {
        interrupts::idle();
    }
}

impl Machine for X86Machine {
    type Entry = Entry;
    type Context = Context;
    const ELF_MACHINE: u16 = ELF_X86_64;

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}, {}, {}, FPU state {} bytes", self.name, self.devices, features(), fpu::area_bytes())
    }

    fn frame_bytes(&self, frame: Frame) -> *mut u8 {
        paging::direct(frame.start())
    }

    fn user_range(&self) -> Range<usize> {
        paging::USER_RANGE
    }

    fn prepare_root(&self, root: Frame) {
        paging::prepare_root(root);
    }

    /// Loading a root drops what was cached of the earlier one, so nothing is tagged.
    fn load_root(&self, root: Frame, _tag: &SpaceTag) {
        paging::load(root.start());
    }

    fn load_kernel_root(&self) {
        paging::load(paging::kernel_root());
    }

    /// A space that is not loaded has nothing cached.
    fn flush(&self, _tag: &SpaceTag, scope: FlushScope) {
        match scope {
            FlushScope::Page(address) => paging::flush_page(address),
            FlushScope::User => paging::load(paging::loaded_root()),
        }
    }

    fn flush_is_broadcast(&self) -> bool {
        false
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
        secondary::start(self.devices, prepare_here)
    }

    fn release_secondaries(&'static self, entry: fn(CpuId) -> !) {
        secondary::release(self.devices, entry);
    }

    fn console_write(&self, bytes: &[u8]) {
        self.serial.write(bytes);
    }

    fn console_read(&self) -> Option<u8> {
        self.serial.read()
    }

    fn console_line(&self) -> Option<IrqLine> {
        self.serial.enable_receive_interrupt();
        Some(self.devices.console_line())
    }

    fn raise_line(&self, line: IrqLine) -> bool {
        line == self.devices.console_line() && self.serial.pulse_interrupt()
    }

    fn entropy(&self) -> Option<u64> {
        features().contains(Features::RDRAND).then(random).flatten()
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

/// A number from RDRAND, which may be out of numbers for a while.
fn random() -> Option<u64> {
    (0..RANDOM_TRIES).find_map(|_| {
        let (value, valid): (u64, u8);
        // SAFETY: the caller has checked that the instruction exists; it touches registers only.
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack));
        }
        (valid != 0).then_some(value)
    })
}
