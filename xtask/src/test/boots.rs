//! The steps that boot a machine in QEMU.

use super::runner::Phase;
use crate::toolchain::Toolchain;

/// All phases of this kind.
pub fn phases(_toolchain: Toolchain) -> Vec<Phase> {
    Vec::new()
}
