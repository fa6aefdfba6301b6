//! All devices of the machine behind one value: what the device tree names, brought up on the boot CPU.
//!
//! [`discover`] runs once, with interrupts masked; it fails with one sentence. Afterwards [`Devices`] is shared by all CPUs:
//! nothing in it takes a lock but routing an interrupt.

use crate::clock::{self, BadFrequency, Scale};
use crate::device_tree::{DeviceTree, SerialPort};
use crate::gic::{Gic, GicError};
use crate::options::{OptionError, Options};
use crate::percpu::{self, MAX_CPUS};
use crate::serial::Serial;
use crate::{clockevent, paging, psci, secondary, topology};
use core::fmt;
use core::ptr::NonNull;
use heapless::Vec;
use spin::Once;
use tessera_hal::{Clockevent, CpuId, CpuTopology, Instant, IrqLine, Route, RouteError};

/// Why the machine cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceError {
    /// The command line asks for something impossible.
    Option(OptionError),
    /// The counter's frequency makes no sense.
    Clock(BadFrequency),
    /// The interrupt controller cannot be used.
    InterruptController(GicError),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(error) => error.fmt(f),
            Self::Clock(error) => error.fmt(f),
            Self::InterruptController(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DeviceError {}

macro_rules! causes {
    ($($error:ident => $variant:ident),*) => {$(
        impl From<$error> for DeviceError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}
causes!(OptionError => Option, BadFrequency => Clock, GicError => InterruptController);

/// The machine's devices.
pub struct Devices {
    cpus: Vec<u64, MAX_CPUS>,
    cpus_left_out: usize,
    gic: Gic,
    timer_interrupt: u32,
    scale: Scale,
    serial: Serial,
    serial_line: Option<IrqLine>,
}

static DEVICES: Once<Devices> = Once::new();

/// Finds and sets up the devices. Once, on the boot CPU, with interrupts masked.
pub fn discover(tree: &DeviceTree<'_>) -> Result<&'static Devices, DeviceError> {
    let options = Options::parse(tree.command_line)?;
    let scale = Scale::new(clock::frequency())?;
    clockevent::disarm();
    let mut cpus = tree.cpus.clone();
    if let Some(limit) = options.cpus {
        cpus.truncate(limit.get());
    }
    psci::set_conduit(tree.conduit);
    // SAFETY: once; the registers are where the tree says, and nobody else has been told.
    let gic = unsafe { Gic::new(&tree.controller) }?;
    gic.enable_here(tree.timer_interrupt)?;
    Ok(DEVICES.call_once(|| Devices {
        cpus,
        cpus_left_out: tree.cpus_left_out,
        gic,
        timer_interrupt: tree.timer_interrupt,
        scale,
        serial: serial(tree.serial),
        serial_line: tree.serial.line,
    }))
}

/// The serial port, whose registers the boot has mapped.
fn serial(port: SerialPort) -> Serial {
    let (start, bytes) = port.registers;
    let registers = paging::map_device(start, bytes).and_then(NonNull::new);
    let Some(registers) = registers else { crate::panic::fail(&"the serial port's registers are out of reach") };
    // SAFETY: the tree says that a PL011 stands there, and this is the one driver of it.
    unsafe { Serial::new(registers.cast()) }
}

impl Devices {
    /// The affinities of the CPUs, by CPU; the boot CPU is first.
    pub fn cpus(&self) -> &[u64] {
        &self.cpus
    }

    /// The interrupt controller.
    pub const fn gic(&self) -> &Gic {
        &self.gic
    }

    /// The number of each CPU's timer interrupt.
    pub const fn timer_interrupt(&self) -> u32 {
        self.timer_interrupt
    }

    /// The console.
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The console's line.
    pub const fn serial_line(&self) -> Option<IrqLine> {
        self.serial_line
    }

    /// Interrupts `cpu` with one of the software's interrupts, after all earlier stores. A CPU that does not exist gets none.
    pub fn send(&self, cpu: CpuId, number: u32) {
        if let Some(area) = percpu::of(cpu) {
            self.gic.send(area, number);
        }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.scale.instant(clock::count())
    }

    /// What the clockevents can do.
    pub fn clockevent(&self) -> Clockevent {
        clockevent::descriptor(self.scale)
    }

    /// Programs this CPU's clockevent.
    pub fn arm(&self, deadline: Instant) {
        clockevent::arm(self.scale, deadline);
    }

    /// Stops this CPU's clockevent.
    pub fn disarm(&self) {
        clockevent::disarm();
    }

    /// Routes a line and answers the previous route. Interrupts are masked.
    pub fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        if let Route::Cpu(cpu) = route
            && !secondary::is_running(cpu)
        {
            return Err(RouteError::NoSuchCpu(cpu));
        }
        self.gic.route(line, route)
    }

    /// Where `cpu` stands.
    pub fn topology(&self, cpu: CpuId) -> CpuTopology {
        topology::number(&self.cpus, cpu.index())
    }

    /// Sets this CPU's side of the devices up, timer stopped.
    pub(crate) fn enable_here(&self) -> Result<(), GicError> {
        self.disarm();
        self.gic.enable_here(self.timer_interrupt)
    }
}

impl fmt::Display for Devices {
    /// For the boot line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frequency = clock::frequency();
        let (whole, thousandths) = (frequency / 1_000_000, frequency / 1_000 % 1_000);
        write!(f, "{}, generic timer at {whole}.{thousandths:03} MHz", self.gic.name())?;
        let late = secondary::late(self.cpus().len());
        if !late.is_empty() {
            write!(f, ", left out because they did not start: CPUs {late}")?;
        }
        match self.cpus_left_out {
            0 => Ok(()),
            count => write!(f, ", left out because they cannot be started: {count} CPUs"),
        }
    }
}
