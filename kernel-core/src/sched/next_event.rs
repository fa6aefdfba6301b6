//! When a CPU must look again, and why: the one place where the clockevent's deadline is computed.
//!
//! The clockevent is always a one-shot for [`Sources::first`]. What was armed is kept, so that a fire is judged by the
//! points that stood then: its *set* of reasons is every point that had come. A fire counts as periodic only if a grid
//! point was armed and due; so ticks that are suppressed can be counted, not guessed.

use crate::scramble::scramble;
use tessera_hal::{CpuId, Duration, Instant};

bitflags::bitflags! {
    /// Why a clockevent fired.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Reasons: u8 {
        /// The running thread's slice is over and somebody waits.
        const SLICE = 1 << 0;
        /// The running thread's budget is used up.
        const BUDGET = 1 << 1;
        /// A budget is refilled.
        const RELEASE = 1 << 2;
        /// A timer is due.
        const TIMER = 1 << 3;
        /// A point of the 10 ms grid.
        const GRID = 1 << 4;
        /// A lease runs out.
        const LEASE = 1 << 5;
        /// A revocation must have happened by now.
        const REVOCATION = 1 << 6;
    }
}

impl Reasons {
    /// How many sets there are.
    pub const SETS: usize = 1 << 7;
}

/// The points at which a CPU has something to do. Absent: there is no such thing to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// The end of the running thread's slice.
    pub slice_end: Option<Instant>,
    /// The end of its budget.
    pub budget_end: Option<Instant>,
    /// The first refill in the release queue.
    pub release: Option<Instant>,
    /// The first timer.
    pub timer: Option<Instant>,
    /// The next point of the grid.
    pub grid: Option<Instant>,
    /// The first lease to run out.
    pub lease_expiry: Option<Instant>,
    /// The first bound on a revocation.
    pub revocation_bound: Option<Instant>,
}

impl Sources {
    /// No points.
    pub const NONE: Self = Self {
        slice_end: None,
        budget_end: None,
        release: None,
        timer: None,
        grid: None,
        lease_expiry: None,
        revocation_bound: None,
    };

    const fn points(&self) -> [(Option<Instant>, Reasons); 7] {
        [
            (self.slice_end, Reasons::SLICE),
            (self.budget_end, Reasons::BUDGET),
            (self.release, Reasons::RELEASE),
            (self.timer, Reasons::TIMER),
            (self.grid, Reasons::GRID),
            (self.lease_expiry, Reasons::LEASE),
            (self.revocation_bound, Reasons::REVOCATION),
        ]
    }

    /// `next_event`: the earliest point.
    pub fn first(&self) -> Option<Instant> {
        self.points().into_iter().filter_map(|(point, _)| point).min()
    }

    /// Every reason whose point has come.
    pub fn due(&self, now: Instant) -> Reasons {
        self.points()
            .into_iter()
            .filter(|(point, _)| point.is_some_and(|point| point <= now))
            .fold(Reasons::empty(), |set, (_, reason)| set | reason)
    }
}

/// The first point of a CPU's grid after `now`: one in each period, anywhere in it. The place differs from CPU to CPU and
/// from period to period, as if drawn by lot, so that CPUs do not ask for the same locks at the same moment, and so that
/// a CPU that looks at others does not see the same moment of a pattern of slices again and again: who runs at each
/// multiple of 10 ms, and waits between them, would never be seen to wait.
pub fn grid_point_after(now: Instant, cpu: CpuId, period: Duration) -> Instant {
    let (now, period) = (now.as_nanos(), period.as_nanos());
    let point_in = |index: u64| {
        let lot = scramble(index ^ (cpu.index() as u64) << 48);
        let place = (u128::from(lot) * u128::from(period)) >> u64::BITS;
        index.saturating_mul(period).saturating_add(place as u64)
    };
    let this = now / period;
    let point = Some(point_in(this)).filter(|&point| now < point);
    Instant::from_nanos(point.unwrap_or_else(|| point_in(this + 1)))
}

/// How often the clockevent fired, by set of reasons. The empty set counts fires that came for nothing: late ones
/// after a disarm, and those that the clockevent's longest distance cut short.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fires {
    by_set: [u32; Reasons::SETS],
    periodic: u64,
}

impl Fires {
    pub(crate) const fn new() -> Self {
        Self { by_set: [0; Reasons::SETS], periodic: 0 }
    }

    pub(crate) fn count(&mut self, reasons: Reasons) {
        let count = &mut self.by_set[usize::from(reasons.bits())];
        *count = count.wrapping_add(1);
        self.periodic += u64::from(reasons.contains(Reasons::GRID));
    }

    /// Fires with exactly this set of reasons.
    pub fn with_exactly(&self, reasons: Reasons) -> u64 {
        u64::from(self.by_set[usize::from(reasons.bits())])
    }

    /// Fires whose set contains `reason`.
    pub fn with(&self, reason: Reasons) -> u64 {
        self.sets().filter(|(set, _)| set.contains(reason)).map(|(_, count)| count).sum()
    }

    /// All fires.
    pub fn total(&self) -> u64 {
        self.sets().map(|(_, count)| count).sum()
    }

    /// Fires with a grid point among the reasons: the periodic ones.
    pub const fn periodic(&self) -> u64 {
        self.periodic
    }

    /// Each set that occurred and how often.
    pub fn sets(&self) -> impl Iterator<Item = (Reasons, u64)> + '_ {
        self.by_set
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count != 0)
            .map(|(bits, &count)| (Reasons::from_bits_truncate(bits as u8), u64::from(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Option<Instant> {
        Some(Instant::from_nanos(nanoseconds))
    }

    #[test]
    fn the_next_event_is_the_earliest_point() {
        assert_eq!(Sources::NONE.first(), None);
        let sources = Sources { slice_end: at(30), timer: at(20), grid: at(25), ..Sources::NONE };
        assert_eq!(sources.first(), at(20));
    }

    #[test]
    fn a_fire_counts_by_its_whole_set_of_reasons() {
        let sources = Sources { slice_end: at(30), timer: at(20), grid: at(20), ..Sources::NONE };
        let mut fires = Fires::new();
        fires.count(sources.due(Instant::from_nanos(20)));
        fires.count(sources.due(Instant::from_nanos(19)));
        assert_eq!(fires.with_exactly(Reasons::TIMER | Reasons::GRID), 1);
        assert_eq!(fires.with(Reasons::TIMER), 1);
        assert_eq!(fires.with_exactly(Reasons::empty()), 1);
        assert_eq!((fires.total(), fires.periodic()), (2, 1));
    }

    #[test]
    fn a_fire_at_a_grid_point_that_was_not_armed_is_not_periodic() {
        let sources = Sources { slice_end: at(10_000_000), ..Sources::NONE };
        assert_eq!(sources.due(Instant::from_nanos(10_000_000)), Reasons::SLICE);
    }

    #[test]
    fn a_grid_has_one_point_in_each_period_and_it_is_strictly_later() {
        let period = Duration::from_millis(10);
        for cpu in [0, 1, 4_095] {
            let mut now = Instant::ORIGIN;
            for index in 0..1_000 {
                now = grid_point_after(now, CpuId::new(cpu), period);
                assert_eq!(now.as_nanos() / period.as_nanos(), index, "CPU {cpu}");
                let before = Instant::from_nanos(now.as_nanos() - 1);
                assert_eq!(grid_point_after(before, CpuId::new(cpu), period), now);
            }
        }
        let end = Instant::from_nanos(u64::MAX);
        assert_eq!(grid_point_after(end, CpuId::BOOT, period), end);
    }

    #[test]
    fn grid_points_come_anywhere_in_their_periods_and_differ_between_cpus() {
        let period = Duration::from_millis(10);
        let place = |cpu: u16, index: u64| {
            let point = grid_point_after(Instant::from_nanos(index * period.as_nanos()), CpuId::new(cpu), period);
            point.as_nanos() % period.as_nanos() / 1_000_000
        };
        let mut counts = [0; 10];
        let mut together = 0;
        for index in 0..10_000 {
            counts[place(0, index) as usize] += 1;
            together += u32::from(place(0, index) == place(1, index));
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        assert!((800..1_200).contains(&together), "{together} of 10,000 within the same millisecond");
    }
}
