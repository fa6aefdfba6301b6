//! Physical memory, address spaces and what is copied from and to them.
//!
//! Lock level: an address space's lock comes before the frame allocator's; both are leaves otherwise.

pub mod address_space;
#[allow(unsafe_code, reason = "reaches the bytes of frames")]
pub mod direct;
pub mod frames;
#[allow(unsafe_code, reason = "gives memory to the allocator")]
pub mod heap;
pub mod user_copy;
