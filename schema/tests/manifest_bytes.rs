//! The manifest reader and any bytes: it never panics, what it accepts keeps the promises of the model, and every error
//! names a place.

mod manifest_source;

use manifest_source::{GOOD, built};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use tessera_fuzz::{Entry, any_bytes, config, corpus};
use tessera_schema::manifest::{
    CPU_COUNTS, MAX_BINARIES, MAX_INSTANCES, MAX_NAME_BYTES, MAX_PROGRAMS, Manifest, REQUESTS_US, RUN_SECONDS, Source,
};

/// Messages that the builder makes of the folder's sources, and those that it never makes.
static CORPUS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut entries = corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/manifest"));
    for entry in entries.iter_mut().filter(|entry| entry.name.ends_with(".toml")) {
        entry.bytes = built(str::from_utf8(&entry.bytes).expect("a text"));
    }
    entries
});

static GOOD_BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| built(GOOD));

#[test]
fn nothing_and_a_truncated_manifest_are_refused_at_every_length() {
    let bytes = GOOD_BYTES.clone();
    for length in 0..bytes.len() {
        let error = Manifest::read(&bytes[..length]).unwrap_err().to_string();
        assert!(error.starts_with("manifest: not a valid message: "), "{error}");
    }
}

#[test]
fn padding_behind_the_message_is_ignored() {
    let mut bytes = GOOD_BYTES.clone();
    bytes.resize(bytes.len() + 4096, 0);
    assert!(Manifest::read(&bytes).is_ok());
}

/// The reader's answer is a manifest that keeps what the model promises, or an error that names a place of the schema.
fn answers_well(bytes: &[u8]) {
    const PLACES: [&str; 9] =
        ["manifest", "programs", "binaries", "endpoints", "cpus", "policy", "runLength", "baseRequestUs", "init"];
    match Manifest::read(bytes) {
        Err(error) => {
            let text = error.to_string();
            let (place, problem) = text.split_once(": ").unwrap();
            assert!(PLACES.iter().any(|known| place.starts_with(known)) && !problem.is_empty(), "{text}");
        }
        Ok(manifest) => keeps_its_promises(bytes, &manifest),
    }
}

fn keeps_its_promises(bytes: &[u8], manifest: &Manifest<'_>) {
    let is_name = |name: &str| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_good)
    };
    let is_of_the_file = |part: &[u8]| bytes.as_ptr_range().contains(&part.as_ptr()) && part.len() <= bytes.len();
    assert!(is_name(manifest.init()) && REQUESTS_US.contains(&manifest.base_request_us().into()));
    assert!(manifest.cpus().is_none_or(|cpus| CPU_COUNTS.contains(&u64::from(cpus.get()))));
    assert!(manifest.seconds().is_none_or(|seconds| RUN_SECONDS.contains(&u64::from(seconds.get()))));
    let binaries: Vec<_> = manifest.binaries().collect();
    assert!((1..=MAX_BINARIES as usize).contains(&binaries.len()));
    assert!(binaries.iter().all(|(name, file)| is_name(name) && !file.is_empty() && is_of_the_file(file)));
    let programs = manifest.programs();
    assert!((1..=MAX_PROGRAMS as usize).contains(&programs.len()));
    assert!(programs.iter().map(|program| usize::from(program.count)).sum::<usize>() <= MAX_INSTANCES);
    let mut servers = vec![Vec::new(); manifest.endpoints().len()];
    for (index, program) in programs.iter().enumerate() {
        assert!(is_name(program.name) && binaries.contains(&(program.binary, program.elf)));
        assert!((1..=10_000).contains(&program.weight) && program.count > 0 && program.affinity != Some([0; 8]));
        assert!(program.request_ns.is_none_or(|request| REQUESTS_US.contains(&(request / 1000))));
        let names: BTreeSet<&str> = program.grants.iter().map(|grant| grant.name).collect();
        assert_eq!(names.len(), program.grants.len(), "each name once");
        for grant in &program.grants {
            match grant.source {
                Source::Client { endpoint, .. } => assert!(endpoint < servers.len()),
                Source::Server { endpoint } => servers[endpoint].push(index),
                Source::Kernel(_) | Source::Spawner { .. } => {}
            }
        }
    }
    let endpoints = manifest.endpoints().iter();
    let as_named: Vec<Vec<usize>> = endpoints.map(|endpoint| vec![endpoint.server]).collect();
    assert_eq!(servers, as_named, "one server for each endpoint, which has its receiving side");
}

#[test]
fn what_the_builder_made_is_read_and_what_it_cannot_make_is_refused() {
    for entry in CORPUS.iter() {
        answers_well(&entry.bytes);
        let is_made = entry.name.ends_with(".toml");
        assert_eq!(Manifest::read(&entry.bytes).is_ok(), is_made, "{}", entry.name);
    }
}

proptest! {
    #![proptest_config(config(6_000))]

    #[test]
    fn any_bytes_are_a_manifest_that_keeps_its_promises_or_are_refused_with_a_place(
        bytes in any_bytes(&CORPUS, 2_048),
    ) {
        answers_well(&bytes);
    }
}

#[test]
fn every_single_flipped_bit_is_answered_well() {
    let bytes = GOOD_BYTES.clone();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        answers_well(&flipped);
    }
}
