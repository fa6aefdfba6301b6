//! Model tests of the protocol types, in every interleaving that the checker knows, each with a fault that it must
//! find: `RUSTFLAGS='--cfg loom' cargo test -p kernel-core --release --test loom_models`.
#![cfg(loom)]

mod home_word;
mod lock;
mod quota;
mod request_word;
mod revocation;
mod ring_owner;
mod shared_set;
mod slab;
mod support;
mod timer;
mod wake_list;
