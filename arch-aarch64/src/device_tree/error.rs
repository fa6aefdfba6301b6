//! What can be wrong with a device tree.

use crate::paging::{BOOT_WINDOW, RAM_BASE};
use core::fmt;
use dtoolkit::error::FdtErrorKind;
use tessera_hal::PhysicalAddress;

/// What is wrong, with the value that is to blame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TreeError {
    /// The loader's address cannot be looked at.
    OutOfReach(PhysicalAddress),
    /// There is no device tree at the loader's address.
    Absent(PhysicalAddress),
    /// It says that it is longer than any device tree.
    TooLong(u32),
    /// It is not one as the specification says.
    Damaged(FdtErrorKind),
    /// No memory, or none that is free.
    NoMemory,
    /// The kernel's image is not in memory.
    ImageOutsideMemory,
    /// No CPUs.
    NoCpus,
    /// The CPU that executes this is not among them.
    BootCpuMissing(u64),
    /// No PSCI of version 0.2 or later.
    NoPsci,
    /// PSCI's method is neither `hvc` nor `smc`.
    BadConduit,
    /// Neither a GICv2 nor a GICv3.
    NoInterruptController,
    /// An interrupt is named by fewer or more cells than a GIC's are.
    BadInterruptCells(u32),
    /// No generic timer.
    NoTimer,
    /// The generic timer has no private virtual interrupt.
    BadTimerInterrupt,
    /// No PL011.
    NoSerialPort,
    /// The device's registers are missing, or stand where none can.
    BadRegisters(&'static str),
    /// The command line is not text.
    BadCommandLine,
    /// The initrd's start and end make no sense.
    BadInitrd,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window_end = PhysicalAddress(RAM_BASE + BOOT_WINDOW);
        write!(f, "device tree: ")?;
        match self {
            Self::OutOfReach(address) => {
                write!(f, "it stands at {address}; it must stand at a multiple of 8 below {window_end}")
            }
            Self::Absent(address) => write!(f, "there is none at {address}"),
            Self::TooLong(bytes) => write!(f, "it says that it is {bytes} bytes long"),
            Self::Damaged(kind) => write!(f, "it is damaged: {kind}"),
            Self::NoMemory => write!(f, "it names no memory that is free"),
            Self::ImageOutsideMemory => write!(f, "the kernel's image is not in the memory that it names"),
            Self::NoCpus => write!(f, "it names no CPUs"),
            Self::BootCpuMissing(affinity) => write!(f, "/cpus does not name the boot CPU, affinity {affinity:#x}"),
            Self::NoPsci => write!(f, "it names no PSCI 0.2 or later, by which CPUs are started"),
            Self::BadConduit => write!(f, "PSCI's method is neither hvc nor smc"),
            Self::NoInterruptController => write!(f, "it names neither a GICv2 nor a GICv3"),
            Self::BadInterruptCells(cells) => {
                write!(f, "the interrupt controller has #interrupt-cells {cells}, must be 3 or 4")
            }
            Self::NoTimer => write!(f, "it names no generic timer (arm,armv8-timer)"),
            Self::BadTimerInterrupt => write!(f, "the generic timer's third interrupt is not a private one"),
            Self::NoSerialPort => write!(f, "it names no PL011 serial port"),
            Self::BadRegisters(device) => write!(f, "the registers of the {device} are missing or out of reach"),
            Self::BadCommandLine => write!(f, "/chosen/bootargs is not text"),
            Self::BadInitrd => write!(f, "/chosen/linux,initrd-start and -end make no sense"),
        }
    }
}

impl core::error::Error for TreeError {}
