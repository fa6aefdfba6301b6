//! Good manifests arrive as they were written; bad ones give one error that says where; hostile bytes never panic.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tessera_abi::scheduling::LatencyClass;
use tessera_schema::{
    build::{ManifestSource, SourceError, build, parse},
    generated::manifest_capnp as wire,
    manifest::{Capability, Manifest, Policy},
};

const GOOD: &str = r#"
policy = "eevdf"
seconds = 5
[[program]]
name = "heavy"
binary = "hog"
weight = 128
class = "interactive"
request-us = 500
affinity = "last"
arguments = "a b"
grants = ["console", "timer"]
[[program]]
name = "hog"
affinity = "0,2-3"
count = "2*others"
"#;

fn binaries() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("hog".into(), vec![1, 2, 3]), ("unused".into(), vec![4])])
}

fn built(text: &str) -> Vec<u8> {
    build(&parse::<ManifestSource>("good.toml", text).unwrap(), 4, &binaries()).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let bytes = built(GOOD);
    let manifest = Manifest::read(&bytes).unwrap();
    assert_eq!(manifest.policy(), Policy::Eevdf);
    assert_eq!(manifest.seconds().map(|seconds| seconds.get()), Some(5));
    assert_eq!(manifest.base_request_us(), 2000);
    assert_eq!(manifest.cpus(), None);
    let [heavy, hog] = manifest.programs() else { panic!("two programs") };
    assert_eq!((heavy.name, heavy.elf, heavy.arguments), ("heavy", &[1, 2, 3][..], "a b"));
    assert_eq!((heavy.weight, heavy.class, heavy.request_ns), (128, LatencyClass::Interactive, Some(500_000)));
    assert_eq!(heavy.affinity, Some([8, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(heavy.grants, [Capability::Console, Capability::Timer]);
    assert_eq!((hog.weight, hog.class, hog.request_ns, hog.count), (64, LatencyClass::Normal, None, 6));
    assert_eq!(hog.affinity, Some([0b1101, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(hog.grants.len(), 3);
}

#[test]
fn roles_resolve_on_a_single_cpu() {
    let source: ManifestSource =
        parse("t", "[[program]]\nname='hog'\naffinity='others'\ncount='3*others'\n[[program]]\nname='b'\nbinary='hog'\naffinity='last'").unwrap();
    let bytes = build(&source, 1, &binaries()).unwrap();
    let manifest = Manifest::read(&bytes).unwrap();
    assert_eq!(manifest.programs()[0].count, 3);
    assert!(manifest.programs().iter().all(|program| program.affinity == Some([1, 0, 0, 0, 0, 0, 0, 0])));
}

fn refusal(text: &str) -> String {
    parse::<ManifestSource>("bad.toml", text).unwrap_err().to_string()
}

#[test]
fn bad_sources_name_file_line_and_key() {
    let head = "[[program]]\nname = \"x\"\n";
    assert_eq!(refusal(&format!("{head}weight = 0\n")), "bad.toml:3: weight: 0 is not in 1..=10000");
    assert_eq!(refusal(&format!("{head}weight = -5\n")), "bad.toml:3: weight: -5 is not in 1..=10000");
    assert_eq!(refusal("seconds = 0\nprogram = []"), "bad.toml:1: seconds: 0 is not in 1..=86400");
    assert_eq!(
        refusal(&format!("{head}class = \"fast\"\n")),
        "bad.toml:3: class: 'fast' is none of interactive, normal, batch, ipcServer"
    );
    assert_eq!(refusal(&format!("{head}affinity = \"3-1\"\n")), "bad.toml:3: affinity: the range '3-1' is empty");
    assert!(refusal(&format!("{head}affinity = \"512\"\n")).starts_with("bad.toml:3: affinity: '512'"));
    assert!(refusal(&format!("{head}count = \"2*x\"\n")).starts_with("bad.toml:3: count: "));
    assert!(refusal(&format!("{head}wieght = 1\n")).starts_with("bad.toml:3: "));
    assert!(refusal("policy = ").starts_with("bad.toml:1: "));
}

#[test]
fn a_missing_program_file_or_cpu_is_named() {
    let source: ManifestSource = parse("t", "[[program]]\nname='nobody'").unwrap();
    assert_eq!(
        build(&source, 1, &binaries()).unwrap_err().to_string(),
        "program nobody: there is no program file nobody"
    );
    let source: ManifestSource = parse("t", "[[program]]\nname='hog'\naffinity='2-3'").unwrap();
    let error = build(&source, 2, &binaries()).unwrap_err().to_string();
    assert_eq!(error, "program hog: affinity names none of the machine's 2 CPUs");
}

/// A manifest of one program and one binary, changed by `change`, and what the reader says.
fn changed(change: impl FnOnce(wire::manifest::Builder<'_>)) -> String {
    let mut message = capnp::message::Builder::new_default();
    let mut root = message.init_root::<wire::manifest::Builder<'_>>();
    let mut program = root.reborrow().init_programs(1).get(0);
    program.set_name("hog");
    program.set_binary("hog");
    let mut binary = root.reborrow().init_binaries(1).get(0);
    binary.set_name("hog");
    binary.set_elf(&[1]);
    change(root);
    let bytes = capnp::serialize::write_message_to_words(&message);
    match Manifest::read(&bytes) {
        Ok(_) => "good".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_unchanged_manifest_is_good() {
    assert_eq!(changed(|_| {}), "good");
}

#[test]
fn each_bad_value_is_named_with_its_path() {
    let program =
        |change: fn(wire::program::Builder<'_>)| changed(move |root| change(root.get_programs().unwrap().get(0)));
    assert_eq!(program(|mut p| p.set_weight(0)), "programs[0].weight: 0 is not in 1..=10000");
    assert_eq!(program(|mut p| p.set_weight(10_001)), "programs[0].weight: 10001 is not in 1..=10000");
    assert_eq!(program(|mut p| p.set_count(0)), "programs[0].count: 0 is not in 1..=4096");
    assert_eq!(
        program(|p| p.get_request().set_microseconds(5)),
        "programs[0].request.microseconds: 5 is not in 100..=100000"
    );
    assert_eq!(
        program(|p| {
            p.get_affinity().init_words(0);
        }),
        "programs[0].affinity.words: empty"
    );
    assert_eq!(
        program(|p| p.get_affinity().init_words(9).set(8, 1)),
        "programs[0].affinity.words: CPU 512 is above 511"
    );
    assert_eq!(program(|mut p| p.set_binary("x")), "programs[0].binary: no entry of binaries has this name");
    assert_eq!(program(|mut p| p.set_name("")), "programs[0].name: empty");
    assert_eq!(
        program(|mut p| p.set_name("a\"b")),
        "programs[0].name: only letters, digits, '-', '_' and '.' are allowed"
    );
    assert_eq!(
        program(|mut p| p.set_arguments("x".repeat(1025))),
        "programs[0].arguments: 1025 bytes, at most 1024 are allowed"
    );
    assert_eq!(
        program(|p| {
            p.init_grants(2);
        }),
        "programs[0].grants: occurs twice"
    );
    assert_eq!(
        changed(|r| {
            r.init_programs(0);
        }),
        "programs: 0 is not in 1..=1024"
    );
    assert_eq!(changed(|mut r| r.set_base_request_us(0)), "baseRequestUs: 0 is not in 100..=100000");
    assert_eq!(changed(|r| r.get_cpus().set_first(0)), "cpus: 0 is not in 1..=512");
    assert_eq!(changed(|r| r.get_run_length().set_seconds(0)), "runLength.seconds: 0 is not in 1..=86400");
    assert_eq!(changed(|r| r.get_binaries().unwrap().get(0).set_elf(&[])), "binaries[0].elf: empty");
}

#[test]
fn nothing_and_a_truncated_manifest_are_refused_at_every_length() {
    let bytes = built(GOOD);
    for length in 0..bytes.len() {
        let error = Manifest::read(&bytes[..length]).unwrap_err().to_string();
        assert!(error.starts_with("manifest: not a valid message: "), "{error}");
    }
}

#[test]
fn padding_behind_the_message_is_ignored() {
    let mut bytes = built(GOOD);
    bytes.resize(bytes.len() + 4096, 0);
    assert!(Manifest::read(&bytes).is_ok());
}

#[test]
fn source_errors_are_errors() {
    let error = SourceError { file: "f".into(), line: 3, message: "m".into() };
    let error: Box<dyn std::error::Error> = Box::new(error);
    assert_eq!(error.to_string(), "f:3: m");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = Manifest::read(&bytes);
    }

    #[test]
    fn mutated_manifests_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = built(GOOD);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(manifest) = Manifest::read(&bytes) {
            for program in manifest.programs() {
                prop_assert!((1..=10_000).contains(&program.weight) && program.count > 0 && !program.elf.is_empty());
            }
        }
    }
}
