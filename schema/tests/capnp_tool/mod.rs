//! The reference implementation, as a second opinion.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
};

/// Runs `capnp CONVERSION SCHEMA STRUCT` over the input.
pub fn capnp(conversion: &str, schema: &str, structure: &str, input: Vec<u8>) -> Vec<u8> {
    let mut tool = Command::new("capnp")
        .args([conversion, schema, structure])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // The tool complains if it names another folder.
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
    assert!(tool.wait().unwrap().success(), "capnp {conversion} {schema} {structure} fails");
    output
}
