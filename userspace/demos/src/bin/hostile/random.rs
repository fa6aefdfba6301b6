//! Random submissions, while another thread writes what they point at, and the submission queue itself.
//!
//! Arguments: the number of submissions, and the seed.

use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use demos::{Findings, number, random::Random};
use tessera_rt::{
    CallError, Client, Timer,
    abi::ring::{Operation, SubmissionEntry},
    generated::interfaces::{scheduling_policy_cap, terminal, thread_control, thread_spawner, virtual_memory},
    ring::{self, Ring},
    start,
    thread::{self, Attributes},
};

use crate::raw::PAGE;

/// A seed that no run had before.
pub fn fresh_seed() -> Result<u64, CallError> {
    Ok(Timer::granted()?.now()?.now_ns)
}

fn one_of<T: Copy + Default>(random: &mut Random, list: &[T]) -> T {
    list.get(random.below(list.len() as u64) as usize).copied().unwrap_or_default()
}

/// Addresses and sizes at which kernels break: of the kernel, beyond what processors can name, at the ends of ranges.
const NUMBERS: [u64; 18] = [
    0,
    1,
    2,
    3,
    5,
    7,
    64,
    4095,
    4096,
    8192,
    1 << 20,
    1 << 40,
    (1 << 47) - 4096,
    1 << 47,
    0x8000_0000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_ffff_8020_0000,
    u64::MAX,
];

/// What submissions point at: two pages that another thread writes all the time.
static FLIPPED: Shared = Shared([const { AtomicU64::new(0) }; 1024]);
static STOP: AtomicBool = AtomicBool::new(false);
static ATTACKED_RING: AtomicU64 = AtomicU64::new(0);

#[repr(align(4096))]
struct Shared([AtomicU64; 1024]);

/// The ring is worth nothing afterwards: a thread of its own has it, and the first one looks at what became of it.
pub fn check(findings: &mut Findings) -> Result<(), CallError> {
    static DONE: AtomicU64 = AtomicU64::new(0);
    let (count, seed) = (number(1).unwrap_or(20_000), number(2).unwrap_or(1));
    let mut random = Random::new(!seed);
    FLIPPED.0.chunks(BLOCK).for_each(|block| write_block(block, &mut random));
    thread::spawn(Attributes::default(), move || submit_all(count, seed, &DONE))?.detach();
    while ATTACKED_RING.load(Ordering::Acquire) == 0 {
        tessera_rt::time::sleep(100_000)?;
    }
    thread::spawn(Attributes::default(), move || race(seed))?.detach();
    // Looks at each millisecond, not at the ring's: that one may lose completions.
    while DONE.load(Ordering::Acquire) < count {
        tessera_rt::time::sleep(1_000_000)?;
    }
    STOP.store(true, Ordering::Release);
    findings.equal("random submissions", DONE.load(Ordering::Acquire), count);
    Ok(())
}

fn submit_all(count: u64, seed: u64, done: &AtomicU64) -> i32 {
    let ring = ring::current();
    ATTACKED_RING.store(ring.address() as u64, Ordering::Release);
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for round in 0..count {
        let entry = random_entry(&mut random);
        // SAFETY: what the entry points at is shared memory that is never freed, or is not this program's. Entries that
        // could take this program's own code, stack or ring away are not made (see `is_spared`).
        let full = !is_spared(&entry) && unsafe { ring.submit(&entry) }.is_err();
        if full || round % 16 == 0 {
            // A corrupt ring is an error here, and nothing worse.
            let _ = enter(&ring, &mut random);
            while ring.complete().is_some() {}
        }
        done.fetch_add(1, Ordering::Release);
    }
    // Its end would need a ring that works.
    loop {
        let _ = ring.enter(128, u64::MAX);
        demos::work();
    }
}

fn enter(ring: &Ring, random: &mut Random) -> Result<u32, CallError> {
    ring.enter(one_of(random, &[0, 0, 0, 1, 128]), one_of(random, &[0, 1, 100_000]))
}

/// Writes what the other thread's submissions point at, and its submission queue, while the kernel reads them.
fn race(seed: u64) {
    let base = ATTACKED_RING.load(Ordering::Acquire) as usize;
    let mut random = Random::new(!seed);
    while !STOP.load(Ordering::Acquire) {
        for _ in 0..16 {
            let block = BLOCK * random.below(FLIPPED.0.len() as u64 / BLOCK as u64) as usize;
            write_block(FLIPPED.0.get(block..block + BLOCK).unwrap_or_default(), &mut random);
        }
        let place = ptr::with_exposed_provenance_mut::<u64>(base + PAGE as usize + random.below(512) as usize * 8);
        // SAFETY: a word of the submission queue, which is mapped as long as its thread lives. That the other thread
        // writes it as well is what is tried here; both write whole words, and nobody makes decisions from what is read.
        unsafe { AtomicU64::from_ptr(place) }.fetch_xor(random.number() & 0xff00_0000_0000_00f0, Ordering::Relaxed);
        // Where there is one CPU, the other one shall have it most of the time.
        if start::cpus() == 1 {
            let _ = tessera_rt::time::sleep(200_000);
        }
    }
}

/// Words of a message.
const BLOCK: usize = 8;

/// Mostly a message of random numbers as the kernel's interfaces take them: a segment table for six words or so, a pointer
/// to a struct of some of them, the numbers.
fn write_block(block: &[AtomicU64], random: &mut Random) {
    for word in block {
        word.store(one_of(random, &NUMBERS), Ordering::Relaxed);
    }
    if let ([table, root, ..], true) = (block, random.below(8) != 0) {
        table.store((2 + random.below(6)) << 32, Ordering::Relaxed);
        root.store(random.below(7) << 32 | random.below(2) << 48, Ordering::Relaxed);
    }
}

fn random_entry(random: &mut Random) -> SubmissionEntry {
    let grants = start::grants();
    let place = random.below(grants.len() as u64);
    let grant = grants.get(place as usize).copied().unwrap_or_default();
    let inside = FLIPPED.0.as_ptr().expose_provenance() as u64;
    let address = |random: &mut Random| match random.below(4) {
        0 => inside + random.below(512) * 8,
        1 => one_of(random, &NUMBERS),
        _ => inside + random.below(64) * 64,
    };
    let (is_call, is_wild) = (random.below(3) != 0, random.below(8) == 0);
    SubmissionEntry {
        operation: if is_call { Operation::Call as u8 } else { one_of(random, &[0_u8, 2, 3, 5, 6, 7, 255]) },
        flags: if is_wild { random.number() as u8 } else { 0 },
        method: if is_call { random.below(6) as u16 } else { 0 },
        params_len: one_of(random, &[0, 8, 16, 24, 64, 4096, u32::MAX]),
        handle: grant.handle ^ one_of(random, &[0, 0, 0, 1, 1 << 32]),
        user_data: random.number() >> 1,
        interface: if is_wild { random.number() } else { grant.interface },
        params: address(random),
        results: address(random),
        results_len: one_of(random, &[0, 8, 64, 256, 4096, 8192, u32::MAX]),
        capabilities: one_of(random, &[0, 1, 1 << 16, 2 << 16, 16, 17, 17 << 16, u32::MAX]),
        argument: address(random),
    }
}

/// Calls with which chance could end this program, take its memory away, or leave it a weight of 1 beside its victims: that
/// would end the test, not the kernel.
fn is_spared(entry: &SubmissionEntry) -> bool {
    let is_weight = entry.interface == scheduling_policy_cap::ID && entry.method == scheduling_policy_cap::SET_WEIGHT;
    is_weight || [thread_control::ID, thread_spawner::ID, virtual_memory::ID, terminal::ID].contains(&entry.interface)
}
