//! Tessera's HAL on aarch64.
//!
//! Two sides: the CPU (entry, paging, exceptions, user mode, FPU, per-CPU area) and the devices (device tree, GICv2 and
//! GICv3, generic timer, PSCI, serial line). `machine::ArmMachine` ties both together.
//!
//! The modules are named as in `tessera-arch-x86_64`, so that whoever knows one port can walk the other.
//!
//! Principles: this is the only place where aarch64 is known; everything the kernel gets from here is a value or a
//! method of `tessera_hal`'s traits. Pure parts (encodings, tables, decoding) compile and are tested on every host.
#![no_std]
// On the host, only what tests drive is used.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

#[cfg(test)]
extern crate std;

// The CPU side.
pub mod asid;
#[cfg(target_os = "none")]
pub mod backtrace;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod cache;
#[cfg(target_os = "none")]
pub mod entry;
#[cfg(target_os = "none")]
pub mod features;
pub mod fpu;
#[cfg(target_os = "none")]
pub mod halt;
pub mod image;
#[cfg(target_os = "none")]
pub mod interrupts;
#[cfg(target_os = "none")]
pub mod machine;
#[cfg(target_os = "none")]
pub mod memory;
pub mod page_entry;
pub mod paging;
#[cfg(target_os = "none")]
pub mod panic;
pub mod percpu;
#[cfg(target_os = "none")]
pub mod power;
#[cfg(target_os = "none")]
pub mod stubs;
#[cfg(target_os = "none")]
pub mod symbols;
pub mod trap;
pub mod user;
pub mod vectors;

// The device side.
pub mod clock;
#[cfg(target_os = "none")]
pub mod clockevent;
pub mod device_tree;
#[cfg(target_os = "none")]
pub mod devices;
#[cfg(target_os = "none")]
pub mod gic;
pub mod options;
pub mod psci;
#[cfg(target_os = "none")]
pub mod secondary;
#[cfg(target_os = "none")]
pub mod serial;
pub mod topology;
