//! Floating-point and vector registers belong to the thread: nobody sees another's, and a fresh program finds none.
//!
//! Arguments: the role (`check`, or `killed`, which ends by a fault with its registers full) and the number of rounds.
#![no_std]
#![no_main]

use core::{hint, ptr, sync::atomic::Ordering};
use demos::{Findings, number, work};
use tessera_rt::{
    CallError, Client, SchedulingPolicy, Timer,
    message::{CPU_WORDS, U64List},
    probe::{self, Registers},
    start,
};

tessera_rt::entry!(main);

fn main() -> i32 {
    // Before anything else runs in this program.
    let clean = probe::control_is_clean() && probe::read() == Registers::clean();
    let mut findings = Findings::default();
    findings.check(clean, format_args!("a fresh program found used registers"));
    let killed = start::argument(0) == Some("killed");
    if let Err(error) = keep_registers(&mut findings, killed) {
        findings.check(false, format_args!("{error:?}"));
    }
    if killed {
        // SAFETY: not safe at all, and meant so: the kernel ends the program here, its registers full.
        hint::black_box(unsafe { ptr::null::<u8>().read_volatile() });
    }
    findings.exit_code()
}

fn keep_registers(findings: &mut Findings, killed: bool) -> Result<(), CallError> {
    let (timer, policy) = (Timer::granted()?, SchedulingPolicy::granted()?);
    let (rounds, cpus) = (number(1).unwrap_or(50) as u32, start::cpus());
    let identity = start::instance() << 8 | u32::from(killed) << 24;
    for round in 0..rounds {
        let pattern = Registers::pattern(identity + round + 1);
        probe::fill(&pattern);
        probe::disturb_control();
        (0..500).for_each(|_| work());
        findings.check(probe::read() == pattern, format_args!("registers changed while running, round {round}"));
        timer.sleep(timer.now()?.now_ns + 1_000_000)?;
        findings.check(probe::read() == pattern, format_args!("registers changed over a sleep, round {round}"));
        let mut words = [0; CPU_WORDS];
        let cpu = (round + start::instance()) % cpus;
        words[cpu as usize / 64] = 1 << (cpu % 64);
        policy.set_affinity(U64List::new(&words))?;
        findings.check(probe::read() == pattern, format_args!("registers changed over a migration, round {round}"));
        findings.check(!probe::control_is_clean(), format_args!("the control word was lost, round {round}"));
        start::progress().fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
