//! A short sorted list of physical ranges: the loader's memory map, minus what is in use.
//!
//! Ranges are whole pages, sorted, disjoint and never empty. The list has a fixed capacity since it is used before
//! there is a heap; what does not fit is left out, which only makes memory smaller.

use crate::{Frame, MemoryRegion, PAGE_SIZE};

const PAGE: u64 = PAGE_SIZE as u64;

/// A list of up to `N` ranges of frame numbers.
#[derive(Clone, Copy, Debug)]
pub struct Regions<const N: usize> {
    regions: [MemoryRegion; N],
    len: usize,
}

impl<const N: usize> Regions<N> {
    /// No memory.
    pub const fn new() -> Self {
        Self { regions: [MemoryRegion { start: Frame::from_number(0), frames: 0 }; N], len: 0 }
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[MemoryRegion] {
        &self.regions[..self.len]
    }

    /// Adds the whole pages of a range of bytes, but for those that are there already. Answers `false` if the list is full.
    pub fn add_bytes(&mut self, start: u64, bytes: u64) -> bool {
        let end = start.saturating_add(bytes) / PAGE;
        let start = start.div_ceil(PAGE);
        if start >= end {
            return true;
        }
        // Cut away what overlaps, so that ranges stay disjoint even if a loader lists memory twice.
        let mut merged = *self;
        merged.remove_frames(start, end);
        if merged.len == N {
            return false;
        }
        *self = merged;
        let place = self.as_slice().partition_point(|region| region.start.number() < start);
        self.regions.copy_within(place..self.len, place + 1);
        self.regions[place] = MemoryRegion { start: Frame::from_number(start), frames: end - start };
        self.len += 1;
        true
    }

    /// Takes away every page that the range of bytes touches.
    pub fn remove_bytes(&mut self, start: u64, bytes: u64) {
        if bytes > 0 {
            self.remove_frames(start / PAGE, start.saturating_add(bytes).div_ceil(PAGE));
        }
    }

    /// Takes the lowest frame.
    pub fn take_frame(&mut self) -> Option<Frame> {
        let first = self.as_slice().first()?.start;
        self.remove_frames(first.number(), first.number() + 1);
        Some(first)
    }

    fn remove_frames(&mut self, start: u64, end: u64) {
        let old = *self;
        self.len = 0;
        for region in old.as_slice() {
            let (low, high) = (region.start.number(), region.start.number() + region.frames);
            self.push(low, high.min(start));
            self.push(low.max(end), high);
        }
    }

    /// Appends `start..end` if it is not empty and there is room.
    fn push(&mut self, start: u64, end: u64) {
        if start < end && self.len < N {
            self.regions[self.len] = MemoryRegion { start: Frame::from_number(start), frames: end - start };
            self.len += 1;
        }
    }
}

impl<const N: usize> Default for Regions<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn numbers<const N: usize>(regions: &Regions<N>) -> Vec<(u64, u64)> {
        regions.as_slice().iter().map(|r| (r.start.number(), r.start.number() + r.frames)).collect()
    }

    #[test]
    fn only_whole_pages_are_memory_and_every_touched_page_is_in_use() {
        let mut regions = Regions::<8>::new();
        assert!(regions.add_bytes(0x1800, 0x9000));
        assert_eq!(numbers(&regions), [(2, 10)]);
        regions.remove_bytes(0x3fff, 2);
        assert_eq!(numbers(&regions), [(2, 3), (5, 10)]);
        regions.remove_bytes(0x9000, 0);
        assert_eq!(numbers(&regions), [(2, 3), (5, 10)]);
    }

    #[test]
    fn overlapping_and_unsorted_maps_give_disjoint_sorted_ranges() {
        let mut regions = Regions::<8>::new();
        assert!(regions.add_bytes(0x10000, 0x10000));
        assert!(regions.add_bytes(0, 0x4000));
        assert!(regions.add_bytes(0x2000, 0x10000));
        let covered: u64 = regions.as_slice().iter().map(|region| region.frames).sum();
        assert_eq!(covered, 0x20);
        assert!(numbers(&regions).windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }

    #[test]
    fn frames_come_from_the_bottom_until_none_is_left() {
        let mut regions = Regions::<2>::new();
        assert!(regions.add_bytes(0x5000, 0x1000));
        assert!(regions.add_bytes(0x1000, 0x1000));
        assert_eq!(regions.take_frame(), Some(Frame::from_number(1)));
        assert_eq!(regions.take_frame(), Some(Frame::from_number(5)));
        assert_eq!(regions.take_frame(), None);
    }

    #[test]
    fn a_full_list_refuses_and_stays_as_it_was() {
        let mut regions = Regions::<1>::new();
        assert!(regions.add_bytes(0, 0x1000));
        assert!(!regions.add_bytes(0x4000, 0x1000));
        assert_eq!(numbers(&regions), [(0, 1)]);
        assert!(regions.add_bytes(u64::MAX - 0xfff, u64::MAX), "the end of the address space does not overflow");
    }
}
