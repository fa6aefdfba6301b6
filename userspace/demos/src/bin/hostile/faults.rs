//! What ends a program: instructions and addresses that are not its own. And what must not.

use crate::warden::Warden;
use alloc::format;
use core::{hint, mem, ptr};
use demos::{Findings, number};
use tessera_rt::{
    CallError, Client,
    client::{ThreadSpawner, VirtualMemory},
    forbidden::{FORBIDDEN, HARMLESS},
    generated::messages::{AllocateParams, CreateThreadParams, ProtectParams},
    message::U64List,
    println, probe, start, thread,
};

use crate::raw::{EMPTY, FOREIGN, PAGE, READ, READ_WRITE};

/// Read and execute.
const READ_EXECUTE: u16 = 5;

/// A thing that ends whoever does it.
type Deed = fn() -> Outcome;
type Outcome = Result<(), CallError>;

const LOAD: &[&str] = &["page fault (load", "protection fault"];
const STORE: &[&str] = &["page fault (store", "protection fault"];
const FETCH: &[&str] = &["page fault (fetch", "protection fault"];
const NOT_EXECUTABLE: &[&str] = &["page fault (fetch, not allowed)"];
const NOT_WRITABLE: &[&str] = &["page fault (store, not allowed)"];
const GUARD: &[&str] = &["page fault (store, not mapped)"];
/// For the instructions of [`FORBIDDEN`].
const INSTRUCTION: &[&str] =
    &["protection fault", "illegal or privileged instruction", "unexpected breakpoint or step"];

/// Deeds, and what the kernel's words for each fault begin with: one of these.
const DEEDS: [(&str, &[&str], Deed); 15] = [
    ("load from foreign addresses", LOAD, || nowhere(load)),
    ("store to foreign addresses", STORE, || nowhere(store)),
    ("jump to foreign addresses", FETCH, || nowhere(jump)),
    ("write its code", NOT_WRITABLE, || store(main_address())),
    ("write its constants", NOT_WRITABLE, write_constants),
    ("jump into its stack", NOT_EXECUTABLE, || jump(hint::black_box([0xc3_u8; 16]).as_ptr().expose_provenance())),
    ("jump into its ring", NOT_EXECUTABLE, || jump(tessera_rt::ring::current().address() + PAGE as usize)),
    ("jump into its start page", NOT_EXECUTABLE, || jump(start::progress().as_ptr().expose_provenance())),
    ("write code that it has made", NOT_WRITABLE, write_made_code),
    ("execute code while it may be written", NOT_EXECUTABLE, execute_writable),
    ("read what it gave up", LOAD, read_what_is_gone),
    ("use its stack up", GUARD, use_stack_up),
    ("use a thread's stack up", GUARD, thread_overflow),
    ("start a thread with the kernel's stack", STORE, || wild_thread(0xffff_ffff_8020_0000)),
    ("start a thread with a stack that cannot be", STORE, || wild_thread(1 << 63)),
];

/// Lets a process do each deed, for every foreign address, and each instruction. Each must end by its fault.
pub fn check(findings: &mut Findings, warden: &Warden) -> Result<(), CallError> {
    for (place, (name, expected, _)) in DEEDS.iter().enumerate() {
        let times = if place < 3 { FOREIGN.len() } else { 1 };
        for number in 0..times {
            one(findings, warden, name, &format!("fault deed {place} {number}"), expected)?;
        }
    }
    for (place, (name, _)) in FORBIDDEN.iter().enumerate() {
        one(findings, warden, name, &format!("fault instruction {place}"), INSTRUCTION)?;
    }
    Ok(())
}

fn one(
    findings: &mut Findings,
    warden: &Warden,
    name: &str,
    arguments: &str,
    expected: &[&str],
) -> Result<(), CallError> {
    let child = warden.start(arguments)?;
    let mut buffer = [0; demos::child::ENDING_BYTES];
    let ending = child.process.wait(&mut buffer)?;
    let good = ending.kind == 1 && expected.iter().any(|words| ending.fault.starts_with(words));
    findings.check(good, format_args!("to {name} ended with {ending:?}, not by one of {expected:?}"));
    child.release()
}

/// Does the deed, or the instruction, that the arguments name. It comes back only if the kernel let it pass.
pub fn commit() -> i32 {
    let place = number(2).unwrap_or(u64::MAX) as usize;
    let outcome = match start::argument(1) {
        Some("deed") => DEEDS.get(place).map(|(_, _, deed)| deed()),
        Some("instruction") => FORBIDDEN.get(place).map(|(_, attempt)| {
            attempt();
            Ok(())
        }),
        _ => None,
    };
    println!("{} was survived: {outcome:?}", start::arguments());
    1
}

/// What changes only the program's own state.
pub fn harmless(findings: &mut Findings) -> Result<(), CallError> {
    for (name, attempt) in HARMLESS {
        attempt();
        let now = tessera_rt::time::now_ns();
        findings.check(now.is_some(), format_args!("no time after {name}"));
    }
    Ok(())
}

/// Does it to the foreign address whose number is the third argument.
fn nowhere(deed: fn(usize) -> Outcome) -> Outcome {
    let address = number(3).and_then(|place| FOREIGN.get(place as usize)).copied().unwrap_or_default();
    deed(address as usize)
}

fn write_constants() -> Outcome {
    let constant = EMPTY.as_ptr().expose_provenance();
    load(constant)?;
    store(constant)
}

fn main_address() -> usize {
    crate::main as fn() -> i32 as usize
}

fn load(address: usize) -> Outcome {
    // SAFETY: not safe at all, and meant so: the address may not be read, and the kernel ends the program here.
    hint::black_box(unsafe { ptr::with_exposed_provenance::<u8>(address).read_volatile() });
    Ok(())
}

fn store(address: usize) -> Outcome {
    // SAFETY: not safe at all, and meant so: the address may not be written, and the kernel ends the program here.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(0) };
    Ok(())
}

fn jump(address: usize) -> Outcome {
    // SAFETY: not safe at all, and meant so: the kernel ends the program at the first instruction there.
    let function: fn() = unsafe { mem::transmute(address) };
    function();
    Ok(())
}

/// A page that was written with whatever the program's own code begins with, and can be executed now.
fn made_code() -> Result<usize, CallError> {
    let memory = VirtualMemory::granted()?;
    let address = memory.allocate(&AllocateParams { bytes: PAGE, access: READ_WRITE })?.address;
    store(address as usize)?;
    memory.protect(&ProtectParams { address, bytes: PAGE, access: READ_EXECUTE })?;
    Ok(address as usize)
}

fn write_made_code() -> Result<(), CallError> {
    let address = made_code()?;
    load(address)?;
    store(address)
}

/// Takes the right to execute the page of `jump` itself away and returns into it.
fn execute_writable() -> Result<(), CallError> {
    let address = made_code()? as u64;
    VirtualMemory::granted()?.protect(&ProtectParams { address, bytes: PAGE, access: READ_WRITE })?;
    store(address as usize)?;
    jump(address as usize)
}

fn read_what_is_gone() -> Result<(), CallError> {
    let memory = VirtualMemory::granted()?;
    let address = memory.allocate(&AllocateParams { bytes: PAGE, access: READ })?.address;
    load(address as usize)?;
    memory.protect(&ProtectParams { address, bytes: PAGE, access: 0 })?;
    load(address as usize)
}

/// Uses the stack up. Not a tail call: each level reads its own array after the deeper ones.
fn descend(depth: u64) {
    let level = hint::black_box([depth; 64]);
    if hint::black_box(depth) < u64::MAX {
        descend(depth + 1);
    }
    hint::black_box(level[(depth % 64) as usize]);
}

fn use_stack_up() -> Outcome {
    descend(0);
    Ok(())
}

fn thread_overflow() -> Result<(), CallError> {
    thread::spawn(thread::Attributes::default(), || descend(0))?.join().map(drop)
}

/// Waits for the end that its thread's first use of the stack brings.
fn wild_thread(stack: u64) -> Result<(), CallError> {
    ThreadSpawner::granted()?.create(&CreateThreadParams {
        entry: push as fn() -> ! as usize as u64,
        stack,
        argument: u64::MAX,
        tls_base: 0,
        affinity: U64List::EMPTY,
        weight: 0,
        class: 1,
        request_ns: 0,
    })?;
    tessera_rt::time::sleep_until(u64::MAX - 1)
}

/// Uses its stack at once.
fn push() -> ! {
    descend(0);
    tessera_rt::exit(hint::black_box(probe::KERNEL_ADDRESS) as i32)
}
