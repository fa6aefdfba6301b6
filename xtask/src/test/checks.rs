//! The steps that need no machine: formatting, lints, documents, layers, and the tests that run on the host.

use std::process::Command;

use anyhow::{Result, ensure};

use super::kernels::Kernels;
use super::linked;
use super::runner::{Phase, Step};
use crate::toolchain::Toolchain;
use crate::workspace::{PROGRAM_PACKAGES, Target};
use crate::{layers, process};

/// Packages whose code and tests run on the host.
const HOST_PACKAGES: [&str; 12] = [
    "tessera-hal",
    "kernel-core",
    "tessera-abi",
    "tessera-schema",
    "schema-codegen",
    "tessera-kernel",
    // Each on any host: what a foreign architecture needs is left out.
    "tessera-arch-x86_64",
    "tessera-arch-aarch64",
    "qemu-targets",
    "sim",
    "tessera-fuzz",
    "xtask",
];

/// Packages that kernels of other people build on.
const PUBLISHED: [&str; 3] = ["tessera-abi", "tessera-hal", "kernel-core"];

/// What is built for the bare machine. Kernel and programs apart, because one call would unite the features of the
/// libraries that both use.
fn bare_packages(target: Target) -> [(&'static str, Vec<&'static str>); 2] {
    [
        ("kernel", vec![target.platform(), target.architecture_crate()]),
        ("programs", [&["tessera-rt"], &PROGRAM_PACKAGES[..]].concat()),
    ]
}

/// cargo allows one build at a time in a target folder, but one step's tests run while another's are being built.
const WORKERS: usize = 2;

/// All phases of this kind.
pub fn phases(toolchain: Toolchain, kernels: &Kernels) -> Vec<Phase> {
    let mut steps = vec![
        cargo_step("formatting", toolchain, &["fmt", "--all", "--check"], &[]),
        Step::new("layers", layers::check),
        cargo_step(
            "lints on the host",
            toolchain,
            &with_host_packages(&["clippy", "--quiet", "--all-targets"], &["--", "-D", "warnings"]),
            &[],
        ),
    ];
    for target in Target::ALL {
        for (what, packages) in bare_packages(target) {
            let mut arguments = vec!["clippy", "--quiet", "--target", target.triple()];
            arguments.extend(packages.iter().flat_map(|package| ["--package", *package]));
            arguments.extend(["--", "-D", "warnings"]);
            steps.push(cargo_step(&format!("lints of the {what} for {}", target.triple()), toolchain, &arguments, &[]));
        }
    }
    let benches = ["clippy", "--quiet", "--all-targets", "--package", "kernel-core-bench", "--", "-D", "warnings"];
    steps.push(cargo_step("lints of the benches", toolchain, &benches, &[]));
    steps.push(test_step("tests on the host", toolchain, &with_host_packages(&[], &[]), &[]));
    // What the programs' libraries decide is tested on the host; their binaries are for the bare machine alone.
    let libraries = ["--lib", "--package", "tessera-rt", "--features", "tessera-rt/heap", "--package", "services"];
    steps.push(test_step("tests of the programs' libraries", toolchain, &libraries, &[]));
    steps.push(cargo_step(
        "generated code is current",
        toolchain,
        &["run", "--quiet", "--package", "schema-codegen", "--", "--check"],
        &[],
    ));
    // Once more without debug assertions, as in the kernel, and with a million steps of random traces.
    let release = ["--package", "kernel-core", "--release"];
    steps.push(test_step("decision core, release", toolchain, &release, &[("TESSERA_TRACE_STEPS", "1000000")]));
    steps.extend(reuse(toolchain));
    for checker in ["loom", "shuttle"] {
        let test = if checker == "loom" { "loom_models" } else { "shuttle_dispatcher" };
        let arguments = [&release[..], &["--test", test]].concat();
        let flags = format!("--cfg {checker}");
        steps.push(test_step(&format!("models under {checker}"), toolchain, &arguments, &[("RUSTFLAGS", &flags)]));
    }
    steps.extend(documents(toolchain));
    steps.extend(kernels.steps());
    vec![Phase::new(WORKERS, steps)]
}

/// What other people's kernels rely on: the decision core alone on bare machines, the example, and the packages.
fn reuse(toolchain: Toolchain) -> Vec<Step> {
    let mut steps = Vec::new();
    for target in Target::ALL {
        let arguments = ["build", "--quiet", "--package", "kernel-core", "--target", target.triple()];
        steps.push(cargo_step(&format!("decision core alone for {}", target.triple()), toolchain, &arguments, &[]));
    }
    let example = ["run", "--quiet", "--package", "kernel-core", "--example", "host_kernel"];
    steps.push(cargo_step("decision core in a foreign kernel", toolchain, &example, &[]));
    steps.push(linked::step(toolchain));
    // Without building them again: the packages hold what was built above. Their dependencies on each other are found
    // in the workspace, since nothing is published.
    let mut package = vec!["package", "--quiet", "--allow-dirty", "--no-verify"];
    package.extend(PUBLISHED.iter().flat_map(|name| ["--package", *name]));
    steps.push(cargo_step("packages of the decision core", toolchain, &package, &[]));
    steps
}

/// rustdoc without warnings: host crates for the host, the rest for its own machine.
fn documents(toolchain: Toolchain) -> Vec<Step> {
    let strict = [("RUSTDOCFLAGS", "-D warnings")];
    let host = with_host_packages(&["doc", "--quiet", "--no-deps"], &[]);
    let mut steps = vec![cargo_step("documents of the host crates", toolchain, &host, &strict)];
    for target in Target::ALL {
        for (what, packages) in bare_packages(target) {
            let mut arguments = vec!["doc", "--quiet", "--no-deps", "--target", target.triple()];
            arguments.extend(packages.iter().flat_map(|package| ["--package", *package]));
            let name = format!("documents of the {what} for {}", target.triple());
            steps.push(cargo_step(&name, toolchain, &arguments, &strict));
        }
    }
    steps
}

fn with_host_packages<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<&'a str> {
    let packages = HOST_PACKAGES.iter().flat_map(|package| ["--package", *package]);
    before.iter().copied().chain(packages).chain(after.iter().copied()).collect()
}

fn cargo_step(name: &str, toolchain: Toolchain, arguments: &[&str], environment: &[(&str, &str)]) -> Step {
    let mut command: Command = toolchain.cargo();
    command.args(arguments).envs(environment.iter().copied());
    Step::new(name, move || -> Result<()> { process::capture(&mut command).map(drop) })
}

/// A run of tests that says how many there were; none at all is a failure, because then the selection is wrong.
pub fn test_step(name: &str, toolchain: Toolchain, arguments: &[&str], environment: &[(&str, &str)]) -> Step {
    let mut command: Command = toolchain.cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments).envs(environment.iter().copied());
    Step::with_remark(name, move || {
        let output = process::capture(&mut command)?;
        let passed = passed_tests(&String::from_utf8_lossy(&output.stdout));
        ensure!(passed > 0, "`{}` ran no test", process::display(&command));
        Ok(format!("{passed} tests"))
    })
}

fn passed_tests(output: &str) -> u64 {
    let results = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    results.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_all_binaries_are_counted() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed\n\ntest result: ok. 40 passed; 0 failed\n";
        assert_eq!(passed_tests(output), 42);
        assert_eq!(passed_tests("nothing"), 0);
    }
}
