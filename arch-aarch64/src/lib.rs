//! Tessera's HAL on aarch64: one CPU at EL1, GICv3, the generic timer, PL011, PSCI.
//!
//! The modules are named as in `tessera-arch-x86_64`, so that whoever knows one port can walk the other. What is pure
//! (encodings, decoding, conversions) compiles and is tested on every host; the rest exists on aarch64 only.
//!
//! Principles: this is the only place where aarch64 is known; discovery belongs to the platform, which hands over a
//! [`machine::Description`](machine); everything the kernel gets from here is a value or a method of `tessera_hal`'s
//! traits.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod clock;
pub mod memory;
pub mod paging;
pub mod trap;
pub mod user;

#[cfg(target_arch = "aarch64")]
pub mod clockevent;
#[cfg(target_arch = "aarch64")]
pub mod entry;
#[cfg(target_arch = "aarch64")]
pub mod fpu;
#[cfg(target_arch = "aarch64")]
pub mod gic;
#[cfg(target_arch = "aarch64")]
pub mod machine;
#[cfg(target_arch = "aarch64")]
pub mod percpu;
#[cfg(target_arch = "aarch64")]
pub mod power;
#[cfg(target_arch = "aarch64")]
pub mod serial;
#[cfg(target_arch = "aarch64")]
pub mod vectors;
