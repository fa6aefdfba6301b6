//! The frame allocator: one bit per frame behind one lock, frames handed out zeroed.
//!
//! A bitmap makes a double free an error instead of a corruption, and the counts show a leak at the end of a run.
//! Lock level: leaf; nothing else is locked while it is held.

use super::direct;
use alloc::{boxed::Box, vec, vec::Vec};
use core::fmt;
use hal::{Frame, Machine, MemoryRegion};
use spin::Mutex;

/// No frame is free.
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
        Self { machine, regions: Mutex::new(Regions { regions, free: total }), total }
    }

    /// The machine whose memory this is.
    pub fn machine(&self) -> &'static M {
        self.machine
    }

    /// A zeroed frame.
    pub fn allocate(&self) -> Result<Frame, OutOfFrames> {
        let frame = {
            let mut all = self.regions.lock();
            let frame = all.regions.iter_mut().find_map(Region::take).ok_or(OutOfFrames)?;
            all.free -= 1;
            frame
        };
        direct::zero(self.machine, frame);
        Ok(frame)
    }

    /// Takes a frame back.
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

    /// How many are free now.
    pub fn free_count(&self) -> u64 {
        self.regions.lock().free
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
        let mut taken: Vec<Frame> = core::iter::from_fn(|| frames.allocate().ok()).collect();
        assert_eq!((taken.len(), frames.free_count()), (130, 0));
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 130);
        let frame = taken[77];
        direct::word64(frames.machine(), frame, 8).store(7, Ordering::Relaxed);
        frames.free(frame).unwrap();
        assert_eq!(frames.allocate(), Ok(frame));
        assert_eq!(direct::word64(frames.machine(), frame, 8).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_double_free_and_a_foreign_frame_are_refused() {
        let frames = TestMachine::with_frames(10);
        let frame = frames.allocate().unwrap();
        assert_eq!(frames.free(frame), Ok(()));
        assert_eq!(frames.free(frame), Err(NotAllocated(frame)));
        let foreign = Frame::from_number(1 << 40);
        assert_eq!(frames.free(foreign), Err(NotAllocated(foreign)));
        assert_eq!(frames.free_count(), 10);
    }
}
