//! Brings a machine to the point where everything else works, and says what it does.
//!
//! Looking is quick and changes nothing; what is there already is left alone. Changes to the machine need root (or a
//! `sudo` that asks no password); without it the exact commands are printed and the set-up fails. Nothing is ever
//! removed except libraries of an older compiler that are about to be replaced.

pub mod apt;
mod privilege;
pub mod sysroot;
pub mod tools;
pub mod version;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use self::privilege::Privilege;
use self::tools::Emulator;
use crate::process;
use crate::toolchain::{OLDEST_RUSTC, Toolchain};
use crate::workspace::{self, Target};

/// The distribution's compiler with everything around it that the project uses.
const RUST_PACKAGES: [&str; 7] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22", "rustfmt-web", "rust-web-clippy"];

const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/tessera-backports.list";

/// Makes sure that everything is there and returns the compiler to use. Prints a sentence for each thing that it does.
pub fn ensure() -> Result<Toolchain> {
    let mut machine = Machine { privilege: None, lists_are_fresh: false };
    ensure_tools(&mut machine)?;
    ensure_toolchain(&mut machine)
}

/// [`ensure`], with a sentence for each thing that was found in order as well.
pub fn explain() -> Result<()> {
    let toolchain = ensure()?;
    let compiler = toolchain.describe().unwrap_or_default();
    let source = match toolchain {
        Toolchain::Default => "the default toolchain",
        Toolchain::System => "the distribution's, in /usr",
    };
    println!("setup: the compiler is {compiler} ({source}), with the libraries of both bare-metal targets.");
    for program in tools::EMULATORS {
        println!("setup: {program} is {}.", Emulator::inspect(program).describe());
    }
    println!("setup: capnp is there. Nothing is missing.");
    Ok(())
}

/// What is known about changing this machine, found out when first needed.
struct Machine {
    privilege: Option<Privilege>,
    lists_are_fresh: bool,
}

impl Machine {
    fn privilege(&mut self) -> Privilege {
        *self.privilege.get_or_insert_with(Privilege::detect)
    }

    /// Runs these commands as root, or prints them all and fails.
    fn as_root(&mut self, purpose: &str, commands: &[Vec<String>]) -> Result<()> {
        let privilege = self.privilege();
        if privilege == Privilege::None {
            let lines: Vec<String> =
                commands.iter().map(|words| format!("  {}", process::display(&privilege.command(words)))).collect();
            bail!("{purpose} needs root. Run these commands, then `cargo xtask setup` again:\n{}", lines.join("\n"));
        }
        for words in commands {
            process::capture(&mut privilege.command(words)).with_context(|| format!("{purpose} failed"))?;
        }
        Ok(())
    }

    /// Installs packages, from the given suite if one is named.
    fn install(&mut self, packages: &[&str], suite: Option<&str>, mut first: Vec<Vec<String>>) -> Result<()> {
        if !self.lists_are_fresh || !first.is_empty() {
            first.push(words("apt-get -q update"));
        }
        let mut install = words("env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends");
        if let Some(suite) = suite {
            install.extend(["-t".to_owned(), suite.to_owned()]);
        }
        install.extend(packages.iter().map(|package| (*package).to_owned()));
        first.push(install);
        println!("setup: installing {} (this can take some minutes).", packages.join(", "));
        self.as_root(&format!("Installing {}", packages.join(", ")), &first)?;
        self.lists_are_fresh = true;
        Ok(())
    }

    /// Makes apt's lists current before candidates are compared. Without privilege the old lists must do.
    fn refresh_lists(&mut self) -> Result<()> {
        if !self.lists_are_fresh && self.privilege() != Privilege::None {
            self.as_root("Reading the package lists", &[words("apt-get -q update")])?;
            self.lists_are_fresh = true;
        }
        Ok(())
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn has_apt() -> bool {
    process::find("apt-get").is_some()
}

fn ensure_tools(machine: &mut Machine) -> Result<()> {
    let lacking: Vec<(&str, Emulator)> =
        tools::EMULATORS.map(|program| (program, Emulator::inspect(program))).into_iter().collect();
    let lacking: Vec<_> = lacking.into_iter().filter(|(_, state)| !matches!(state, Emulator::Ready(_))).collect();
    for (program, state) in &lacking {
        println!("setup: {program} is {}.", state.describe());
    }
    let is_complete = lacking.is_empty() && tools::has_capnp();
    if !is_complete && !has_apt() {
        bail!(
            "this machine has no apt-get: install QEMU {} or newer ({}) and Cap'n Proto's `capnp` with its own package tool",
            tools::OLDEST_QEMU,
            tools::EMULATORS.join(", ")
        );
    }
    if !lacking.is_empty() {
        install_emulators(machine)?;
    }
    if !tools::has_capnp() {
        machine.install(&["capnproto"], None, Vec::new())?;
    }
    Ok(())
}

fn install_emulators(machine: &mut Machine) -> Result<()> {
    machine.refresh_lists()?;
    let release = fs::read_to_string("/etc/os-release").ok().and_then(|text| apt::release(&text));
    let default_is_new_enough =
        apt::candidate(tools::EMULATOR_PACKAGES[0]).is_some_and(|version| version >= tools::OLDEST_QEMU);
    if default_is_new_enough {
        machine.install(&tools::EMULATOR_PACKAGES, None, Vec::new())?;
    } else {
        let Some((_, codename)) = release.filter(|(identity, _)| identity == "debian") else {
            bail!(
                "no package source of this machine offers QEMU {} or newer, and only Debian's backports are known here",
                tools::OLDEST_QEMU
            );
        };
        let sources = apt::configured_sources(Path::new("/etc/apt"));
        let suite = format!("{codename}-backports");
        let mut first = Vec::new();
        if !apt::has_backports(&sources, &codename) {
            let main = apt::main_source(&sources, &codename).with_context(|| {
                format!("no source for {codename} under /etc/apt, so the mirror for {suite} is unknown")
            })?;
            println!("setup: adding {suite} from {} in {BACKPORTS_FILE}.", main.uri);
            first.push(write_file_command(&apt::backports_line(main, &codename), BACKPORTS_FILE));
        }
        machine.install(&tools::EMULATOR_PACKAGES, Some(&suite), first)?;
    }
    for program in tools::EMULATORS {
        let state = Emulator::inspect(program);
        if !matches!(state, Emulator::Ready(_)) {
            bail!("{program} is still {} after the installation", state.describe());
        }
    }
    Ok(())
}

/// A command that writes this text, so that it works through `sudo` and can be pasted.
fn write_file_command(text: &str, file: &str) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), format!("printf '%s\\n' '{}' > {file}", text.trim_end())]
}

/// Makes sure that instructions can be counted: Valgrind, and gungraun's runner in the version that the benches use.
pub fn ensure_bench_tools(toolchain: Toolchain) -> Result<()> {
    if process::find("valgrind").is_none() {
        if !has_apt() {
            bail!("this machine has no apt-get: install Valgrind with its own package tool");
        }
        let mut machine = Machine { privilege: None, lists_are_fresh: false };
        machine.install(&["valgrind"], None, Vec::new())?;
    }
    let version = tools::locked_version("gungraun").context("Cargo.lock names no gungraun")?;
    let installed = process::answer("gungraun-runner", &["--version"]);
    if installed.is_some_and(|answer| answer.split_whitespace().any(|word| word == version)) {
        return Ok(());
    }
    println!("setup: installing gungraun-runner {version} (this can take some minutes).");
    process::capture(toolchain.cargo().args(["install", "--locked", "gungraun-runner", "--version", &version]))
        .map(drop)
        .context("gungraun-runner cannot be installed")
}

fn ensure_toolchain(machine: &mut Machine) -> Result<Toolchain> {
    if let Some(toolchain) = Toolchain::detect() {
        ensure_components(toolchain)?;
        return Ok(toolchain);
    }
    if process::find("rustup").is_some() {
        match add_rustup_targets() {
            Ok(()) if Toolchain::Default.is_complete() => {
                ensure_components(Toolchain::Default)?;
                return Ok(Toolchain::Default);
            }
            Ok(()) => println!(
                "setup: rustup's compiler cannot build for the bare-metal targets or is older than {OLDEST_RUSTC}."
            ),
            Err(_) => {
                println!("setup: rustup could not download the bare-metal targets; trying the distribution's compiler.")
            }
        }
    }
    ensure_system_compiler(machine)?;
    for target in Target::ALL {
        if !Toolchain::System.compiles_for(target) {
            install_sysroot(machine, target)?;
        }
    }
    Ok(Toolchain::System)
}

fn add_rustup_targets() -> Result<()> {
    let triples = Target::ALL.map(Target::triple);
    println!("setup: adding the targets {} with rustup.", triples.join(", "));
    let mut command = std::process::Command::new("rustup");
    process::capture(command.args(["target", "add"]).args(triples)).map(drop)
}

/// clippy and rustfmt, which minimal installations lack.
fn ensure_components(toolchain: Toolchain) -> Result<()> {
    if toolchain == Toolchain::System {
        return Ok(());
    }
    let lacking: Vec<&str> = ["clippy", "rustfmt"]
        .into_iter()
        .filter(|component| {
            let subcommand = if *component == "rustfmt" { "fmt" } else { component };
            process::capture(toolchain.cargo().args([subcommand, "--version"])).is_err()
        })
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    println!("setup: adding {} with rustup.", lacking.join(", "));
    let mut command = std::process::Command::new("rustup");
    process::capture(command.args(["component", "add"]).args(&lacking))
        .map(drop)
        .with_context(|| format!("the toolchain lacks {} and rustup cannot add it", lacking.join(", ")))
}

fn ensure_system_compiler(machine: &mut Machine) -> Result<()> {
    if !has_apt() {
        bail!(
            "no compiler here builds for {}: install rustup (https://rustup.rs) and run `cargo xtask setup` again",
            Target::X86_64.triple()
        );
    }
    let present = apt::installed(&RUST_PACKAGES);
    let lacking: Vec<&str> = RUST_PACKAGES.into_iter().filter(|package| !present.contains(*package)).collect();
    if !lacking.is_empty() {
        machine.refresh_lists()?;
        let is_offered = apt::candidate("rustc-web").is_some_and(|version| version >= OLDEST_RUSTC);
        if !is_offered && machine.privilege() != Privilege::None {
            bail!(
                "this release offers no rustc-web {OLDEST_RUSTC} or newer: install rustup (https://rustup.rs) and run `cargo xtask setup` again"
            );
        }
        machine.install(&lacking, None, Vec::new())?;
    }
    match Toolchain::System.version() {
        Some(version) if version >= OLDEST_RUSTC => Ok(()),
        Some(version) => bail!("/usr/bin/rustc is {version}, older than {OLDEST_RUSTC}: upgrade the package rustc-web"),
        None => bail!("/usr/bin/rustc does not answer although its package is installed"),
    }
}

fn install_sysroot(machine: &mut Machine, target: Target) -> Result<()> {
    let triple = target.triple();
    println!(
        "setup: building core and alloc for {triple} with the distribution's compiler (about a minute, once per compiler version)."
    );
    let files = sysroot::build(target, &workspace::target_folder().join("sysroot").join(triple))?;
    let destination = sysroot::destination(target);
    machine
        .as_root(&format!("Installing the libraries of {triple}"), &sysroot::install_commands(&files, &destination))?;
    if !Toolchain::System.compiles_for(target) {
        bail!("the libraries of {triple} in {} do not work with /usr/bin/rustc", destination.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_privilege_the_exact_commands_are_the_error() {
        let mut machine = Machine { privilege: Some(Privilege::None), lists_are_fresh: true };
        let error = machine.install(&["capnproto"], None, Vec::new()).unwrap_err().to_string();
        assert!(
            error.contains(
                "  sudo env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends capnproto"
            ),
            "{error}"
        );
    }

    #[test]
    fn the_backports_command_writes_one_line() {
        let command = write_file_command("deb http://m/debian bookworm-backports main\n", "/x");
        assert_eq!(command, ["sh", "-c", "printf '%s\\n' 'deb http://m/debian bookworm-backports main' > /x"]);
    }
}
