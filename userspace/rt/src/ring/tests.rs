//! The ring's program side against a fake kernel.
