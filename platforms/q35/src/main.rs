//! Tessera on QEMU's q35 and other x86_64 machines with a PVH loader.
#![no_std]
#![no_main]

use tessera_kernel as _;

use tessera_arch_x86_64::start_info::StartInfo;
use tessera_arch_x86_64::{boot, panic};

/// Where the entry stub goes: long mode, upper half, boot stack, interrupts masked.
#[unsafe(no_mangle)]
extern "C" fn platform_start(start_info: u64) -> ! {
    boot::bring_up(start_info, discover)
}

/// The guarded stack: find the devices and start the kernel.
fn discover(info: &'static StartInfo) -> ! {
    let boot = boot::finish(info);
    panic!(
        "memory {} MiB, command line {:?}",
        tessera_arch_x86_64::memory::total_bytes(boot.memory) >> 20,
        boot.command_line
    )
}

#[panic_handler]
fn on_panic(info: &core::panic::PanicInfo<'_>) -> ! {
    panic::report(info)
}
