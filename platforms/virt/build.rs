//! Links the kernel with the script beside this file: at the start of RAM plus 2 MiB, in the upper half.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=kernel.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    let script = Path::new(&directory).join("kernel.ld");
    println!("cargo::rustc-link-arg-bins=--script={}", script.display());
    println!("cargo::rustc-link-arg-bins=--no-pie");
    println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
}
