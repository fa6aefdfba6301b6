//! A manifest that uses every key, for the tests of the reader and the builder.

use std::collections::BTreeMap;
use tessera_schema::build::{ManifestSource, build, parse};

/// The source.
pub const GOOD: &str = include_str!("../corpus/manifest/every-key.toml");

/// Program files, one of which nobody needs.
pub fn binaries() -> BTreeMap<String, Vec<u8>> {
    let files: [(&str, &[u8]); 4] = [("hog", &[1, 2, 3]), ("unused", &[4]), ("tool", &[5]), ("init", &[6, 7])];
    files.map(|(name, file)| (name.into(), file.into())).into()
}

/// The manifest for a machine of four CPUs.
pub fn built(text: &str) -> Vec<u8> {
    build(&parse::<ManifestSource>("good.toml", text).unwrap(), 4, &binaries()).unwrap()
}
