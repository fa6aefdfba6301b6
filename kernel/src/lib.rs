//! Tessera's kernel: glue between a [`hal::Machine`] and the decisions of `kernel-core`. No policy is made here.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

extern crate tessera_hal as hal;

pub mod capability;
pub mod command_line;
pub mod cpu_mask;
pub mod elf;
pub mod memory;
#[cfg(test)]
mod test_machine;
/// t
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// a
    Wfq,
    /// b
    Eevdf,
}
