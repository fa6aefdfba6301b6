//! What the device tree says: memory, the command line and the initrd, the interrupt controller, the timer, the serial
//! port, the firmware's conduit.
//!
//! Everything is copied out or borrowed from the tree itself, which stays where the loader put it.

use core::fmt;
use fdt::Fdt;
use fdt::node::FdtNode;
use tessera_arch_aarch64::memory::Regions;
use tessera_arch_aarch64::power::Conduit;
use tessera_hal::{IrqLine, PhysicalAddress};

/// Something that a machine must have, and that its device tree does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// There is no device tree at the address that the loader gave.
    Tree(PhysicalAddress),
    /// The interrupt controller, which must be a GICv3.
    InterruptController,
    /// The generic timer's virtual interrupt.
    Timer,
    /// Memory.
    Memory,
    /// The serial port, which must be a PL011.
    SerialPort,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(address) => write!(f, "there is no device tree at {address}"),
            Self::InterruptController => write!(f, "the device tree has no GICv3 (start QEMU with gic-version=3)"),
            Self::Timer => write!(f, "the device tree has no generic timer with a virtual interrupt"),
            Self::Memory => write!(f, "the device tree has no memory"),
            Self::SerialPort => write!(f, "the device tree has no PL011 serial port"),
        }
    }
}

/// A range of physical addresses, in bytes.
pub type Range = (PhysicalAddress, u64);

/// The machine as the tree describes it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// All of RAM.
    pub memory: Regions,
    /// Distributor registers.
    pub distributor: Range,
    /// The first redistributor region.
    pub redistributors: Range,
    /// The interrupt number of the virtual timer.
    pub timer_interrupt: u32,
    /// The serial port's interrupt.
    pub serial_line: Option<IrqLine>,
    /// How the firmware is called.
    pub conduit: Option<Conduit>,
    /// How many CPUs there are.
    pub cpus: usize,
    /// The kernel's command line.
    pub command_line: &'static str,
    /// Where the initrd is.
    pub initrd: Option<Range>,
}

/// The serial port, which is looked up first so that everything else can be said.
pub fn serial(tree: &Fdt<'_>) -> Option<Range> {
    tree.find_compatible(&["arm,pl011"]).and_then(|node| range(node, 0))
}

/// Reads the tree.
pub fn discover(tree: &Fdt<'static>) -> Result<Found, Missing> {
    let controller = tree.find_compatible(&["arm,gic-v3"]).ok_or(Missing::InterruptController)?;
    let mut memory = Regions::new();
    for region in tree.memory().regions() {
        // Memory beyond the list's length is not used.
        memory.add(PhysicalAddress(region.starting_address as u64), region.size.unwrap_or(0) as u64);
    }
    if memory.as_slice().is_empty() {
        return Err(Missing::Memory);
    }
    Ok(Found {
        memory,
        distributor: range(controller, 0).ok_or(Missing::InterruptController)?,
        redistributors: range(controller, 1).ok_or(Missing::InterruptController)?,
        timer_interrupt: timer_interrupt(tree).ok_or(Missing::Timer)?,
        serial_line: tree.find_compatible(&["arm,pl011"]).and_then(shared_interrupt),
        conduit: conduit(tree),
        cpus: tree.cpus().count(),
        command_line: tree.chosen().bootargs().unwrap_or(""),
        initrd: initrd(tree),
    })
}

fn range(node: FdtNode<'_, '_>, index: usize) -> Option<Range> {
    let region = node.reg()?.nth(index)?;
    Some((PhysicalAddress(region.starting_address as u64), region.size? as u64))
}

/// Interrupts are three cells: type (0 shared, 1 private), number, flags. The virtual timer's is the third.
fn timer_interrupt(tree: &Fdt<'_>) -> Option<u32> {
    let node = tree.find_compatible(&["arm,armv8-timer"])?;
    let (kind, number) = interrupt(node, 2)?;
    (kind == 1).then_some(16 + number)
}

fn shared_interrupt(node: FdtNode<'_, '_>) -> Option<IrqLine> {
    let (kind, number) = interrupt(node, 0)?;
    (kind == 0).then_some(IrqLine(number))
}

fn interrupt(node: FdtNode<'_, '_>, index: usize) -> Option<(u32, u32)> {
    let cells = node.property("interrupts")?.value;
    let cell = |number: usize| {
        let bytes = cells.get(number * 4..number * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    Some((cell(index * 3)?, cell(index * 3 + 1)?))
}

fn conduit(tree: &Fdt<'_>) -> Option<Conduit> {
    let node = tree.find_compatible(&["arm,psci-1.0", "arm,psci-0.2", "arm,psci"])?;
    match node.property("method")?.as_str()? {
        "hvc" => Some(Conduit::Hypervisor),
        "smc" => Some(Conduit::SecureMonitor),
        _ => None,
    }
}

fn initrd(tree: &Fdt<'_>) -> Option<Range> {
    let chosen = tree.find_node("/chosen")?;
    let address = |name| {
        let value = chosen.property(name)?.value;
        match *value {
            [a, b, c, d] => Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
            [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    };
    let (start, end) = (address("linux,initrd-start")?, address("linux,initrd-end")?);
    Some((PhysicalAddress(start), end.checked_sub(start)?))
}
