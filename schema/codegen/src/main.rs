//! `cargo run -p schema-codegen` replaces the checked-in code; `-- --check` only compares it.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => schema_codegen::write(),
        ["--check"] => schema_codegen::check(),
        _ => Err(anyhow::anyhow!("usage: schema-codegen [--check]")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("schema-codegen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
