//! Operations that must work, and values that must be refused by the capability.

use demos::{Findings, work};
use tessera_rt::{
    CallError, Client, Console, SchedulingPolicy, Timer,
    abi::scheduling::{DEFAULT_WEIGHT, LatencyClass},
    current_cpu,
    message::ExceptionKind,
    ring::{self, Ring},
};

/// A NOP gives its argument back.
pub fn nop(findings: &mut Findings) -> Result<(), CallError> {
    let ring = ring::current();
    ring.submit_nop(7, 42)?;
    ring.enter(1, u64::MAX)?;
    let completion = ring.complete();
    let good = completion.is_some_and(|entry| (entry.user_data, entry.status, entry.value) == (7, 0, 42));
    findings.check(good, format_args!("NOP gave {completion:?}"));
    Ok(())
}

/// A full submission queue is consumed in order.
pub fn many_outstanding(findings: &mut Findings) -> Result<(), CallError> {
    let ring = ring::current();
    let mut submitted = 0_u32;
    while ring.submit_nop(submitted, u64::from(submitted) * 3).is_ok() {
        submitted += 1;
    }
    ring.enter(submitted, u64::MAX)?;
    let in_order = take_in_order(ring);
    findings.check(
        submitted == 64 && in_order == 64,
        format_args!("{submitted} NOPs submitted, {in_order} completed in order"),
    );
    Ok(())
}

/// Takes all completions; gives how many stand where they should.
fn take_in_order(ring: Ring) -> u64 {
    let mut in_order = 0;
    while let Some(entry) = ring.complete() {
        in_order += u64::from(entry.user_data == in_order && entry.value == in_order * 3);
    }
    in_order
}

/// A call takes its own completion out of those that wait, and leaves the others in their order.
pub fn calls_among_others(findings: &mut Findings) -> Result<(), CallError> {
    let (ring, timer) = (ring::current(), Timer::granted()?);
    for number in 0..100_u32 {
        if ring.submission_room() == 0 {
            ring.enter(0, 0)?;
        }
        ring.submit_nop(number, u64::from(number) * 3)?;
        if number % 10 == 0 {
            timer.now()?;
        }
    }
    ring.enter(100, u64::MAX)?;
    let in_order = take_in_order(ring);
    findings.check(in_order == 100, format_args!("{in_order} of 100 NOPs among calls completed in order"));
    Ok(())
}

/// The clock does not run backward, and a sleep ends no sooner than its deadline.
pub fn time(findings: &mut Findings) -> Result<(), CallError> {
    let timer = Timer::granted()?;
    let first = timer.now()?.now_ns;
    work();
    let second = timer.now()?.now_ns;
    findings.check(second >= first, format_args!("the clock went from {first} to {second}"));
    let deadline = second + 20_000_000;
    timer.sleep(deadline)?;
    let woken = timer.now()?.now_ns;
    findings.check(woken >= deadline, format_args!("a sleep to {deadline} ended at {woken}"));
    timer.sleep(first)?;
    findings.check(true, format_args!("a deadline in the past"));
    Ok(())
}

/// What is set is what the snapshot reads; running and blocking are counted.
pub fn scheduling(findings: &mut Findings) -> Result<(), CallError> {
    let (policy, timer) = (SchedulingPolicy::granted()?, Timer::granted()?);
    let start = policy.snapshot()?;
    findings.check(start.weight == DEFAULT_WEIGHT, format_args!("the weight starts as {}", start.weight));
    findings.check(start.class == LatencyClass::Normal as u16, format_args!("the class starts as {}", start.class));
    policy.set_weight(1000)?;
    policy.set_latency_class(LatencyClass::Batch as u16)?;
    // A host that stops the machine may let a deadline pass before the thread blocks: then it sleeps again, for longer.
    for milliseconds in [5, 50, 500, 5_000] {
        timer.sleep(timer.now()?.now_ns + milliseconds * 1_000_000)?;
        if policy.snapshot()?.voluntary_blocks > start.voluntary_blocks {
            break;
        }
    }
    (0..2000).for_each(|_| work());
    let end = policy.snapshot()?;
    findings.check(end.weight == 1000, format_args!("a weight of 1000 reads {}", end.weight));
    findings.check(end.class == LatencyClass::Batch as u16, format_args!("class batch reads {}", end.class));
    findings.check(end.runtime_ns > start.runtime_ns, format_args!("the run time did not grow"));
    let blocks = end.voluntary_blocks - start.voluntary_blocks;
    findings.check(blocks > 0, format_args!("a sleep was not counted as a block"));
    findings.check(end.dispatches_outside == 0, format_args!("dispatches outside the mask"));
    let heavy = policy.snapshot()?;
    while policy.snapshot()?.runtime_ns < heavy.runtime_ns + 2_000_000 {
        work();
    }
    let later = policy.snapshot()?;
    let ran = later.runtime_ns - heavy.runtime_ns;
    let virtual_ran = later.virtual_runtime_ns - heavy.virtual_runtime_ns;
    let wanted = ran * 64 / 1000;
    findings.check(
        virtual_ran.abs_diff(wanted) <= 2,
        format_args!("weight 1000: {ran} ns of run time are {virtual_ran} virtual, not {wanted}"),
    );
    if let Some(cpu) = current_cpu() {
        let seen = policy.snapshot()?.current_cpu;
        let again = current_cpu();
        // The thread may move between the two looks, but not three times in this short a program on purpose.
        findings.check(seen == cpu || again == Some(seen), format_args!("CPU {cpu}, but the kernel says {seen}"));
    }
    policy.set_weight(DEFAULT_WEIGHT)?;
    policy.set_latency_class(LatencyClass::Normal as u16)
}

/// Values out of range are refused, never clamped.
pub fn out_of_range(findings: &mut Findings) -> Result<(), CallError> {
    let policy = SchedulingPolicy::granted()?;
    let before = policy.snapshot()?;
    let refused = |outcome| matches!(outcome, Err(CallError::Exception(ExceptionKind::InvalidArgument, _)));
    for weight in [0, 10_001, u16::MAX] {
        let outcome = policy.set_weight(weight);
        findings.check(refused(outcome), format_args!("weight {weight} gave {outcome:?}"));
    }
    for class in [4, u16::MAX] {
        let outcome = policy.set_latency_class(class);
        findings.check(refused(outcome), format_args!("class {class} gave {outcome:?}"));
    }
    let after = policy.snapshot()?;
    let unchanged = (before.weight, before.class) == (after.weight, after.class);
    findings.check(unchanged, format_args!("a refused value changed the thread"));
    let empty = Console::granted()?.write(b"");
    findings.check(empty.is_ok(), format_args!("an empty write gave {empty:?}"));
    Ok(())
}
