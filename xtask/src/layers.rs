//! Which crate and which module may depend on which, and the check that nobody else does.
//!
//! The rules are the tables below. Three kinds of edges are checked: dependencies between the workspace's crates (from
//! `cargo metadata`, every kind of dependency), imports between `kernel-core`'s modules (from the source text), and
//! `target_arch`, which only the ports and the one selection point of each binary may mention.

mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::workspace;

/// What each member of the workspace may depend on, among the members.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tessera-hal", &[]),
    ("tessera-abi", &[]),
    ("tessera-schema", &["tessera-abi"]),
    // What byte-driven tests share.
    (TEST_HELPER, &[]),
    // A host tool: it writes the schema's code and needs nothing of ours.
    ("schema-codegen", &[]),
    ("kernel-core", &["tessera-hal", "tessera-abi"]),
    // Measures it; nothing depends on it.
    ("kernel-core-bench", &["kernel-core", "tessera-hal"]),
    ("tessera-arch-x86_64", &["tessera-hal"]),
    ("tessera-arch-aarch64", &["tessera-hal"]),
    ("tessera-kernel", &["kernel-core", "tessera-hal", "tessera-schema", "tessera-abi"]),
    // A platform names the HAL's types when it hands its machine to the kernel.
    ("q35", &["tessera-arch-x86_64", "tessera-kernel", "tessera-hal"]),
    ("virt", &["tessera-arch-aarch64", "tessera-kernel", "tessera-hal"]),
    ("tessera-rt", &["tessera-schema", "tessera-abi"]),
    ("demos", &["tessera-rt", "tessera-schema", "tessera-abi"]),
    ("services", &["tessera-rt", "tessera-schema", "tessera-abi"]),
    ("first-program", &["tessera-rt"]),
    ("sim", &["kernel-core", "tessera-hal"]),
    // Of the simulator, host tools use the traces and plots, whose times are the HAL's.
    ("qemu-targets", &["sim", "tessera-hal", "tessera-schema", "tessera-abi"]),
    ("xtask", &["qemu-targets", "sim", "tessera-schema", "tessera-abi"]),
];

/// A member that every member's tests may use, and nothing but tests.
const TEST_HELPER: &str = "tessera-fuzz";

/// Outside crates that a member must not use: the decision core stays free of the wire format.
const FORBIDDEN_OUTSIDE: &[(&str, &str)] =
    &[("kernel-core", "capnp"), ("tessera-hal", "capnp"), ("tessera-abi", "capnp")];

/// Modules of `kernel-core` that a kernel gets with the scheduler alone, and those that they must not import.
const SCHEDULING_MODULES: &[&str] = &["sched", "budget", "lease", "island", "slab", "sync", "timer", "tree"];
const OBJECT_MODULES: &[&str] = &["cap", "endpoint", "ring", "park", "session"];

/// Folders in which `target_arch` may appear.
const ARCHITECTURE_FOLDERS: &[&str] = &["arch-x86_64/", "arch-aarch64/", "platforms/", "userspace/rt/"];

/// One edge that the rules do not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A member depends on a member that it must not know.
    Crate { from: String, to: String },
    /// A member that the table does not mention.
    UnknownMember(String),
    /// A member uses an outside crate that it must not.
    Outside { from: String, to: String },
    /// A module of `kernel-core` imports one that it must not know.
    Module { file: PathBuf, line: usize, from: String, to: String },
    /// `target_arch` outside the ports.
    Architecture { file: PathBuf, line: usize },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crate { from, to } => write!(f, "{from} must not depend on {to}"),
            Self::UnknownMember(name) => write!(f, "{name} is not in the table of allowed dependencies"),
            Self::Outside { from, to } => write!(f, "{from} must not use the crate {to}"),
            Self::Module { file, line, from, to } => {
                write!(f, "{}:{line}: kernel-core::{from} must not import kernel-core::{to}", file.display())
            }
            Self::Architecture { file, line } => {
                write!(f, "{}:{line}: target_arch belongs in {}", file.display(), ARCHITECTURE_FOLDERS.join(", "))
            }
        }
    }
}

/// Checks the whole project; the error lists every edge that is not allowed.
pub fn check() -> Result<()> {
    let root = workspace::root();
    let metadata = MetadataCommand::new().current_dir(&root).no_deps().exec().context("cannot read the workspace")?;
    let mut violations = check_crates(&edges(&metadata));
    for file in source::rust_files(&root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let relative = file.strip_prefix(&root).unwrap_or(&file).to_owned();
        violations.extend(check_source(&relative, &text));
    }
    if violations.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = violations.iter().map(|violation| format!("  {violation}")).collect();
    bail!("{} forbidden edges:\n{}", violations.len(), lines.join("\n"));
}

/// Each member with the names of everything that it depends on.
type Edges = BTreeMap<String, Vec<String>>;

fn edges(metadata: &Metadata) -> Edges {
    let of = |package: &cargo_metadata::Package| {
        // A crate's tests may use its own features through itself.
        let others = package.dependencies.iter().filter(|dependency| {
            let is_for_tests = [package.name.as_str(), TEST_HELPER].contains(&dependency.name.as_str());
            dependency.kind != DependencyKind::Development || !is_for_tests
        });
        (package.name.to_string(), others.map(|dependency| dependency.name.clone()).collect())
    };
    metadata.packages.iter().map(of).collect()
}

/// Holds the edges against the tables.
pub fn check_crates(edges: &Edges) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (from, dependencies) in edges {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == from) else {
            violations.push(Violation::UnknownMember(from.clone()));
            continue;
        };
        for to in dependencies {
            if edges.contains_key(to) && !allowed.contains(&to.as_str()) {
                violations.push(Violation::Crate { from: from.clone(), to: to.clone() });
            }
            if FORBIDDEN_OUTSIDE.contains(&(from.as_str(), to.as_str())) {
                violations.push(Violation::Outside { from: from.clone(), to: to.clone() });
            }
        }
    }
    violations
}

/// Checks one file's text against the rules on modules and architectures.
pub fn check_source(file: &Path, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let name = file.to_string_lossy();
    let may_name_architectures =
        ARCHITECTURE_FOLDERS.iter().any(|folder| name.starts_with(folder)) || name.starts_with("xtask/");
    let module =
        source::top_module(file, "kernel-core/src").filter(|module| SCHEDULING_MODULES.contains(&module.as_str()));
    for (line, code) in source::code_lines(text) {
        if !may_name_architectures && code.contains("target_arch") {
            violations.push(Violation::Architecture { file: file.to_owned(), line });
        }
        let Some(from) = &module else { continue };
        for to in OBJECT_MODULES.iter().filter(|to| source::names_module(&code, to)) {
            violations.push(Violation::Module {
                file: file.to_owned(),
                line,
                from: from.clone(),
                to: (*to).to_owned(),
            });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges_of(list: &[(&str, &[&str])]) -> Edges {
        list.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|name| (*name).to_owned()).collect())).collect()
    }

    #[test]
    fn the_project_keeps_its_own_rules() {
        check().unwrap();
    }

    #[test]
    fn every_allowed_edge_is_accepted_and_every_other_one_is_found() {
        let names: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
        for (from, allowed) in ALLOWED {
            for to in names.iter().filter(|to| *to != from) {
                let mut list: Vec<(&str, &[&str])> = names.iter().map(|name| (*name, &[][..])).collect();
                let dependencies = [*to];
                list.iter_mut().find(|(name, _)| name == from).unwrap().1 = &dependencies;
                let expected = if allowed.contains(to) {
                    vec![]
                } else {
                    vec![Violation::Crate { from: (*from).into(), to: (*to).into() }]
                };
                assert_eq!(check_crates(&edges_of(&list)), expected, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn a_new_crate_must_be_given_its_place() {
        assert_eq!(check_crates(&edges_of(&[("newcomer", &[])])), [Violation::UnknownMember("newcomer".into())]);
    }

    #[test]
    fn the_decision_core_may_not_use_the_wire_format() {
        let violation = Violation::Outside { from: "kernel-core".into(), to: "capnp".into() };
        assert_eq!(check_crates(&edges_of(&[("kernel-core", &["capnp", "spin"])])), [violation]);
    }

    #[test]
    fn a_scheduling_module_that_imports_an_object_module_is_found() {
        for text in
            ["use crate::endpoint::Call;", "use crate::{sync, ring::consume};", "let x = crate::cap::Table::new();"]
        {
            let found = check_source(Path::new("kernel-core/src/sched/pick.rs"), text);
            assert!(
                matches!(&found[..], [Violation::Module { line: 1, from, .. }] if from == "sched"),
                "{text}: {found:?}"
            );
        }
        assert!(check_source(Path::new("kernel-core/src/ring.rs"), "use crate::cap::Table;").is_empty());
        assert!(
            check_source(Path::new("kernel-core/src/sched.rs"), "// see crate::ring\nuse crate::sync::Lock;")
                .is_empty()
        );
    }

    #[test]
    fn an_architecture_outside_the_ports_is_found() {
        let text = "//! text\n#[cfg(target_arch = \"x86_64\")]\nfn f() {}\n";
        let expected = Violation::Architecture { file: "kernel/src/user.rs".into(), line: 2 };
        assert_eq!(check_source(Path::new("kernel/src/user.rs"), text), [expected]);
        assert!(check_source(Path::new("arch-x86_64/src/user.rs"), text).is_empty());
        assert!(check_source(Path::new("userspace/rt/src/arch.rs"), text).is_empty());
    }
}
