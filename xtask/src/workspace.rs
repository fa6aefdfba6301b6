//! Where things are in the project, and the two bare-metal targets.

use std::path::PathBuf;

/// The packages of user programs, in `userspace/`.
pub const PROGRAM_PACKAGES: [&str; 3] = ["services", "demos", "first-program"];

/// A target without an operating system that the project builds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `x86_64-unknown-none`.
    X86_64,
    /// `aarch64-unknown-none-softfloat`.
    Aarch64,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The name that rustc knows.
    pub const fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-none",
            Self::Aarch64 => "aarch64-unknown-none-softfloat",
        }
    }

    /// The package of the kernel's binary for this target.
    pub const fn platform(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Aarch64 => "virt",
        }
    }

    /// The package that implements the HAL for this target.
    pub const fn architecture_crate(self) -> &'static str {
        match self {
            Self::X86_64 => "tessera-arch-x86_64",
            Self::Aarch64 => "tessera-arch-aarch64",
        }
    }
}

/// The root folder of the project.
pub fn root() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}

/// The folder of everything that cargo builds.
pub fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}
