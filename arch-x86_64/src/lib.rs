//! Tessera's HAL on x86_64.
//!
//! Two sides: the CPU (entry, paging, segments, traps, user mode, FPU, per-CPU area) and the devices (ACPI, local and
//! I/O APIC, clocks, secondary start, serial line). `machine::X86Machine` ties both together.
//!
//! Principles: this is the only place where x86_64 is known; everything the kernel gets from here is a value or a
//! method of `tessera_hal`'s traits. Pure parts (encodings, tables, decoding) are tested on the host.
#![no_std]
#![cfg(target_arch = "x86_64")]
// On the host, only what tests drive is used.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;
#[cfg(test)]
extern crate std;

// The CPU side.
#[cfg(target_os = "none")]
pub mod backtrace;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod entry;
pub mod features;
pub mod fpu;
pub mod halt;
pub mod image;
pub mod interrupts;
#[cfg(target_os = "none")]
pub mod machine;
pub mod memory;
pub mod page_entry;
pub mod paging;
#[cfg(target_os = "none")]
pub mod panic;
pub mod percpu;
pub mod power;
pub mod segments;
pub mod start_info;
#[cfg(target_os = "none")]
pub mod stubs;
#[cfg(target_os = "none")]
pub mod symbols;
pub mod thread_pointer;
pub mod trap;
#[cfg(target_os = "none")]
pub mod user;
pub mod vectors;

// The device side.
pub mod acpi;
pub mod apic;
pub mod calibration;
pub mod clock;
pub mod clockevent;
pub mod devices;
pub mod ioapic;
pub mod madt;
pub mod options;
pub mod reference;
pub mod secondary;
pub mod serial;
pub mod topology;
