//! The interrupt controller, GICv3: the distributor's lines, this CPU's redistributor frame and its register interface.
//!
//! A device line of the vocabulary is the number of a shared peripheral interrupt, from 0.
//!
//! Lock level: the distributor's lock is a leaf, taken with interrupts masked.

use crate::{clockevent, percpu};
use aarch64_cpu::asm::barrier;
use arm_gic::gicv3::registers::{Gicd, GicrSgi};
use arm_gic::gicv3::{
    GicCpuInterface, GicDistributor, GicRedistributor, GicRedistributorIterator, SgiTarget, SgiTargetGroup,
};
use arm_gic::{IntId, InterruptGroup, UniqueMmioPointer};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use safe_mmio::{field, field_shared};
use spin::Mutex;
use tessera_hal::{CpuId, Interrupt, IrqLine, PhysicalAddress, Route, RouteError};

/// The software-generated interrupt that a kick is.
const KICK: IntId = IntId::sgi(0);
const FIRST_LINE: u32 = 32;
const EVERY_PRIORITY: u8 = 0xff;

/// The interrupt of this CPU's virtual timer, as the device tree says.
static TIMER: AtomicU32 = AtomicU32::new(0);

/// Why the controller cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GicError {
    /// The registers do not answer as those of a GICv3.
    NotVersionThree,
    /// No redistributor frame belongs to this CPU.
    NoRedistributor {
        /// This CPU's affinity.
        affinity: u64,
    },
    /// The timer's interrupt is not private to the CPU.
    BadTimerInterrupt(u32),
}

/// The distributor. One CPU can be named as a target so far.
pub struct Gic {
    distributor: Mutex<UniqueMmioPointer<'static, Gicd>>,
    lines: u32,
    affinity: u64,
}

impl Gic {
    /// Sets the distributor up, with every line masked, and this CPU's side of it.
    ///
    /// # Safety
    /// Both must be the physical addresses of a GICv3's registers (of a whole redistributor region), mapped in the
    /// window of device registers, and nobody else may use them. Once per boot.
    pub unsafe fn new(
        distributor: PhysicalAddress,
        redistributors: PhysicalAddress,
        timer: u32,
    ) -> Result<Self, GicError> {
        let address =
            NonNull::new(crate::paging::device(distributor).cast::<Gicd>()).ok_or(GicError::NotVersionThree)?;
        // SAFETY: the caller says that these are the registers, mapped and ours.
        let mut registers = unsafe { UniqueMmioPointer::new(address) };
        let mut driver = GicDistributor::new(registers.reborrow());
        if driver.pidr2().arch_rev() < 3 {
            return Err(GicError::NotVersionThree);
        }
        driver.enable_all_interrupts(false);
        driver.configure_default_settings();
        let lines = driver.typer().num_spis();
        let affinity = percpu::affinity();
        let redistributor = crate::paging::device(redistributors).cast::<GicrSgi>();
        // SAFETY: the caller says that these are the registers, mapped and ours.
        let frames =
            unsafe { GicRedistributorIterator::new(NonNull::new(redistributor).ok_or(GicError::NotVersionThree)?) };
        let mut frames = frames.map_err(|_| GicError::NotVersionThree)?;
        let mut own = frames
            .find(|frame| frame.typer().core_mpidr() == affinity)
            .ok_or(GicError::NoRedistributor { affinity })?;
        set_up_cpu(&mut own, timer)?;
        Ok(Self { distributor: Mutex::new(registers), lines, affinity })
    }

    /// See [`tessera_hal::SchedHal::route_irq`]. Interrupts must be masked.
    pub fn route(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        if line.0 >= self.lines {
            return Err(RouteError::NoSuchLine(line));
        }
        if let Route::Cpu(cpu) = route
            && cpu != CpuId::BOOT
        {
            return Err(RouteError::NoSuchCpu(cpu));
        }
        let mut registers = self.distributor.lock();
        let previous = self.read_route(&registers, line);
        let (word, bit) = word_and_bit(line);
        // The target of an enabled line may not change; a line is always masked first.
        write_word(field!(registers, icenabler), word, bit);
        while field_shared!(registers, ctlr).read().contains(arm_gic::gicv3::registers::GicdCtlr::RWP) {
            core::hint::spin_loop();
        }
        if let Route::Cpu(_) = route {
            if let Some(mut target) = field!(registers, irouter).get(line.0 as usize) {
                target.write(self.affinity);
            }
            write_word(field!(registers, isenabler), word, bit);
        }
        match self.read_route(&registers, line) == route {
            true => Ok(previous),
            false => Err(RouteError::ReadBackMismatch(line)),
        }
    }

    /// Makes a line pending once, as its device would with an edge.
    pub fn raise(&self, line: IrqLine) -> bool {
        if line.0 >= self.lines {
            return false;
        }
        let (word, bit) = word_and_bit(line);
        let mut registers = self.distributor.lock();
        write_word(field!(registers, ispendr), word, bit);
        true
    }

    fn read_route(&self, registers: &UniqueMmioPointer<'static, Gicd>, line: IrqLine) -> Route {
        let (word, bit) = word_and_bit(line);
        let enabled = field_shared!(*registers, isenabler).get(word).is_some_and(|register| register.read() & bit != 0);
        let target = field_shared!(*registers, irouter).get(line.0 as usize).map(|register| register.read());
        if enabled && target == Some(self.affinity) { Route::Cpu(CpuId::BOOT) } else { Route::Masked }
    }
}

fn set_up_cpu(frame: &mut GicRedistributor<'_>, timer: u32) -> Result<(), GicError> {
    if !(16..FIRST_LINE).contains(&timer) {
        return Err(GicError::BadTimerInterrupt(timer));
    }
    // An error says that it was awake already.
    let _ = frame.mark_core_awake();
    frame.configure_default_settings();
    for interrupt in [KICK, IntId::ppi(timer - 16)] {
        frame.enable_interrupt(interrupt, true).map_err(|_| GicError::BadTimerInterrupt(timer))?;
    }
    TIMER.store(timer, Ordering::Relaxed);
    GicCpuInterface::enable_system_register_el1();
    GicCpuInterface::set_priority_mask(EVERY_PRIORITY);
    GicCpuInterface::enable_group1(true);
    Ok(())
}

/// Takes the interrupt that is due on this CPU, and ends it at the controller. Interrupts must be masked. The timer's
/// interrupt is a level: the timer is stopped first.
pub fn acknowledge() -> Interrupt {
    let Some(id) = GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1) else {
        return Interrupt::Spurious;
    };
    let interrupt = match id.raw_value() {
        number if number == KICK.raw_value() => Interrupt::Kick,
        number if number == TIMER.load(Ordering::Relaxed) => {
            clockevent::disarm();
            Interrupt::Timer
        }
        number if id.is_spi() => Interrupt::Device(IrqLine(number - FIRST_LINE)),
        _ => Interrupt::Spurious,
    };
    GicCpuInterface::end_interrupt(id, InterruptGroup::Group1);
    interrupt
}

/// Sends a kick to this CPU, after its earlier stores.
pub fn kick_self() {
    let affinity = percpu::affinity();
    let target = SgiTarget::List {
        affinity3: (affinity >> 32) as u8,
        affinity2: (affinity >> 16) as u8,
        affinity1: (affinity >> 8) as u8,
        target_list: 1 << (affinity & 0xf),
    };
    barrier::dsb(barrier::ISHST);
    // The only error is an identifier that is not software-generated, and this one is.
    let _ = GicCpuInterface::send_sgi(KICK, target, SgiTargetGroup::CurrentGroup1);
    barrier::isb(barrier::SY);
}

fn word_and_bit(line: IrqLine) -> (usize, u32) {
    let number = FIRST_LINE + line.0;
    (number as usize / 32, 1 << (number % 32))
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
