//! The initrd of a target: its manifest with the program files inside.

use crate::target::Target;
use std::collections::BTreeMap;
use tessera_schema::build::{self, BuildError};

/// Builds the initrd for a machine of `cpus` CPUs. `binaries` are ELF files by program name.
pub fn build(target: &Target, cpus: u16, binaries: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, BuildError> {
    build::build(&target.manifest, cpus, binaries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::names;

    #[test]
    fn every_target_builds_at_every_size() {
        for name in names() {
            let target = Target::named(name).unwrap();
            let used = target.manifest.programs.iter().map(|program| (program.binary().to_string(), vec![1]));
            let binaries: BTreeMap<String, Vec<u8>> = used.collect();
            for cpus in [1, 2, 4, 64, 288] {
                assert!(build(&target, cpus, &binaries).is_ok(), "{name} at {cpus} CPUs");
            }
        }
    }
}
