//! The run targets, what is expected of each, and the harness that boots them in QEMU.

pub mod qemu;
