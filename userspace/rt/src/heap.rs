//! The global allocator (feature `heap`): talc over a static arena, then over memory of the kernel's.
//!
//! The kernel gives pages when they are first touched, so the arena costs what is used of it, and a program that never
//! allocates does not even contain it. When it is full and the program was granted a VirtualMemory, the heap grows.

use core::alloc::Layout;

/// The least that the heap grows by.
const LEAST_GROWTH_BYTES: usize = 1 << 20;
/// More than the allocator's own records of a piece of memory and of an allocation take.
const OVERHEAD_BYTES: usize = 4096;
const PAGE_BYTES: usize = 4096;

/// How much the heap grows by for this allocation; `None`: no machine has so much.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "programs of the host have its heap"))]
fn growth_bytes(layout: Layout) -> Option<usize> {
    let needed = layout.size().checked_add(layout.align())?.checked_add(OVERHEAD_BYTES)?;
    needed.max(LEAST_GROWTH_BYTES).checked_next_multiple_of(PAGE_BYTES)
}

#[cfg(target_os = "none")]
mod global {
    use super::growth_bytes;
    use crate::{Client, client::VirtualMemory, generated::messages::AllocateParams, sync::RawMutex};
    use core::alloc::Layout;
    use core::cell::UnsafeCell;
    use talc::{
        TalcLock,
        base::{Talc, binning::Binning},
        lock_api,
        source::Source,
    };

    /// Bytes of the arena.
    const ARENA_BYTES: usize = 1 << 20;

    #[global_allocator]
    static HEAP: TalcLock<Lock, Growing> = TalcLock::new(Growing { has_arena: false });

    static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));

    #[repr(align(4096))]
    struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

    // SAFETY: nobody but the allocator, which is locked, touches the bytes.
    unsafe impl Sync for Arena {}

    /// The park-based lock, as the allocator wants it.
    struct Lock(RawMutex);

    // SAFETY: `RawMutex` lets one thread at a time through.
    unsafe impl lock_api::RawMutex for Lock {
        const INIT: Self = Self(RawMutex::new());
        type GuardMarker = lock_api::GuardNoSend;

        fn lock(&self) {
            self.0.lock();
        }

        fn try_lock(&self) -> bool {
            self.0.try_lock()
        }

        unsafe fn unlock(&self) {
            // SAFETY: the caller has taken the lock.
            unsafe { self.0.unlock() };
        }
    }

    /// First the arena, then the kernel's memory.
    #[derive(Debug)]
    struct Growing {
        has_arena: bool,
    }

    // SAFETY: `acquire` calls the kernel by the ring, which does not allocate.
    unsafe impl Source for Growing {
        fn acquire<B: Binning>(heap: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
            let (first, bytes) = if heap.source.has_arena {
                let bytes = growth_bytes(layout).ok_or(())?;
                let params = AllocateParams { bytes: bytes as u64, access: 3 };
                let memory = VirtualMemory::granted().and_then(|memory| memory.allocate(&params)).map_err(drop)?;
                (core::ptr::with_exposed_provenance_mut(memory.address as usize), bytes)
            } else {
                heap.source.has_arena = true;
                (ARENA.0.get().cast(), ARENA_BYTES)
            };
            // SAFETY: the memory is mapped read-write, and from here on the allocator's alone.
            unsafe { heap.claim(first, bytes) }.map(drop).ok_or(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_grows_by_whole_pages_that_hold_the_allocation() {
        let small = Layout::new::<u64>();
        assert_eq!(growth_bytes(small), Some(LEAST_GROWTH_BYTES));
        let large = Layout::from_size_align(5_000_000, 64).unwrap();
        let bytes = growth_bytes(large).unwrap();
        assert!(bytes > 5_000_064 && bytes < 5_100_000 && bytes.is_multiple_of(PAGE_BYTES), "{bytes}");
        assert_eq!(
            growth_bytes(Layout::from_size_align(isize::MAX as usize, 1).unwrap()).map(|bytes| bytes > 0),
            Some(true)
        );
    }
}
