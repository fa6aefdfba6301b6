//! Records of runs that never were, for tests.

use crate::{
    log::RunLog,
    records::{Boot, Cpu, CpuList, End, Thread},
};

/// A thread on CPU 0.
pub fn thread(id: u64, name: &str, weight: u32, runtime_ns: u64, at_ns: u64) -> Thread {
    Thread {
        at_ns,
        is_final: true,
        id,
        name: name.into(),
        cpu: Some(0),
        weight,
        class: "normal".into(),
        request_ns: 2_000_000,
        affinity: CpuList([0].into()),
        state: "queued".into(),
        runtime_ns,
        virtual_runtime_ns: runtime_ns * 64 / u64::from(weight),
        runnable_ns: at_ns - runtime_ns,
        longest_wait_ns: 1_000_000,
        most_passed_by: 1,
        longest_charge_ns: 2_000_000,
        dispatches: 10,
        dispatches_outside: 0,
        preemptions: 0,
        voluntary_blocks: 0,
        migrations: 0,
        progress: runtime_ns / 1000,
    }
}

/// A whole run on one CPU: each thread with its weight and its run time in nanoseconds, all on CPU 0.
pub fn fairness(threads: &[(&str, u32, u64)]) -> RunLog {
    let elapsed: u64 = threads.iter().map(|(_, _, runtime)| runtime).sum();
    let mut log = RunLog {
        boot: Some(Boot { machine: "test".into(), cpus: 1, policy: "wfq".into(), base_request_ns: 2_000_000 }),
        end: Some(End { at_ns: elapsed, reason: "time is up".into(), status: "success".into() }),
        ..RunLog::default()
    };
    for (id, (name, weight, runtime)) in (0..).zip(threads) {
        log.threads.insert(id, thread(id, name, *weight, *runtime, elapsed));
    }
    log.cpus.insert(
        0,
        Cpu {
            at_ns: elapsed,
            is_final: true,
            id: 0,
            elapsed_ns: elapsed,
            thread_ns: elapsed,
            interrupt_ns: 0,
            idle_ns: 0,
            paid_context_ns: 0,
            paid_fair_ns: elapsed,
            paid_unattributed_ns: 0,
            paid_idle_ns: 0,
            fires: 1,
            grid_fires: 1,
            kicks_received: 0,
            steals: 0,
            switches: 9,
            longest_charge_ns: 2_000_000,
        },
    );
    log
}
