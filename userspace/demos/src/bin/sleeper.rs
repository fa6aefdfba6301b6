//! An interactive program: sleeps to absolute deadlines, works a little, and measures how late it woke.
//!
//! Arguments: the period in microseconds, how often (0: for ever), and how many pieces of work after each wake-up.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;
use demos::{number, work};
use tessera_rt::{CallError, Client, SchedulingPolicy, Timer, println, start};

tessera_rt::entry!(main);

fn main() -> i32 {
    match run() {
        Ok(()) => 0,
        Err(error) => {
            println!("{error:?}");
            1
        }
    }
}

fn run() -> Result<(), CallError> {
    let (timer, policy) = (Timer::granted()?, SchedulingPolicy::granted()?);
    let period_ns = number(0).unwrap_or(10_000).saturating_mul(1000);
    let (rounds, pieces) = (number(1).unwrap_or(0), number(2).unwrap_or(1));
    let before = policy.snapshot()?;
    let (mut latest_ns, mut late_sum_ns) = (0, 0);
    let mut deadline = timer.now()?.now_ns;
    let mut round = 0;
    while rounds == 0 || round < rounds {
        // A program that fell behind by more than a period goes on from now; it does not catch up in a burst.
        deadline = (deadline + period_ns).max(timer.now()?.now_ns);
        timer.sleep(deadline)?;
        let late_ns = timer.now()?.now_ns.saturating_sub(deadline);
        latest_ns = late_ns.max(latest_ns);
        late_sum_ns += late_ns;
        (0..pieces).for_each(|_| work());
        round += 1;
        start::progress().store(round, Ordering::Relaxed);
    }
    let after = policy.snapshot()?;
    println!(
        "{rounds} wake-ups, late {} us in the mean, {} us at most; {} dispatches, {} blocks, {} preemptions",
        late_sum_ns / rounds / 1000,
        latest_ns / 1000,
        after.dispatches - before.dispatches,
        after.voluntary_blocks - before.voluntary_blocks,
        after.preemptions - before.preemptions,
    );
    Ok(())
}
