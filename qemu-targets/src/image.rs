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
    use std::{
        io::{Read, Write},
        path::Path,
        process::{Command, Stdio},
        thread,
    };
    use tessera_schema::manifest::Manifest;

    /// A file for every program that the target names: all bytes that there are.
    fn some_binaries(target: &Target) -> BTreeMap<String, Vec<u8>> {
        let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
        target.manifest.binaries().into_iter().map(|name| (name.to_string(), all_bytes.clone())).collect()
    }

    #[test]
    fn every_target_builds_at_every_size() {
        for name in names() {
            let target = Target::named(name).unwrap();
            let binaries = some_binaries(&target);
            for cpus in [1, 2, 4, 64, 288] {
                assert!(build(&target, cpus, &binaries).is_ok(), "{name} at {cpus} CPUs");
            }
        }
    }

    /// Runs `capnp CONVERSION manifest.capnp Manifest` over the input.
    fn capnp(conversion: &str, input: Vec<u8>) -> Vec<u8> {
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema");
        let mut tool = Command::new("capnp")
            .args([conversion, "manifest.capnp", "Manifest"])
            .current_dir(&schema)
            .env_remove("PWD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the `capnp` program runs");
        let (mut stdin, mut stdout) = (tool.stdin.take().unwrap(), tool.stdout.take().unwrap());
        // Written from aside, so that neither side waits for room in a pipe that the other does not empty.
        let writer = thread::spawn(move || stdin.write_all(&input));
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).unwrap();
        writer.join().unwrap().unwrap();
        assert!(tool.wait().unwrap().success(), "capnp {conversion} fails");
        output
    }

    #[test]
    fn the_reference_tool_decodes_every_manifest_and_encodes_one_that_says_the_same() {
        for name in names() {
            let target = Target::named(name).unwrap();
            let built = build(&target, target.cpus, &some_binaries(&target)).unwrap();
            let text = capnp("decode", built.clone());
            let first = target.manifest.programs[0].name();
            assert!(String::from_utf8_lossy(&text).contains(&format!("name = \"{first}\"")), "{name}");
            let encoded = capnp("encode", text);
            assert_eq!(Manifest::read(&encoded).unwrap(), Manifest::read(&built).unwrap(), "{name}");
        }
    }
}
