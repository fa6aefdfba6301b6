//! Tessera on QEMU's aarch64 `virt` machine.
//!
//! Order: the CPU, the device tree and memory (`bring_up`), the devices, the machine around them, the kernel. Bad input
//! ends the run with one line on the serial port and a failing status.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("virt: this program is the kernel's image; build it for aarch64-unknown-none-softfloat");
}

#[cfg(target_os = "none")]
mod start {
    use core::fmt;
    use tessera_arch_aarch64::device_tree::DeviceTree;
    use tessera_arch_aarch64::machine::ArmMachine;
    use tessera_arch_aarch64::{boot, devices, panic};
    use tessera_hal::PhysicalAddress;

    /// Where the machine's serial port stands as long as no device tree says otherwise.
    const SERIAL: PhysicalAddress = PhysicalAddress(0x0900_0000);

    /// Where the entry code goes: upper half, boot stack, everything masked.
    // SAFETY: no other function has this name; the entry code calls it with this signature.
    #[unsafe(no_mangle)]
    extern "C" fn platform_start(device_tree: u64) -> ! {
        boot::bring_up(device_tree, SERIAL, start_kernel)
    }

    /// On the guarded stack: finds the devices and starts the kernel.
    extern "C" fn start_kernel(tree: &'static DeviceTree<'static>) -> ! {
        let devices = match devices::discover(tree) {
            Ok(devices) => devices,
            Err(error) => panic::fail(&error),
        };
        let machine = ArmMachine::new("virt", devices);
        panic::set_thread_hook(describe_current);
        tessera_kernel::start(machine, boot::finish(tree))
    }

    fn describe_current(out: &mut dyn fmt::Write) -> fmt::Result {
        match ArmMachine::get() {
            Some(machine) => tessera_kernel::describe_current(machine, out),
            None => Ok(()),
        }
    }

    #[panic_handler]
    fn on_panic(info: &core::panic::PanicInfo<'_>) -> ! {
        tessera_kernel::write_waiting_lines::<ArmMachine>();
        panic::report(info)
    }
}
