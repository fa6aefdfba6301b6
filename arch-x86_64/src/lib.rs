//! Tessera's HAL on x86_64.
//!
//! Two sides: the CPU (entry, paging, segments, traps, user mode, FPU, per-CPU area) and the devices (ACPI, local and
//! I/O APIC, clocks, secondary start, serial line). [`machine::X86Machine`] ties both together.
//!
//! Principles: this is the only place where x86_64 is known; everything the kernel gets from here is a value or a
//! method of `tessera_hal`'s traits. Pure parts (encodings, tables, decoding) are tested on the host.
#![no_std]
#![cfg(target_arch = "x86_64")]

#[cfg(test)]
extern crate std;

// The CPU side.
pub mod memory;
pub mod paging;
pub mod percpu;
pub mod vectors;

// The device side.
pub mod acpi;
pub mod apic;
pub mod calibration;
pub mod clock;
pub mod clockevent;
pub mod ioapic;
pub mod madt;
pub mod options;
pub mod reference;
pub mod serial;
pub mod topology;
