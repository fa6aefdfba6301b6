//! The byte-driven properties, with more cases than among the tests on the host: any bytes as what the kernel and the
//! tools read. Each prints an input that fails as hex digits, for its corpus.

use clap::ValueEnum;

use super::checks::test_step;
use super::runner::{Phase, Step};
use crate::toolchain::Toolchain;

/// The environment variable that `tessera-fuzz` reads: how many times its usual cases a property tries.
const RUNS: &str = "TESSERA_FUZZ_RUNS";

/// As many as the machine that continuous integration has has CPUs.
const WORKERS: usize = 2;

/// What is read. The one that takes longest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Input {
    /// The manifest
    Manifest,
    /// Operations on capability tables
    Capabilities,
    /// A program's ELF file
    Elf,
    /// Submissions and indices of a ring
    Ring,
    /// The simulator's workload
    Workload,
}

impl Input {
    /// What it is called in a line of the report.
    const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Capabilities => "capability tables",
            Self::Elf => "ELF file",
            Self::Ring => "ring",
            Self::Workload => "workload",
        }
    }

    /// Where its property is among the tests.
    const fn test(self) -> [&'static str; 4] {
        match self {
            Self::Manifest => ["--package", "tessera-schema", "--test", "manifest_bytes"],
            Self::Capabilities => ["--package", "kernel-core", "--test", "cap_bytes"],
            Self::Elf => ["--package", "tessera-kernel", "--lib", "elf::tests::bytes"],
            Self::Ring => ["--package", "kernel-core", "--test", "ring_bytes"],
            Self::Workload => ["--package", "sim", "--test", "workload_bytes"],
        }
    }
}

/// A step for each of these inputs, or for all if there are none, with so many times the usual cases.
pub fn phase(toolchain: Toolchain, inputs: &[Input], runs: u32) -> Phase {
    let inputs = if inputs.is_empty() { Input::value_variants() } else { inputs };
    let step = |input: &Input| -> Step {
        let name = format!("any bytes as {}, {runs} times the cases", input.name());
        test_step(&name, toolchain, &input.test(), &[(RUNS, &runs.to_string())])
    };
    Phase::new(WORKERS, inputs.iter().map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;
    use std::fs;

    #[test]
    fn every_input_is_tried_unless_some_are_named() {
        let names = |inputs: &[Input]| phase(Toolchain::Default, inputs, 7).len();
        assert_eq!((names(&[]), names(&[Input::Elf, Input::Ring])), (Input::value_variants().len(), 2));
    }

    #[test]
    fn the_variable_is_the_one_that_the_tests_read() {
        let source = fs::read_to_string(workspace::root().join("fuzz/src/lib.rs")).unwrap();
        assert!(source.contains(&format!("pub const RUNS: &str = \"{RUNS}\";")));
    }
}
