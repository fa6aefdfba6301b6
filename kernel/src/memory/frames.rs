//! The frame allocator: one bit per frame behind one lock, frames handed out zeroed.
//!
//! Frames are promised before they are used: a [`Commitment`] is made where a refusal can still be answered, and within
//! it an allocation never fails. At all times allocated <= promised <= total.
//!
//! A bitmap makes a double free an error instead of a corruption, and the counts show a leak at the end of a run.
//! Lock level: leaf; nothing else is locked while it is held.

use super::direct;
use alloc::{boxed::Box, vec, vec::Vec};
use core::fmt;
use hal::{Frame, Machine, MemoryRegion};
use spin::Mutex;

/// More frames are wanted than are left to promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfFrames;

/// A frame was freed that is not allocated. The kernel's own fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAllocated(pub Frame);

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory is left")
    }
}

impl fmt::Display for NotAllocated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {} was freed but is not allocated", self.0)
    }
}

struct Region {
    start: u64,
    frames: u64,
    /// A set bit is a used frame; bits beyond the end are set for good.
    used: Box<[u64]>,
    /// No word before this one has a free frame.
    first_candidate: usize,
}

impl Region {
    fn new(region: &MemoryRegion) -> Self {
        let words = region.frames.div_ceil(64) as usize;
        let mut used = vec![0; words].into_boxed_slice();
        if let (Some(last), spare @ 1..) = (used.last_mut(), region.frames % 64) {
            *last = u64::MAX << spare;
        }
        Self { start: region.start.number(), frames: region.frames, used, first_candidate: 0 }
    }

    fn take(&mut self) -> Option<Frame> {
        let from = self.first_candidate;
        let index = from + self.used[from..].iter().position(|&word| word != u64::MAX)?;
        self.first_candidate = index;
        let bit = self.used[index].trailing_ones();
        self.used[index] |= 1 << bit;
        Some(Frame::from_number(self.start + index as u64 * 64 + u64::from(bit)))
    }

    fn give_back(&mut self, frame: Frame) -> Result<(), NotAllocated> {
        let offset = frame.number() - self.start;
        let (index, mask) = ((offset / 64) as usize, 1 << (offset % 64));
        if self.used[index] & mask == 0 {
            return Err(NotAllocated(frame));
        }
        self.used[index] &= !mask;
        self.first_candidate = self.first_candidate.min(index);
        Ok(())
    }

    fn contains(&self, frame: Frame) -> bool {
        frame.number().checked_sub(self.start).is_some_and(|offset| offset < self.frames)
    }
}

struct Regions {
    regions: Vec<Region>,
    free: u64,
    promised: u64,
}

/// All frames that are not the heap's.
pub struct FrameAllocator<M: Machine> {
    machine: &'static M,
    regions: Mutex<Regions>,
    total: u64,
}

impl<M: Machine> FrameAllocator<M> {
    /// An allocator over `memory`, all of it free and in the direct map.
    pub fn new(machine: &'static M, memory: impl Iterator<Item = MemoryRegion>) -> Self {
        let regions: Vec<Region> =
            memory.filter(|region| region.frames > 0).map(|region| Region::new(&region)).collect();
        let total = regions.iter().map(|region| region.frames).sum();
        Self { machine, regions: Mutex::new(Regions { regions, free: total, promised: 0 }), total }
    }

    /// The machine whose memory this is.
    pub fn machine(&self) -> &'static M {
        self.machine
    }

    /// Promises `count` frames, all or none.
    pub fn commit(&'static self, count: u64) -> Result<Commitment<M>, OutOfFrames> {
        let mut all = self.regions.lock();
        let promised = all.promised.checked_add(count).filter(|&promised| promised <= self.total);
        all.promised = promised.ok_or(OutOfFrames)?;
        Ok(Commitment { frames: self, count })
    }

    /// A zeroed frame, out of a promise.
    fn allocate(&self) -> Option<Frame> {
        let frame = {
            let mut all = self.regions.lock();
            let frame = all.regions.iter_mut().find_map(Region::take)?;
            all.free -= 1;
            frame
        };
        direct::zero(self.machine, frame);
        Some(frame)
    }

    /// Takes a frame back. The promise that it came out of lasts on, and must not end before this.
    pub fn free(&self, frame: Frame) -> Result<(), NotAllocated> {
        let mut all = self.regions.lock();
        let region = all.regions.iter_mut().find(|region| region.contains(frame)).ok_or(NotAllocated(frame))?;
        region.give_back(frame)?;
        all.free += 1;
        Ok(())
    }

    /// How many frames there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many are free now, promised or not.
    pub fn free_count(&self) -> u64 {
        self.regions.lock().free
    }

    /// How many are promised, allocated or not.
    pub fn promised_count(&self) -> u64 {
        self.regions.lock().promised
    }
}

/// A promise of frames. It ends when it is dropped; all that was allocated out of it must be free again by then.
#[must_use = "a promise ends when it is dropped"]
pub struct Commitment<M: Machine> {
    frames: &'static FrameAllocator<M>,
    count: u64,
}

impl<M: Machine> Commitment<M> {
    /// How many frames are promised.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The allocator that made the promise.
    pub fn frames(&self) -> &'static FrameAllocator<M> {
        self.frames
    }

    /// A zeroed frame. The holder sees to it that no more frames are out than are promised; then one is free.
    pub fn allocate(&self) -> Frame {
        self.frames.allocate().expect("no more frames are allocated than are promised")
    }

    /// Makes a promise of its own out of a part.
    pub fn split_off(&mut self, count: u64) -> Self {
        assert!(count <= self.count, "{count} frames of a promise of {}", self.count);
        self.count -= count;
        Self { frames: self.frames, count }
    }

    /// Adds another promise of the same allocator to this one.
    pub fn absorb(&mut self, mut other: Self) {
        self.count += core::mem::take(&mut other.count);
    }
}

impl<M: Machine> Drop for Commitment<M> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.frames.regions.lock().promised -= self.count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;
    use core::sync::atomic::Ordering;

    #[test]
    fn every_frame_is_handed_out_once_and_zeroed_again() {
        let frames = TestMachine::with_frames(130);
        let promise = frames.commit(130).unwrap();
        let mut taken: Vec<Frame> = (0..130).map(|_| promise.allocate()).collect();
        assert_eq!((frames.allocate(), frames.free_count()), (None, 0));
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 130);
        let frame = taken[77];
        direct::word64(frames.machine(), frame, 8).store(7, Ordering::Relaxed);
        frames.free(frame).unwrap();
        assert_eq!(promise.allocate(), frame);
        assert_eq!(direct::word64(frames.machine(), frame, 8).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_double_free_and_a_foreign_frame_are_refused() {
        let frames = TestMachine::with_frames(10);
        let promise = frames.commit(1).unwrap();
        let frame = promise.allocate();
        assert_eq!(frames.free(frame), Ok(()));
        assert_eq!(frames.free(frame), Err(NotAllocated(frame)));
        let foreign = Frame::from_number(1 << 40);
        assert_eq!(frames.free(foreign), Err(NotAllocated(foreign)));
        assert_eq!(frames.free_count(), 10);
    }
    #[test]
    fn no_more_is_promised_than_there_is_and_an_ended_promise_can_be_made_again() {
        let frames = TestMachine::with_frames(10);
        let mut first = frames.commit(7).unwrap();
        assert_eq!(frames.commit(4).err(), Some(OutOfFrames));
        assert_eq!(frames.commit(u64::MAX).err(), Some(OutOfFrames));
        let rest = frames.commit(3).unwrap();
        assert_eq!((frames.promised_count(), frames.free_count()), (10, 10));
        let part = first.split_off(5);
        drop(first);
        assert_eq!(frames.promised_count(), 8);
        let mut rest = rest;
        rest.absorb(part);
        assert_eq!((rest.count(), frames.promised_count()), (8, 8));
        drop(rest);
        assert_eq!(frames.promised_count(), 0);
    }
}
