//! What each command does.

use crate::{screen::Screen, top};
use alloc::{string::String, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};
use services::shell::{
    command::{Command, HELP, Spawn, Tid},
    view::{self, CapabilityRow, ProcessRow, ThreadRow, Why},
};
use tessera_rt::{
    CallError, Client, SchedulingPolicy, Timer,
    abi::transfer::TransferEntry,
    client::{ProcessHandle, ProcessSpawner, SystemInspector, SystemSupervisor, copied},
    generated::messages::{NextCapabilityParams, SpawnParams, ThreadRecord},
    message::{CpuWords, U64List},
    ring, start,
};

/// Room for a record.
pub const RECORD_BYTES: usize = 512;

/// Programs that were started, so that each has a number of its own in reports.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// What a program that the operator starts is given, as far as the shell has it.
const GIVEN: [&str; 7] =
    ["console", "timer", "scheduling-policy", "thread-spawner", "thread-control", "park-space", "virtual-memory"];

/// Why a command was not carried out.
pub enum Failure {
    /// The terminal is gone.
    Screen(CallError),
    /// A call failed.
    Call(CallError),
    /// No process has this number.
    NoProcess(u64),
    /// No thread has this id.
    NoThread(Tid),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Screen(error) | Self::Call(error) => write!(f, "{error}"),
            Self::NoProcess(process) => write!(f, "there is no process {process}"),
            Self::NoThread(Tid { slot, generation: None }) => write!(f, "there is no thread {slot}"),
            Self::NoThread(Tid { slot, generation: Some(generation) }) => {
                write!(f, "there is no thread {slot}:{generation}")
            }
        }
    }
}

/// Carries a command out.
pub fn obey(command: Command<'_>, screen: &mut Screen) -> Result<(), Failure> {
    let mut lines = String::new();
    match command {
        Command::Nothing | Command::Exit => {}
        Command::Help => help(&mut lines),
        Command::Ps => list_all(&mut lines)?,
        Command::Top => return top::run(screen),
        Command::Caps(process) => list_capabilities(process, &mut lines)?,
        Command::Spawn(spawn) => start_program(&spawn, &mut lines)?,
        Command::Weight(thread, weight) => set_weight(thread, weight, &mut lines)?,
        Command::Affinity(thread, cpus) => set_affinity(thread, &cpus)?,
        Command::Kill(process) => kill(process)?,
        Command::Why(thread) => why(thread, &mut lines)?,
        Command::Resources => resources(&mut lines)?,
    }
    screen.show(&lines).map_err(Failure::Screen)
}

/// Adds a line.
macro_rules! line {
    ($lines:expr, $($argument:tt)*) => {
        $lines.push_str(&alloc::format!("{}\n", format_args!($($argument)*)))
    };
}

fn help(lines: &mut String) {
    for (form, meaning) in HELP {
        line!(lines, "{form:<60} {meaning}");
    }
}

fn list_all(lines: &mut String) -> Result<(), CallError> {
    let inspector = SystemInspector::granted()?;
    line!(lines, "{}", view::PROCESS_HEAD);
    let (mut buffer, mut after) = ([0; RECORD_BYTES], 0);
    loop {
        let process = inspector.next_process(after, &mut buffer)?;
        if process.found == 0 {
            break;
        }
        line!(lines, "{}", ProcessRow(&process));
        after = process.cursor;
    }
    line!(lines, "{}", view::THREAD_HEAD);
    each_thread(|thread| line!(lines, "{}", ThreadRow(thread)))
}

/// Shows `look` every thread.
pub fn each_thread(mut look: impl FnMut(&ThreadRecord<'_>)) -> Result<(), CallError> {
    let inspector = SystemInspector::granted()?;
    let (mut buffer, mut after) = ([0; RECORD_BYTES], 0);
    loop {
        let thread = inspector.next_thread(after, &mut buffer)?;
        if thread.found == 0 {
            return Ok(());
        }
        look(&thread);
        after = thread.cursor;
    }
}

/// The id of the thread that the operator means.
fn find(tid: Tid) -> Result<u64, Failure> {
    let mut found = None;
    each_thread(|thread| found = found.or(view::means(tid, thread.thread_id).then_some(thread.thread_id)))?;
    found.ok_or(Failure::NoThread(tid))
}

/// Whether there is a process with this number.
fn check_process(wanted: u64) -> Result<(), Failure> {
    let inspector = SystemInspector::granted()?;
    let (mut buffer, mut after) = ([0; RECORD_BYTES], 0);
    loop {
        let process = inspector.next_process(after, &mut buffer)?;
        if process.found == 0 {
            return Err(Failure::NoProcess(wanted));
        }
        if process.process_id == wanted {
            return Ok(());
        }
        after = process.cursor;
    }
}

fn list_capabilities(process_id: u64, lines: &mut String) -> Result<(), Failure> {
    check_process(process_id)?;
    let inspector = SystemInspector::granted()?;
    line!(lines, "{}", view::CAPABILITY_HEAD);
    let mut after = 0;
    loop {
        let record = inspector.next_capability(&NextCapabilityParams { process_id, after })?;
        if record.found == 0 {
            return Ok(());
        }
        line!(lines, "{}", CapabilityRow(&record));
        after = u64::from(record.slot) + 1;
    }
}

fn start_program(spawn: &Spawn<'_>, lines: &mut String) -> Result<(), CallError> {
    let spawner = ProcessSpawner::granted()?;
    let held = || GIVEN.into_iter().filter_map(|name| Some((name, start::granted(name)?)));
    let names: Vec<&str> = held().map(|(name, _)| name).collect();
    let given: Vec<TransferEntry> = held().map(|(_, grant)| copied(grant.handle)).collect();
    let params = SpawnParams {
        binary: spawn.name,
        name: spawn.name,
        arguments: spawn.arguments,
        grant_names: &names.join(" "),
        affinity: spawn.cpus.as_ref().map_or(U64List::EMPTY, |words| U64List::new(words)),
        instance: STARTED.fetch_add(1, Ordering::Relaxed),
        weight: spawn.weight.unwrap_or(0),
        class: spawn.class.unwrap_or_default() as u16,
        ..Default::default()
    };
    let (made, [handle]) = spawner.spawn(&params, &given)?;
    let started = ProcessHandle::from_handle(handle).start();
    ring::current().release(handle)?;
    started?;
    line!(lines, "process {} runs", made.process_id);
    Ok(())
}

/// Lends the thread's handle to `work`.
fn with_thread<T>(tid: Tid, work: impl FnOnce(u64) -> Result<T, CallError>) -> Result<T, Failure> {
    let [handle] = SystemSupervisor::granted()?.thread(find(tid)?)?;
    let done = work(handle);
    ring::current().release(handle)?;
    Ok(done?)
}

fn set_weight(tid: Tid, weight: u16, lines: &mut String) -> Result<(), Failure> {
    let policy = SchedulingPolicy::granted()?;
    let snapshot = with_thread(tid, |thread| {
        policy.set_weight_of(thread, weight)?;
        policy.snapshot_of(thread)
    })?;
    line!(lines, "its weight is {}", snapshot.weight);
    Ok(())
}

fn set_affinity(tid: Tid, cpus: &CpuWords) -> Result<(), Failure> {
    let policy = SchedulingPolicy::granted()?;
    with_thread(tid, |thread| policy.set_affinity_of(thread, U64List::new(cpus)))
}

fn kill(process: u64) -> Result<(), Failure> {
    check_process(process)?;
    let [handle] = SystemSupervisor::granted()?.process(process)?;
    let handle = ProcessHandle::from_handle(handle);
    // What comes next on the screen should find it gone.
    let killed = handle.kill().and_then(|()| handle.wait(&mut [0; RECORD_BYTES]).map(drop));
    ring::current().release(handle.handle())?;
    Ok(killed?)
}

fn why(tid: Tid, lines: &mut String) -> Result<(), Failure> {
    let (inspector, timer) = (SystemInspector::granted()?, Timer::granted()?);
    let mut buffer = [0; RECORD_BYTES];
    let results = inspector.why(find(tid)?, &mut buffer)?;
    if results.found == 0 {
        return Err(Failure::NoThread(tid));
    }
    let now_ns = timer.now()?.now_ns;
    line!(lines, "{}", Why { results: &results, now_ns });
    Ok(())
}

fn resources(lines: &mut String) -> Result<(), CallError> {
    let counts = SystemInspector::granted()?.resources()?;
    for (name, count) in [
        ("processes", counts.processes),
        ("threads", counts.threads),
        ("frames", counts.frames),
        ("committed frames", counts.committed_frames),
        ("capabilities", counts.capabilities),
        ("endpoints", counts.endpoints),
        ("parks", counts.parks),
        ("operations", counts.operations),
        ("memory objects", counts.memory_objects),
        ("timers", counts.timers),
    ] {
        line!(lines, "{name:<16} {count:>10}");
    }
    Ok(())
}
