//! Threads of one process on one CPU share it by their own weights, and each has its own account.
//!
//! Arguments: the weights, one thread for each. Equal ones are the counterfactual of others. Two witnesses: the kernel's
//! account of each thread, and how often each has gone around its loop.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use demos::{Findings, cpus::mask, number, work};
use tessera_rt::{
    CallError,
    generated::messages::SnapshotResults,
    println, start,
    sync::Semaphore,
    thread::{self, Attributes, JoinHandle},
    time,
};

tessera_rt::entry!(main);

/// The most threads.
const MOST: usize = 8;
/// How long they compete.
const WINDOW_NS: u64 = 2_000_000_000;
/// Of 1000: how far a share may be from what is wanted, beside the longest charge and wait that were seen.
const PART: u64 = 100;

static ROUNDS: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
static OVER: AtomicBool = AtomicBool::new(false);
static READY: AtomicU32 = AtomicU32::new(0);
static GO: Semaphore = Semaphore::new(0);

fn main() -> i32 {
    let mut findings = Findings::default();
    findings.part("siblings", run);
    findings.exit_code()
}

fn sibling(number: usize) {
    READY.fetch_add(1, Ordering::SeqCst);
    GO.acquire();
    while !OVER.load(Ordering::Relaxed) {
        work();
        ROUNDS[number].fetch_add(1, Ordering::Relaxed);
    }
}

struct Sibling {
    handle: JoinHandle,
    weight: u64,
    before: SnapshotResults,
    rounds: u64,
}

fn run(findings: &mut Findings) -> Result<(), CallError> {
    let last = mask(&[start::cpus() - 1]);
    let mut siblings: [Option<Sibling>; MOST] = [const { None }; MOST];
    let mut of = 0;
    for (index, place) in siblings.iter_mut().enumerate() {
        let Some(weight) = number(index) else { break };
        let attributes = Attributes { weight: weight as u16, affinity: Some(last), ..Attributes::default() };
        let handle = thread::spawn(attributes, move || sibling(index))?;
        let before = handle.handle().snapshot()?;
        findings.equal("a thread's weight", u64::from(before.weight), weight);
        of += weight;
        *place = Some(Sibling { handle, weight, before, rounds: 0 });
    }
    while siblings.iter().flatten().count() > READY.load(Ordering::SeqCst) as usize {
        time::sleep(1_000_000)?;
    }
    siblings.iter().for_each(|_| GO.release());
    // The first looks and the last are made while all of them run.
    time::sleep(WINDOW_NS / 10)?;
    for (sibling, rounds) in siblings.iter_mut().zip(&ROUNDS) {
        let Some(sibling) = sibling else { continue };
        sibling.before = sibling.handle.handle().snapshot()?;
        sibling.rounds = rounds.load(Ordering::Relaxed);
    }
    time::sleep(WINDOW_NS)?;
    let mut after = [SnapshotResults::default(); MOST];
    let mut rounds = [0; MOST];
    for (index, sibling) in siblings.iter().enumerate() {
        let Some(sibling) = sibling else { continue };
        after[index] = sibling.handle.handle().snapshot()?;
        rounds[index] = ROUNDS[index].load(Ordering::Relaxed) - sibling.rounds;
    }
    OVER.store(true, Ordering::Relaxed);
    judge(findings, &siblings, &after, &rounds, of);
    for sibling in siblings.into_iter().flatten() {
        findings.equal("a sibling", sibling.handle.join()?, 0);
    }
    Ok(())
}

fn judge(
    findings: &mut Findings,
    siblings: &[Option<Sibling>; MOST],
    after: &[SnapshotResults; MOST],
    rounds: &[u64; MOST],
    of: u64,
) {
    let all_rounds = rounds.iter().sum::<u64>().max(1);
    let ran: u64 = siblings.iter().zip(after).map(|(sibling, after)| runtime(sibling.as_ref(), after)).sum();
    for ((sibling, after), rounds) in siblings.iter().zip(after).zip(rounds) {
        let Some(sibling) = sibling else { continue };
        let weight = sibling.weight;
        let wanted = 1000 * weight / of.max(1);
        let runtime = runtime(Some(sibling), after);
        let share = 1000 * runtime / ran.max(1);
        // What a host takes from a virtual CPU is charged at once, to whoever runs.
        let seen = 1000 * (2 * (after.longest_charge_ns + after.longest_wait_ns)) / ran.max(1);
        let progress = 1000 * rounds / all_rounds;
        println!(
            "weight {weight}: {share} of 1000 of the run time, {progress} of 1000 of the rounds, not {wanted} by {seen}"
        );
        findings.check(
            share.abs_diff(wanted) <= wanted * PART / 1000 + seen,
            format_args!("weight {weight} had {share} of 1000, not {wanted}"),
        );
        findings.check(
            progress.abs_diff(wanted) <= wanted * PART / 1000 + 2 * seen,
            format_args!("weight {weight} made {progress} of 1000 rounds, not {wanted}"),
        );
        let virtual_ran = after.virtual_runtime_ns - sibling.before.virtual_runtime_ns;
        let wanted_virtual = runtime * 64 / weight.max(1);
        findings.check(
            virtual_ran.abs_diff(wanted_virtual) <= 64,
            format_args!("weight {weight}: {runtime} ns are {virtual_ran} virtual, not {wanted_virtual}"),
        );
    }
}

fn runtime(sibling: Option<&Sibling>, after: &SnapshotResults) -> u64 {
    sibling.map_or(0, |sibling| after.runtime_ns.saturating_sub(sibling.before.runtime_ns))
}
