//! GICv3: a distributor, a redistributor frame per CPU in one or more regions, and the CPU interface in system registers.
//! A target is an affinity.

use super::{Acknowledged, GicError, Group};
use crate::device_tree::{MAX_REDISTRIBUTORS, Range};
use crate::paging;
use crate::vectors::{self, HALT, KICK};
use arm_gic::gicv3::registers::{Gicd, GicdCtlr, GicrSgi};
use arm_gic::gicv3::{GicCpuInterface, GicDistributor, GicRedistributor, GicRedistributorIterator};
use arm_gic::gicv3::{Group as Security, SecureIntGroup};
use arm_gic::{IntId, InterruptGroup, UniqueMmioPointer};
use core::arch::asm;
use core::hint::spin_loop;
use core::ptr::NonNull;
use heapless::Vec;
use safe_mmio::{field, field_shared};
use spin::Mutex;
use tessera_hal::{IrqLine, PhysicalAddress, RouteError};

const EVERY_PRIORITY: u8 = 0xff;
/// The architecture's revision, as the distributor names it.
const REVISIONS: core::ops::RangeInclusive<u8> = 3..=4;

/// A GICv3.
#[derive(Debug)]
pub struct VersionThree {
    distributor: Mutex<UniqueMmioPointer<'static, Gicd>>,
    /// Held while a CPU looks for its frame.
    redistributors: Mutex<Vec<NonNull<GicrSgi>, MAX_REDISTRIBUTORS>>,
    lines: u32,
    /// Whether secure firmware has kept group 0.
    one_group: bool,
}

// SAFETY: the frames' registers are reached under the lock only.
unsafe impl Send for VersionThree {}
// SAFETY: as above.
unsafe impl Sync for VersionThree {}

impl VersionThree {
    /// See [`super::Gic::new`].
    ///
    /// # Safety
    /// As there; each range of frames ends with one that says so.
    pub(super) unsafe fn new(distributor: PhysicalAddress, regions: &[Range]) -> Result<Self, GicError> {
        let missing = GicError::WrongVersion { found: 0 };
        let map = |address, bytes| paging::map_device(address, bytes).and_then(NonNull::new).ok_or(missing);
        let registers = map(distributor, size_of::<Gicd>() as u64)?.cast::<Gicd>();
        // SAFETY: the caller says that these are the registers; they were mapped just now.
        let mut registers = unsafe { UniqueMmioPointer::new(registers) };
        let mut driver = GicDistributor::new(registers.reborrow());
        let found = driver.pidr2().arch_rev();
        if !REVISIONS.contains(&found) {
            return Err(GicError::WrongVersion { found });
        }
        driver.enable_all_interrupts(false);
        driver.configure_default_settings();
        let one_group = !field_shared!(registers, ctlr).read().contains(GicdCtlr::DS);
        let mut driver = GicDistributor::new(registers.reborrow());
        if !one_group {
            driver.enable_group0(true);
        }
        let lines = driver.typer().num_spis();
        let mut redistributors = Vec::new();
        for &(start, bytes) in regions {
            // The device tree has no more regions than fit.
            let _ = redistributors.push(map(start, bytes)?.cast());
        }
        let redistributors = Mutex::new(redistributors);
        Ok(Self { distributor: Mutex::new(registers), redistributors, lines, one_group })
    }

    /// Sets this CPU's frame and interface up and answers its affinity.
    pub(super) fn enable_here(&self, affinity: u64, timer: u32) -> Result<u64, GicError> {
        let bad_timer = |_| GicError::BadTimerInterrupt(timer);
        let regions = self.redistributors.lock();
        let mut own = regions
            .iter()
            .find_map(|&region| frame_of(region, affinity))
            .ok_or(GicError::NoRedistributor { affinity })?;
        // An error says that it was awake already.
        let _ = own.mark_core_awake();
        own.configure_default_settings();
        if !self.one_group {
            // The number is one of the software's.
            let _ = own.set_group(IntId::sgi(HALT), Security::Secure(SecureIntGroup::Group0));
        }
        let private = IntId::ppi(timer - vectors::FIRST_PRIVATE);
        for interrupt in [IntId::sgi(KICK), IntId::sgi(HALT), private] {
            own.enable_interrupt(interrupt, true).map_err(bad_timer)?;
        }
        drop(regions);
        GicCpuInterface::enable_system_register_el1();
        GicCpuInterface::set_priority_mask(EVERY_PRIORITY);
        GicCpuInterface::enable_group0(!self.one_group);
        GicCpuInterface::enable_group1(true);
        Ok(affinity)
    }

    pub(super) fn acknowledge(&self, group: Group) -> Acknowledged {
        let taken = GicCpuInterface::get_and_acknowledge_interrupt(group.into());
        Acknowledged(taken.map_or(vectors::FIRST_SPECIAL, IntId::raw_value))
    }

    pub(super) fn end(&self, taken: Acknowledged, group: Group) {
        if let Ok(number) = IntId::try_from(taken.0) {
            GicCpuInterface::end_interrupt(number, group.into());
        }
    }

    pub(super) fn send(&self, target: u64, number: u32) {
        let value = software_interrupt(target, number);
        if number == HALT && !self.one_group {
            // SAFETY: sending an interrupt of group 0 touches no memory (ICC_SGI0R_EL1).
            unsafe { asm!("msr s3_0_c12_c11_7, {}", "isb", in(reg) value, options(nostack)) };
        } else {
            // SAFETY: sending an interrupt of group 1 touches no memory (ICC_SGI1R_EL1).
            unsafe { asm!("msr s3_0_c12_c11_5, {}", "isb", in(reg) value, options(nostack)) };
        }
    }

    /// Answers the target before and after, each as it was read.
    pub(super) fn route(&self, line: IrqLine, target: Option<u64>) -> Result<(Option<u64>, Option<u64>), RouteError> {
        let number = vectors::of_line(line, self.lines).ok_or(RouteError::NoSuchLine(line))?;
        let (word, bit) = (number as usize / 32, 1 << (number % 32));
        let mut registers = self.distributor.lock();
        let previous = read_target(&registers, line, number);
        // The target of an enabled line may not change; a line is always masked first.
        write_word(field!(registers, icenabler), word, bit);
        while field_shared!(registers, ctlr).read().contains(GicdCtlr::RWP) {
            spin_loop();
        }
        if let Some(target) = target {
            if let Some(mut register) = field!(registers, irouter).get(line.0 as usize) {
                register.write(target);
            }
            write_word(field!(registers, isenabler), word, bit);
        }
        Ok((previous, read_target(&registers, line, number)))
    }

    pub(super) fn raise(&self, line: IrqLine) -> bool {
        let Some(number) = vectors::of_line(line, self.lines) else { return false };
        let mut registers = self.distributor.lock();
        write_word(field!(registers, ispendr), number as usize / 32, 1 << (number % 32));
        true
    }
}

impl From<Group> for InterruptGroup {
    fn from(group: Group) -> Self {
        match group {
            Group::Fast => Self::Group0,
            Group::Ordinary => Self::Group1,
        }
    }
}

/// The frame of the CPU with this affinity, if it is in the region.
fn frame_of(region: NonNull<GicrSgi>, affinity: u64) -> Option<GicRedistributor<'static>> {
    // SAFETY: the region is mapped, ends with a frame that says so, and is reached under the lock only.
    let mut frames = unsafe { GicRedistributorIterator::new(region) }.ok()?;
    frames.find(|frame| frame.typer().core_mpidr() == affinity)
}

/// What the registers that send a software's interrupt take: the higher levels of the affinity, a group of 16 at the
/// lowest one, and one bit of that.
fn software_interrupt(target: u64, number: u32) -> u64 {
    let level = |level: u64| target >> (8 * level) & 0xff;
    let third = target >> 32 & 0xff;
    let (group, bit) = (level(0) >> 4, 1 << (level(0) & 0xf));
    third << 48 | group << 44 | level(2) << 32 | u64::from(number) << 24 | level(1) << 16 | bit
}

fn read_target(registers: &UniqueMmioPointer<'static, Gicd>, line: IrqLine, number: u32) -> Option<u64> {
    let enabled = field_shared!(*registers, isenabler).get(number as usize / 32)?.read() & 1 << (number % 32) != 0;
    let target = field_shared!(*registers, irouter).get(line.0 as usize)?.read();
    enabled.then_some(target)
}

fn write_word(
    mut registers: UniqueMmioPointer<'_, [safe_mmio::fields::ReadPureWrite<u32>; 32]>,
    word: usize,
    value: u32,
) {
    if let Some(mut register) = registers.get(word) {
        register.write(value);
    }
}
