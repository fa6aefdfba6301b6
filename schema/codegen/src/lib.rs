//! Generates the Rust code of the schemas with the C++ `capnp` compiler, and compares it with what is checked in.
//!
//! Two kinds of output: what the capnpc plugin makes of the struct schemas (readers and builders), and our own. Ours
//! encodes messages from the place of every field (`layout`, `messages`), because the plugin's builders need an
//! allocator, and gives every interface typed clients (`clients`) and its receivers calls as enums (`interfaces`),
//! because the plugin's interface code needs a heap and an executor.

mod annotation;
mod clients;
mod interfaces;
mod layout;
mod messages;
mod model;
mod names;

use anyhow::{Context, Result, bail};
use model::Model;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// Schemas whose structs get readers and builders.
const STRUCT_SCHEMAS: [&str; 2] = ["messages", "manifest"];
/// Schemas that our own code is made of.
const MODEL_SCHEMAS: [&str; 3] = ["annotations.capnp", "capabilities.capnp", "messages.capnp"];

/// A generated file: its name in `schema/src/generated` and its text.
pub struct GeneratedFile {
    /// The file's name.
    pub name: String,
    /// The file's whole text.
    pub text: String,
}

/// The folder of the `.capnp` files.
pub fn schema_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of the checked-in code.
pub fn generated_directory() -> PathBuf {
    schema_directory().join("src/generated")
}

/// Runs the compiler and gives every generated file. Needs the `capnp` program.
pub fn generate() -> Result<Vec<GeneratedFile>> {
    let scratch = Scratch::new()?;
    let schemas = schema_directory();
    for name in STRUCT_SCHEMAS {
        capnpc::CompilerCommand::new()
            .src_prefix(&schemas)
            .file(schemas.join(format!("{name}.capnp")))
            .output_path(&scratch.0)
            .default_parent_module(vec!["generated".into()])
            .run()
            .with_context(|| format!("the capnp compiler on {name}.capnp (is `capnp` installed?)"))?;
    }
    let mut files = Vec::new();
    for name in STRUCT_SCHEMAS {
        let name = format!("{name}_capnp.rs");
        let path = scratch.0.join(&name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        files.push(GeneratedFile { name, text });
    }
    let request = Command::new("capnp")
        .args(["compile", "-o-"])
        .args(MODEL_SCHEMAS)
        .current_dir(&schemas)
        .output()
        .context("running `capnp`")?;
    if !request.status.success() {
        bail!("`capnp compile` failed: {}", String::from_utf8_lossy(&request.stderr).trim());
    }
    let model = Model::read(&request.stdout)?;
    for (name, text) in [
        ("layout.rs", layout::generate(&model)),
        ("messages.rs", messages::generate(&model)),
        ("interfaces.rs", interfaces::generate(&model)?),
        ("clients.rs", clients::generate(&model)?),
    ] {
        files.push(GeneratedFile { name: name.into(), text });
    }
    Ok(files)
}

/// Replaces the checked-in code with fresh code.
pub fn write() -> Result<()> {
    for file in generate()? {
        let path = generated_directory().join(&file.name);
        fs::write(&path, file.text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Fails, naming the file, if the checked-in code is not what the schemas generate.
pub fn check() -> Result<()> {
    for file in generate()? {
        let path = generated_directory().join(&file.name);
        let present = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if present != file.text {
            bail!("schema/src/generated/{} is stale: run `cargo run -p schema-codegen`", file.name);
        }
    }
    Ok(())
}

/// A directory that goes away with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tessera-schema-{}-{number}", process::id()));
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A left-over directory in the system's temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
