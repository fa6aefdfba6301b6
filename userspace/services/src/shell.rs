//! What the operator's shell decides: the line being typed, what a line means, and how the system looks in text.

pub mod command;
pub mod edit;
pub mod view;
