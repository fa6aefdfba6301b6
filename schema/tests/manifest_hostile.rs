//! The manifest reader and bytes that mean harm: it never panics, and every error names a place.

mod manifest_source;

use manifest_source::{GOOD, built};
use proptest::prelude::*;
use std::sync::LazyLock;
use tessera_schema::manifest::{Manifest, Source};

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

/// The reader's answer is a good manifest, or an error that names a place of the schema.
fn answers_well(bytes: &[u8]) {
    const PLACES: [&str; 9] =
        ["manifest", "programs", "binaries", "endpoints", "cpus", "policy", "runLength", "baseRequestUs", "init"];
    match Manifest::read(bytes) {
        Err(error) => {
            let text = error.to_string();
            let (place, problem) = text.split_once(": ").unwrap();
            assert!(PLACES.iter().any(|known| place.starts_with(known)) && !problem.is_empty(), "{text}");
        }
        Ok(manifest) => {
            for program in manifest.programs() {
                assert!((1..=10_000).contains(&program.weight) && program.count > 0 && !program.elf.is_empty());
                for grant in &program.grants {
                    if let Source::Client { endpoint, .. } | Source::Server { endpoint } = grant.source {
                        assert!(manifest.endpoints()[endpoint].server < manifest.programs().len());
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        answers_well(&bytes);
    }

    #[test]
    fn mutated_manifests_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = GOOD_BYTES.clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        answers_well(&bytes);
    }

    #[test]
    fn flipped_bits_and_cuts_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u32..8), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = GOOD_BYTES.clone();
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        answers_well(&bytes);
        answers_well(&bytes[..cut.index(bytes.len())]);
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
