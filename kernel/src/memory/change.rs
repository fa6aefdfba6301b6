//! Taking away what a space has: unmapping, other access, tear-down. All in steps of at most 64 frames, between which the
//! caller may do something else; a step looks at a bounded number of table entries and skips tables that are not there.
//!
//! Unmapping: [`AddressSpace::unmap_begin`] makes sure that nothing is populated or placed in the range any more; each
//! [`AddressSpace::unmap_step`] takes entries out of the tables; then the caller makes all CPUs drop their translations
//! of the space (no lock held, interrupts on), and [`AddressSpace::unmap_settle`] frees what no CPU can reach now. Only
//! then does the range become free, and what it had is given back.

use super::{
    address_space::{AddressSpace, State},
    object::MemoryObject,
    region::{Backing, RegionError, Regions, check_access},
    reservation::Reservation,
    tables::{ENTRIES_PER_STEP, FRAMES_PER_STEP, FrameList, LEVELS, Removal, Retouch},
};
use alloc::sync::Arc;
use core::ops::Range;
use hal::{Access, Frame, Machine, PAGE_SIZE, VirtualAddress};

/// Mappings of objects that one step ends.
const OBJECTS_PER_STEP: usize = 16;

/// Whether there is more to do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Call again.
    Unfinished,
    /// It is done.
    Done,
}

/// What one step of a tear-down has left.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TearDown {
    /// Pages remain.
    Unfinished,
    /// Everything is freed, the root too.
    Done,
}

/// A range that is being unmapped. If it is dropped before it is done, the range stays unusable.
#[must_use = "a range that is being unmapped stays unusable until that is done"]
#[derive(Debug)]
pub struct UnmapInProgress {
    range: Range<usize>,
}

/// What one step has taken out and no CPU may reach any more when it is settled.
#[must_use = "frames that are not settled are lost"]
pub struct UnmapStep<M: Machine> {
    frames: FrameList,
    /// Kept until then, so that the objects' frames are not freed before.
    objects: heapless::Vec<Arc<MemoryObject<M>>, OBJECTS_PER_STEP>,
    released: Option<Reservation<M>>,
    done: bool,
}

impl<M: Machine> UnmapStep<M> {
    /// The frames that it will free.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

/// A range that is getting another access.
#[must_use]
#[derive(Debug)]
pub struct ProtectInProgress {
    range: Range<usize>,
    next: usize,
    access: Access,
}

impl<M: Machine> AddressSpace<M> {
    /// Begins to unmap whole pages: from now on nothing in the range is populated. Places in it that are not mapped stay
    /// so; at least one page must be mapped, and none may be the kernel's.
    pub fn unmap_begin(&self, start: VirtualAddress, bytes: usize) -> Result<UnmapInProgress, RegionError> {
        self.begin_unmapping(start, bytes, false)
    }

    /// The same for the kernel's own pages.
    pub fn unmap_kernel_owned_begin(
        &self,
        start: VirtualAddress,
        bytes: usize,
    ) -> Result<UnmapInProgress, RegionError> {
        self.begin_unmapping(start, bytes, true)
    }

    fn begin_unmapping(
        &self,
        start: VirtualAddress,
        bytes: usize,
        is_kernel: bool,
    ) -> Result<UnmapInProgress, RegionError> {
        let range = self.user_range(start, bytes)?;
        let mut guard = self.live()?;
        let regions = &mut guard.state().regions;
        if regions.is_leaving(&range) {
            return Err(RegionError::Busy(start));
        }
        if !regions.touches(&range) {
            return Err(RegionError::NotMapped(start));
        }
        if !is_kernel && regions.is_owned(&range) {
            return Err(RegionError::KernelOwned(start));
        }
        regions.split(range.start)?;
        regions.split(range.end)?;
        regions.leave(&range);
        Ok(UnmapInProgress { range })
    }

    /// Takes at most `most` frames (64 at most) out of the tables.
    pub fn unmap_step(&self, unmap: &mut UnmapInProgress, most: usize) -> UnmapStep<M> {
        let mut step =
            UnmapStep { frames: FrameList::new(), objects: heapless::Vec::new(), released: None, done: true };
        if let Some(state) = &mut *self.state.lock() {
            let mut keep = |object: &Arc<MemoryObject<M>>| step.objects.push(object.clone()).is_ok();
            let (done, released) = self.remove(state, &unmap.range, most, &mut step.frames, &mut keep);
            step.done = done;
            step.released = Some(state.reserved.split_off(released));
        }
        step
    }

    /// Frees what a step has taken out. No CPU has translations of it any more.
    pub fn unmap_settle(&self, unmap: &mut UnmapInProgress, step: UnmapStep<M>) -> Progress {
        step.frames.iter().for_each(|&frame| self.free_frame(frame));
        drop(step.released);
        drop(step.objects);
        if !step.done {
            return Progress::Unfinished;
        }
        if let Some(state) = &mut *self.state.lock() {
            state.regions.left(&unmap.range);
        }
        Progress::Done
    }

    /// Takes regions that begin in `range`, and do not reach beyond it, out with their pages and tables: at most `most`
    /// frames. Answers whether all is gone, and how many reserved frames nothing needs any more. `keep` is given the
    /// object of each region that is gone and answers whether there may be more.
    fn remove(
        &self,
        state: &mut State<M>,
        range: &Range<usize>,
        most: usize,
        frames: &mut FrameList,
        keep: &mut dyn FnMut(&Arc<MemoryObject<M>>) -> bool,
    ) -> (bool, u64) {
        let (mut entries, mut released) = (ENTRIES_PER_STEP, 0);
        loop {
            let Some((start, region)) = state.regions.take_first(range.clone()) else { return (true, released) };
            let is_private = region.backing.is_private();
            if let Backing::Object { object, .. } = &region.backing
                && !keep(object)
            {
                state.regions.insert(start, region);
                return (false, released);
            }
            let regions = &state.regions;
            let mut removal = Removal { machine: self.machine(), regions, is_private, entries, most, frames };
            let reached = removal.below(state.root, LEVELS, start..region.end);
            entries = removal.entries;
            let is_gone = reached == region.end;
            if !is_gone {
                state.regions.insert(reached, region.advanced(start, reached));
            }
            let gone = start..reached;
            let private = if is_private { gone.len() / PAGE_SIZE } else { 0 };
            released += private as u64 + state.regions.exclusive_tables(&gone);
            if !is_gone {
                return (false, released);
            }
        }
    }

    /// Begins to give whole pages another access. Every page must be mapped.
    pub fn protect_begin(
        &self,
        start: VirtualAddress,
        bytes: usize,
        access: Access,
    ) -> Result<ProtectInProgress, RegionError> {
        check_access(access)?;
        let range = self.user_range(start, bytes)?;
        if self.live()?.state().regions.is_owned(&range) {
            return Err(RegionError::KernelOwned(start));
        }
        Ok(ProtectInProgress { next: range.start, range, access })
    }

    /// Changes at most `most` pages, in the order of addresses. What precedes a page that cannot be changed stays changed.
    /// When it is done, or has failed, all CPUs must drop their translations of the space.
    pub fn protect_step(&self, protect: &mut ProtectInProgress, most: usize) -> Result<Progress, RegionError> {
        let mut guard = self.live()?;
        let state = guard.state();
        let mut retouch =
            Retouch { machine: self.machine(), access: protect.access, pages: most, entries: ENTRIES_PER_STEP };
        while protect.next < protect.range.end {
            if retouch.pages == 0 || retouch.entries == 0 {
                return Ok(Progress::Unfinished);
            }
            retouch.entries -= 1;
            let end = set_access(&mut state.regions, protect)?;
            protect.next = retouch.below(state.root, LEVELS, protect.next..end);
            if protect.next == end {
                state.regions.join_region_of(end - PAGE_SIZE);
            }
        }
        state.regions.join_region_of(protect.range.end);
        Ok(Progress::Done)
    }

    /// Frees at most `budget` frames. Call again until it is done. The caller has made sure that no CPU has the space
    /// loaded and that none will load it.
    pub fn tear_down(&self, budget: usize) -> TearDown {
        let mut guard = self.state.lock();
        let Some(state) = &mut *guard else { return TearDown::Done };
        let (mut frames, mut objects) = (FrameList::new(), 0);
        let mut keep = |_: &Arc<MemoryObject<M>>| {
            objects += 1;
            objects <= OBJECTS_PER_STEP
        };
        let most = budget.min(FRAMES_PER_STEP);
        let (done, released) = self.remove(state, &self.machine().user_range(), most, &mut frames, &mut keep);
        frames.iter().for_each(|&frame| self.free_frame(frame));
        drop(state.reserved.split_off(released));
        if !done {
            return TearDown::Unfinished;
        }
        self.free_frame(state.root);
        *guard = None;
        TearDown::Done
    }

    fn free_frame(&self, frame: Frame) {
        let freed = self.frames.free(frame);
        debug_assert_eq!(freed, Ok(()), "a space frees only what it allocated");
    }
}

/// Gives the region at the next page its new access, as far as the range reaches. Answers where that ends.
fn set_access<M: Machine>(regions: &mut Regions<M>, protect: &ProtectInProgress) -> Result<usize, RegionError> {
    let at = VirtualAddress(protect.next);
    if regions.is_leaving(&(at.0..at.0 + PAGE_SIZE)) {
        return Err(RegionError::Busy(at));
    }
    let (_, region) = regions.find(at.0).ok_or(RegionError::NotMapped(at))?;
    if matches!(region.backing, Backing::Kernel) {
        // Made in a hole of the range since the change began.
        return Err(RegionError::KernelOwned(at));
    }
    if !region.most_access.contains(protect.access) {
        return Err(RegionError::NotPermitted(protect.access));
    }
    let end = region.end.min(protect.range.end);
    if region.access != protect.access {
        regions.split(at.0)?;
        regions.split(end)?;
        if let Some((_, region)) = regions.find_mut(at.0) {
            region.access = protect.access;
        }
    }
    Ok(end)
}
