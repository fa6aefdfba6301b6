//! [`RingOwner`]: who consumes a ring.
//!
//! ```text
//!   Syscall --> Starting --> Running <--> Sleeping
//!      ^                        |            |
//!      +------- Stopping <------+------------+
//! ```
//!
//! In `Syscall` the thread's own system call consumes, in `Running` a poller, in the others nobody. Mode, a busy bit
//! and a generation stand in one word: a consumption begins by setting the bit in the mode that permits its role, a
//! change of mode succeeds only while nobody consumes, and each change counts the generation up, so that who was told
//! about an earlier period cannot act in a later one.
//!
//! Ordering: the end of a consumption and every change of mode release, the begin of a consumption acquires.

use crate::sync::shim::{AtomicU64, Ordering};
use core::fmt;
use tessera_hal::sync::Fault;

/// Who may consume the ring, and what is going on about that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RingMode {
    /// The thread's own system call consumes.
    Syscall = 0,
    /// A poller was asked for and has not begun.
    Starting = 1,
    /// A poller consumes.
    Running = 2,
    /// The poller waits to be woken.
    Sleeping = 3,
    /// The poller was told to go and has not gone.
    Stopping = 4,
}

impl RingMode {
    const ALL: [Self; 5] = [Self::Syscall, Self::Starting, Self::Running, Self::Sleeping, Self::Stopping];

    /// Whether the ring may go from this mode to `next`.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Syscall, Self::Starting)
                | (Self::Starting, Self::Running | Self::Stopping)
                | (Self::Running, Self::Sleeping | Self::Stopping)
                | (Self::Sleeping, Self::Running | Self::Stopping)
                | (Self::Stopping, Self::Syscall)
        )
    }
}

/// On whose behalf the ring is consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The thread's own system call.
    Caller,
    /// A poller that was told this generation when it started, or last changed the mode.
    Poller {
        /// The generation.
        generation: u32,
    },
}

/// The ring is not the caller's to consume or to change now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOwner {
    /// The mode that it is in.
    pub mode: RingMode,
    /// Whether somebody consumes it at this moment.
    pub busy: bool,
    /// Its generation.
    pub generation: u32,
}

impl fmt::Display for NotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy = if self.busy { ", in use" } else { "" };
        write!(f, "the ring is in mode {:?}{busy}, generation {}", self.mode, self.generation)
    }
}

impl core::error::Error for NotOwner {}

const BUSY: u64 = 1 << 8;

impl NotOwner {
    const fn pack(self) -> u64 {
        (self.generation as u64) << 32 | (self.busy as u64) << 8 | self.mode as u64
    }

    fn unpack(word: u64) -> Self {
        let mode = RingMode::ALL.get((word & 7) as usize).copied().unwrap_or(RingMode::Stopping);
        Self { mode, busy: word & BUSY != 0, generation: (word >> 32) as u32 }
    }
}

/// One ring's ownership. See the module.
#[derive(Debug)]
pub struct RingOwner(AtomicU64);

/// The right to consume a ring, until it is dropped.
#[must_use = "the ring is given back when this is dropped"]
#[derive(Debug)]
pub struct Consumption<'a> {
    owner: &'a RingOwner,
}

impl Drop for Consumption<'_> {
    fn drop(&mut self) {
        self.owner.0.fetch_and(!BUSY, Ordering::Release);
    }
}

impl Default for RingOwner {
    /// In mode `Syscall`, generation 0.
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl RingOwner {
    /// The mode and the generation. They may be old at once.
    pub fn read(&self) -> (RingMode, u32) {
        let now = NotOwner::unpack(self.0.load(Ordering::Acquire));
        (now.mode, now.generation)
    }

    /// Begins to consume, if the mode permits `role` and nobody else consumes.
    pub fn begin(&self, role: Role) -> Result<Consumption<'_>, NotOwner> {
        let permitted = |now: NotOwner| match role {
            Role::Caller => now.mode == RingMode::Syscall,
            Role::Poller { generation } => now.mode == RingMode::Running && now.generation == generation,
        };
        if Fault::RingClaimByLoadAndStore.is_active() {
            let now = NotOwner::unpack(self.0.load(Ordering::Acquire));
            if now.busy || !permitted(now) {
                return Err(now);
            }
            self.0.store(NotOwner { busy: true, ..now }.pack(), Ordering::Release);
            return Ok(Consumption { owner: self });
        }
        self.change(|now| (!now.busy && permitted(now)).then_some(NotOwner { busy: true, ..now }))?;
        Ok(Consumption { owner: self })
    }

    /// Goes from one mode, in the generation that the caller knows, to the next. Answers the new generation. Fails if
    /// the mode or the generation is another, the step does not exist, or somebody consumes at this moment.
    pub fn advance(&self, from: RingMode, generation: u32, to: RingMode) -> Result<u32, NotOwner> {
        let next = generation.wrapping_add(1);
        self.change(|now| {
            let expected = now.mode == from && now.generation == generation && !now.busy;
            (expected && from.may_become(to)).then_some(NotOwner { mode: to, busy: false, generation: next })
        })?;
        Ok(next)
    }

    fn change(&self, change: impl Fn(NotOwner) -> Option<NotOwner>) -> Result<(), NotOwner> {
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            let now = NotOwner::unpack(old);
            let new = change(now).ok_or(now)?;
            match self.0.compare_exchange_weak(old, new.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(current) => old = current,
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_caller_consumes_in_mode_syscall_and_only_once_at_a_time() {
        let owner = RingOwner::default();
        let first = owner.begin(Role::Caller).expect("free");
        assert!(owner.begin(Role::Caller).is_err_and(|refused| refused.busy));
        assert!(owner.advance(RingMode::Syscall, 0, RingMode::Starting).is_err(), "not while it is consumed");
        drop(first);
        assert!(owner.begin(Role::Caller).is_ok());
    }

    #[test]
    fn a_poller_consumes_only_in_the_period_that_it_was_told() {
        let owner = RingOwner::default();
        let starting = owner.advance(RingMode::Syscall, 0, RingMode::Starting).expect("a step");
        assert!(owner.begin(Role::Caller).is_err());
        let running = owner.advance(RingMode::Starting, starting, RingMode::Running).expect("a step");
        assert!(owner.begin(Role::Poller { generation: starting }).is_err());
        assert!(owner.begin(Role::Poller { generation: running }).is_ok());
        let stopping = owner.advance(RingMode::Running, running, RingMode::Stopping).expect("a step");
        assert!(owner.begin(Role::Poller { generation: running }).is_err());
        owner.advance(RingMode::Stopping, stopping, RingMode::Syscall).expect("a step");
        assert!(owner.begin(Role::Caller).is_ok());
    }

    #[test]
    fn steps_that_do_not_exist_are_refused() {
        for from in RingMode::ALL {
            let owner = RingOwner(AtomicU64::new(NotOwner { mode: from, busy: false, generation: 4 }.pack()));
            for to in RingMode::ALL.into_iter().filter(|&to| !from.may_become(to)) {
                assert!(owner.advance(from, 4, to).is_err(), "{from:?} to {to:?}");
            }
            assert_eq!(owner.read(), (from, 4));
        }
    }
}
