//! The libraries of a bare-metal target for a compiler that comes without them.
//!
//! Debian packages the compiler and the library sources but no libraries for machines without an operating system. They
//! are built once per compiler version from those sources and copied to where that compiler looks. Building them is the
//! one place where the nightly switch is set, and only for that child process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::toolchain::Toolchain;
use crate::workspace::Target;

const LIBRARIES: [&str; 3] = ["core", "alloc", "compiler_builtins"];

/// Where the system's compiler looks for the target's libraries.
pub fn destination(target: Target) -> PathBuf {
    Path::new("/usr/lib/rustlib").join(target.triple()).join("lib")
}

/// Builds the target's libraries in `folder` and returns their files.
pub fn build(target: Target, folder: &Path) -> Result<Vec<PathBuf>> {
    let source = folder.join("src");
    fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
    fs::write(folder.join("Cargo.toml"), MANIFEST)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    fs::write(source.join("lib.rs"), "#![no_std]\n")?;
    let output = folder.join("target");
    let libraries = output.join(target.triple()).join("release/deps");
    if libraries.exists() {
        // Two versions of a library side by side would both be copied.
        fs::remove_dir_all(&libraries)?;
    }
    let mut command = Command::new("/usr/bin/cargo");
    command
        .current_dir(folder)
        .env("RUSTC", Toolchain::System.rustc())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTUP_TOOLCHAIN", "/usr");
    command.env("CARGO_TARGET_DIR", &output).env_remove("RUSTFLAGS");
    command.args(["build", "--release", "--target", target.triple()]);
    command.args(["-Zbuild-std=core,alloc,compiler_builtins", "-Zbuild-std-features=compiler-builtins-mem"]);
    process::capture(&mut command)?;
    LIBRARIES.iter().map(|name| library(&libraries, name)).collect()
}

const MANIFEST: &str = "[package]\nname = \"sysroot\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
                        [profile.release]\npanic = \"abort\"\n\n[workspace]\n";

fn library(folder: &Path, name: &str) -> Result<PathBuf> {
    let prefix = format!("lib{name}-");
    let is_it = |file: &PathBuf| {
        let file_name = file.file_name().unwrap_or_default().to_string_lossy();
        file_name.starts_with(&prefix) && file_name.ends_with(".rlib")
    };
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_it).collect();
    ensure!(found.len() == 1, "{} files named {prefix}*.rlib in {}, expected one", found.len(), folder.display());
    Ok(found[0].clone())
}

/// The commands that put freshly built libraries in the place of older ones.
pub fn install_commands(files: &[PathBuf], destination: &Path) -> Vec<Vec<String>> {
    let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let folder = destination.display().to_string();
    let mut copy = words(&["install", "-D", "-m", "644", "-t", &folder]);
    copy.extend(files.iter().map(|file| file.display().to_string()));
    vec![words(&["rm", "-rf", &folder]), copy]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_libraries_are_removed_before_new_ones_are_installed() {
        let commands = install_commands(&[PathBuf::from("/b/libcore-1.rlib")], Path::new("/usr/lib/rustlib/t/lib"));
        assert_eq!(commands[0], ["rm", "-rf", "/usr/lib/rustlib/t/lib"]);
        assert_eq!(commands[1], ["install", "-D", "-m", "644", "-t", "/usr/lib/rustlib/t/lib", "/b/libcore-1.rlib"]);
    }

    #[test]
    fn two_versions_of_a_library_are_refused() {
        let folder = std::env::temp_dir().join(format!("tessera-libraries-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libcore-1.rlib"), "").unwrap();
        assert!(library(&folder, "core").is_ok());
        fs::write(folder.join("libcore-2.rlib"), "").unwrap();
        let refused = library(&folder, "core");
        fs::remove_dir_all(&folder).unwrap();
        assert!(refused.unwrap_err().to_string().starts_with("2 files named libcore-"));
    }
}
