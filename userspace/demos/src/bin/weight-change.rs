//! A weight that was changed before a thread is queued again counts from then on: in the share and in virtual time.
//!
//! Two roles on one CPU, by the argument: `baseline` keeps weight 64, `heavy` takes 128 and then sleeps, so that it is
//! queued with its new weight. Both sleep to the same moment, compete for a window, and each compares its snapshots at
//! both ends. Afterwards `heavy` goes back to 64 while it runs, and both must get the same. The counterfactual: two of
//! the role `equal` change nothing and must get the same all along.
#![no_std]
#![no_main]

use demos::{Findings, number, work};
use tessera_rt::{CallError, Client, SchedulingPolicy, Timer, generated::messages::SnapshotResults, println, start};

tessera_rt::entry!(main);

const SLOT_NS: u64 = 4_000_000_000;
const LEAD_NS: u64 = 1_000_000_000;
const WINDOW_NS: u64 = 1_500_000_000;
const BASELINE_WEIGHT: u16 = 64;
const HEAVY_WEIGHT: u16 = 128;

fn main() -> i32 {
    let mut findings = Findings::default();
    if let Err(error) = run(&mut findings) {
        findings.check(false, format_args!("{error:?}"));
    }
    findings.exit_code()
}

fn run(findings: &mut Findings) -> Result<(), CallError> {
    let (timer, policy) = (Timer::granted()?, SchedulingPolicy::granted()?);
    let heavy = start::argument(0) == Some("heavy");
    let window_ns = number(1).unwrap_or(WINDOW_NS);
    // Both instances compute the same moment: the next multiple that is far enough away.
    let begin = (timer.now()?.now_ns + LEAD_NS).next_multiple_of(SLOT_NS);
    if heavy {
        policy.set_weight(HEAVY_WEIGHT)?;
    }
    timer.sleep(begin)?;
    let weight = if heavy { HEAVY_WEIGHT } else { BASELINE_WEIGHT };
    let other = if heavy || start::argument(0) == Some("equal") { BASELINE_WEIGHT } else { HEAVY_WEIGHT };
    let of = u64::from(weight) + u64::from(other);
    compete(findings, timer, policy, Window { end: begin + window_ns, weight, of })?;
    if heavy {
        policy.set_weight(BASELINE_WEIGHT)?;
    }
    let of = u64::from(BASELINE_WEIGHT) * 2;
    let window = Window { end: begin + 2 * window_ns, weight: BASELINE_WEIGHT, of };
    compete(findings, timer, policy, window)
}

/// A time of competition, and what this thread should have of it: `weight / of`.
struct Window {
    end: u64,
    weight: u16,
    of: u64,
}

fn compete(findings: &mut Findings, timer: Timer, policy: SchedulingPolicy, window: Window) -> Result<(), CallError> {
    let before = policy.snapshot()?;
    while timer.now()?.now_ns < window.end {
        (0..64).for_each(|_| work());
    }
    let after = policy.snapshot()?;
    judge(findings, &before, &after, &window);
    Ok(())
}

fn judge(findings: &mut Findings, before: &SnapshotResults, after: &SnapshotResults, window: &Window) {
    let weight = window.weight;
    let runtime = after.runtime_ns - before.runtime_ns;
    let virtual_runtime = after.virtual_runtime_ns - before.virtual_runtime_ns;
    // All the time in which it ran or could have run; a host that stops the machine stretches this, not the ratio.
    let contended = (runtime + after.runnable_ns - before.runnable_ns).max(1);
    let wanted = contended * u64::from(weight) / window.of;
    // What the host takes is charged to whoever runs, at once: no ratio is finer than the longest charge and wait seen.
    let seen = after.longest_charge_ns + after.longest_wait_ns;
    let rate = virtual_runtime * 1000 / runtime.max(1);
    let wanted_rate = 64_000 / u64::from(weight);
    let (share, fair, slack) = (runtime * 1000 / contended, wanted * 1000 / contended, seen * 1000 / contended);
    println!("weight {weight}: share {share} of 1000, virtual time runs at {rate} of 1000");
    findings.check(after.weight == weight, format_args!("weight reads {}, not {weight}", after.weight));
    // A ratio of 2:1 within 25 % means a share within about 15 % on either side.
    findings.check(
        runtime.abs_diff(wanted) <= wanted * 15 / 100 + seen,
        format_args!("weight {weight} had {share} of 1000, not {fair} within 15 % and {slack}"),
    );
    findings.check(
        rate.abs_diff(wanted_rate) * 100 <= wanted_rate * 5,
        format_args!("virtual time of weight {weight} ran at {rate} of 1000, not {wanted_rate}"),
    );
}
