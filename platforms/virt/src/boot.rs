//! From the entry code to the kernel: device tree, serial port, translation tables, machine.

use crate::discovery::{self, Found, Missing};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use fdt::Fdt;
use spin::Once;
use tessera_arch_aarch64::machine::{ArmMachine, Description, StartError};
use tessera_arch_aarch64::memory::{self, Regions};
use tessera_arch_aarch64::paging::{OutOfTables, RAM_BASE, direct, round_up};
use tessera_arch_aarch64::power;
use tessera_arch_aarch64::serial::Serial;
use tessera_hal::{BootInfo, ExitStatus, PAGE_SIZE, PhysicalAddress};

/// How much of RAM the entry code has mapped.
const MAPPED: u64 = 1 << 30;
/// The most that a device tree may be long.
const LONGEST_TREE: usize = 2 << 20;

static SERIAL: Once<Serial> = Once::new();
static MACHINE: Once<ArmMachine> = Once::new();
static FREE: Once<Regions> = Once::new();
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Why the machine could not be started.
enum BootError {
    Missing(Missing),
    Tables(OutOfTables),
    Machine(StartError),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(missing) => write!(f, "{missing}"),
            Self::Tables(OutOfTables) => write!(f, "there is no memory behind the kernel for its translation tables"),
            Self::Machine(error) => write!(f, "{error}"),
        }
    }
}

/// Writes to the serial port, if it has been found.
struct Port;

impl Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(serial) = SERIAL.get() {
            serial.send(text.as_bytes());
        }
        Ok(())
    }
}

/// Where the entry code goes, on the boot stack, with interrupts masked.
// SAFETY: nothing else has this name; the entry code calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn tessera_main(device_tree: u64) -> ! {
    match start(device_tree) {
        Ok((machine, boot)) => tessera_kernel::start(machine, boot),
        Err(error) => {
            // The port takes everything.
            let _ = writeln!(Port, "virt: {error}");
            power::off(ExitStatus::Failure)
        }
    }
}

fn start(device_tree: u64) -> Result<(&'static ArmMachine, BootInfo<'static>), BootError> {
    let address = PhysicalAddress(if device_tree == 0 { RAM_BASE } else { device_tree });
    let tree = read_tree(address).map_err(BootError::Missing)?;
    if let Some((registers, _)) = discovery::serial(&tree) {
        // SAFETY: the tree says that a PL011 stands there; the entry code has mapped the first GiB of devices.
        SERIAL.call_once(|| unsafe { Serial::new(registers) });
    }
    let found = discovery::discover(&tree).map_err(BootError::Missing)?;
    let serial = discovery::serial(&tree);
    let devices = [Some(found.distributor), Some(found.redistributors), serial];
    let mut pages = [(PhysicalAddress(0), 0); 3];
    for (page, (start, bytes)) in pages.iter_mut().zip(devices.into_iter().flatten()) {
        *page = (start, round_up(bytes, PAGE_SIZE as u64));
    }
    // SAFETY: this is the boot CPU on the entry code's tables, once; the loader has put nothing right behind the image.
    let end = unsafe { memory::install(&found.memory, &pages) }.map_err(BootError::Tables)?;
    let free = FREE.call_once(|| free_memory(&found, end, address, tree.total_size() as u64));
    let machine = start_machine(&found)?;
    Ok((machine, BootInfo { command_line: found.command_line, initrd: initrd(&found), memory: free.as_slice() }))
}

fn read_tree(address: PhysicalAddress) -> Result<Fdt<'static>, Missing> {
    let missing = Missing::Tree(address);
    let end = RAM_BASE + MAPPED;
    if !(RAM_BASE..end).contains(&address.0) || !address.0.is_multiple_of(8) {
        return Err(missing);
    }
    let longest = LONGEST_TREE.min((end - address.0) as usize);
    // SAFETY: the range is RAM that the entry code has mapped; nobody writes there, since it is cut out of free memory.
    let bytes = unsafe { core::slice::from_raw_parts(direct(address).cast_const(), longest) };
    let [0xd0, 0x0d, 0xfe, 0xed, a, b, c, d, ..] = *bytes else { return Err(missing) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    bytes.get(..length).and_then(|bytes| Fdt::new(bytes).ok()).ok_or(missing)
}

fn free_memory(found: &Found, end: PhysicalAddress, tree: PhysicalAddress, tree_bytes: u64) -> Regions {
    let (image, _) = memory::image();
    let mut free = found.memory;
    free.remove(image, end.0 - image.0);
    free.remove(tree, tree_bytes);
    if let Some((start, bytes)) = found.initrd {
        free.remove(start, bytes);
    }
    free
}

fn start_machine(found: &Found) -> Result<&'static ArmMachine, BootError> {
    let description = Description {
        name: "virt",
        distributor: found.distributor.0,
        redistributors: found.redistributors.0,
        timer_interrupt: found.timer_interrupt,
        serial_line: found.serial_line,
        conduit: found.conduit,
        cpus_present: found.cpus,
    };
    let serial = *SERIAL.get().ok_or(BootError::Missing(Missing::SerialPort))?;
    // SAFETY: once, with interrupts masked; the registers are the tree's and were mapped just now.
    let machine = unsafe { ArmMachine::start(description, serial) }.map_err(BootError::Machine)?;
    Ok(MACHINE.call_once(|| machine))
}

fn initrd(found: &Found) -> Option<&'static [u8]> {
    let (start, bytes) = found.initrd?;
    let last = start.0.checked_add(bytes)?;
    let is_ram = |region: &tessera_hal::MemoryRegion| {
        let from = region.start.start().0;
        (from..from + region.frames * PAGE_SIZE as u64 + 1).contains(&last) && start.0 >= from
    };
    if !found.memory.as_slice().iter().any(is_ram) {
        return None;
    }
    // SAFETY: the range lies in RAM, which the direct map covers; nobody writes there, since it is cut out of free memory.
    Some(unsafe { core::slice::from_raw_parts(direct(start).cast_const(), bytes as usize) })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if !PANICKED.swap(true, Ordering::Relaxed) {
        // The port takes everything.
        let _ = write!(Port, "\nkernel panic on ");
        let _ = match MACHINE.get() {
            Some(machine) => tessera_kernel::describe_current(machine, &mut Port),
            None => write!(Port, "the boot CPU, before the machine was set up"),
        };
        let _ = writeln!(Port, ": {info}");
    }
    power::off(ExitStatus::Failure)
}
