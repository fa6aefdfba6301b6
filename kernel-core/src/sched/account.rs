//! Accounting: where each CPU's time went.
//!
//! Two partitions of the same time, each closing to elapsed exactly: *who ran* (threads, interrupts and switches,
//! idle) and *who paid* (scheduling contexts, fair shares, the kernel with nobody to bill, idle). System calls and
//! faults belong to the thread that caused them. A `Ledger` is guarded by its CPU's queue lock, so that another CPU
//! can charge the running thread before it changes its weight.

use tessera_hal::{Duration, Instant};

/// Who ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ran {
    /// Threads, in user mode or in the kernel on their behalf.
    pub thread: Duration,
    /// Interrupts, and the decisions and switches that they led to.
    pub interrupt_and_switch: Duration,
    /// Nobody.
    pub idle: Duration,
}

/// Who paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Paid {
    /// Scheduling contexts, out of their budgets.
    pub context: Duration,
    /// Threads, out of their fair share.
    pub fair_share: Duration,
    /// Nobody can be billed: the kernel's own work.
    pub unattributed: Duration,
    /// Nobody ran.
    pub idle: Duration,
}

impl Ran {
    /// The sum of the parts.
    pub const fn total(&self) -> Duration {
        self.thread.saturating_add(self.interrupt_and_switch).saturating_add(self.idle)
    }
}

impl Paid {
    /// The sum of the parts.
    pub const fn total(&self) -> Duration {
        self.context.saturating_add(self.fair_share).saturating_add(self.unattributed).saturating_add(self.idle)
    }
}

/// What a CPU is doing, as far as time is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    /// It is not counted yet.
    Nothing,
    Idle,
    Thread,
}

/// The books of one CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledger {
    opened: Instant,
    counted_to: Instant,
    doing: Doing,
    in_interrupt: bool,
    ran: Ran,
    paid: Paid,
    /// Time that ran as thread and is not charged to one yet.
    uncharged: Duration,
}

impl Ledger {
    /// Books that are not open: no time is counted.
    pub(crate) const fn new() -> Self {
        Self {
            opened: Instant::ORIGIN,
            counted_to: Instant::ORIGIN,
            doing: Doing::Nothing,
            in_interrupt: false,
            ran: Ran { thread: Duration::ZERO, interrupt_and_switch: Duration::ZERO, idle: Duration::ZERO },
            paid: Paid {
                context: Duration::ZERO,
                fair_share: Duration::ZERO,
                unattributed: Duration::ZERO,
                idle: Duration::ZERO,
            },
            uncharged: Duration::ZERO,
        }
    }

    /// Opens the books, with nobody running. Once only; later calls change nothing.
    pub(crate) fn open(&mut self, now: Instant) {
        if self.doing == Doing::Nothing {
            self.opened = now;
            self.counted_to = now;
            self.doing = Doing::Idle;
        }
    }

    /// Counts the time up to `now`. An earlier `now` than the last one counts nothing.
    pub(crate) fn count(&mut self, now: Instant) {
        if now <= self.counted_to {
            return;
        }
        let passed = now.saturating_duration_since(self.counted_to);
        let (ran, paid) = match (self.in_interrupt, self.doing) {
            (_, Doing::Nothing) => return,
            (false, Doing::Thread) => {
                self.uncharged = self.uncharged.wrapping_add(passed);
                (&mut self.ran.thread, &mut self.paid.fair_share)
            }
            (false, Doing::Idle) => (&mut self.ran.idle, &mut self.paid.idle),
            (true, _) => (&mut self.ran.interrupt_and_switch, &mut self.paid.unattributed),
        };
        *ran = ran.wrapping_add(passed);
        *paid = paid.wrapping_add(passed);
        self.counted_to = now;
    }

    /// The point up to which all time is counted.
    #[inline(always)]
    pub(crate) fn counted_to(&self) -> Instant {
        self.counted_to
    }

    /// Whose time it is from the point counted to: a thread's, nobody's because of an interrupt (`None`), or idle.
    pub(crate) fn is_threads(&self) -> Option<bool> {
        (!self.in_interrupt).then_some(self.doing == Doing::Thread)
    }

    /// The time that the running thread owes since the last call.
    pub(crate) fn take_uncharged(&mut self) -> Duration {
        core::mem::take(&mut self.uncharged)
    }

    /// From the point counted to, time belongs to a thread (or to nobody). The old thread must have been charged.
    pub(crate) fn switch_to_thread(&mut self, thread: bool) {
        debug_assert!(self.uncharged.is_zero(), "the thread that ran was not charged");
        if self.doing != Doing::Nothing {
            self.doing = if thread { Doing::Thread } else { Doing::Idle };
        }
    }

    /// From the point counted to, time is interrupt time (or no longer).
    pub(crate) fn set_in_interrupt(&mut self, in_interrupt: bool) {
        self.in_interrupt = in_interrupt;
    }

    /// Whether time is counted.
    pub(crate) fn is_open(&self) -> bool {
        self.doing != Doing::Nothing
    }

    /// The time since the books were opened, up to what has been counted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.counted_to.saturating_duration_since(self.opened)
    }

    pub(crate) fn ran(&self) -> Ran {
        self.ran
    }

    pub(crate) fn paid(&self) -> Paid {
        self.paid
    }

    /// Whether both partitions are all of the time.
    pub(crate) fn closes(&self) -> bool {
        self.ran.total() == self.elapsed() && self.paid.total() == self.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Instant {
        Instant::from_nanos(nanoseconds)
    }

    #[test]
    fn interrupt_time_is_not_the_threads() {
        let mut ledger = Ledger::new();
        ledger.open(at(100));
        ledger.count(at(110));
        ledger.switch_to_thread(true);
        ledger.count(at(150));
        ledger.set_in_interrupt(true);
        ledger.count(at(157));
        ledger.set_in_interrupt(false);
        ledger.count(at(160));
        assert_eq!(ledger.take_uncharged(), Duration::from_nanos(43));
        assert_eq!(ledger.ran().interrupt_and_switch, Duration::from_nanos(7));
        assert_eq!(ledger.ran().idle, Duration::from_nanos(10));
        let paid = ledger.paid();
        let [unattributed, idle, fair_share] = [7, 10, 43].map(Duration::from_nanos);
        assert_eq!((paid.unattributed, paid.idle, paid.fair_share), (unattributed, idle, fair_share));
        assert_eq!(ledger.elapsed(), Duration::from_nanos(60));
        assert!(ledger.closes());
    }

    #[test]
    fn time_before_the_books_are_open_and_time_that_falls_back_count_for_nothing() {
        let mut ledger = Ledger::new();
        ledger.count(at(50));
        ledger.open(at(100));
        ledger.open(at(200));
        ledger.count(at(90));
        ledger.count(at(130));
        ledger.count(at(120));
        assert_eq!(ledger.elapsed(), Duration::from_nanos(30));
        assert!(ledger.closes());
    }
}
