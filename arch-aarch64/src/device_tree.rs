//! What the device tree says: memory, CPUs, the firmware's conduit, the interrupt controller, the timer, the serial
//! port, the command line and the initrd (Devicetree Specification 0.4, and the bindings of each device).
//!
//! The tree comes from outside. It is checked as a whole before anything is read (`dtoolkit`), every number from it is
//! bounded here, and everything that is missing or makes no sense is one [`TreeError`].

mod error;
mod nodes;
#[cfg(test)]
mod tests;

use crate::paging::{DEVICES_END, RAM_END};
use crate::percpu::MAX_CPUS;
use crate::psci::Conduit;
use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};
pub use error::TreeError;
use heapless::Vec;
use nodes::{compatible, device, is_in_use, number, ranges, text};
use tessera_hal::port::regions::Regions;
use tessera_hal::{IrqLine, PhysicalAddress};

/// How many ranges of memory are kept. What does not fit is not used.
pub const MAX_REGIONS: usize = 128;
/// More redistributor regions than any machine of 512 CPUs has.
pub const MAX_REDISTRIBUTORS: usize = 4;

/// A range of physical addresses, in bytes.
pub type Range = (PhysicalAddress, u64);

/// The interrupt controller's registers, by its version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Controller {
    /// GICv2.
    Two {
        /// The distributor.
        distributor: Range,
        /// The CPU interface, at the same address for every CPU.
        cpu_interface: Range,
    },
    /// GICv3.
    Three {
        /// The distributor.
        distributor: Range,
        /// Regions of redistributor frames.
        redistributors: Vec<Range, MAX_REDISTRIBUTORS>,
    },
}

/// The serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SerialPort {
    /// Its registers.
    pub registers: Range,
    /// Its interrupt.
    pub line: Option<IrqLine>,
}

/// The machine as the tree describes it.
#[derive(Clone, Debug)]
pub struct DeviceTree<'a> {
    /// All memory that the kernel may look at.
    pub ram: Regions<MAX_REGIONS>,
    /// The part of it that nobody has reserved.
    pub free: Regions<MAX_REGIONS>,
    /// The affinities of the CPUs, by CPU; the boot CPU is first.
    pub cpus: Vec<u64, MAX_CPUS>,
    /// How many more CPUs there are that cannot be used.
    pub cpus_left_out: usize,
    /// How the firmware is called.
    pub conduit: Conduit,
    /// The interrupt controller.
    pub controller: Controller,
    /// The interrupt number of the virtual timer, private to each CPU.
    pub timer_interrupt: u32,
    /// The serial port.
    pub serial: SerialPort,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Where the initrd is: start and bytes.
    pub initrd: Option<(PhysicalAddress, usize)>,
}

/// The serial port that the tree names for output, or else the first one. Looked up first, so that everything else that
/// is wrong can be said.
pub fn serial(bytes: &[u8]) -> Result<SerialPort, TreeError> {
    let tree = Fdt::new(bytes).map_err(|error| TreeError::Damaged(error.kind))?;
    find_serial(tree)
}

/// Reads the tree. `boot_affinity` is the CPU that executes this.
pub fn read(bytes: &[u8], boot_affinity: u64) -> Result<DeviceTree<'_>, TreeError> {
    let tree = Fdt::new(bytes).map_err(|error| TreeError::Damaged(error.kind))?;
    let serial = find_serial(tree)?;
    let (ram, free) = memory(tree)?;
    let (cpus, cpus_left_out) = cpus(tree, boot_affinity)?;
    let (controller, cells) = controller(tree)?;
    Ok(DeviceTree {
        ram,
        free,
        cpus,
        cpus_left_out,
        conduit: conduit(tree)?,
        controller,
        timer_interrupt: timer_interrupt(tree, cells)?,
        serial,
        command_line: command_line(tree)?,
        initrd: initrd(tree)?,
    })
}

fn find_serial(tree: Fdt<'_>) -> Result<SerialPort, TreeError> {
    let named = stdout(tree).filter(|node| compatible(node, &["arm,pl011"]) && is_in_use(node));
    let node = named.or_else(|| device(tree, &["arm,pl011"])).ok_or(TreeError::NoSerialPort)?;
    let (start, bytes) = ranges(node).next().ok_or(TreeError::BadRegisters("serial port"))?;
    Ok(SerialPort { registers: registers((start, bytes), "serial port")?, line: nodes::shared_interrupt(node) })
}

/// `/chosen/stdout-path`: a path or an alias, with options behind a colon.
fn stdout(tree: Fdt<'_>) -> Option<FdtNode<'_>> {
    let path = text(tree.find_node("/chosen")?, "stdout-path")?;
    let path = path.split(':').next()?;
    let path = if path.starts_with('/') { path } else { text(tree.find_node("/aliases")?, path)? };
    tree.find_node(path)
}

/// Registers must have an address in the window of devices.
fn registers(range: Range, of: &'static str) -> Result<Range, TreeError> {
    let end = range.0.0.checked_add(range.1).filter(|&end| end <= DEVICES_END && range.1 > 0);
    end.map(|_| range).ok_or(TreeError::BadRegisters(of))
}

/// What is memory, and what of it is free.
fn memory(tree: Fdt<'_>) -> Result<(Regions<MAX_REGIONS>, Regions<MAX_REGIONS>), TreeError> {
    let mut ram = Regions::new();
    let is_memory = |node: &FdtNode<'_>| text(*node, "device_type") == Some("memory") && is_in_use(node);
    for (start, bytes) in tree.root().children().filter(is_memory).flat_map(ranges) {
        let bytes = bytes.min(RAM_END.saturating_sub(start.0));
        // What does not fit in the list is not used.
        ram.add_bytes(start.0, bytes);
    }
    let reserved = || tree.find_node("/reserved-memory").into_iter().flat_map(|node| node.children()).filter(is_in_use);
    for (start, bytes) in reserved().filter(|node| node.property("no-map").is_some()).flat_map(ranges) {
        ram.remove_bytes(start.0, bytes);
    }
    let mut free = ram;
    for (start, bytes) in reserved().flat_map(ranges) {
        free.remove_bytes(start.0, bytes);
    }
    for reservation in tree.memory_reservations() {
        free.remove_bytes(reservation.address(), reservation.size());
    }
    if free.as_slice().is_empty() { Err(TreeError::NoMemory) } else { Ok((ram, free)) }
}

/// The CPUs that PSCI can start, the boot CPU first, and how many others there are.
fn cpus(tree: Fdt<'_>, boot: u64) -> Result<(Vec<u64, MAX_CPUS>, usize), TreeError> {
    let parent = tree.find_node("/cpus").ok_or(TreeError::NoCpus)?;
    let nodes = || parent.children().filter(|node| text(*node, "device_type") == Some("cpu"));
    let affinity = |node: FdtNode<'_>| nodes::first_cells(node).map(|affinity| affinity & nodes::AFFINITY);
    if nodes().next().is_none() {
        return Err(TreeError::NoCpus);
    }
    if !nodes().filter_map(affinity).any(|other| other == boot) {
        return Err(TreeError::BootCpuMissing(boot));
    }
    let mut cpus = Vec::new();
    let mut left_out = 0;
    // There is room for one.
    let _ = cpus.push(boot);
    for node in nodes() {
        let startable = affinity(node).filter(|_| nodes::is_startable(node));
        match startable {
            Some(affinity) if cpus.contains(&affinity) => {}
            Some(affinity) if cpus.push(affinity).is_ok() => {}
            _ if affinity(node) == Some(boot) => {}
            _ => left_out += 1,
        }
    }
    Ok((cpus, left_out))
}

fn conduit(tree: Fdt<'_>) -> Result<Conduit, TreeError> {
    let node = device(tree, &["arm,psci-1.0", "arm,psci-0.2"]).ok_or(TreeError::NoPsci)?;
    match text(node, "method") {
        Some("hvc") => Ok(Conduit::Hypervisor),
        Some("smc") => Ok(Conduit::SecureMonitor),
        _ => Err(TreeError::BadConduit),
    }
}

/// The controller, and how many cells name an interrupt.
fn controller(tree: Fdt<'_>) -> Result<(Controller, usize), TreeError> {
    const VERSION_TWO: [&str; 3] = ["arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a7-gic"];
    const BAD: TreeError = TreeError::BadRegisters("interrupt controller");
    let (node, is_three) = match device(tree, &["arm,gic-v3"]) {
        Some(node) => (node, true),
        None => (device(tree, &VERSION_TWO).ok_or(TreeError::NoInterruptController)?, false),
    };
    let cells = number(node, "#interrupt-cells").ok_or(TreeError::BadInterruptCells(0))?;
    let cells = usize::try_from(cells).ok().filter(|cells| (3..=4).contains(cells));
    let cells = cells.ok_or(TreeError::BadInterruptCells(number(node, "#interrupt-cells").unwrap_or(0)))?;
    let mut ranges = ranges(node).map(|range| registers(range, "interrupt controller"));
    let distributor = ranges.next().ok_or(BAD)??;
    if !is_three {
        let cpu_interface = ranges.next().ok_or(BAD)??;
        return Ok((Controller::Two { distributor, cpu_interface }, cells));
    }
    let count = number(node, "#redistributor-regions").unwrap_or(1);
    let count = usize::try_from(count).ok().filter(|count| (1..=MAX_REDISTRIBUTORS).contains(count)).ok_or(BAD)?;
    let redistributors = ranges.take(count).collect::<Result<Vec<_, MAX_REDISTRIBUTORS>, _>>()?;
    if redistributors.len() < count {
        return Err(BAD);
    }
    Ok((Controller::Three { distributor, redistributors }, cells))
}

/// The virtual timer's interrupt is the third of the node.
fn timer_interrupt(tree: Fdt<'_>, cells: usize) -> Result<u32, TreeError> {
    const FIRST_PRIVATE: u32 = 16;
    let node = device(tree, &["arm,armv8-timer"]).ok_or(TreeError::NoTimer)?;
    match nodes::interrupt(node, cells, 2) {
        Some((nodes::PRIVATE, number @ 0..16)) => Ok(FIRST_PRIVATE + number),
        _ => Err(TreeError::BadTimerInterrupt),
    }
}

fn command_line(tree: Fdt<'_>) -> Result<&str, TreeError> {
    match tree.find_node("/chosen").and_then(|node| node.property("bootargs").map(|_| text(node, "bootargs"))) {
        None => Ok(""),
        Some(line) => line.ok_or(TreeError::BadCommandLine),
    }
}

fn initrd(tree: Fdt<'_>) -> Result<Option<(PhysicalAddress, usize)>, TreeError> {
    let Some(chosen) = tree.find_node("/chosen") else { return Ok(None) };
    let address = |name| chosen.property(name).map(|_| nodes::address(chosen, name).ok_or(TreeError::BadInitrd));
    match (address("linux,initrd-start").transpose()?, address("linux,initrd-end").transpose()?) {
        (None, None) => Ok(None),
        (Some(start), Some(end)) => {
            let bytes = end.checked_sub(start).and_then(|bytes| usize::try_from(bytes).ok());
            Ok(Some((PhysicalAddress(start), bytes.ok_or(TreeError::BadInitrd)?)))
        }
        _ => Err(TreeError::BadInitrd),
    }
}
