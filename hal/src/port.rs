//! What every port needs and no architecture changes: lists of memory, the stages of a starting CPU, building page
//! tables, names for addresses, backtraces, who stops the machine.
//!
//! The kernel uses none of it. Everything is plain values; what touches hardware is a trait that the port implements.

pub mod backtrace;
pub mod regions;
pub mod stages;
pub mod stopping;
pub mod symbols;
pub mod tables;
