//! The tools besides the compiler: QEMU for both machines, and Cap'n Proto's code generator.

use super::version::Version;
use crate::process;
use crate::workspace;

/// The oldest QEMU that emulates an x2APIC without KVM.
pub const OLDEST_QEMU: Version = Version::new(9, 0, 0);

/// The emulators, one per machine.
pub const EMULATORS: [&str; 2] = ["qemu-system-x86_64", "qemu-system-aarch64"];

/// The Debian packages of [`EMULATORS`].
pub const EMULATOR_PACKAGES: [&str; 2] = ["qemu-system-x86", "qemu-system-arm"];

/// What is known about one emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// Not on the path.
    Absent,
    /// There, and this old.
    TooOld(Version),
    /// There, and new enough.
    Ready(Version),
}

impl Emulator {
    /// Judges what `--version` printed.
    pub fn judge(answer: Option<&str>) -> Self {
        match answer.and_then(Version::find) {
            None => Self::Absent,
            Some(version) if version < OLDEST_QEMU => Self::TooOld(version),
            Some(version) => Self::Ready(version),
        }
    }

    /// Looks at the machine.
    pub fn inspect(program: &str) -> Self {
        Self::judge(process::answer(program, &["--version"]).as_deref())
    }

    /// A clause for people.
    pub fn describe(self) -> String {
        match self {
            Self::Absent => "absent".to_owned(),
            Self::TooOld(version) => format!("version {version}, older than {OLDEST_QEMU}"),
            Self::Ready(version) => format!("version {version}"),
        }
    }
}

/// Whether the Cap'n Proto compiler is there.
pub fn has_capnp() -> bool {
    process::find("capnp").is_some()
}

/// The version of a crate that `Cargo.lock` has settled on.
pub fn locked_version(name: &str) -> Option<String> {
    version_in(&std::fs::read_to_string(workspace::root().join("Cargo.lock")).ok()?, name)
}

fn version_in(lock: &str, name: &str) -> Option<String> {
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{name}\"\n")))?;
    let version = entry.lines().find_map(|line| line.strip_prefix("version = \""))?;
    Some(version.trim_end_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_version_is_that_of_the_crate_with_exactly_this_name() {
        let lock = "[[package]]\nname = \"one-more\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"one\"\nversion = \"2.3.4\"\n";
        assert_eq!(version_in(lock, "one").as_deref(), Some("2.3.4"));
        assert_eq!(version_in(lock, "on"), None);
    }

    #[test]
    fn an_old_emulator_is_told_from_an_absent_one() {
        assert_eq!(Emulator::judge(None), Emulator::Absent);
        assert_eq!(
            Emulator::judge(Some("QEMU emulator version 7.2.17 (Debian)")),
            Emulator::TooOld(Version::new(7, 2, 17))
        );
        assert_eq!(Emulator::judge(Some("QEMU emulator version 9.0.0")), Emulator::Ready(Version::new(9, 0, 0)));
    }
}
