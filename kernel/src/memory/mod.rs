//! Physical memory, address spaces and what is copied from and to them.
//!
//! Lock level: an address space's lock comes before the frame allocator's; both are leaves otherwise.

pub mod address_space;
pub mod direct;
pub mod frames;
pub mod heap;
pub mod user_copy;
