//! The run targets, what is expected of each, and the harness that boots them in QEMU.
//!
//! A [`target::Target`] is a manifest with expectations. [`image`] makes the initrd of it, [`qemu`] boots it, [`records`]
//! reads what the kernel prints, [`table`] shows it like `top`, and [`verdict`] says whether the expectations hold. All
//! but the harness is pure: text and records in, text and findings out.

pub mod image;
pub mod log;
pub mod qemu;
pub mod records;
pub mod shares;
pub mod table;
pub mod target;
mod target_list;
pub mod trace;
pub mod verdict;
