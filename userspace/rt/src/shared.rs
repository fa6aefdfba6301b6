//! Memory that processes or threads share, as words that all of them touch as atomics alone.

use crate::{
    CallError,
    client::{MemoryObject, VirtualMemory},
    generated::messages::{AllocateParams, MapMemoryParams},
};
use core::{
    ptr::{self, NonNull},
    slice,
    sync::atomic::AtomicU32,
};

/// Reading and writing.
const READ_WRITE: u16 = 3;

/// Maps a part of an object, whole pages from `offset` on, at a place that the kernel chooses.
///
/// The words live as long as the program, unless it takes them out of its address space itself: then to touch them is a
/// fault, which ends it.
pub fn map(memory: &MemoryObject, offset: u64, bytes: u64) -> Result<&'static [AtomicU32], CallError> {
    let mapped = memory.map(&MapMemoryParams { offset, bytes, access: READ_WRITE })?;
    // SAFETY: so many bytes were mapped there.
    Ok(unsafe { words(mapped.address, bytes) })
}

/// Private memory, whole pages, as [`map`] gives it.
pub fn allocate(memory: &VirtualMemory, bytes: u64) -> Result<&'static [AtomicU32], CallError> {
    let mapped = memory.allocate(&AllocateParams { bytes, access: READ_WRITE })?;
    // SAFETY: so many bytes were mapped there.
    Ok(unsafe { words(mapped.address, bytes) })
}

/// The words of a new mapping.
///
/// # Safety
///
/// The kernel has just mapped so many bytes at the address, read-write.
unsafe fn words(address: u64, bytes: u64) -> &'static [AtomicU32] {
    let first = NonNull::new(ptr::with_exposed_provenance_mut::<AtomicU32>(address as usize));
    let Some(first) = first else { return &[] };
    // SAFETY: so many bytes were mapped there, page-aligned and zeroed at first; nothing else of this program stands in
    // them, and whoever shares them touches them as atomics too.
    unsafe { slice::from_raw_parts(first.as_ptr(), bytes as usize / size_of::<AtomicU32>()) }
}
