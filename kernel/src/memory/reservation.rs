//! [`Reservation`]: frames that are promised by the allocator and charged to a process, both or neither.

use super::frames::{Commitment, FrameAllocator, OutOfFrames};
use alloc::sync::Arc;
use core::fmt;
use hal::{Frame, Machine};
use kernel_core::limits::{Exceeded, Quota};

/// Why frames could not be reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReserveError {
    /// The machine has no memory left to promise.
    OutOfFrames,
    /// The process would have more than it may.
    Quota(Exceeded),
}

impl From<OutOfFrames> for ReserveError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

impl From<Exceeded> for ReserveError {
    fn from(exceeded: Exceeded) -> Self {
        Self::Quota(exceeded)
    }
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfFrames => write!(f, "{OutOfFrames}"),
            Self::Quota(exceeded) => write!(f, "frames: {exceeded}"),
        }
    }
}

/// Frames promised and charged until it is dropped.
#[must_use = "a reservation ends when it is dropped"]
pub struct Reservation<M: Machine> {
    promise: Commitment<M>,
    quota: Arc<Quota>,
}

impl<M: Machine> Reservation<M> {
    /// Reserves `count` frames at the expense of `quota`.
    pub fn new(frames: &'static FrameAllocator<M>, quota: &Arc<Quota>, count: u64) -> Result<Self, ReserveError> {
        let charged = u32::try_from(count).map_err(|_| ReserveError::OutOfFrames)?;
        quota.charge(charged)?;
        match frames.commit(count) {
            Ok(promise) => Ok(Self { promise, quota: quota.clone() }),
            Err(error) => {
                quota.release(charged);
                Err(error.into())
            }
        }
    }

    /// Reserves `count` more. On failure nothing has changed.
    pub fn grow(&mut self, count: u64) -> Result<(), ReserveError> {
        let more = Self::new(self.frames(), &self.quota, count)?;
        self.absorb(more);
        Ok(())
    }

    fn absorb(&mut self, mut other: Self) {
        let count = other.promise.count();
        self.promise.absorb(other.promise.split_off(count));
    }

    /// Makes a reservation of its own out of a part.
    pub fn split_off(&mut self, count: u64) -> Self {
        Self { promise: self.promise.split_off(count), quota: self.quota.clone() }
    }

    /// How many frames are reserved.
    pub fn count(&self) -> u64 {
        self.promise.count()
    }

    /// The allocator.
    pub fn frames(&self) -> &'static FrameAllocator<M> {
        self.promise.frames()
    }

    /// Who pays.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// A zeroed frame out of it.
    pub fn allocate(&self) -> Frame {
        self.promise.allocate()
    }
}

impl<M: Machine> Drop for Reservation<M> {
    fn drop(&mut self) {
        // It was charged in pieces of 32 bits to a quota of 32 bits, so the sum fits.
        self.quota.release(self.promise.count() as u32);
    }
}
