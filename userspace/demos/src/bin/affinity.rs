//! A thread runs only where its mask permits, also right after the mask changed.
//!
//! Argument `free`: changes its mask over all CPUs, many times, and looks at its CPU after each change and in each
//! iteration. Argument `confined`: was started on CPU 0 alone and must not get further.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;
use demos::{Findings, number, work};
use tessera_rt::{
    CallError, Client, SchedulingPolicy, current_cpu,
    message::{CPU_WORDS, CpuWords, ExceptionKind, U64List},
    start,
};

tessera_rt::entry!(main);

/// Changes of the mask in a round; bounds the run time on machines of many CPUs.
const STEPS_A_ROUND: u32 = 4;

fn main() -> i32 {
    let mut findings = Findings::default();
    let outcome = match start::argument(0) {
        Some("confined") => confined(&mut findings),
        _ => free(&mut findings),
    };
    if let Err(error) = outcome {
        findings.check(false, format_args!("{error:?}"));
    }
    findings.exit_code()
}

fn mask(cpus: &[u32]) -> CpuWords {
    let mut words = [0; CPU_WORDS];
    for cpu in cpus {
        words[*cpu as usize / 64] |= 1 << (cpu % 64);
    }
    words
}

fn permits(words: &CpuWords, cpu: u16) -> bool {
    words[usize::from(cpu) / 64] >> (cpu % 64) & 1 == 1
}

fn free(findings: &mut Findings) -> Result<(), CallError> {
    let policy = SchedulingPolicy::granted()?;
    let (cpus, rounds) = (start::cpus(), number(1).unwrap_or(20) as u32);
    for round in 0..rounds {
        for step in 0..cpus.min(STEPS_A_ROUND) {
            // Instances start at different CPUs and stride differently, so that they cross each other.
            let cpu = (step * (round % 3 + 1) + start::instance() + round) % cpus;
            let words = if round % 2 == 0 { mask(&[cpu]) } else { mask(&[cpu, (cpu + 1) % cpus]) };
            policy.set_affinity(U64List::new(&words))?;
            stay_within(findings, &words);
            start::progress().fetch_add(1, Ordering::Relaxed);
        }
    }
    let snapshot = policy.snapshot()?;
    let outside = snapshot.dispatches_outside;
    findings.check(outside == 0, format_args!("{outside} dispatches outside the mask"));
    let migrations = snapshot.migrations;
    findings.check(cpus == 1 || migrations > 0, format_args!("{cpus} CPUs, but {migrations} migrations"));
    Ok(())
}

/// Looks at the CPU at once and over some slices of work.
fn stay_within(findings: &mut Findings, words: &CpuWords) {
    for iteration in 0..2000 {
        match current_cpu() {
            Some(cpu) if permits(words, cpu) => {}
            Some(cpu) => {
                findings.check(false, format_args!("CPU {cpu} outside {:#x} in iteration {iteration}", words[0]));
                return;
            }
            None => {
                findings.check(false, format_args!("the machine does not tell its CPU"));
                return;
            }
        }
        work();
    }
    findings.check(true, format_args!(""));
}

fn confined(findings: &mut Findings) -> Result<(), CallError> {
    let policy = SchedulingPolicy::granted()?;
    let refused = |outcome| matches!(outcome, Err(CallError::Exception(ExceptionKind::InvalidArgument, _)));
    let nowhere = policy.set_affinity(U64List::new(&[0; CPU_WORDS]));
    findings.check(refused(nowhere), format_args!("an empty mask gave {nowhere:?}"));
    let absent = policy.set_affinity(U64List::new(&mask(&[511])));
    findings.check(refused(absent), format_args!("a mask of CPU 511 alone gave {absent:?}"));
    if start::cpus() > 1 {
        let wider = policy.set_affinity(U64List::new(&mask(&[0, 1])));
        findings.check(refused(wider), format_args!("a mask wider than the spawner's gave {wider:?}"));
    }
    let same = policy.set_affinity(U64List::new(&mask(&[0])));
    findings.check(same.is_ok(), format_args!("the spawner's own mask gave {same:?}"));
    stay_within(findings, &mask(&[0]));
    Ok(())
}
