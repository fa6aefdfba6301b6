//! Tessera's Cap'n Proto schemas as Rust: typed messages for both sides of a call, and the manifest.
//!
//! * [`message`] encodes and decodes the parameters and results of each method. No allocation, no panic; every decoder
//!   takes bytes of any origin. Messages are one segment in standard framing.
//! * [`client`] is what the typed clients of every interface stand on: [`generated::clients`].
//! * [`manifest`] (feature `alloc`) reads a manifest once, checks everything, and gives typed views that borrow.
//! * [`build`] (feature `std`) makes a manifest from TOML on the host.
//!
//! Ids, ordinals and field places come from the schema files alone ([`generated`]).
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "std")]
pub mod build;
pub mod client;
pub mod generated;
#[cfg(feature = "alloc")]
pub mod manifest;
pub mod message;

mod subslice;
