//! The interrupt controller: GICv2 or GICv3 behind one type (Arm IHI 0048, IHI 0069).
//!
//! A device line of the vocabulary is the number of a shared peripheral interrupt, from 0. Every interrupt is in group 1
//! (IRQ) but the request to halt, which is in group 0 (FIQ) where the controller leaves both groups to us. What is per CPU
//! is set up by [`Gic::enable_here`] on that CPU, and a CPU is named as a target by what it has found there.
//!
//! Lock level: the lock over the distributor's lines is a leaf, taken with interrupts masked.

mod version_three;
mod version_two;

use crate::device_tree::Controller;
use crate::percpu::{self, PerCpu};
use crate::vectors;
use core::fmt;
use core::sync::atomic::Ordering;
use tessera_hal::{CpuId, IrqLine, Route, RouteError};
use version_three::VersionThree;
use version_two::VersionTwo;

/// Why the controller cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GicError {
    /// The registers do not answer as those of the version that was announced.
    WrongVersion {
        /// The architecture's revision that they name.
        found: u8,
    },
    /// No redistributor frame belongs to this CPU.
    NoRedistributor {
        /// This CPU's affinity.
        affinity: u64,
    },
    /// No number by which this CPU could be a target.
    NoInterface,
    /// The timer's interrupt cannot be enabled.
    BadTimerInterrupt(u32),
}

impl fmt::Display for GicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongVersion { found } => {
                write!(
                    f,
                    "the interrupt controller is another one than the device tree says: it names revision {found}"
                )
            }
            Self::NoRedistributor { affinity } => {
                write!(f, "no GIC redistributor belongs to the CPU with affinity {affinity:#x}")
            }
            Self::NoInterface => write!(f, "the GIC does not say which of its interfaces is this CPU's"),
            Self::BadTimerInterrupt(number) => write!(f, "the virtual timer's interrupt {number} cannot be enabled"),
        }
    }
}

impl core::error::Error for GicError {}

/// An interrupt that was taken and is to be ended: what the controller said, with the number in its low bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "an interrupt that is not ended blocks those behind it"]
pub struct Acknowledged(u32);

impl Acknowledged {
    /// Its number.
    pub const fn number(self) -> u32 {
        self.0 & 0x3ff
    }
}

/// Whether an interrupt is delivered as IRQ or as FIQ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Group 0, by FIQ.
    Fast,
    /// Group 1, by IRQ.
    Ordinary,
}

/// The interrupt controller.
#[derive(Debug)]
pub enum Gic {
    /// GICv2: eight CPUs at most.
    Two(VersionTwo),
    /// GICv3.
    Three(VersionThree),
}

impl Gic {
    /// Sets the distributor up, with every line masked. `map` shows registers.
    ///
    /// # Safety
    /// The controller's registers must be there and nobody else may use them. Once per boot.
    pub unsafe fn new(controller: &Controller) -> Result<Self, GicError> {
        match controller {
            Controller::Two { distributor, cpu_interface } => {
                // SAFETY: the caller's promise.
                unsafe { VersionTwo::new(distributor.0, cpu_interface.0) }.map(Self::Two)
            }
            Controller::Three { distributor, redistributors } => {
                // SAFETY: the caller's promise.
                unsafe { VersionThree::new(distributor.0, redistributors) }.map(Self::Three)
            }
        }
    }

    /// The version, for the boot line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Two(_) => "GICv2",
            Self::Three(_) => "GICv3",
        }
    }

    /// Sets this CPU's side up, on that CPU: kick, halt request and timer enabled, everything else masked.
    pub fn enable_here(&self, timer: u32) -> Result<(), GicError> {
        let area = percpu::this();
        let target = match self {
            Self::Two(gic) => gic.enable_here(timer)?,
            Self::Three(gic) => gic.enable_here(area.affinity(), timer)?,
        };
        area.interrupt_target.store(target, Ordering::Release);
        Ok(())
    }

    /// Takes the interrupt of this group that is due on this CPU. Interrupts are masked.
    pub fn acknowledge(&self, group: Group) -> Option<Acknowledged> {
        let said = match self {
            Self::Two(gic) => gic.acknowledge(),
            Self::Three(gic) => gic.acknowledge(group),
        };
        Some(said).filter(|said| said.number() < vectors::FIRST_SPECIAL)
    }

    /// Ends an interrupt.
    pub fn end(&self, taken: Acknowledged, group: Group) {
        match self {
            Self::Two(gic) => gic.end(taken),
            Self::Three(gic) => gic.end(taken, group),
        }
    }

    /// Sends one of the software's interrupts to a CPU, after all earlier stores of this CPU are visible to it.
    pub fn send(&self, cpu: &PerCpu, number: u32) {
        let target = cpu.interrupt_target.load(Ordering::Acquire);
        aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::ISHST);
        match self {
            Self::Two(gic) => gic.send(target, number),
            Self::Three(gic) => gic.send(target, number),
        }
    }

    /// Routes a line to a CPU that runs, and answers the previous route as it was read back. Interrupts are masked.
    pub fn route(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        let target = match route {
            Route::Masked => None,
            Route::Cpu(cpu) => Some(target_of(cpu).ok_or(RouteError::NoSuchCpu(cpu))?),
        };
        let (previous, now) = match self {
            Self::Two(gic) => gic.route(line, target)?,
            Self::Three(gic) => gic.route(line, target)?,
        };
        if now != target {
            return Err(RouteError::ReadBackMismatch(line));
        }
        match previous {
            None => Ok(Route::Masked),
            Some(target) => cpu_of(target).map(Route::Cpu).ok_or(RouteError::ReadBackMismatch(line)),
        }
    }

    /// Makes a line pending once, as its device would with an edge. `false`: there is no such line.
    pub fn raise(&self, line: IrqLine) -> bool {
        match self {
            Self::Two(gic) => gic.raise(line),
            Self::Three(gic) => gic.raise(line),
        }
    }
}

fn target_of(cpu: CpuId) -> Option<u64> {
    percpu::of(cpu).map(|area| area.interrupt_target.load(Ordering::Acquire))
}

fn cpu_of(target: u64) -> Option<CpuId> {
    (0..percpu::MAX_CPUS as u16).map(CpuId::new).find(|&cpu| target_of(cpu) == Some(target))
}
