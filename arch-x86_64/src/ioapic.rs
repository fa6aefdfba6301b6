//! The I/O APICs: which CPU a device line interrupts.
//!
//! Line `n` is global system interrupt `n`; it is delivered as vector `DEVICE_BASE + n`. All lines start masked.
//! Lock level: one spin lock over all I/O APICs, innermost, taken with interrupts masked.

use crate::madt::{ApicId, Polarity, Trigger};
use crate::vectors;
use heapless::Vec;
use spin::Mutex;
use tessera_hal::{CpuId, IrqLine, Route, RouteError};
use x2apic::ioapic::{IoApic, IrqFlags, RedirectionTableEntry};
use x86_64::instructions::interrupts::without_interrupts;
use x86_64::instructions::port::PortWriteOnly;

/// More I/O APICs than any machine of 512 CPUs has.
const MAX_CONTROLLERS: usize = 16;
/// The largest physical id that the 8-bit destination field can name; the next is the broadcast.
const LAST_DESTINATION: u32 = 0xfe;

/// One I/O APIC.
struct Controller {
    registers: IoApic,
    first_line: u32,
    lines: u32,
}

/// All I/O APICs of the machine.
pub struct IoApics {
    controllers: Mutex<Vec<Controller, MAX_CONTROLLERS>>,
}

/// How a line signals.
pub type Signalling = (Polarity, Trigger);

/// What the destination field and the mask of an entry say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Masked,
    Apic(ApicId),
}

impl IoApics {
    /// No controller yet.
    pub const fn new() -> Self {
        Self { controllers: Mutex::new(Vec::new()) }
    }

    /// Adds a controller whose pin 0 is `first_line`, and masks all its pins.
    ///
    /// # Safety
    /// `registers` must be an I/O APIC's registers, mapped uncached on every CPU for good, and used by nobody else.
    pub unsafe fn add(&self, registers: *mut u8, first_line: u32) {
        // SAFETY: the caller vouches for the registers.
        let mut registers = unsafe { IoApic::new(registers.expose_provenance() as u64) };
        // SAFETY: reading the version register has no side effect.
        let last_pin = unsafe { registers.max_table_entry() };
        for pin in 0..=last_pin {
            // SAFETY: a masked pin delivers nothing.
            unsafe { registers.disable_irq(pin) };
        }
        let controller = Controller { registers, first_line, lines: u32::from(last_pin) + 1 };
        // The MADT keeps no more entries than fit here.
        let _ = without_interrupts(|| self.controllers.lock().push(controller));
    }

    /// Routes `line` and answers the previous route as it was read back. `cpus` are the CPUs' APIC ids, by CPU.
    pub fn route(
        &self,
        line: IrqLine,
        route: Route,
        signalling: Signalling,
        cpus: &[ApicId],
    ) -> Result<Route, RouteError> {
        let target = target_of(route, cpus)?;
        without_interrupts(|| {
            let mut controllers = self.controllers.lock();
            let (controller, pin) = controllers
                .iter_mut()
                .find_map(|found| pin_of(found.first_line, found.lines, line).map(|pin| (found, pin)))
                .ok_or(RouteError::NoSuchLine(line))?;
            let vector = vectors::of_line(line).ok_or(RouteError::NoSuchLine(line))?;
            let previous = controller.read(pin);
            controller.write(pin, previous, target, vector, signalling);
            if controller.read(pin) != target {
                return Err(RouteError::ReadBackMismatch(line));
            }
            route_of(previous, cpus).ok_or(RouteError::ReadBackMismatch(line))
        })
    }
}

impl Default for IoApics {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller {
    fn read(&mut self, pin: u8) -> Target {
        // SAFETY: the pin exists; reading has no side effect.
        let entry = unsafe { self.registers.table_entry(pin) };
        if entry.flags().contains(IrqFlags::MASKED) {
            Target::Masked
        } else {
            Target::Apic(ApicId(entry.dest().into()))
        }
    }

    fn write(&mut self, pin: u8, previous: Target, target: Target, vector: u8, signalling: Signalling) {
        let Target::Apic(apic) = target else {
            // SAFETY: the pin exists, and a masked one delivers nothing.
            unsafe { self.registers.disable_irq(pin) };
            return;
        };
        // An open pin stays open while only its destination changes: an edge that met a mask would be lost. A masked
        // one opens only when both halves of the entry are in place.
        let masked = previous == Target::Masked;
        // SAFETY: the pin exists, and the entry names a vector that has a handler.
        unsafe { self.registers.set_table_entry(pin, entry(apic, vector, signalling, masked)) };
        if masked {
            // SAFETY: as above.
            unsafe { self.registers.enable_irq(pin) };
        }
    }
}

/// A redirection entry for one CPU.
fn entry(apic: ApicId, vector: u8, (polarity, trigger): Signalling, masked: bool) -> RedirectionTableEntry {
    let mut flags = IrqFlags::empty();
    flags.set(IrqFlags::LOW_ACTIVE, polarity == Polarity::ActiveLow);
    flags.set(IrqFlags::LEVEL_TRIGGERED, trigger == Trigger::Level);
    flags.set(IrqFlags::MASKED, masked);
    let mut entry = RedirectionTableEntry::default();
    entry.set_vector(vector);
    entry.set_flags(flags);
    entry.set_dest(apic.0 as u8);
    entry
}

/// Masks the two 8259s for good. Firmware leaves them on the vectors of exceptions, so they are moved first: even a
/// masked 8259 can make a spurious interrupt.
pub fn silence_8259() {
    /// Ports of the first and the second, and the vector that each is moved to.
    const CONTROLLERS: [(u16, u8, u8); 2] = [(0x20, 0x20, 1 << 2), (0xa0, 0x28, 2)];
    for (port, vector, cascade) in CONTROLLERS {
        let writes = [(port, 0x11), (port + 1, vector), (port + 1, cascade), (port + 1, 0x01), (port + 1, 0xff)];
        for (port, value) in writes {
            // SAFETY: the initialisation sequence of the 8259, whose ports are the same on every PC; it ends masked.
            unsafe { PortWriteOnly::<u8>::new(port).write(value) };
        }
    }
}

/// The pin that `line` is on a controller with so many lines from `first`.
fn pin_of(first: u32, lines: u32, line: IrqLine) -> Option<u8> {
    let pin = line.0.checked_sub(first)?;
    if pin < lines { u8::try_from(pin).ok() } else { None }
}

fn target_of(route: Route, cpus: &[ApicId]) -> Result<Target, RouteError> {
    let Route::Cpu(cpu) = route else { return Ok(Target::Masked) };
    match cpus.get(cpu.index()) {
        None => Err(RouteError::NoSuchCpu(cpu)),
        Some(&ApicId(hardware_id)) if hardware_id > LAST_DESTINATION => {
            Err(RouteError::UnreachableCpu { cpu, hardware_id })
        }
        Some(&apic) => Ok(Target::Apic(apic)),
    }
}

fn route_of(target: Target, cpus: &[ApicId]) -> Option<Route> {
    match target {
        Target::Masked => Some(Route::Masked),
        Target::Apic(apic) => {
            let index = cpus.iter().position(|&id| id == apic)?;
            Some(Route::Cpu(CpuId::new(index as u16)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISA: Signalling = (Polarity::ActiveHigh, Trigger::Edge);

    #[test]
    fn a_cpu_that_eight_bits_cannot_name_is_refused_with_its_id() {
        let cpus = [ApicId(0), ApicId(254), ApicId(255), ApicId(300)];
        let to = |cpu| target_of(Route::Cpu(CpuId::new(cpu)), &cpus);
        assert_eq!(to(1), Ok(Target::Apic(ApicId(254))));
        assert_eq!(to(2), Err(RouteError::UnreachableCpu { cpu: CpuId::new(2), hardware_id: 255 }));
        assert_eq!(to(3), Err(RouteError::UnreachableCpu { cpu: CpuId::new(3), hardware_id: 300 }));
        assert_eq!(to(4), Err(RouteError::NoSuchCpu(CpuId::new(4))));
        assert_eq!(target_of(Route::Masked, &cpus), Ok(Target::Masked));
    }

    #[test]
    fn routes_read_back_as_cpus_not_as_apic_ids() {
        let cpus = [ApicId(4), ApicId(9)];
        assert_eq!(route_of(Target::Apic(ApicId(9)), &cpus), Some(Route::Cpu(CpuId::new(1))));
        assert_eq!(route_of(Target::Apic(ApicId(7)), &cpus), None);
        assert_eq!(route_of(Target::Masked, &cpus), Some(Route::Masked));
    }

    #[test]
    fn entries_carry_polarity_trigger_and_mask() {
        let level = entry(ApicId(7), 0x40, (Polarity::ActiveLow, Trigger::Level), true);
        assert_eq!((level.vector(), level.dest()), (0x40, 7));
        assert_eq!(level.flags(), IrqFlags::LOW_ACTIVE | IrqFlags::LEVEL_TRIGGERED | IrqFlags::MASKED);
        assert_eq!(entry(ApicId(0), 0x34, ISA, false).flags(), IrqFlags::empty());
    }

    #[test]
    fn a_line_is_a_pin_of_the_controller_that_covers_it() {
        assert_eq!(pin_of(24, 24, IrqLine(23)), None);
        assert_eq!(pin_of(24, 24, IrqLine(24)), Some(0));
        assert_eq!(pin_of(24, 24, IrqLine(47)), Some(23));
        assert_eq!(pin_of(24, 24, IrqLine(48)), None);
    }
}
