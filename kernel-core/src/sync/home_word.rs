//! [`HomeWord`]: which state a thread is in and on which CPU, who owns its fields, and that no wake-up is lost.
//!
//! State, CPU, generation and wake token stand in **one** word, so that they change together: a waker that finds the
//! thread blocked claims it by one compare-exchange, and one that finds it in any other state leaves a token by
//! another; a thread that wants to block either sees the token or is seen blocked. There is no moment between.
//!
//! ```text
//!            reset                claim                        moved (queue lock)
//!   Vacant ---------> Blocked <----------> Waking ------------> Queued | ReleasedLater
//!      ^                 ^   unclaim, if      ^  (owner: the       |           |
//!      | retire          |   no token came    |   claimer)         v           v
//!   Exiting <------------+---- block, if -- Current <----------- Handoff, Queued
//!      ^                       no token        |
//!      +---------------------------------------+
//! ```
//!
//! Who owns the thread's [`super::QueueOwned`] fields: in `Queued`, `ReleasedLater`, `Handoff` and `Current` whoever
//! holds the queue lock of [`Home::cpu`]; in `Waking` the one CPU that claimed it; in `Blocked` nobody (claim it
//! first); in `Exiting` the CPU that moved it there.
//!
//! Ordering: every change is a release, every read that leads to ownership an acquire. So what the last owner wrote
//! is seen by the next, through this word or through the queue lock.

use super::shim::{AtomicU64, Ordering, relax};
use crate::slab::Stale;
use tessera_hal::CpuId;
use tessera_hal::sync::Fault;

/// Where a thread is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum ThreadState {
    /// The slot holds no thread.
    #[default]
    Vacant = 0,
    /// It waits for a wake-up and is on no queue. [`Home::cpu`] is where it ran last.
    Blocked = 1,
    /// One CPU has claimed it, to put it on a queue or to change it.
    Waking = 2,
    /// In the run tree of a CPU.
    Queued = 3,
    /// Its budget is used up; in the release queue of a CPU.
    ReleasedLater = 4,
    /// Chosen to run next on a CPU, outside the run tree.
    Handoff = 5,
    /// Runs on a CPU.
    Current = 6,
    /// Ends.
    Exiting = 7,
}

impl ThreadState {
    /// The state with this number, of which the lowest three bits count. Its own number, so nothing is looked up.
    #[inline(always)]
    const fn numbered(number: u64) -> Self {
        match number & 7 {
            0 => Self::Vacant,
            1 => Self::Blocked,
            2 => Self::Waking,
            3 => Self::Queued,
            4 => Self::ReleasedLater,
            5 => Self::Handoff,
            6 => Self::Current,
            _ => Self::Exiting,
        }
    }

    /// Whether a thread in this state belongs to the queue lock of its CPU.
    pub const fn is_on_a_queue(self) -> bool {
        matches!(self, Self::Queued | Self::ReleasedLater | Self::Handoff | Self::Current)
    }
}

/// What a home word says at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Home {
    /// The state.
    pub state: ThreadState,
    /// Its CPU, or the last one.
    pub cpu: CpuId,
    /// Whether a wake-up waits for the thread's next attempt to block.
    pub token: bool,
    /// Which thread lives in the slot.
    pub generation: u32,
}

const TOKEN: u64 = 1 << 8;
const CPU_SHIFT: u32 = 16;
/// State and CPU.
const PLACE: u64 = 0xffff << CPU_SHIFT | 0xff;

impl Home {
    const fn pack(self) -> u64 {
        (self.generation as u64) << 32
            | (self.cpu.get() as u64) << CPU_SHIFT
            | (self.token as u64) << 8
            | self.state as u64
    }

    const fn unpack(word: u64) -> Self {
        Self {
            state: ThreadState::numbered(word),
            cpu: CpuId::new((word >> CPU_SHIFT) as u16),
            token: word & TOKEN != 0,
            generation: (word >> 32) as u32,
        }
    }

    const fn in_state(self, state: ThreadState) -> Self {
        Self { state, ..self }
    }

    const fn with_token(self, token: bool) -> Self {
        Self { token, ..self }
    }
}

/// What became of a wake-up.
#[must_use = "a claimed thread must be put on a queue"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeClaim {
    /// The thread was blocked and is now `Waking`: the caller owns it and must put it on a queue.
    Claimed {
        /// Where it ran last.
        last_cpu: CpuId,
    },
    /// The thread was not blocked. A token is left: its next attempt to block will not block.
    TokenLeft(Home),
}

/// What became of an attempt to own a thread in order to change it.
#[must_use = "a claimed thread must be given back"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeClaim {
    /// It was blocked and is now `Waking`: the caller owns it and must call [`HomeWord::unclaim`].
    Claimed {
        /// Where it ran last.
        last_cpu: CpuId,
    },
    /// It is in this state: lock its queue, or try again when its claimer is done.
    NotBlocked(Home),
}

/// What became of an attempt to block.
#[must_use = "a thread that has not blocked goes on running"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// The thread is blocked; any CPU may claim it from now on.
    Blocked,
    /// A wake-up had come already and is used up; the thread stays as it was.
    TokenConsumed,
}

/// What became of giving a claim back.
#[must_use = "a thread that must be woken is still owned by the caller"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unclaimed {
    /// The thread is blocked again.
    Blocked,
    /// A wake-up came meanwhile; its token is used up, the thread is still `Waking` and the caller must queue it.
    MustWake,
}

/// One thread's home word. See the module.
#[derive(Debug)]
pub struct HomeWord(AtomicU64);

impl Default for HomeWord {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl HomeWord {
    /// What the word says now. It may be old at once, unless the caller owns the thread.
    #[inline]
    pub fn read(&self) -> Home {
        Home::unpack(self.0.load(Ordering::Acquire))
    }

    /// Starts the life of a thread: blocked, without a token. Only whoever sets the slot up.
    pub fn reset(&self, generation: u32, cpu: CpuId) {
        let home = Home { state: ThreadState::Blocked, cpu, token: false, generation };
        self.0.store(home.pack(), Ordering::Release);
    }

    /// Ends it: every operation of this generation finds it stale from now on. Only the owner.
    pub fn retire(&self) {
        self.change(|home| Some(home.in_state(ThreadState::Vacant).with_token(false)));
    }

    /// Wakes the thread: claims it if it is blocked, leaves a token otherwise. Any CPU, any context.
    pub fn claim_wake(&self, generation: u32) -> Result<WakeClaim, Stale> {
        if Fault::ClaimByLoadAndStore.is_active() {
            return self.claim_wake_faulty();
        }
        let old = self.change(|home| match home.state {
            ThreadState::Vacant | ThreadState::Exiting => None,
            _ if home.generation != generation => None,
            ThreadState::Blocked => Some(home.in_state(ThreadState::Waking)),
            // Written again although it stands: the waiter must see what this waker wrote before, too.
            _ => Some(home.with_token(true)),
        });
        match old.state {
            ThreadState::Vacant | ThreadState::Exiting => Err(Stale),
            _ if old.generation != generation => Err(Stale),
            ThreadState::Blocked => Ok(WakeClaim::Claimed { last_cpu: old.cpu }),
            _ => Ok(WakeClaim::TokenLeft(old)),
        }
    }

    fn claim_wake_faulty(&self) -> Result<WakeClaim, Stale> {
        let home = self.read();
        if home.state != ThreadState::Blocked {
            return Ok(WakeClaim::TokenLeft(home));
        }
        self.0.store(home.in_state(ThreadState::Waking).pack(), Ordering::Release);
        Ok(WakeClaim::Claimed { last_cpu: home.cpu })
    }

    /// Claims a blocked thread in order to change it, without waking it.
    pub fn claim_change(&self, generation: u32) -> Result<ChangeClaim, Stale> {
        let old = self.change(|home| {
            let blocked = home.state == ThreadState::Blocked && home.generation == generation;
            blocked.then_some(home.in_state(ThreadState::Waking))
        });
        match old.state {
            ThreadState::Vacant => Err(Stale),
            _ if old.generation != generation => Err(Stale),
            ThreadState::Blocked => Ok(ChangeClaim::Claimed { last_cpu: old.cpu }),
            _ => Ok(ChangeClaim::NotBlocked(old)),
        }
    }

    /// Gives a claim back without queueing the thread. Only the claimer.
    pub fn unclaim(&self) -> Unclaimed {
        let old = self.change(|home| match home.token && !Fault::UnclaimIgnoresToken.is_active() {
            true => Some(home.with_token(false)),
            false => Some(home.in_state(ThreadState::Blocked)),
        });
        if old.token && !Fault::UnclaimIgnoresToken.is_active() { Unclaimed::MustWake } else { Unclaimed::Blocked }
    }

    /// Blocks the thread, unless a token is there, which is then used up. Only the owner (holding its queue's lock).
    pub fn block(&self) -> Blocking {
        if Fault::BlockIgnoresToken.is_active() {
            self.change(|home| Some(home.in_state(ThreadState::Blocked)));
            return Blocking::Blocked;
        }
        let old = self.change(|home| match home.token {
            true => Some(home.with_token(false)),
            false => Some(home.in_state(ThreadState::Blocked)),
        });
        if old.token { Blocking::TokenConsumed } else { Blocking::Blocked }
    }

    /// Uses a token up, if there is one. Only the owner.
    pub fn take_token(&self) -> bool {
        self.change(|home| home.token.then_some(home.with_token(false))).token
    }

    /// Moves the thread to a state and a CPU; a token stays. Only the owner, with the lock of `cpu`'s queue if the
    /// state is on a queue.
    #[inline(always)]
    pub fn move_to(&self, state: ThreadState, cpu: CpuId) {
        let place = (u64::from(cpu.get()) << CPU_SHIFT) | state as u64;
        // Others may leave a token meanwhile, but nobody else moves it: so the difference of the places leads from one
        // to the other, with nothing carried beyond them, and needs no second try.
        let here = self.0.load(Ordering::Relaxed) & PLACE;
        self.0.fetch_add(place.wrapping_sub(here), Ordering::AcqRel);
    }

    /// Locks the queue that the thread is on: reads the word, locks that CPU's queue with `lock`, reads again, and
    /// tries again if the thread has moved. Answers `Err` with the state if it is on no queue.
    pub fn lock_queue<G>(&self, mut lock: impl FnMut(CpuId) -> G) -> Result<(Home, G), Home> {
        loop {
            let before = self.read();
            if !before.state.is_on_a_queue() {
                return Err(before);
            }
            let guard = lock(before.cpu);
            let now = if Fault::HomeNotReadAgain.is_active() { before } else { self.read() };
            if now.state.is_on_a_queue() && now.cpu == before.cpu {
                return Ok((now, guard));
            }
            drop(guard);
            relax();
        }
    }

    /// Applies `change` in one atomic step and answers what was before. `None` leaves the word as it is.
    fn change(&self, change: impl Fn(Home) -> Option<Home>) -> Home {
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            let home = Home::unpack(old);
            let Some(new) = change(home) else { return home };
            match self.0.compare_exchange_weak(old, new.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return home,
                Err(current) => old = current,
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const CPU: CpuId = CpuId::new(3);

    fn fresh() -> HomeWord {
        let word = HomeWord::default();
        word.reset(7, CPU);
        word
    }

    #[test]
    fn one_of_two_wakers_claims_and_the_other_leaves_a_token() {
        let word = fresh();
        assert_eq!(word.claim_wake(7), Ok(WakeClaim::Claimed { last_cpu: CPU }));
        assert!(matches!(word.claim_wake(7), Ok(WakeClaim::TokenLeft(_))));
        assert!(word.read().token);
    }

    #[test]
    fn a_token_is_consumed_by_the_next_block_and_only_by_that() {
        let word = fresh();
        word.move_to(ThreadState::Current, CPU);
        assert!(matches!(word.claim_wake(7), Ok(WakeClaim::TokenLeft(_))));
        assert_eq!(word.block(), Blocking::TokenConsumed);
        assert_eq!(word.read().state, ThreadState::Current);
        assert_eq!(word.block(), Blocking::Blocked);
        assert_eq!(word.read().state, ThreadState::Blocked);
    }

    #[test]
    fn a_wake_during_a_change_is_passed_on_to_the_changer() {
        let word = fresh();
        assert_eq!(word.claim_change(7), Ok(ChangeClaim::Claimed { last_cpu: CPU }));
        assert!(matches!(word.claim_wake(7), Ok(WakeClaim::TokenLeft(_))));
        assert_eq!(word.unclaim(), Unclaimed::MustWake);
        assert_eq!(word.read().state, ThreadState::Waking);
        assert_eq!(word.unclaim(), Unclaimed::Blocked);
    }

    #[test]
    fn another_generation_or_a_vacant_slot_is_stale() {
        let word = fresh();
        assert_eq!(word.claim_wake(9), Err(Stale));
        assert_eq!(word.claim_change(9), Err(Stale));
        word.retire();
        assert_eq!(word.claim_wake(7), Err(Stale));
        assert_eq!(word.claim_change(7), Err(Stale));
    }

    #[test]
    fn a_thread_that_moves_is_locked_where_it_went() {
        let word = fresh();
        word.move_to(ThreadState::Queued, CPU);
        let mut locked = alloc::vec::Vec::new();
        let result = word.lock_queue(|cpu| {
            if locked.is_empty() {
                word.move_to(ThreadState::Queued, CpuId::new(1));
            }
            locked.push(cpu);
        });
        assert_eq!(result.map(|(home, ())| home.cpu), Ok(CpuId::new(1)));
        assert_eq!(locked, [CPU, CpuId::new(1)]);
        word.move_to(ThreadState::Blocked, CPU);
        assert!(word.lock_queue(|_| ()).is_err());
    }

    #[test]
    fn every_part_of_the_word_comes_back_as_it_was() {
        for state in (0..8).map(ThreadState::numbered) {
            let home = Home { state, cpu: CpuId::new(511), token: true, generation: u32::MAX };
            assert_eq!(Home::unpack(home.pack()), home);
        }
    }
}
