//! The build script of every package of programs (`build = "../program.rs"`): links them statically at 2 MiB.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=../program.ld");
    println!("cargo::rerun-if-changed=../program.rs");
    let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    let script = Path::new(&directory).join("../program.ld");
    println!("cargo::rustc-link-arg-bins=--script={}", script.display());
    println!("cargo::rustc-link-arg-bins=--no-pie");
    println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
    // Programs travel in the initrd; nobody reads their debug information there.
    println!("cargo::rustc-link-arg-bins=--strip-debug");
}
