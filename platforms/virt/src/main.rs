//! Tessera on QEMU's aarch64 `virt` machine: discovery by device tree, then the kernel.
//!
//! Bad input ends the run with one line on the serial port and a failing status.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("virt: this program is the kernel's image; build it for aarch64-unknown-none-softfloat");
}

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod discovery;
