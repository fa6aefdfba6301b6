//! Races: a second thread writes entries, indices and parameters while the kernel reads them, and takes the memory away
//! that they name. Every outcome is one that there is, and what was checked is what is used.

use crate::raw::{
    EMPTY, Encoded, FOREIGN, PAGE, READ, READ_WRITE, address, call, exception, is_typed, next, park, perform, submit,
    unpark, with_user_data,
};
use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
use demos::{Findings, random::Random};
use tessera_rt::{
    CallError, Client, SchedulingPolicy, Timer,
    abi::{
        ring::{CQ_ENTRIES, CompletionEntry, SQ_ENTRIES, SubmissionEntry, TransportError, header},
        system_call::SystemCallError,
    },
    client::{CapabilityTable, MemoryFactory, ParkSpace, VirtualMemory, copied},
    generated::{
        interfaces::{memory_object, scheduling_policy_cap, timer},
        messages::{AllocateParams, MapMemoryParams, MapMemoryResults, ProtectParams, RangeParams, SetWeightParams},
    },
    message::{ExceptionKind, Message},
    ring,
    thread::{self, Attributes, JoinHandle},
    time,
};

/// Set when the racer is to end.
static STOP: AtomicBool = AtomicBool::new(false);
/// The ring that is attacked; 0: not there yet.
static RING: AtomicU64 = AtomicU64::new(0);
static ENTERED: AtomicU32 = AtomicU32::new(0);
static COMPLETED: AtomicU32 = AtomicU32::new(0);
static CORRUPT: AtomicU32 = AtomicU32::new(0);
/// Outcomes that there are not.
static UNTYPED: AtomicU32 = AtomicU32::new(0);

/// The other side of a race: does it again and again until [`race_is_over`].
fn racer(seed: u64, mut once: impl FnMut(&mut Random) + Send + 'static) -> Result<JoinHandle, CallError> {
    thread::spawn(Attributes::default(), move || {
        let mut random = Random::new(seed);
        while !STOP.load(Ordering::Acquire) {
            once(&mut random);
            RACED.fetch_add(1, Ordering::Relaxed);
        }
    })
}

fn race_is_over(racer: JoinHandle) -> Result<(), CallError> {
    STOP.store(true, Ordering::Release);
    racer.join().map(drop)
}

/// How often an attacked ring is handed over, at least; and at most, until the racer was seen.
const HAND_OVERS: u32 = 600;
const MOST_HAND_OVERS: u32 = 100 * HAND_OVERS;
/// What the racer has done.
static RACED: AtomicU32 = AtomicU32::new(0);

/// Makes a thread whose ring is attacked.
fn attacked(timer: u64, is_enough: fn() -> bool) -> Result<(), CallError> {
    thread::spawn(Attributes::default(), move || hand_over(timer, is_enough))?.detach();
    while RING.load(Ordering::Acquire) == 0 {
        time::sleep(100_000)?;
    }
    Ok(())
}

/// Submits harmless entries, hands them over, and takes what comes; never relies on its ring, and ends with the process.
fn hand_over(timer: u64, is_enough: fn() -> bool) -> i32 {
    static RESULTS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
    let ring = ring::current();
    RING.store(ring.address() as u64, Ordering::Release);
    let now = call(timer, (timer::ID, timer::NOW), &EMPTY, &mut []);
    let now = SubmissionEntry { results: address(RESULTS.as_ptr()), results_len: 128, ..now };
    for round in 0..MOST_HAND_OVERS {
        if round >= HAND_OVERS && is_enough() {
            break;
        }
        for number in 0..16 {
            // SAFETY: the entries name statics alone.
            let _ = unsafe { ring.submit(&if number % 2 == 0 { now } else { SubmissionEntry::default() }) };
        }
        let counter = match ring.enter(0, 0) {
            Ok(_) => &ENTERED,
            Err(CallError::SystemCall(error)) if error == -(SystemCallError::CorruptRing as i32) => &CORRUPT,
            Err(_) => &UNTYPED,
        };
        counter.fetch_add(1, Ordering::SeqCst);
        for _ in 0..CQ_ENTRIES {
            let Some(completion) = ring.complete() else { break };
            COMPLETED.fetch_add(1, Ordering::SeqCst);
            UNTYPED.fetch_add(u32::from(!is_typed(&completion)), Ordering::SeqCst);
        }
    }
    STOP.store(true, Ordering::Release);
    let _ = ring.enter(CQ_ENTRIES, u64::MAX);
    loop {
        demos::work();
    }
}

/// A word of the attacked ring.
fn ring_word<T>(offset: usize) -> *mut T {
    ptr::with_exposed_provenance_mut(RING.load(Ordering::Acquire) as usize + offset)
}

fn store_word(offset: usize, value: u64) {
    // SAFETY: the offset is that of an aligned word of the ring, which is mapped as long as the process lives; the other
    // thread relies on none of them.
    unsafe { AtomicU64::from_ptr(ring_word(offset)) }.store(value, Ordering::Relaxed);
}

/// A copy of the timer that the attacked thread may lose.
fn timer_to_lose() -> Result<u64, CallError> {
    let [copy, revoker] = CapabilityTable::granted()?.revocable(&[copied(Timer::granted()?.handle())])?;
    ring::current().release(revoker)?;
    Ok(copy)
}

fn outcome(findings: &mut Findings, racer: JoinHandle) -> Result<(), CallError> {
    while !STOP.load(Ordering::Acquire) {
        time::sleep(1_000_000)?;
    }
    race_is_over(racer)?;
    findings.equal("outcomes that there are not", UNTYPED.load(Ordering::SeqCst), 0);
    let seen = ENTERED.load(Ordering::SeqCst) + CORRUPT.load(Ordering::SeqCst);
    findings.check(seen >= HAND_OVERS, format_args!("the ring was handed over {seen} times"));
    // The kernel is well, and so is everybody else's ring.
    findings.equal("a NOP of another thread", ring::current().nop(5)?, 5);
    Ok(())
}

/// Every field of the entries changes between the kernel's looks, if it looks twice.
pub fn entries(findings: &mut Findings) -> Result<(), CallError> {
    let copy = timer_to_lose()?;
    attacked(copy, || RACED.load(Ordering::Relaxed) > HAND_OVERS)?;
    let racer = racer(11, move |random| {
        let entry = PAGE + random.below(SQ_ENTRIES.into()) * 64;
        let foreign = FOREIGN[random.below(8) as usize];
        // The fields of `SubmissionEntry` as words: operation to length, handle, user data, interface, the rest.
        let (place, values) = match random.below(8) {
            0 => (0, [0, 1, 2, 5, 6, 0x10 << 32 | 1, u64::MAX]),
            1 => (1, [copy, 0, foreign, copy ^ 1 << 32, copy, copy, copy]),
            2 => (2, [0, 1, 2, 3, 4, 5, 6]),
            3 => (3, [timer::ID, 0, foreign, timer::ID, timer::ID, 1, timer::ID]),
            4 => (4, [foreign, address(EMPTY.as_ptr()), 0, 4, 8, foreign, address(EMPTY.as_ptr())]),
            5 => (5, [foreign, 0, address(EMPTY.as_ptr()), foreign, 4096, 0, 8]),
            6 => (6, [0, 128, 1 << 32, 16 << 48, u64::MAX, 128, 4096]),
            _ => (7, [0, foreign, 1, 0, foreign, 0, u64::MAX]),
        };
        store_word((entry + place * 8) as usize, values[random.below(7) as usize]);
    })?;
    outcome(findings, racer)?;
    let completed = COMPLETED.load(Ordering::SeqCst);
    findings.check(completed >= HAND_OVERS, format_args!("only {completed} completions"));
    Ok(())
}

/// The indices change while the kernel works by them. What makes no sense is refused, and a good ring goes on.
pub fn indices(findings: &mut Findings) -> Result<(), CallError> {
    attacked(timer_to_lose()?, || CORRUPT.load(Ordering::Relaxed) > 0)?;
    let racer = racer(12, |random| {
        let offset = [header::SQ_TAIL, header::CQ_HEAD, header::SQ_HEAD, header::CQ_TAIL][random.below(4) as usize];
        let value = [0, 1, 63, 64, 65, 128, 129, u32::MAX, 1 << 31][random.below(9) as usize];
        let value = value ^ if random.below(2) == 0 { random.number() as u32 } else { 0 };
        // SAFETY: the offset is that of an aligned word of the ring's header, which is mapped as long as the process
        // lives; the other thread relies on none of them.
        unsafe { AtomicU32::from_ptr(ring_word(offset)) }.store(value, Ordering::Relaxed);
    })?;
    outcome(findings, racer)?;
    let corrupt = CORRUPT.load(Ordering::SeqCst);
    findings.check(corrupt > 0, format_args!("no corrupt ring was seen"));
    Ok(())
}

/// Rounds of a race about parameters.
const ROUNDS: u32 = 400;

/// Parameters change between good and bad ones: what was checked is what is used.
pub fn parameters(findings: &mut Findings) -> Result<(), CallError> {
    weights(findings)?;
    lengths(findings)
}

/// The bytes of a message that another thread writes.
static PARAMETERS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// Puts the message there; gives its length.
fn share(message: &[u8]) -> u32 {
    for (word, bytes) in PARAMETERS.iter().zip(message.chunks(8)) {
        let mut value = [0; 8];
        value.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        word.store(u64::from_ne_bytes(value), Ordering::SeqCst);
    }
    message.len() as u32
}

fn shared_call(handle: u64, method: (u64, u16), length: u32, results: &mut [u8]) -> Result<CompletionEntry, CallError> {
    let entry = call(handle, method, &[], results);
    perform(&SubmissionEntry { params: address(PARAMETERS.as_ptr()), params_len: length, ..entry })
}

/// A weight that changes between a good and a bad one.
fn weights(findings: &mut Findings) -> Result<(), CallError> {
    const GOOD: u16 = 77;
    // The kernel checks what it has copied, and the copy may be torn: a low byte of a bad weight below the good one's high.
    const TORN: [u16; 2] = [20_000 & 0xff, 0xff];
    let policy = SchedulingPolicy::granted()?;
    let length = share(Encoded::of(&SetWeightParams { weight: GOOD })?.bytes());
    STOP.store(false, Ordering::Release);
    let racer = racer(13, |random| {
        let bad = [0, 20_000, 65_535][random.below(3) as usize];
        PARAMETERS[2].store(bad, Ordering::Relaxed);
        PARAMETERS[2].store(GOOD.into(), Ordering::Relaxed);
    })?;
    for _ in 0..ROUNDS {
        let mut results = [0; 128];
        let method = (scheduling_policy_cap::ID, scheduling_policy_cap::SET_WEIGHT);
        let completion = shared_call(policy.handle(), method, length, &mut results)?;
        let kind = exception(&completion, &results);
        let good = completion.status > 0 && matches!(kind, None | Some(ExceptionKind::InvalidArgument));
        findings.check(good, format_args!("a weight that changes gave {completion:?}, {kind:?}"));
        let weight = policy.snapshot()?.weight;
        let is_possible = [64, GOOD].contains(&weight) || TORN.contains(&weight);
        findings.check(is_possible, format_args!("the weight is {weight}"));
    }
    race_is_over(racer)
}

/// A length that changes between one page, all pages, and more than there are.
fn lengths(findings: &mut Findings) -> Result<(), CallError> {
    let [object] = MemoryFactory::granted()?.create(4 * PAGE)?;
    let length = share(Encoded::of(&MapMemoryParams { offset: 0, bytes: PAGE, access: READ_WRITE })?.bytes());
    STOP.store(false, Ordering::Release);
    let racer = racer(14, |random| {
        PARAMETERS[2].store([0, PAGE, u64::MAX - 4095][random.below(3) as usize], Ordering::Relaxed);
        PARAMETERS[3].store([PAGE, 4 * PAGE, 5 * PAGE, 1 << 40, 1][random.below(5) as usize], Ordering::Relaxed);
        PARAMETERS[4].store([READ, READ_WRITE, 7, 4][random.below(4) as usize].into(), Ordering::Relaxed);
    })?;
    for _ in 0..ROUNDS {
        let mut results = [0; 128];
        let completion = shared_call(object, (memory_object::ID, memory_object::MAP), length, &mut results)?;
        let kind = exception(&completion, &results);
        let good = completion.status > 0 && matches!(kind, None | Some(ExceptionKind::InvalidArgument));
        findings.check(good, format_args!("a mapping that changes gave {completion:?}, {kind:?}"));
        if kind.is_none() {
            let mapped = MapMemoryResults::decode(results.get(..completion.status as usize).unwrap_or_default())?;
            // It has one page or four, which nobody knows: the first one is touched, all stay until the end of the process.
            let first = ptr::with_exposed_provenance::<u32>(mapped.address as usize);
            // SAFETY: the page was just mapped, to be read at least, and nobody else knows it.
            let word = unsafe { first.read_volatile() };
            findings.equal("the first word of the memory", word, 0);
        }
    }
    race_is_over(racer)?;
    ring::current().release(object)
}

/// Where the memory stands that comes and goes; 0: nowhere.
static PLACE: AtomicU64 = AtomicU64::new(0);

/// Parameters, results and words to park on in memory that another thread protects and unmaps.
pub fn mappings(findings: &mut Findings) -> Result<(), CallError> {
    let (timer, space) = (Timer::granted()?.handle(), ParkSpace::granted()?.handle());
    static FAILED: AtomicU32 = AtomicU32::new(0);
    let racer = racer(15, |random| {
        FAILED.fetch_add(u32::from(come_and_go(random).is_err()), Ordering::SeqCst);
    })?;
    while PLACE.load(Ordering::Acquire) == 0 {
        time::sleep(100_000)?;
    }
    let (mut refused, mut parks) = (0, 0);
    for number in 0..400 * u64::from(ROUNDS) {
        if number >= 4 * u64::from(ROUNDS) && refused > 0 {
            break;
        }
        let place = PLACE.load(Ordering::Acquire);
        let now = call(timer, (timer::ID, timer::NOW), &EMPTY, &mut []);
        let entry = match number % 4 {
            0 => SubmissionEntry { params: place, results: place + 64, results_len: 128, ..now },
            1 => unpark(space, place + 512, 1),
            2 => SubmissionEntry { results: place + PAGE - 64, results_len: 128, ..now },
            _ => park(space, place + 512, 0),
        };
        parks += u32::from(number % 4 == 3);
        submit(&with_user_data(entry, number))?;
        ring::current().enter(0, 0)?;
        while let Some(completion) = ring::current().complete() {
            refused += ended(findings, &completion, &mut parks);
        }
    }
    race_is_over(racer)?;
    findings.equal("what the racer was refused", FAILED.load(Ordering::SeqCst), 0);
    findings.check(refused > 0, format_args!("no use of memory that was away was refused"));
    // What waits on words of the last mapping ends with it.
    VirtualMemory::granted()?.unmap(&RangeParams { address: PLACE.load(Ordering::Acquire), bytes: 2 * PAGE })?;
    while parks > 0 {
        ended(findings, &next()?, &mut parks);
    }
    Ok(())
}

/// Looks at an outcome; 1 if it is a refusal.
fn ended(findings: &mut Findings, completion: &CompletionEntry, parks: &mut u32) -> u32 {
    let errors =
        [TransportError::BadParams, TransportError::BadResults, TransportError::BadWord, TransportError::Overloaded];
    let is_refusal = errors.iter().any(|error| completion.status == -(*error as i32));
    findings
        .check(is_refusal || completion.status >= 0, format_args!("memory that comes and goes gave {completion:?}"));
    *parks -= u32::from(completion.user_data % 4 == 3);
    u32::from(is_refusal)
}

/// Maps two pages with a message at their beginning, protects them in every way, and takes them away.
fn come_and_go(random: &mut Random) -> Result<(), CallError> {
    let memory = VirtualMemory::granted()?;
    let address = memory.allocate(&AllocateParams { bytes: 2 * PAGE, access: READ_WRITE })?.address;
    let message = ptr::with_exposed_provenance_mut::<[u8; 16]>(address as usize);
    // SAFETY: the pages were just mapped, and nobody else knows them.
    unsafe { message.write(EMPTY) };
    let before = PLACE.swap(address, Ordering::AcqRel);
    if before != 0 {
        memory.unmap(&RangeParams { address: before, bytes: 2 * PAGE })?;
    }
    for _ in 0..random.below(6) {
        let access = [0, READ, READ_WRITE, 5][random.below(4) as usize];
        let first = random.below(2) * PAGE;
        memory.protect(&ProtectParams { address: address + first, bytes: PAGE, access })?;
    }
    Ok(())
}
