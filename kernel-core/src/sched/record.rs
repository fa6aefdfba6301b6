//! What the dispatcher did, for a trace: one ring of fixed size per CPU, written by that CPU alone.
//!
//! Recording never waits, allocates or takes a lock: an event is three relaxed stores and one that publishes them. A
//! ring that is full drops what is new and counts it, so what it holds never changes and may be read at any time, from
//! any CPU. Without a [`Recorder`] each place that would record costs one branch that is never taken.
//!
//! Times are those that the books are kept with (see [`super::account`]): from [`Happening::Runs`] to the CPU's next
//! event about itself is exactly what the thread is charged for.

use super::entity::ThreadId;
use crate::sync::Padded;
use crate::sync::shim::{AtomicBool, AtomicU64, Ordering};
use alloc::{boxed::Box, collections::TryReserveError, vec::Vec};
use tessera_hal::{CpuId, Instant};

/// How a thread came to a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// For the first time.
    Started,
    /// Woken by the thread that runs on the CPU that recorded it.
    WokenByThread,
    /// Woken by an interrupt of the CPU that recorded it: a timer, most often.
    WokenByInterrupt,
    /// From another CPU's queue.
    Moved {
        /// Whose.
        from: CpuId,
    },
}

/// Something that a CPU did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    /// It runs this thread from here on.
    Runs(ThreadId),
    /// Its time is nobody's from here on: an interrupt, or a switch.
    Interrupted,
    /// It has nothing to run from here on.
    Idles,
    /// Its thread has blocked.
    Blocks(ThreadId),
    /// It has seen the end of a thread.
    Ends(ThreadId),
    /// It has put a thread on a queue.
    Arrives {
        /// Which thread.
        thread: ThreadId,
        /// On whose queue.
        on: CpuId,
        /// From where.
        how: Arrival,
    },
}

/// An event of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When. Events about what a CPU runs are in order; others may be a little out of it.
    pub at: Instant,
    /// What.
    pub what: Happening,
    /// How many wait then: on the queue that the thread arrives at, else on that of the CPU itself. At most 2^24 - 1.
    pub waiting: u32,
}

const MOST_WAITING: u32 = (1 << 24) - 1;

impl Event {
    fn pack(&self) -> [u64; 3] {
        let word = |kind: u8, thread: u64, on: CpuId, from: CpuId| {
            let waiting = u64::from(self.waiting.min(MOST_WAITING));
            let cpus = (on.index() as u64) << 32 | (from.index() as u64) << 48;
            [self.at.as_nanos(), u64::from(kind) | waiting << 8 | cpus, thread]
        };
        let none = CpuId::BOOT;
        match self.what {
            Happening::Runs(thread) => word(0, thread.as_u64(), none, none),
            Happening::Interrupted => word(1, 0, none, none),
            Happening::Idles => word(2, 0, none, none),
            Happening::Blocks(thread) => word(3, thread.as_u64(), none, none),
            Happening::Ends(thread) => word(4, thread.as_u64(), none, none),
            Happening::Arrives { thread, on, how } => match how {
                Arrival::Started => word(5, thread.as_u64(), on, none),
                Arrival::WokenByThread => word(6, thread.as_u64(), on, none),
                Arrival::WokenByInterrupt => word(7, thread.as_u64(), on, none),
                Arrival::Moved { from } => word(8, thread.as_u64(), on, from),
            },
        }
    }

    fn unpack([at, word, thread]: [u64; 3]) -> Self {
        let thread = ThreadId::from_u64(thread);
        let cpu = |shift: u32| CpuId::new((word >> shift) as u16);
        let arrives = |how| Happening::Arrives { thread, on: cpu(32), how };
        let what = match word as u8 {
            0 => Happening::Runs(thread),
            1 => Happening::Interrupted,
            2 => Happening::Idles,
            3 => Happening::Blocks(thread),
            4 => Happening::Ends(thread),
            5 => arrives(Arrival::Started),
            6 => arrives(Arrival::WokenByThread),
            7 => arrives(Arrival::WokenByInterrupt),
            _ => arrives(Arrival::Moved { from: cpu(48) }),
        };
        Self { at: Instant::from_nanos(at), what, waiting: (word >> 8) as u32 & MOST_WAITING }
    }
}

/// The ring of one CPU. Only that CPU writes it.
struct Ring {
    events: Box<[[AtomicU64; 3]]>,
    /// How many of them are filled, for good.
    filled: AtomicU64,
    dropped: AtomicU64,
    /// What the CPU was said to do last: a packed event's kind and thread.
    doing: [AtomicU64; 2],
    /// Its timers fire.
    fires: AtomicBool,
}

impl Ring {
    fn new(events: u32) -> Result<Self, TryReserveError> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(events as usize)?;
        slots.resize_with(events as usize, || [const { 0 }; 3].map(AtomicU64::new));
        Ok(Self {
            events: slots.into_boxed_slice(),
            filled: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            doing: [u64::MAX, 0].map(AtomicU64::new),
            fires: AtomicBool::new(false),
        })
    }

    fn push(&self, event: &Event) {
        let place = self.filled.load(Ordering::Relaxed);
        let Some(slot) = self.events.get(place as usize) else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        for (word, value) in slot.iter().zip(event.pack()) {
            word.store(value, Ordering::Relaxed);
        }
        self.filled.store(place + 1, Ordering::Release);
    }

    /// As `push`, of what the CPU does from here on, if that is something else than before.
    fn push_doing(&self, event: &Event) {
        let [_, word, thread] = event.pack();
        let now = [word & 0xff, thread];
        if self.doing.iter().zip(now).any(|(before, now)| before.load(Ordering::Relaxed) != now) {
            self.push(event);
            self.doing.iter().zip(now).for_each(|(before, now)| before.store(now, Ordering::Relaxed));
        }
    }

    fn runs_a_thread(&self) -> bool {
        self.doing[0].load(Ordering::Relaxed) == 0 && !self.fires.load(Ordering::Relaxed)
    }
}

/// The rings of all CPUs.
pub struct Recorder {
    rings: Box<[Padded<Ring>]>,
}

impl Recorder {
    /// Empty rings for so many events each. Allocates all that they will ever need.
    pub(super) fn new(cpus: usize, events: u32) -> Result<Self, TryReserveError> {
        let rings: Result<Vec<_>, _> = (0..cpus).map(|_| Ring::new(events).map(Padded::new)).collect();
        Ok(Self { rings: rings?.into_boxed_slice() })
    }

    /// What a CPU has recorded so far, in the order in which it did.
    pub fn events(&self, cpu: CpuId) -> impl Iterator<Item = Event> + '_ {
        let ring = self.rings.get(cpu.index());
        let filled = ring.map_or(0, |ring| ring.filled.load(Ordering::Acquire)) as usize;
        let slots = ring.into_iter().flat_map(move |ring| &ring.events[..filled]);
        slots.map(|slot| Event::unpack(slot.each_ref().map(|word| word.load(Ordering::Relaxed))))
    }

    /// How many events of a CPU found its ring full.
    pub fn dropped(&self, cpu: CpuId) -> u64 {
        self.rings.get(cpu.index()).map_or(0, |ring| ring.dropped.load(Ordering::Relaxed))
    }

    /// Records on the ring of `cpu`, which must be the caller's own, with interrupts masked.
    pub(super) fn push(&self, cpu: CpuId, event: &Event) {
        self.rings[cpu.index()].push(event);
    }

    /// As `push`, for what the CPU does from here on.
    pub(super) fn push_doing(&self, cpu: CpuId, event: &Event) {
        self.rings[cpu.index()].push_doing(event);
    }

    /// How a thread is woken that `cpu` wakes now.
    pub(super) fn waking(&self, cpu: CpuId) -> Arrival {
        match self.rings[cpu.index()].runs_a_thread() {
            true => Arrival::WokenByThread,
            false => Arrival::WokenByInterrupt,
        }
    }

    /// The timers of `cpu` fire from here on, or no longer.
    pub(super) fn set_fires(&self, cpu: CpuId, fires: bool) {
        self.rings[cpu.index()].fires.store(fires, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn event(at: u64, what: Happening) -> Event {
        Event { at: Instant::from_nanos(at), what, waiting: 3 }
    }

    #[test]
    fn every_event_comes_back_as_it_was() {
        let (thread, on) = (ThreadId::from_u64(u64::MAX - 5), CpuId::new(4095));
        let arrivals = [
            Arrival::Started,
            Arrival::WokenByThread,
            Arrival::WokenByInterrupt,
            Arrival::Moved { from: CpuId::new(4094) },
        ];
        let arrivals = arrivals.map(|how| Happening::Arrives { thread, on, how });
        let others = [
            Happening::Runs(thread),
            Happening::Interrupted,
            Happening::Idles,
            Happening::Blocks(thread),
            Happening::Ends(thread),
        ];
        for what in arrivals.into_iter().chain(others) {
            let event = event(u64::MAX, what);
            assert_eq!(Event::unpack(event.pack()), event);
        }
        let crowded = Event { waiting: u32::MAX, ..event(0, Happening::Idles) };
        assert_eq!(Event::unpack(crowded.pack()).waiting, MOST_WAITING);
    }

    #[test]
    fn a_full_ring_keeps_what_it_has_and_counts_the_rest() {
        let recorder = Recorder::new(2, 2).unwrap();
        for at in 0..5 {
            recorder.push(CpuId::new(1), &event(at, Happening::Idles));
        }
        let times: Vec<u64> = recorder.events(CpuId::new(1)).map(|event| event.at.as_nanos()).collect();
        assert_eq!((times, recorder.dropped(CpuId::new(1))), (alloc::vec![0, 1], 3));
        assert_eq!((recorder.events(CpuId::BOOT).count(), recorder.dropped(CpuId::BOOT)), (0, 0));
    }

    #[test]
    fn what_a_cpu_goes_on_doing_is_said_once() {
        let recorder = Recorder::new(1, 8).unwrap();
        let [one, other] = [1, 2].map(|number| Happening::Runs(ThreadId::from_u64(number)));
        for (at, what) in [one, one, other, Happening::Interrupted, Happening::Interrupted, other].iter().enumerate() {
            recorder.push_doing(CpuId::BOOT, &event(at as u64, *what));
        }
        let times: Vec<u64> = recorder.events(CpuId::BOOT).map(|event| event.at.as_nanos()).collect();
        assert_eq!(times, [0, 2, 3, 5]);
    }
}
