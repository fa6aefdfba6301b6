//! Tessera on QEMU's q35 and other x86_64 machines with a PVH loader.
//!
//! Order: the CPU and memory (`bring_up`), the devices, the machine around them, the kernel.
#![no_std]
#![no_main]

use core::fmt;
use tessera_arch_x86_64::machine::X86Machine;
use tessera_arch_x86_64::start_info::StartInfo;
use tessera_arch_x86_64::{boot, devices, panic};

/// Where the entry stub goes: long mode, upper half, boot stack, interrupts masked.
// SAFETY: no other function has this name; the entry stub calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn platform_start(start_info: u64) -> ! {
    boot::bring_up(start_info, start_kernel)
}

/// On the guarded stack: finds the devices and starts the kernel.
extern "C" fn start_kernel(info: &'static StartInfo) -> ! {
    let devices = match devices::discover(info.rsdp, info.command_line()) {
        Ok(devices) => devices,
        Err(error) => panic::fail(&error),
    };
    let machine = X86Machine::new("q35", devices);
    panic::set_thread_hook(describe_current);
    tessera_kernel::start(machine, boot::finish(info))
}

fn describe_current(out: &mut dyn fmt::Write) -> fmt::Result {
    match X86Machine::get() {
        Some(machine) => tessera_kernel::describe_current(machine, out),
        None => Ok(()),
    }
}

#[panic_handler]
fn on_panic(info: &core::panic::PanicInfo<'_>) -> ! {
    tessera_kernel::write_waiting_lines::<X86Machine>();
    panic::report(info)
}
