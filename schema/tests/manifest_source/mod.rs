//! A manifest that uses every key, for the tests of the reader and the builder.

use std::collections::BTreeMap;
use tessera_schema::build::{ManifestSource, build, parse};

/// The source.
pub const GOOD: &str = r#"
policy = "eevdf"
seconds = 5
binaries = ["tool"]
[[endpoint]]
name = "calc"
interface = 0xf123_4567_89ab_cdef
[[endpoint]]
name = "log"
interface = "Console"
[[program]]
name = "heavy"
binary = "hog"
weight = 128
class = "interactive"
request-us = 500
affinity = "last"
arguments = "a b"
grants = [
    "console",
    { name = "process-spawner", most-processes = 8 },
    { name = "clock", kernel = "timer" },
    { name = "sums", client-of = "calc", badge = 7 },
]
serves = ["log"]
frames = 1000
threads = 4
[[program]]
name = "hog"
affinity = "0,2-3"
count = "2*others"
[[program]]
name = "calculator"
binary = "hog"
grants = [{ name = "console", client-of = "log" }]
serves = ["calc"]
capabilities = 32
"#;

/// Program files, one of which nobody needs.
pub fn binaries() -> BTreeMap<String, Vec<u8>> {
    let files: [(&str, &[u8]); 4] = [("hog", &[1, 2, 3]), ("unused", &[4]), ("tool", &[5]), ("init", &[6, 7])];
    files.map(|(name, file)| (name.into(), file.into())).into()
}

/// The manifest for a machine of four CPUs.
pub fn built(text: &str) -> Vec<u8> {
    build(&parse::<ManifestSource>("good.toml", text).unwrap(), 4, &binaries()).unwrap()
}
