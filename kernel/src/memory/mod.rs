//! Physical memory, address spaces and what is copied from and to them.
//!
//! Lock order: an address space, a memory object, the objects' graves, the frame allocator. Never two of one kind.

pub mod address_space;
pub mod change;
#[allow(unsafe_code, reason = "reaches the bytes of frames")]
pub mod direct;
pub mod frames;
#[allow(unsafe_code, reason = "gives memory to the allocator")]
pub mod heap;
pub mod object;
pub mod region;
pub mod reservation;
mod tables;
#[cfg(test)]
mod tests;
pub mod user_copy;
