//! Whether the kernel's books close: who ran and who paid are both all of the time, and nobody ran where it must not.

use super::Verdict;
use crate::{log::RunLog, records::Cpu};

pub fn judge(log: &RunLog, verdict: &mut Verdict) {
    let open: Vec<String> = log.cpus.values().filter_map(open_books).collect();
    let cpus = log.cpus.len();
    match open.first() {
        Some(first) => verdict.note(false, format!("the books of {} of {cpus} CPUs do not close: {first}", open.len())),
        None => verdict.note(cpus > 0, format!("who ran and who paid both close to elapsed time on {cpus} CPUs")),
    }
    let outside: u64 = log.threads.values().chain(&log.init).map(|thread| thread.dispatches_outside).sum();
    let dispatches: u64 = log.threads.values().map(|thread| thread.dispatches).sum();
    verdict.note(outside == 0, format!("{outside} of {dispatches} dispatches were outside the thread's mask"));
    both_sides_agree(log, verdict);
}

fn open_books(cpu: &Cpu) -> Option<String> {
    let ran = cpu.thread_ns + cpu.interrupt_ns + cpu.idle_ns;
    let paid = cpu.paid_context_ns + cpu.paid_fair_ns + cpu.paid_unattributed_ns + cpu.paid_idle_ns;
    let closes = ran == cpu.elapsed_ns && paid == cpu.elapsed_ns;
    (!closes).then(|| format!("CPU {}: {} ns passed, {ran} ran, {paid} were paid", cpu.id, cpu.elapsed_ns))
}

/// Threads that have ended before the final report, one for each program that has.
fn ended_threads(log: &RunLog) -> u64 {
    let exited = log.threads.values().filter(|thread| thread.state == "exited").count();
    exited.max(log.exits.len()) as u64
}

/// The threads' run times together are what the CPUs gave to threads. What an exited thread had last, while its end was
/// reported, is one charge that its record cannot hold.
fn both_sides_agree(log: &RunLog, verdict: &mut Verdict) {
    let all = || log.threads.values().chain(&log.init);
    if !all().all(|thread| thread.is_final) || !log.cpus.values().all(|cpu| cpu.is_final) {
        verdict.note(false, "not every thread and CPU has made its last report");
        return;
    }
    let reported: u64 = all().map(|thread| thread.runtime_ns).sum();
    let threads = reported + log.silent.runtime_ns;
    let cpus: u64 = log.cpus.values().map(|cpu| cpu.thread_ns).sum();
    let ends = ended_threads(log) + usize::from(log.init_exit.is_some()) as u64 + log.silent.threads;
    let last_charges = ends * log.longest_charge_ns();
    let good = threads > 0 && threads <= cpus && cpus - threads <= last_charges;
    let seconds = |ns: u64| ns as f64 / 1e9;
    let text = format!("threads ran {:.6} s, CPUs gave threads {:.6} s", seconds(threads), seconds(cpus));
    verdict.note(good, format!("{text}, last charges of exited threads are up to {:.6} s", seconds(last_charges)));
}
