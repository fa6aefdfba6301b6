//! Which compiler builds the project, decided once.
//!
//! The default toolchain is used when it can compile for both bare-metal targets; else the distribution's compiler in
//! `/usr`, for which [`crate::setup`] has built the libraries of those targets. The decision holds for cargo, clippy,
//! rustfmt and rustdoc alike. `RUSTC_BOOTSTRAP` is removed from every call: what builds here builds on stable.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process;
use crate::setup::version::Version;
use crate::workspace::{self, Target};

/// The oldest compiler that the workspace accepts (`rust-version` of the root manifest).
pub const OLDEST_RUSTC: Version = Version::new(1, 95, 0);

/// A compiler and the tools that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// What `cargo` on the path means, usually rustup's stable.
    Default,
    /// The distribution's packages in `/usr/bin`.
    System,
}

impl Toolchain {
    /// The first toolchain that compiles for every bare-metal target.
    pub fn detect() -> Option<Self> {
        [Self::Default, Self::System].into_iter().find(|toolchain| toolchain.is_complete())
    }

    /// Whether the compiler is new enough and has the libraries of every bare-metal target.
    pub fn is_complete(self) -> bool {
        self.version().is_some_and(|version| version >= OLDEST_RUSTC)
            && Target::ALL.into_iter().all(|target| self.compiles_for(target))
    }

    /// The compiler's version, if there is one.
    pub fn version(self) -> Option<Version> {
        process::answer(self.rustc(), &["--version"]).and_then(|text| Version::find(&text))
    }

    /// The compiler's full description, which changes with every build of it.
    pub fn describe(self) -> Option<String> {
        process::answer(self.rustc(), &["--version"]).map(|text| text.trim().to_owned())
    }

    /// The compiler.
    pub fn rustc(self) -> PathBuf {
        match self {
            Self::Default => PathBuf::from("rustc"),
            Self::System => PathBuf::from("/usr/bin/rustc"),
        }
    }

    /// A call of cargo in the project's root.
    pub fn cargo(self) -> Command {
        let mut command = match self {
            Self::Default => Command::new("cargo"),
            Self::System => Command::new("/usr/bin/cargo"),
        };
        if self == Self::System {
            // rustup's proxies, which cargo may find first, obey this variable too.
            command.env("RUSTUP_TOOLCHAIN", "/usr");
        }
        command.current_dir(workspace::root()).env_remove("RUSTC_BOOTSTRAP");
        command
    }

    /// Compiles a line for the target. A library of another compiler version is refused by rustc, so an upgrade of the
    /// compiler shows up here without any record of our own.
    pub fn compiles_for(self, target: Target) -> bool {
        compiles(&self.rustc(), target, None)
    }
}

/// Whether this compiler finds matching `core` and `alloc` for the target, in its own folder or in `sysroot`.
pub fn compiles(rustc: &Path, target: Target, sysroot: Option<&Path>) -> bool {
    let mut command = Command::new(rustc);
    command.args([
        "--edition=2024",
        "--crate-type=lib",
        "--crate-name=probe",
        "--emit=metadata=-",
        "--target",
        target.triple(),
    ]);
    command.env_remove("RUSTC_BOOTSTRAP").arg("-");
    if let Some(folder) = sysroot {
        command.arg("--sysroot").arg(folder);
    }
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else { return false };
    if let Some(mut input) = child.stdin.take() {
        // A compiler that ended early closes the pipe; its status tells the rest.
        let _ = input.write_all(
            b"#![no_std]\nextern crate alloc;\npub fn probe() -> alloc::vec::Vec<u8> { alloc::vec::Vec::new() }\n",
        );
    }
    child.wait().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_of_cargo_carries_the_nightly_switch() {
        for toolchain in [Toolchain::Default, Toolchain::System] {
            let command = toolchain.cargo();
            assert!(command.get_envs().any(|(key, value)| key == "RUSTC_BOOTSTRAP" && value.is_none()));
        }
    }

    #[test]
    fn the_system_toolchain_is_chosen_for_every_tool_by_one_variable() {
        let command = Toolchain::System.cargo();
        assert!(command.get_envs().any(|(key, value)| key == "RUSTUP_TOOLCHAIN" && value == Some("/usr".as_ref())));
    }

    #[test]
    fn a_compiler_that_does_not_exist_compiles_nothing() {
        assert!(!compiles(Path::new("/nonexistent/rustc"), Target::X86_64, None));
    }

    #[test]
    fn a_sysroot_without_libraries_is_found_incomplete() {
        let empty = std::env::temp_dir().join(format!("tessera-empty-sysroot-{}", std::process::id()));
        std::fs::create_dir_all(&empty).unwrap();
        assert!(!compiles(Path::new("rustc"), Target::X86_64, Some(&empty)));
        std::fs::remove_dir_all(&empty).unwrap();
    }
}
