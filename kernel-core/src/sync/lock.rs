//! [`SpinLock`]: the only lock. Interrupts are masked on this CPU while it is held, so that no handler waits for a
//! lock that it has interrupted, and the holder is never away for long.
//!
//! A lock has a level of the [`super::level`] table in its type. Each acquisition and release is told to the HAL's
//! probe; a HAL with a ledger per CPU checks the order there (the fake does), others ignore it.

use super::level::LockLevel;
use super::shim;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use tessera_hal::{CpuId, InterruptState, Probe, SchedHal};

/// A value behind a lock of level `L`.
pub struct SpinLock<T, L: LockLevel> {
    value: shim::Mutex<T>,
    owner: Option<CpuId>,
    level: PhantomData<L>,
}

impl<T, L: LockLevel> SpinLock<T, L> {
    /// A lock around state that belongs to no CPU in particular.
    pub fn new(value: T) -> Self {
        Self { value: shim::Mutex::new(value), owner: None, level: PhantomData }
    }

    /// A lock around state of `cpu`. Others may take it too; the probe then sees a remote access.
    pub fn of_cpu(cpu: CpuId, value: T) -> Self {
        Self { value: shim::Mutex::new(value), owner: Some(cpu), level: PhantomData }
    }

    /// Masks interrupts and takes the lock; waits for its holder. All locks held must be of a lower rank.
    pub fn lock<'a, H: SchedHal>(&'a self, hal: &'a H) -> SpinGuard<'a, T, H> {
        let mask = Masked::new(hal);
        hal.probe(Probe::Locking { rank: L::RANK, owner: self.owner });
        let held = Held { rank: L::RANK, mask };
        SpinGuard { value: shim::lock(&self.value), _held: held }
    }

    /// Takes the lock if nobody holds it. Allowed whatever is held.
    pub fn try_lock<'a, H: SchedHal>(&'a self, hal: &'a H) -> Option<SpinGuard<'a, T, H>> {
        let mask = Masked::new(hal);
        let value = shim::try_lock(&self.value)?;
        hal.probe(Probe::TryLocked { rank: L::RANK, owner: self.owner });
        Some(SpinGuard { value, _held: Held { rank: L::RANK, mask } })
    }
}

/// Interrupts are masked on this CPU as long as this exists. Nested ones must be dropped in reverse order.
pub struct Masked<'a, H: SchedHal> {
    hal: &'a H,
    before: InterruptState,
}

impl<'a, H: SchedHal> Masked<'a, H> {
    /// Masks interrupts.
    pub fn new(hal: &'a H) -> Self {
        Self { before: hal.mask_interrupts(), hal }
    }
}

impl<H: SchedHal> Drop for Masked<'_, H> {
    fn drop(&mut self) {
        self.hal.restore_interrupts(self.before);
    }
}

/// Tells the probe of the release, then unmasks.
struct Held<'a, H: SchedHal> {
    rank: u8,
    mask: Masked<'a, H>,
}

impl<H: SchedHal> Drop for Held<'_, H> {
    fn drop(&mut self) {
        self.mask.hal.probe(Probe::Unlocked { rank: self.rank });
    }
}

/// Access to the value of a lock. Fields are dropped in order: the lock is free before interrupts come back.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SpinGuard<'a, T, H: SchedHal> {
    value: shim::Guard<'a, T>,
    _held: Held<'a, H>,
}

impl<T, H: SchedHal> Deref for SpinGuard<'_, T, H> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T, H: SchedHal> DerefMut for SpinGuard<'_, T, H> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
