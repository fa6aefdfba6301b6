//! GICv2: a distributor and one CPU interface per CPU, banked at one address. A target is a bit among eight.

use super::{Acknowledged, GicError};
use crate::paging;
use crate::vectors::{self, FIRST_LINE, HALT, KICK};
use arm_gic::gicv2::registers::{Gicc, Gicd, GicdCtlr};
use core::ptr::NonNull;
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use spin::Mutex;
use tessera_hal::{IrqLine, PhysicalAddress, RouteError};

const EVERY_PRIORITY: u32 = 0xff;
/// The middle one, in each of four bytes.
const PRIORITIES: u32 = 0x8080_8080;
/// The request to halt comes before all others: both groups are acknowledged through one register.
const HALT_FIRST: u32 = PRIORITIES & !(0xff << (8 * HALT));
/// CPU interface control: both groups on, acknowledged alike, the first one by FIQ. With one group left to us, its own bit is
/// the first.
const BOTH_GROUPS: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 3;
const ONE_GROUP: u32 = 1;

/// A GICv2.
#[derive(Debug)]
pub struct VersionTwo {
    /// Held while a line is changed.
    change: Mutex<()>,
    distributor: NonNull<Gicd>,
    interface: NonNull<Gicc>,
    lines: u32,
    /// Whether secure firmware has kept group 0.
    one_group: bool,
    /// One CPU needs no targets: their registers read as zero.
    is_alone: bool,
}

// SAFETY: the registers are reached from every CPU; a register that two of them could tear is changed under the lock.
unsafe impl Send for VersionTwo {}
// SAFETY: as above.
unsafe impl Sync for VersionTwo {}

impl VersionTwo {
    /// See [`super::Gic::new`].
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn new(distributor: PhysicalAddress, interface: PhysicalAddress) -> Result<Self, GicError> {
        const FRAME: u64 = 0x1000;
        let map = |address, bytes| paging::map_device(address, bytes).and_then(NonNull::new);
        let missing = GicError::WrongVersion { found: 0 };
        let distributor = map(distributor, FRAME).ok_or(missing)?.cast::<Gicd>();
        // The deactivation register stands in the second frame.
        let interface = map(interface, 2 * FRAME).ok_or(missing)?.cast::<Gicc>();
        let mut gic =
            Self { change: Mutex::new(()), distributor, interface, lines: 0, one_group: false, is_alone: false };
        let typer = field_shared!(gic.distributor(), typer).read();
        gic.lines = typer.num_irqs().min(vectors::FIRST_SPECIAL).saturating_sub(FIRST_LINE);
        gic.one_group = typer.has_security_extension();
        gic.is_alone = typer.cpu_count() == 1;
        gic.mask_all();
        Ok(gic)
    }

    fn distributor(&self) -> UniqueMmioPointer<'_, Gicd> {
        // SAFETY: the registers are mapped and ours; those that CPUs share are changed under the lock or by single writes
        // that cannot tear, and the first 32 interrupts' are banked.
        unsafe { UniqueMmioPointer::new(self.distributor) }
    }

    fn interface(&self) -> UniqueMmioPointer<'_, Gicc> {
        // SAFETY: the registers are mapped and banked: this CPU uses its own, with interrupts masked.
        unsafe { UniqueMmioPointer::new(self.interface) }
    }

    fn mask_all(&self) {
        let mut registers = self.distributor();
        field!(registers, ctlr).write(GicdCtlr::empty());
        let words = (FIRST_LINE + self.lines).div_ceil(32) as usize;
        for word in 1..words {
            write(field!(registers, icenabler).get(word), u32::MAX);
            write(field!(registers, icpendr).get(word), u32::MAX);
            write(field!(registers, igroupr).get(word), u32::MAX);
            for index in word * 8..(word + 1) * 8 {
                write(field!(registers, ipriorityr).get(index), PRIORITIES);
            }
            for index in word * 2..(word + 1) * 2 {
                // All by level.
                write(field!(registers, icfgr).get(index), 0);
            }
        }
        field!(registers, ctlr).write(if self.one_group { GicdCtlr::EnableGrp0 } else { GicdCtlr::all() });
    }

    /// Sets this CPU's banked registers up and answers the bit that names it.
    pub(super) fn enable_here(&self, timer: u32) -> Result<u64, GicError> {
        let mut registers = self.distributor();
        let enabled = 1 << KICK | 1 << HALT | 1 << timer;
        write(field!(registers, icenabler).get(0), u32::MAX);
        write(field!(registers, igroupr).get(0), if self.one_group { u32::MAX } else { !(1 << HALT) });
        for index in 0..8 {
            let priorities = if index == 0 { HALT_FIRST } else { PRIORITIES };
            write(field!(registers, ipriorityr).get(index), priorities);
        }
        write(field!(registers, isenabler).get(0), enabled);
        let read = field!(registers, isenabler).get(0).map(|register| register.read());
        if read.is_none_or(|read| read & 1 << timer == 0) {
            return Err(GicError::BadTimerInterrupt(timer));
        }
        let target = self.target_byte(0);
        let mut interface = self.interface();
        field!(interface, pmr).write(EVERY_PRIORITY);
        field!(interface, ctlr).write(if self.one_group { ONE_GROUP } else { BOTH_GROUPS });
        if target.count_ones() == 1 { Ok(target.into()) } else { Err(GicError::NoInterface) }
    }

    pub(super) fn acknowledge(&self) -> Acknowledged {
        let mut interface = self.interface();
        Acknowledged(field!(interface, iar).read())
    }

    pub(super) fn end(&self, taken: Acknowledged) {
        let mut interface = self.interface();
        field!(interface, eoir).write(taken.0);
    }

    pub(super) fn send(&self, target: u64, number: u32) {
        /// The interrupt is sent in group 1, where the sender sees both groups.
        const ORDINARY: u32 = 1 << 15;
        let group = if number == HALT && !self.one_group { 0 } else { ORDINARY };
        let mut registers = self.distributor();
        field!(registers, sgir).write(number | (target as u32 & 0xff) << 16 | group);
    }

    /// Answers the target before and after, each as it was read.
    pub(super) fn route(&self, line: IrqLine, target: Option<u64>) -> Result<(Option<u64>, Option<u64>), RouteError> {
        let number = vectors::of_line(line, self.lines).ok_or(RouteError::NoSuchLine(line))?;
        let (word, bit) = (number as usize / 32, 1 << (number % 32));
        let _held = self.change.lock();
        let previous = self.target(number);
        let mut registers = self.distributor();
        // The target of an enabled line may not change; a line is always masked first.
        write(field!(registers, icenabler).get(word), bit);
        if let Some(target) = target {
            self.set_target_byte(number, target as u8);
            write(field!(registers, isenabler).get(word), bit);
        }
        Ok((previous, self.target(number)))
    }

    fn target(&self, number: u32) -> Option<u64> {
        let registers = self.distributor();
        let enabled = field_shared!(registers, isenabler).get(number as usize / 32)?.read() & 1 << (number % 32) != 0;
        enabled.then(|| self.target_byte(number).into())
    }

    /// The target registers allow access by bytes, so that no other line's is touched.
    fn target_place(&self, number: u32) -> *mut u8 {
        // SAFETY: the field is inside the registers.
        let targets = unsafe { &raw mut (*self.distributor.as_ptr()).itargetsr };
        targets.cast::<u8>().wrapping_add(number as usize)
    }

    fn target_byte(&self, number: u32) -> u8 {
        if self.is_alone {
            return 1;
        }
        // SAFETY: the register is mapped; reading it has no effect.
        unsafe { self.target_place(number).read_volatile() }
    }

    fn set_target_byte(&self, number: u32, target: u8) {
        // SAFETY: the register is mapped and the caller holds the lock.
        unsafe { self.target_place(number).write_volatile(target) };
    }

    pub(super) fn raise(&self, line: IrqLine) -> bool {
        let Some(number) = vectors::of_line(line, self.lines) else { return false };
        let mut registers = self.distributor();
        write(field!(registers, ispendr).get(number as usize / 32), 1 << (number % 32));
        true
    }
}

fn write(register: Option<UniqueMmioPointer<'_, safe_mmio::fields::ReadPureWrite<u32>>>, value: u32) {
    if let Some(mut register) = register {
        register.write(value);
    }
}
