//! Programs that mean harm, one for each role. The kernel must stay up, answer with a typed error, and take back all that
//! was used; whoever runs beside must not notice.
//!
//! Argument: the role, and for `random` the number of submissions and the seed.
#![no_std]
#![no_main]

use core::{
    hint, ptr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
use demos::{Findings, number};
use tessera_rt::{
    CallError, Client,
    abi::{
        limits::{ENDPOINTS, MAPPINGS},
        ring::{Operation, SubmissionEntry},
    },
    client::{EndpointFactory, MemoryFactory, ThreadSpawner, Timer, VirtualMemory},
    generated::{
        interfaces::{terminal, thread_control, thread_spawner, virtual_memory},
        messages::{AllocateParams, CreateThreadParams, RangeParams},
    },
    message::{ExceptionKind, U64List},
    println,
    ring::{self, Ring},
    start,
    thread::{self, Attributes},
};

tessera_rt::entry!(main);

const PAGE: u64 = 4096;
const READ_WRITE: u16 = 3;

fn main() -> i32 {
    let mut findings = Findings::default();
    let outcome = match start::argument(0) {
        Some("random") => random(&mut findings),
        Some("exhaust") => exhaust(&mut findings),
        Some("wild-thread") => wild_thread(),
        Some("victim") => victim(),
        role => {
            println!("no role {role:?}");
            return 2;
        }
    };
    if let Err(error) = outcome {
        findings.check(false, format_args!("{error}"));
    }
    findings.exit_code()
}

/// Numbers that look random; the seed is printed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_of<T: Copy + Default>(&mut self, list: &[T]) -> T {
        let place = self.next() % list.len().max(1) as u64;
        list.get(place as usize).copied().unwrap_or_default()
    }
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
static VICTIM_RING: AtomicU64 = AtomicU64::new(0);

#[repr(align(4096))]
struct Shared([AtomicU64; 1024]);

fn random(findings: &mut Findings) -> Result<(), CallError> {
    let (count, seed) = (number(1).unwrap_or(20_000), number(2).unwrap_or(1));
    println!("{count} random submissions, seed {seed}");
    let ring = ring::current();
    VICTIM_RING.store(ring.address() as u64, Ordering::Release);
    let racer = thread::spawn(Attributes::default(), race)?;
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut refused = 0;
    for round in 0..count {
        let entry = random_entry(&mut random);
        // SAFETY: what the entry points at is shared memory that is never freed, or is not this program's. Entries that
        // could take this program's own code, stack or ring away are not made (see `is_spared`).
        let full = !is_spared(&entry) && unsafe { ring.submit(&entry) }.is_err();
        if full || round % 16 == 0 {
            // A corrupt ring is an error here, and nothing worse.
            refused += u32::from(enter(&ring, &mut random).is_err());
            while ring.complete().is_some() {}
        }
        start::progress().fetch_add(1, Ordering::Relaxed);
    }
    STOP.store(true, Ordering::Release);
    let _ = enter(&ring, &mut random);
    // The racer shares this program's fate and needs no join: nobody waits for completions that are never read.
    racer.detach();
    findings.check(true, format_args!("{refused}"));
    Ok(())
}

fn enter(ring: &Ring, random: &mut Random) -> Result<u32, CallError> {
    ring.enter(random.one_of(&[0, 0, 0, 1, 128]), random.one_of(&[0, 1, 100_000]))
}

/// Writes what the other thread's submissions point at, and its submission queue, while the kernel reads them.
fn race() {
    let base = VICTIM_RING.load(Ordering::Acquire) as usize;
    let mut random = Random(0x1234_5678);
    while !STOP.load(Ordering::Acquire) {
        for word in &FLIPPED.0 {
            let value = random.one_of(&NUMBERS);
            word.store(value, Ordering::Relaxed);
        }
        let offset = PAGE as usize + (random.next() % 512) as usize * 8;
        let place = ptr::with_exposed_provenance_mut::<u64>(base + offset);
        // SAFETY: a word of the submission queue, which is mapped as long as the process lives. That the other thread
        // writes it as well is what is tried here; both write whole words, and nobody makes decisions from what is read.
        unsafe { AtomicU64::from_ptr(place) }.fetch_xor(random.next() & 0xff00_0000_0000_00f0, Ordering::Relaxed);
        hint::spin_loop();
    }
}

fn random_entry(random: &mut Random) -> SubmissionEntry {
    let grants = start::grants();
    let place = random.next() % grants.len().max(1) as u64;
    let grant = grants.get(place as usize).copied().unwrap_or_default();
    let inside = FLIPPED.0.as_ptr().expose_provenance() as u64 + random.next() % 4096;
    let address =
        |random: &mut Random| if random.next().is_multiple_of(2) { inside & !7 } else { random.one_of(&NUMBERS) };
    let is_call = !random.next().is_multiple_of(3);
    let wild = random.next().is_multiple_of(8);
    SubmissionEntry {
        operation: if is_call { Operation::Call as u8 } else { random.one_of(&[0_u8, 2, 3, 5, 6, 7, 255]) },
        flags: if wild { random.next() as u8 } else { 0 },
        method: if is_call { (random.next() % 6) as u16 } else { 0 },
        params_len: random.one_of(&[0, 8, 16, 24, 64, 4096, u32::MAX]),
        handle: grant.handle ^ random.one_of(&[0, 0, 0, 1, 1 << 32]),
        user_data: random.next() >> 1,
        interface: if wild { random.next() } else { grant.interface },
        params: address(random),
        results: address(random),
        results_len: random.one_of(&[0, 8, 64, 256, 4096, 8192, u32::MAX]),
        capabilities: random.one_of(&[0, 1, 1 << 16, 2 << 16, 16, 17, 17 << 16, u32::MAX]),
        argument: address(random),
    }
}

/// Calls with which chance could end this program, or take its memory away: that would end the test, not the kernel.
fn is_spared(entry: &SubmissionEntry) -> bool {
    let harmful = [thread_control::ID, thread_spawner::ID, virtual_memory::ID, terminal::ID];
    harmful.contains(&entry.interface)
}

/// Uses each limit up. At each the answer is `overloaded`, what was granted stays, and it can be given back.
fn exhaust(findings: &mut Findings) -> Result<(), CallError> {
    let memory = VirtualMemory::granted()?;
    let allocate = AllocateParams { bytes: PAGE, access: READ_WRITE };
    let (mut first, mut mappings) = (0, 0);
    let refused = loop {
        match memory.allocate(&allocate) {
            Ok(place) => {
                mappings += 1;
                first = if first == 0 { place.address } else { first };
                if mappings > MAPPINGS {
                    break None;
                }
            }
            Err(error) => break error.exception(),
        }
    };
    overloaded(findings, "mappings", mappings, refused);
    let place = ptr::with_exposed_provenance_mut::<u64>(first as usize);
    // SAFETY: the page was just mapped, and nobody else knows it.
    unsafe { place.write_volatile(0x600d) };
    // SAFETY: as above.
    let kept = unsafe { place.read_volatile() };
    findings.check(kept == 0x600d, format_args!("the first mapping holds {kept:#x}"));
    memory.unmap(&RangeParams { address: first, bytes: PAGE })?;
    findings.check(memory.allocate(&allocate).is_ok(), format_args!("what was given back is not there again"));

    let factory = EndpointFactory::granted()?;
    let mut endpoints = 0;
    let mut last = 0;
    let refused = loop {
        match factory.create() {
            Ok([handle]) => (endpoints, last) = (endpoints + 1, handle),
            Err(error) => break error.exception(),
        }
        if endpoints > ENDPOINTS as usize {
            break None;
        }
    };
    overloaded(findings, "endpoints", endpoints, refused);
    ring::current().release(last)?;
    findings.check(factory.create().is_ok(), format_args!("no endpoint after one was given back"));

    let objects = MemoryFactory::granted()?;
    let mut frames = 0;
    let refused = loop {
        match objects.create(256 * PAGE) {
            Ok(_) => frames += 256,
            Err(error) => break error.exception(),
        }
        if frames > 1 << 20 {
            break None;
        }
    };
    overloaded(findings, "frames", frames, refused);
    Ok(())
}

fn overloaded(findings: &mut Findings, what: &str, count: usize, refused: Option<ExceptionKind>) {
    let good = count > 0 && refused == Some(ExceptionKind::Overloaded);
    findings.check(good, format_args!("after {count} {what} the answer was {refused:?}"));
}

/// A thread whose stack is the kernel's: its first use of it ends the process.
fn wild_thread() -> Result<(), CallError> {
    let spawner = ThreadSpawner::granted()?;
    spawner.create(&CreateThreadParams {
        entry: main as fn() -> i32 as usize as u64,
        stack: 0xffff_ffff_8020_0000,
        argument: u64::MAX,
        tls_base: 0,
        affinity: U64List::EMPTY,
        weight: 0,
        class: 1,
        request_ns: 0,
    })?;
    let timer = Timer::granted()?;
    loop {
        timer.sleep(timer.now()?.now_ns + 1_000_000)?;
    }
}

/// Counts as long as its memory holds what it wrote.
fn victim() -> Result<(), CallError> {
    static DATA: [AtomicU32; 4096] = [const { AtomicU32::new(0) }; 4096];
    for (value, word) in (0..).zip(&DATA) {
        word.store(value, Ordering::Relaxed);
    }
    loop {
        let intact = (0..).zip(&DATA).all(|(value, word): (u32, _)| word.load(Ordering::Relaxed) == value);
        if !intact {
            println!("somebody has written my memory");
            return Ok(());
        }
        start::progress().fetch_add(1, Ordering::Relaxed);
    }
}
