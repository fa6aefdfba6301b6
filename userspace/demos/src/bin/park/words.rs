//! What one word does.

use core::sync::atomic::{AtomicU32, Ordering};
use demos::Findings;
use tessera_rt::{
    CallError, Client, Timer,
    abi::ring::{ParkOutcome, TransportError},
    client::{MemoryFactory, MemoryObject, ParkSpace, SystemInspector, VirtualMemory},
    generated::messages::RangeParams,
    ring, shared,
    sync::{Channel, Semaphore},
    thread::{self, Attributes, JoinHandle},
};

pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    let (ring, timer, space) = (ring::current(), Timer::granted()?, ParkSpace::granted()?.handle());
    let word = AtomicU32::new(3);
    findings.equal("another value", ring.park(space, &word, 4, None)?, ParkOutcome::Differs);
    findings.equal("another value, late", ring.park(space, &word, 4, Some(0))?, ParkOutcome::Differs);
    findings.equal("a deadline that has passed", ring.park(space, &word, 3, Some(1))?, ParkOutcome::TimedOut);
    let deadline = timer.now()?.now_ns + 5_000_000;
    findings.equal("a deadline", ring.park(space, &word, 3, Some(deadline))?, ParkOutcome::TimedOut);
    let now = timer.now()?.now_ns;
    findings.check(now >= deadline, format_args!("a park until {deadline} ended at {now}"));
    findings.equal("nobody to wake", ring.unpark(space, &word, u32::MAX)?, 0);
    findings.refused("no ParkSpace", ring.park(timer.handle(), &word, 3, None), TransportError::WrongInterface);
    Ok(())
}

/// Threads that fall asleep one after the other are woken in this order, as many as was said.
pub fn order(findings: &mut Findings) -> Result<(), CallError> {
    const THREADS: u32 = 6;
    static WORD: AtomicU32 = AtomicU32::new(0);
    static WOKEN: Channel<u32, 16> = Channel::new();
    static ASLEEP: Semaphore = Semaphore::new(0);
    let (ring, space) = (ring::current(), ParkSpace::granted()?.handle());
    for number in 0..THREADS {
        let sleep = move || {
            ASLEEP.release();
            let outcome = ring::current().park(space, &WORD, 0, None);
            let _ = WOKEN.send(if outcome == Ok(ParkOutcome::Woken) { number } else { 99 });
        };
        let handle = thread::spawn(Attributes::default(), sleep)?;
        ASLEEP.acquire();
        wait_until_parked(&handle)?;
        handle.detach();
    }
    findings.equal("woken: none", ring.unpark(space, &WORD, 0)?, 0);
    let mut next = 0;
    for most in [1, 2, 9] {
        let expected = most.min(THREADS - next);
        findings.equal("how many were woken", ring.unpark(space, &WORD, most)?, expected);
        let mut woken: [Option<u32>; THREADS as usize] = [None; THREADS as usize];
        woken.iter_mut().take(expected as usize).for_each(|place| *place = WOKEN.receive());
        // Those of one unpark may tell it in any order.
        let all = (next..next + expected).all(|number| woken.contains(&Some(number)));
        findings.check(all, format_args!("{most} from {next} on were {woken:?}"));
        next += expected;
    }
    findings.equal("nobody is left", ring.unpark(space, &WORD, 9)?, 0);
    Ok(())
}

/// Waits until the kernel says that a thread waits for nothing but an unpark.
fn wait_until_parked(handle: &JoinHandle) -> Result<(), CallError> {
    let inspector = SystemInspector::granted()?;
    while inspector.why(handle.id(), &mut [0; 256])?.waits_for != "an unpark" {
        tessera_rt::time::sleep(100_000)?;
    }
    Ok(())
}

/// A park ends when its word is mapped no more, private or shared.
pub fn unmapped(findings: &mut Findings) -> Result<(), CallError> {
    let [memory] = MemoryFactory::granted()?.create(4096)?;
    let words = shared::map(&MemoryObject::from_handle(memory), 0, 4096)?;
    let again = shared::map(&MemoryObject::from_handle(memory), 0, 4096)?;
    let outcome = park_and_unmap(&words[7])?;
    findings.equal("a shared word", outcome, Some(ParkOutcome::Unmapped as u32));
    // The counterfactual: the same word where it is still mapped is as good as ever.
    findings.equal("its other mapping", again[7].load(Ordering::SeqCst), 0);
    findings.equal("nobody sleeps there", ring::current().unpark(ParkSpace::granted()?.handle(), &again[7], 9)?, 0);
    ring::current().release(memory)?;
    let private = shared::allocate(&VirtualMemory::granted()?, 4096)?;
    let outcome = park_and_unmap(&private[9])?;
    findings.equal("a private word", outcome, Some(ParkOutcome::Unmapped as u32));
    Ok(())
}

/// A thread parks on the word, and this one takes the word's page away. What the park gave.
fn park_and_unmap(word: &'static AtomicU32) -> Result<Option<u32>, CallError> {
    static OUTCOME: Channel<u32, 1> = Channel::new();
    let space = ParkSpace::granted()?.handle();
    let sleep = move || {
        let outcome = ring::current().park(space, word, 0, None);
        let _ = OUTCOME.send(outcome.map_or(99, |outcome| outcome as u32));
    };
    let handle = thread::spawn(Attributes::default(), sleep)?;
    wait_until_parked(&handle)?;
    let address = word.as_ptr().addr() as u64 & !4095;
    VirtualMemory::granted()?.unmap(&RangeParams { address, bytes: 4096 })?;
    let outcome = OUTCOME.receive();
    handle.join()?;
    Ok(outcome)
}
