//! Bytes of frames through the direct map. With the heap and the globals the only module with unsafe code.
//!
//! Frames that user mode has mapped are written by it at any time, so no reference to their bytes is ever formed:
//! every access here is one aligned atomic load or store. Loads and stores are relaxed but where the name says
//! otherwise.
//!
//! Invariant that callers keep: a frame given here belongs to [`hal::BootInfo::memory`] and is not part of the heap.
//! All such frames come from [`super::frames::FrameAllocator`], which never hands out the heap's.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use hal::{Frame, Machine, PAGE_SIZE};

/// Why a word could not be reached. Caller's fault: offsets are constants of the kernel or validated before.
fn checked_offset(offset: usize, size: usize) -> usize {
    assert!(offset.is_multiple_of(size) && offset <= PAGE_SIZE - size, "offset {offset} of a {size}-byte word");
    offset
}

fn byte<M: Machine>(machine: &M, frame: Frame, offset: usize) -> &AtomicU8 {
    let offset = checked_offset(offset, 1);
    // SAFETY: the offset is inside the frame, which has PAGE_SIZE bytes in the direct map.
    let pointer = unsafe { machine.frame_bytes(frame).add(offset) };
    // SAFETY: the direct map stays valid as long as the kernel runs, and every access to these bytes is atomic.
    unsafe { AtomicU8::from_ptr(pointer) }
}

/// The 32-bit word at `offset` (a multiple of 4).
pub fn word32<M: Machine>(machine: &M, frame: Frame, offset: usize) -> &AtomicU32 {
    let offset = checked_offset(offset, 4);
    // SAFETY: the offset is inside the frame, which has PAGE_SIZE bytes in the direct map.
    let pointer = unsafe { machine.frame_bytes(frame).add(offset) };
    // SAFETY: as in `byte`; frames are page-aligned and the offset is a multiple of 4.
    unsafe { AtomicU32::from_ptr(pointer.cast()) }
}

/// The 64-bit word at `offset` (a multiple of 8).
pub fn word64<M: Machine>(machine: &M, frame: Frame, offset: usize) -> &AtomicU64 {
    let offset = checked_offset(offset, 8);
    // SAFETY: the offset is inside the frame, which has PAGE_SIZE bytes in the direct map.
    let pointer = unsafe { machine.frame_bytes(frame).add(offset) };
    // SAFETY: as in `byte`; frames are page-aligned and the offset is a multiple of 8.
    unsafe { AtomicU64::from_ptr(pointer.cast()) }
}

/// Clears the whole frame.
pub fn zero<M: Machine>(machine: &M, frame: Frame) {
    for offset in (0..PAGE_SIZE).step_by(8) {
        word64(machine, frame, offset).store(0, Ordering::Relaxed);
    }
}

/// Copies bytes out of a frame. `offset + into.len()` is at most the page size.
pub fn read<M: Machine>(machine: &M, frame: Frame, offset: usize, into: &mut [u8]) {
    for (index, value) in into.iter_mut().enumerate() {
        *value = byte(machine, frame, offset + index).load(Ordering::Relaxed);
    }
}

/// Copies bytes into a frame. `offset + from.len()` is at most the page size.
pub fn write<M: Machine>(machine: &M, frame: Frame, offset: usize, from: &[u8]) {
    let mut done = 0;
    if offset.is_multiple_of(8) {
        for chunk in from.as_chunks::<8>().0 {
            word64(machine, frame, offset + done).store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
            done += 8;
        }
    }
    for (index, &value) in from.iter().enumerate().skip(done) {
        byte(machine, frame, offset + index).store(value, Ordering::Relaxed);
    }
}
