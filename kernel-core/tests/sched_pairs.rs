//! A client and a server that hand one CPU to each other beside a hog: together they have no less than one program and no
//! more than two, and the hog waits no longer than its bound, however often they call.

mod sched_driver;

use kernel_core::sched::{Policy, Snapshot, ThreadId};
use sched_driver::{Driver, POLICIES, Program, cpu, ms, on, share, us};
use tessera_hal::Duration;

/// How long each side of a round trip works.
const TURN: Duration = Duration::from_micros(13);

/// The one that works, the one that waits for it, and what the former had when its turn began.
struct Pair {
    active: ThreadId,
    passive: ThreadId,
    began: Duration,
    turns: u64,
}

impl Pair {
    /// Two threads of weight 64 of which one is blocked.
    fn new(driver: &mut Driver) -> Self {
        let passive = driver.spawn(on(&[0], 64), Program::Hog);
        // It receives before anybody calls.
        while driver.running[0] != Some(passive) {
            driver.run(us(1));
        }
        driver.decide(cpu(0), |dispatcher| dispatcher.block_current());
        let active = driver.spawn(on(&[0], 64), Program::Hog);
        Self { active, passive, began: Duration::ZERO, turns: 0 }
    }

    /// What is left of the turn.
    fn rest(&self, driver: &Driver) -> Duration {
        TURN.saturating_sub(driver.got(self.active).saturating_sub(self.began))
    }

    /// Goes on until so many turns are over.
    fn turns(&mut self, driver: &mut Driver, turns: u64, hand_over: fn(&mut Driver, ThreadId)) {
        let last = self.turns + turns;
        while self.turns < last {
            let is_its_turn = driver.running[0] == Some(self.active);
            let rest = self.rest(driver);
            driver.run(if is_its_turn { rest } else { us(100) });
            if driver.running[0] == Some(self.active) && self.rest(driver) == Duration::ZERO {
                hand_over(driver, self.passive);
                core::mem::swap(&mut self.active, &mut self.passive);
                self.began = driver.got(self.active);
                self.turns += 1;
            }
        }
    }

    fn got(&self, driver: &Driver) -> Duration {
        driver.got(self.active).saturating_add(driver.got(self.passive))
    }
}

/// A call or an answer: the caller blocks, and the one that it has woken has the rest of its slice.
fn hand_off(driver: &mut Driver, receiver: ThreadId) {
    driver.decide(cpu(0), |dispatcher| dispatcher.handoff_to(receiver));
    driver.settle();
}

fn snapshot(driver: &Driver, thread: ThreadId) -> Snapshot {
    driver.dispatcher.snapshot(thread).expect("it lives")
}

/// One request of each of the three.
fn longest_wait_of_the_hog() -> Duration {
    ms(3 * 2)
}

#[test]
fn a_pair_beside_a_hog_has_between_one_half_and_two_thirds_of_a_cpu() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let mut pair = Pair::new(&mut driver);
        let hog = driver.spawn(on(&[0], 64), Program::Hog);
        pair.turns(&mut driver, 1_000, hand_off);
        let (before, hogs) = (pair.got(&driver), driver.got(hog));
        pair.turns(&mut driver, 40_000, hand_off);
        let had = pair.got(&driver).saturating_sub(before);
        let all = had.saturating_add(driver.got(hog).saturating_sub(hogs));
        let part = share(had, all);
        assert!((497_500..=670_000).contains(&part), "{policy:?}: {part} millionths");
        assert!(snapshot(&driver, hog).longest_wait <= longest_wait_of_the_hog(), "{policy:?}");
    }
}

#[test]
fn two_that_do_not_call_each_other_have_two_thirds_beside_a_hog() {
    for policy in POLICIES {
        let mut driver = Driver::new(1, policy);
        let [one, other, hog] = [(); 3].map(|()| driver.spawn(on(&[0], 64), Program::Hog));
        driver.run(ms(3_000));
        let had = driver.got(one).saturating_add(driver.got(other));
        let part = share(had, had.saturating_add(driver.got(hog)));
        assert!((663_000..=670_000).contains(&part), "{policy:?}: {part} millionths");
    }
}

/// A million where the optimiser has been at work.
const ROUND_TRIPS: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };

#[test]
fn round_trips_never_delay_a_hog_beyond_one_request_of_each() {
    POLICIES.into_iter().for_each(|policy| round_trips_beside_a_hog(policy, ROUND_TRIPS));
}

fn round_trips_beside_a_hog(policy: Policy, count: u64) {
    let mut driver = Driver::new(1, policy);
    driver.checked = false;
    let mut pair = Pair::new(&mut driver);
    let hog = driver.spawn(on(&[0], 64), Program::Hog);
    pair.turns(&mut driver, 2 * count, hand_off);
    driver.dispatcher.check_invariants().expect("the invariants hold");
    let hog = snapshot(&driver, hog);
    assert!(hog.longest_wait <= longest_wait_of_the_hog(), "{policy:?}: it waited {}", hog.longest_wait);
    assert!(hog.dispatches > count / 1_000, "{policy:?}: {} dispatches", hog.dispatches);
}
