//! The kernel heap: talc behind a spin lock, fed once at boot with contiguous memory of the direct map.
//!
//! The interrupt hook never allocates, so the lock does not mask interrupts. On the host (tests) the standard
//! allocator is used and this module only does arithmetic.

use hal::{Frame, MemoryRegion, PAGE_SIZE};

#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: talc::TalcLock<spin::Mutex<()>, talc::source::Manual> = talc::TalcLock::new(talc::source::Manual);

/// The smallest heap that the kernel starts with, in frames: 2 MiB.
pub const MIN_HEAP_FRAMES: u64 = 512;
/// The largest: 256 MiB.
pub const MAX_HEAP_FRAMES: u64 = 65_536;
/// The part of memory that the heap gets.
const HEAP_DIVISOR: u64 = 8;

/// Where the heap stands and what is left for frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeapPlan {
    /// The first frame of the heap.
    pub start: Frame,
    /// How many frames it has.
    pub frames: u64,
}

/// The part of the heap that is kept for what must not fail, as a divisor of the whole.
#[cfg(target_os = "none")]
const KEPT_DIVISOR: usize = 8;

/// Whether so little of the heap is left that nothing new should be begun. Programs can make the kernel hold objects for
/// them; who asks for one when this is so is refused, and what is left serves those that exist.
#[cfg(target_os = "none")]
pub fn is_low() -> bool {
    let heap = HEAP.lock();
    let counters = heap.counters();
    counters.available_bytes < counters.claimed_bytes / KEPT_DIVISOR
}

/// The host's memory is not the kernel's to count.
#[cfg(not(target_os = "none"))]
pub const fn is_low() -> bool {
    false
}

/// Chooses the heap: an eighth of memory within limits, at the start of the largest region. `None`: no region is large
/// enough.
pub fn plan(memory: &[MemoryRegion]) -> Option<HeapPlan> {
    let total: u64 = memory.iter().map(|region| region.frames).sum();
    let largest = memory.iter().max_by_key(|region| region.frames)?;
    let wanted = (total / HEAP_DIVISOR).clamp(MIN_HEAP_FRAMES, MAX_HEAP_FRAMES);
    let frames = wanted.min(largest.frames / 2).max(MIN_HEAP_FRAMES);
    (frames < largest.frames).then_some(HeapPlan { start: largest.start, frames })
}

/// The part of `region` that is not the heap's.
pub fn without_heap(region: &MemoryRegion, heap: &HeapPlan) -> MemoryRegion {
    if region.start != heap.start {
        return *region;
    }
    MemoryRegion { start: Frame::from_number(heap.start.number() + heap.frames), frames: region.frames - heap.frames }
}

/// Gives the planned memory to the allocator. Once, before the first allocation.
#[cfg(target_os = "none")]
pub fn feed<M: hal::Machine>(machine: &M, heap: &HeapPlan) {
    let bytes = heap.frames as usize * PAGE_SIZE;
    let base = machine.frame_bytes(heap.start);
    let last = machine.frame_bytes(Frame::from_number(heap.start.number() + heap.frames - 1));
    assert_eq!(base.wrapping_add(bytes - PAGE_SIZE), last, "the direct map of a region is contiguous");
    // SAFETY: the platform says that this memory is free and mapped; the plan keeps it out of the frame allocator, and
    // this runs once.
    unsafe { HEAP.lock().claim(base, bytes) };
}

/// On the host the standard allocator needs nothing.
#[cfg(not(target_os = "none"))]
pub fn feed<M: hal::Machine>(_machine: &M, heap: &HeapPlan) {
    debug_assert!(heap.frames as usize * PAGE_SIZE > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: u64, frames: u64) -> MemoryRegion {
        MemoryRegion { start: Frame::from_number(start), frames }
    }

    #[test]
    fn the_heap_and_the_frames_never_overlap() {
        for memory in [&[region(256, 16_000)][..], &[region(1, 600), region(4096, 8_000_000)]] {
            let heap = plan(memory).unwrap();
            let left: u64 = memory.iter().map(|region| without_heap(region, &heap).frames).sum();
            assert_eq!(left + heap.frames, memory.iter().map(|region| region.frames).sum::<u64>());
            assert!(memory.iter().all(|region| without_heap(region, &heap).start.number() >= region.start.number()));
        }
    }

    #[test]
    fn too_little_memory_has_no_plan() {
        assert_eq!(plan(&[]), None);
        assert_eq!(plan(&[region(256, MIN_HEAP_FRAMES)]), None);
    }
}
