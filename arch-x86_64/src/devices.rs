//! All devices of the machine behind one value: what the firmware's tables name, brought up on the boot CPU.
//!
//! [`discover`] runs once, before there is a heap, with interrupts masked; it fails with one sentence. Afterwards
//! [`Devices`] is shared by all CPUs: nothing in it takes a lock but routing an interrupt.

use crate::acpi::{self, PhysicalMemory, Tables, TablesError};
use crate::apic::{self, ApicMode, ApicModeError, Command, LocalApic};
use crate::calibration::{self, CalibrationError, Counters};
use crate::clock::{self, Clock, CrossCheck};
use crate::clockevent::{self, LocalTimer, NoTimer};
use crate::ioapic::{self, IoApics};
use crate::madt::{ApicId, MAX_CPUS, Madt};
use crate::options::{OptionError, Options};
use crate::reference::Reference;
use crate::topology::{self, RawTopology, ThisCpu};
use crate::{paging, secondary, serial, vectors};
use core::{fmt, ptr, ptr::NonNull};
use heapless::Vec;
use spin::{Mutex, Once};
use tessera_hal::{Clockevent, CpuId, CpuTopology, Instant, IrqLine, PhysicalAddress, Route, RouteError};

/// Why the machine cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceError {
    /// The command line asks for something impossible.
    Option(OptionError),
    /// The loader named no ACPI tables.
    NoRsdp,
    /// The firmware's tables are wrong.
    Tables(TablesError),
    /// The APIC mode is impossible.
    ApicMode(ApicModeError),
    /// There is no clock to calibrate by.
    Calibration(CalibrationError),
    /// There is no timer.
    NoTimer(NoTimer),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(error) => error.fmt(f),
            Self::NoRsdp => write!(f, "the loader names no ACPI tables (the RSDP address is zero)"),
            Self::Tables(error) => error.fmt(f),
            Self::ApicMode(error) => error.fmt(f),
            Self::Calibration(error) => error.fmt(f),
            Self::NoTimer(error) => error.fmt(f),
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
causes!(OptionError => Option, TablesError => Tables, ApicModeError => ApicMode, CalibrationError => Calibration,
    NoTimer => NoTimer);

/// The machine's devices.
pub struct Devices {
    madt: Madt,
    apic: LocalApic,
    clock: Clock,
    /// The clockevents before and after the clock is settled.
    early_timer: LocalTimer,
    timer: Once<LocalTimer>,
    io_apics: IoApics,
    /// Written by each CPU as it starts; numbered once all have.
    places: Mutex<Vec<RawTopology, MAX_CPUS>>,
    topology: Once<Vec<CpuTopology, MAX_CPUS>>,
}

static DEVICES: Once<Devices> = Once::new();

/// Finds and sets up the devices. Once, on the boot CPU, with interrupts masked.
pub fn discover(rsdp: Option<PhysicalAddress>, command_line: &str) -> Result<&'static Devices, DeviceError> {
    let options = Options::parse(command_line)?;
    let rsdp = rsdp.ok_or(DeviceError::NoRsdp)?;
    let mut tables = acpi::discover(FirmwareTables, rsdp, topology::apic_id(&ThisCpu))?;
    if let Some(limit) = options.cpus {
        tables.madt.cpus.truncate(limit.get());
    }
    let devices = Devices::set_up(tables, options.apic)?;
    if devices.cpus().len() == 1 {
        // There is nobody to start, so the clock is as settled as it will be.
        let check = CrossCheck::new();
        devices.cross_check(&check);
        devices.settle(&check, true);
    }
    Ok(DEVICES.call_once(|| devices))
}

impl Devices {
    fn set_up(tables: Tables, asked: Option<ApicMode>) -> Result<Self, DeviceError> {
        let Tables { madt, .. } = &tables;
        let mode = apic::choose_mode(asked, apic::x2apic_offered(), &madt.cpus)?;
        ioapic::silence_8259();
        let apic = local_apic(mode, madt);
        apic.enable_here();
        let clock = start_clock(&tables, &apic)?;
        let early_timer = LocalTimer::new(&clock, clockevent::tsc_deadline_offered(&ThisCpu))?;
        early_timer.set_up_here(&apic);
        let places = madt.cpus.iter().map(|&id| RawTopology::of(id, &ThisCpu)).collect();
        Ok(Self {
            io_apics: io_apics(madt),
            apic,
            clock,
            early_timer,
            timer: Once::new(),
            places: Mutex::new(places),
            topology: Once::new(),
            madt: tables.madt,
        })
    }

    /// The APIC ids of the CPUs, by CPU; the boot CPU is first.
    pub fn cpus(&self) -> &[ApicId] {
        &self.madt.cpus
    }

    /// How many CPUs the firmware lists beyond those that Tessera can use.
    pub const fn cpus_left_out(&self) -> usize {
        self.madt.cpus_left_out
    }

    /// The local APIC of the CPU that uses it.
    pub const fn apic(&self) -> &LocalApic {
        &self.apic
    }

    /// Sends a command to a CPU, after all earlier stores. A CPU that does not exist gets none.
    pub fn send(&self, cpu: CpuId, command: Command) {
        if let Some(&id) = self.cpus().get(cpu.index()) {
            self.apic.send(id, command);
        }
    }

    /// Interrupts `cpu` so that it looks at its request word.
    pub fn send_kick(&self, cpu: CpuId) {
        self.send(cpu, Command::Fixed(vectors::KICK));
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What the clockevents can do.
    pub fn clockevent(&self) -> Clockevent {
        self.timer().can()
    }

    /// Programs this CPU's clockevent.
    pub fn arm(&self, deadline: Instant) {
        self.timer().arm(&self.apic, &self.clock, deadline);
    }

    /// Stops this CPU's clockevent.
    pub fn disarm(&self) {
        self.timer().disarm(&self.apic, &self.clock);
    }

    /// Routes a line and answers the previous route.
    pub fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        if let Route::Cpu(cpu) = route
            && !secondary::is_running(cpu)
        {
            return Err(RouteError::NoSuchCpu(cpu));
        }
        self.io_apics.route(line, route, self.madt.signalling(line.0), self.cpus())
    }

    /// The line of the first serial port.
    pub fn console_line(&self) -> IrqLine {
        IrqLine(self.madt.isa_line(serial::ISA_INTERRUPT))
    }

    /// Where `cpu` stands; before all CPUs are up, where the boot CPU thinks that it does.
    pub fn topology(&self, cpu: CpuId) -> CpuTopology {
        match self.topology.get() {
            Some(numbered) => numbered.get(cpu.index()).copied().unwrap_or_default(),
            None => {
                let places = self.places.lock();
                if cpu.index() < places.len() { topology::number(&places, cpu.index()) } else { CpuTopology::default() }
            }
        }
    }

    /// Says where a CPU stands, as it has read itself.
    pub(crate) fn note_topology(&self, cpu: CpuId, place: RawTopology) {
        if let Some(slot) = self.places.lock().get_mut(cpu.index()) {
            *slot = place;
        }
    }

    /// Sets up this CPU's local APIC, timer stopped.
    pub(crate) fn enable_here(&self) {
        self.apic.enable_here();
    }

    /// Takes part in the clock check.
    pub(crate) fn cross_check(&self, check: &CrossCheck) {
        check.take_part(clock::read_tsc);
    }

    /// Ends the start of the secondary CPUs: the clock, the clockevents and the topology are final. `complete` says
    /// whether all CPUs took part in the check. No other CPU may use the devices meanwhile.
    pub(crate) fn settle(&self, check: &CrossCheck, complete: bool) {
        self.clock.settle(check, complete);
        let offered = clockevent::tsc_deadline_offered(&ThisCpu);
        // The same timer counted at boot, so that it can only be refused for a reason that was refused then.
        let timer = LocalTimer::new(&self.clock, offered).unwrap_or(self.early_timer);
        self.timer.call_once(|| timer);
        self.set_up_timer_here();
        let places = self.places.lock();
        self.topology.call_once(|| (0..places.len()).map(|index| topology::number(&places, index)).collect());
    }

    pub(crate) fn set_up_timer_here(&self) {
        self.timer().set_up_here(&self.apic);
    }

    fn timer(&self) -> &LocalTimer {
        self.timer.get().unwrap_or(&self.early_timer)
    }
}

impl fmt::Display for Devices {
    /// For the boot line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, clock {}", self.apic.mode(), self.timer().name(), self.clock)?;
        let late = secondary::late(self.cpus().len());
        if !late.is_empty() {
            write!(f, ", left out because they did not start: CPUs {late}")?;
        }
        match self.cpus_left_out() {
            0 => Ok(()),
            count => write!(f, ", left out beyond {MAX_CPUS}: {count} CPUs"),
        }
    }
}

fn local_apic(mode: ApicMode, madt: &Madt) -> LocalApic {
    let registers = match mode {
        ApicMode::Xapic => paging::map_device(PhysicalAddress(madt.local_apic), tessera_hal::PAGE_SIZE),
        ApicMode::X2apic => ptr::null_mut(),
    };
    // SAFETY: the registers were mapped uncached where the firmware says they are.
    unsafe { LocalApic::new(mode, registers) }
}

fn io_apics(madt: &Madt) -> IoApics {
    const REGISTERS: usize = 0x20;
    let io_apics = IoApics::new();
    for entry in &madt.io_apics {
        let registers = paging::map_device(PhysicalAddress(u64::from(entry.address)), REGISTERS);
        // SAFETY: mapped uncached where the firmware says they are; this is the only user.
        unsafe { io_apics.add(registers, entry.first_line) };
    }
    io_apics
}

/// Calibrates by the HPET, or by the power-management timer where there is none; where there are both, the second is
/// the check.
fn start_clock(tables: &Tables, apic: &LocalApic) -> Result<Clock, CalibrationError> {
    const HPET_REGISTERS: usize = 0x400;
    let hpet = tables.hpet.and_then(|address| {
        let registers = paging::map_device(address, HPET_REGISTERS);
        // SAFETY: mapped uncached where the firmware says they are.
        unsafe { Reference::hpet(registers) }
    });
    let pm_timer = tables.pm_timer.map(Reference::pm_timer);
    let (reference, second) = match (hpet, pm_timer) {
        (Some(hpet), second) => (hpet, second),
        (None, Some(pm_timer)) => (pm_timer, None),
        (None, None) => return Err(CalibrationError::NoReference),
    };
    apic.start_silent_count();
    let calibration = calibration::calibrate(&Counters {
        tsc: &clock::read_tsc,
        timer: &|| apic.silent_count(),
        reference: &reference,
        second: second.as_ref(),
        told_hz: calibration::told_hz(&ThisCpu),
    })?;
    Ok(Clock::new(calibration, reference, clock::tsc_is_invariant(&ThisCpu)))
}

/// The firmware's tables, mapped read-only on demand.
#[derive(Clone)]
struct FirmwareTables;

impl PhysicalMemory for FirmwareTables {
    fn map(&self, start: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        /// No table that is read is longer; a longer one is a lie.
        const LONGEST: usize = 1 << 20;
        /// Physical addresses above are in no machine's low firmware memory.
        const END: u64 = 1 << 40;
        if length > LONGEST || start.0 >= END - LONGEST as u64 {
            return None;
        }
        NonNull::new(paging::map_firmware(start, length).cast_mut())
    }
}
