//! Device interrupts: lines, routes and why a route can be refused.

use crate::CpuId;
use core::fmt;

/// A device interrupt line: a global system interrupt on x86_64, an SPI number on aarch64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IrqLine(pub u32);

/// Where a line is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Nowhere: the line is masked at the controller.
    Masked,
    /// To one CPU.
    Cpu(CpuId),
}

/// Why a line could not be routed. The old route stays in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteError {
    /// No controller has this line.
    NoSuchLine(IrqLine),
    /// The CPU is unknown or not online.
    NoSuchCpu(CpuId),
    /// The controller's destination field cannot name this CPU (IO-APIC: physical ids above 254).
    UnreachableCpu {
        /// The CPU that was asked for.
        cpu: CpuId,
        /// Its hardware id.
        hardware_id: u32,
    },
    /// What the controller reads back is not what was written.
    ReadBackMismatch(IrqLine),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine(line) => write!(f, "no interrupt controller has line {}", line.0),
            Self::NoSuchCpu(cpu) => write!(f, "CPU {cpu} is not online"),
            Self::UnreachableCpu { cpu, hardware_id } => {
                write!(f, "the interrupt controller cannot reach CPU {cpu} (hardware id {hardware_id})")
            }
            Self::ReadBackMismatch(line) => write!(f, "the route of line {} did not read back as written", line.0),
        }
    }
}

impl core::error::Error for RouteError {}
