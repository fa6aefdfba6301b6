//! What address spaces, memory objects and promises of frames do together.

mod mapping;
mod model;
mod sharing;
mod taking_away;

use super::{
    address_space::AddressSpace,
    change::Progress,
    frames::FrameAllocator,
    object::{GraveStep, ObjectGraves},
    region::RegionError,
};
use crate::test_machine::TestMachine;
use alloc::{boxed::Box, sync::Arc};
use hal::{Access, VirtualAddress};
use kernel_core::limits::Quota;

const READ: Access = Access::READ;
const READ_WRITE: Access = Access::READ.union(Access::WRITE);
const READ_EXECUTE: Access = Access::READ.union(Access::EXECUTE);
const BASE: VirtualAddress = VirtualAddress(0x20_0000);

type Space = AddressSpace<TestMachine>;

/// A space with memory and a limit of its own.
struct World {
    frames: &'static FrameAllocator<TestMachine>,
    graves: &'static ObjectGraves<TestMachine>,
    quota: Arc<Quota>,
    space: Space,
}

fn world(frames: u64, limit: u32) -> World {
    world_of(TestMachine::with_frames(frames), limit)
}

fn world_of(frames: &'static FrameAllocator<TestMachine>, limit: u32) -> World {
    let graves = Box::leak(Box::new(ObjectGraves::new(frames)));
    let quota = Arc::new(Quota::new(limit));
    let space = AddressSpace::new(frames, &quota).unwrap();
    World { frames, graves, quota, space }
}

impl World {
    /// Frames allocated, promised and charged.
    fn used(&self) -> (u64, u64, u64) {
        (self.frames.total() - self.frames.free_count(), self.frames.promised_count(), self.quota.used().into())
    }

    /// Another space at the expense of the same process.
    fn another(&self) -> Space {
        AddressSpace::new(self.frames, &self.quota).unwrap()
    }

    fn free_objects(&self) {
        while self.graves.free_step(64) == GraveStep::Unfinished {}
    }
}

fn at(base: VirtualAddress, page: usize) -> VirtualAddress {
    VirtualAddress(base.0 + page * hal::PAGE_SIZE)
}

fn bytes(pages: usize) -> usize {
    pages * hal::PAGE_SIZE
}

/// Unmaps as the kernel does, on a machine where no CPU has the space loaded. Answers the number of steps.
fn unmap(space: &Space, start: VirtualAddress, pages: usize) -> Result<usize, RegionError> {
    let mut unmap = space.unmap_begin(start, bytes(pages))?;
    for steps in 1.. {
        let step = space.unmap_step(&mut unmap, 64);
        assert!(step.frames().len() <= 64);
        if space.unmap_settle(&mut unmap, step) == Progress::Done {
            return Ok(steps);
        }
    }
    unreachable!("an unmapping ends");
}

/// Changes the access as the kernel does. Answers the number of steps.
fn protect(space: &Space, start: VirtualAddress, pages: usize, access: Access) -> Result<usize, RegionError> {
    let mut protect = space.protect_begin(start, bytes(pages), access)?;
    for steps in 1.. {
        if space.protect_step(&mut protect, 64)? == Progress::Done {
            return Ok(steps);
        }
    }
    unreachable!("a change of access ends");
}
