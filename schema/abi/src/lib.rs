//! Layouts and numbers that the kernel and user programs share. No dependencies, no allocation, no unsafe code.
//!
//! Ordinals are append-only: a number that was published never changes its meaning.
#![no_std]
#![forbid(unsafe_code)]

pub mod limits;
pub mod ring;
pub mod scheduling;
pub mod start;
pub mod system_call;
pub mod transfer;
