//! Prints a table.
fn main() {}
