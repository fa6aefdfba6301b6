//! Whole runs on the test machine: manifest in, scripted programs under the real dispatcher in virtual time, output and
//! exit status out.

use crate::{
    cpu_loop::CpuLoop,
    elf, finish,
    kernel::Kernel,
    process::Ending,
    start::{Prepared, prepare},
    test_machine::{PoweredOff, Script, TestMachine, User},
};
use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use hal::{Access, BootInfo, CpuId, ExitStatus, Fault, FaultKind, SchedHal, SystemCall, Trap, VirtualAddress};
use kernel_core::sched::Next;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tessera_abi::{
    ring::{EXCEPTION, Operation, SubmissionEntry, TransportError},
    system_call::{CAP_ENTER, EXIT, WAIT_FOREVER},
    transfer::{COPY, counts},
};
use tessera_schema::{
    build,
    generated::{
        interfaces::{console, process_handle, process_spawner, scheduling_policy_cap as policy, timer},
        messages::{
            ConsoleWriteParams, ProcessEnding, SetAffinityParams, SetLatencyClassParams, SetWeightParams,
            SnapshotResults, SpawnParams, TimerSleepParams,
        },
    },
    message::{EncodeError, Exception, ExceptionKind, Message, U64List},
};

/// Runs programs until the machine is powered off.
fn run(machine: &'static TestMachine, command_line: &'static str) -> ExitStatus {
    run_beside(machine, command_line, &mut |_, _| ())
}

/// What other CPUs do before the only one of the test machine carries out a decision.
type Beside<'a> = &'a mut dyn FnMut(&'static Kernel<TestMachine>, Next);

/// Runs programs beside other CPUs until the machine is powered off.
fn run_beside(machine: &'static TestMachine, command_line: &'static str, beside: Beside<'_>) -> ExitStatus {
    let manifest = "[[program]]\nname = \"a\"\n[[program]]\nname = \"b\"\n";
    let source: build::ManifestSource = build::parse("test.toml", manifest).unwrap_or_else(|error| panic!("{error}"));
    let binaries: BTreeMap<String, Vec<u8>> = ["init", "a", "b"]
        .into_iter()
        .zip(0..)
        .map(|(name, at)| (name.into(), elf::tests::small_program(entry(at))))
        .collect();
    let initrd = build::build(&source, 1, &binaries).unwrap_or_else(|error| panic!("{error:?}")).leak();
    boot(machine, command_line, Some(initrd), beside)
}

fn entry(program: u64) -> u64 {
    0x20_0010 + program * 0x10
}

fn boot(
    machine: &'static TestMachine,
    command_line: &'static str,
    initrd: Option<&'static [u8]>,
    beside: Beside<'_>,
) -> ExitStatus {
    let memory = Vec::from([TestMachine::memory(4096)]).leak();
    let boot = BootInfo { command_line, initrd, memory };
    let end = catch_unwind(AssertUnwindSafe(|| match prepare(machine, &boot) {
        Ok(Prepared::Run(kernel)) => {
            attacks::remember(kernel);
            machine.set_pager(Box::new(|address| {
                let (process, _) = kernel.find_loaded().expect("a script runs");
                assert!(process.space.fault(address, Access::READ).is_ok(), "a script may not use {address}");
            }));
            let (mut cpu, mut next) = CpuLoop::begin(kernel, CpuId::BOOT);
            loop {
                beside(kernel, next);
                next = cpu.turn(next);
            }
        }
        Ok(Prepared::Conformance) => panic!("not asked for"),
        Err(error) => finish::refuse(machine, &error),
    }));
    match end.unwrap_err().downcast::<PoweredOff>() {
        Ok(off) => off.0,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn enter(min_complete: usize, timeout_ns: u64) -> Trap {
    Trap::SystemCall(SystemCall { number: CAP_ENTER, arguments: [min_complete, timeout_ns as usize, 0, 0] })
}

fn exit(code: i32) -> Trap {
    Trap::SystemCall(SystemCall { number: EXIT, arguments: [code as usize, 0, 0, 0] })
}

const PARAMS: usize = 8192;
const RESULTS: usize = 4096;

/// The handle of the grant with this interface.
fn handle(user: &User<'_>, interface: u64) -> u64 {
    let grants = core::mem::offset_of!(tessera_abi::start::StartPage, grants);
    (0..16)
        .map(|index| grants + index * size_of::<tessera_abi::start::Grant>())
        .find(|&at| user.start_page(at) == interface)
        .map_or(0, |at| user.start_page(at + 8))
}

/// A call of one of the objects that the tests use.
#[derive(Clone, Copy)]
enum Request<'a> {
    Console(console::Call<'a>),
    Timer(timer::Call),
    Policy(policy::Call<'a>),
    Spawner(process_spawner::Call<'a>),
    Process(process_handle::Call),
}

impl Request<'_> {
    fn encode(&self, buffer: &mut [u8]) -> Result<(u64, u16, usize), EncodeError> {
        Ok(match self {
            Self::Console(call) => (console::ID, call.method(), call.encode(buffer)?),
            Self::Timer(call) => (timer::ID, call.method(), call.encode(buffer)?),
            Self::Policy(call) => (policy::ID, call.method(), call.encode(buffer)?),
            Self::Spawner(call) => (process_spawner::ID, call.method(), call.encode(buffer)?),
            Self::Process(call) => (process_handle::ID, call.method(), call.encode(buffer)?),
        })
    }
}

fn write(text: &[u8]) -> Request<'_> {
    Request::Console(console::Call::Write(ConsoleWriteParams { text }))
}

fn sleep(deadline_ns: u64) -> Request<'static> {
    Request::Timer(timer::Call::Sleep(TimerSleepParams { deadline_ns }))
}

fn set_weight(weight: u16) -> Request<'static> {
    Request::Policy(policy::Call::SetWeight(SetWeightParams { weight }))
}

fn set_class(class: u16) -> Request<'static> {
    Request::Policy(policy::Call::SetLatencyClass(SetLatencyClassParams { class }))
}

fn set_affinity(words: &[u64]) -> Request<'_> {
    Request::Policy(policy::Call::SetAffinity(SetAffinityParams { words: U64List::new(words) }))
}

/// Writes the parameters and makes the submission that calls a method.
fn call_entry(user: &User<'_>, request: &Request<'_>, user_data: u64) -> SubmissionEntry {
    let mut params = [0; 256];
    let (interface, method, length) = request.encode(&mut params).unwrap();
    let at = user.stack(PARAMS - user_data as usize * 256);
    user.write(at, &params[..length]);
    SubmissionEntry {
        operation: Operation::Call as u8,
        method,
        params_len: length as u32,
        handle: handle(user, interface),
        user_data,
        interface,
        params: at,
        results: user.stack(RESULTS - user_data as usize * 256),
        results_len: 256,
        ..SubmissionEntry::default()
    }
}

/// A script from a list of steps, one per entry into user mode.
fn steps(list: Vec<Script>) -> Script {
    let mut list = list.into_iter();
    Box::new(move |user| list.next().expect("the script has ended but runs again")(user))
}

macro_rules! script {
    ($($step:expr),* $(,)?) => { steps(Vec::from([$(Box::new($step) as Script),*])) };
}

mod attacks;

/// Where the arrays of capabilities stand, and the bytes of one.
const ARRAYS: usize = 16384;
const ARRAY_BYTES: usize = 512;

/// A call of the capability with this handle.
fn call_of(user: &User<'_>, handle: u64, request: &Request<'_>, user_data: u64) -> SubmissionEntry {
    SubmissionEntry { handle, ..call_entry(user, request, user_data) }
}

/// Where the array of this submission stands.
fn array(user: &User<'_>, user_data: u64) -> u64 {
    user.stack(ARRAYS - user_data as usize * ARRAY_BYTES)
}

/// The submission that makes a process of a binary, with copies of the grants that have these interfaces.
fn spawn_entry(user: &User<'_>, binary: &str, weight: u16, grants: &[(&str, u64)], user_data: u64) -> SubmissionEntry {
    let names: Vec<&str> = grants.iter().map(|(name, _)| *name).collect();
    let names = names.join(" ");
    let params = SpawnParams { binary, name: binary, grant_names: &names, weight, ..Default::default() };
    let at = array(user, user_data);
    for (index, (_, interface)) in grants.iter().enumerate() {
        user.write(at + index as u64 * 16, &handle(user, *interface).to_ne_bytes());
        user.write(at + index as u64 * 16 + 8, &COPY.to_ne_bytes());
    }
    let entry = call_entry(user, &Request::Spawner(process_spawner::Call::Spawn(params)), user_data);
    SubmissionEntry { capabilities: counts(grants.len() as u16, 1), argument: at, ..entry }
}

/// The handle that the submission with this number got.
fn received(user: &User<'_>, user_data: u64) -> u64 {
    u64::from_ne_bytes(user.read(array(user, user_data), 1).try_into().unwrap())
}

/// The results that the submission with this number got.
fn results(user: &User<'_>, user_data: u64, status: i32) -> Vec<u8> {
    user.read(user.stack(RESULTS - user_data as usize * 256), status as usize / 8)
}

const START: Request<'_> = Request::Process(process_handle::Call::Start);
const WAIT: Request<'_> = Request::Process(process_handle::Call::Wait);

/// A script for `init` that spawns these programs with these grants, starts them together, waits for all, and exits.
fn spawning(programs: &'static [(&'static str, u16)], grants: &'static [(&'static str, u64)]) -> Script {
    let count = programs.len();
    script![
        move |user: &mut User<'_>| {
            for (user_data, (binary, weight)) in programs.iter().enumerate() {
                let entry = spawn_entry(user, binary, *weight, grants, user_data as u64);
                user.submit(&entry);
            }
            enter(count, WAIT_FOREVER)
        },
        move |user: &mut User<'_>| {
            for number in 0..count as u64 {
                let (user_data, status, flags, _) = user.completion(number);
                assert!(status > 0 && flags == 0, "spawn {user_data}: {status} {flags}");
                let process = received(user, user_data);
                for (request, user_data) in [(START, user_data + 8), (WAIT, user_data + 4)] {
                    let entry = call_of(user, process, &request, user_data);
                    user.submit(&entry);
                }
            }
            enter(3 * count, WAIT_FOREVER)
        },
        |_: &mut User<'_>| exit(0),
    ]
}

#[test]
fn a_program_calls_every_object_and_exits() {
    let machine = TestMachine::get();
    machine.set_script(
        entry(0) as usize,
        script![
            |user: &mut User<'_>| {
                for (number, request) in [
                    write(b"hello\n"),
                    Request::Timer(timer::Call::Now),
                    set_weight(128),
                    Request::Policy(policy::Call::Snapshot),
                ]
                .iter()
                .enumerate()
                {
                    let entry = call_entry(user, request, number as u64);
                    user.submit(&entry);
                }
                enter(0, 0)
            },
            |user: &mut User<'_>| {
                assert_eq!(user.result(), 4);
                for number in 0..4 {
                    let (user_data, status, flags, _) = user.completion(number);
                    assert_eq!((user_data, flags), (number, 0));
                    assert!(status > 0);
                }
                let snapshot = user.read(user.stack(RESULTS - 3 * 256), user.completion(3).1 as usize / 8);
                let snapshot = SnapshotResults::decode(&snapshot).unwrap();
                assert_eq!((snapshot.weight, snapshot.dispatches_outside), (128, 0));
                assert!(snapshot.runtime_ns > 0);
                user.make_progress();
                exit(0)
            },
        ],
    );
    assert_eq!(run(machine, ""), ExitStatus::Success);
    let output = machine.output();
    assert!(output.contains("\ninit.0: hello\n"), "{output}");
    assert!(output.contains("{\"tessera\":\"exit\",\"name\":\"init\",\"instance\":0,\"code\":0}\n"), "{output}");
    assert!(output.contains("\"progress\":1}"), "{output}");
    assert!(output.ends_with("\"reason\":\"all programs have exited\",\"status\":\"success\"}\n"), "{output}");
}

#[test]
fn bad_submissions_get_their_typed_error_and_change_nothing() {
    let machine = TestMachine::get();
    machine.set_script(
        entry(0) as usize,
        script![
            |user: &mut User<'_>| {
                let good = call_entry(user, &set_weight(100), 0);
                let bad = [
                    SubmissionEntry { operation: 9, ..good },
                    SubmissionEntry { flags: 1, ..good },
                    SubmissionEntry { handle: good.handle + 100, ..good },
                    SubmissionEntry { interface: timer::ID, ..good },
                    SubmissionEntry { params: 0xffff_8000_0000_0000, ..good },
                    SubmissionEntry { params: 0, ..good },
                    SubmissionEntry { results: 0x20_0000, ..good },
                    SubmissionEntry { params_len: 4097, ..good },
                    SubmissionEntry { params_len: 12, ..good },
                    SubmissionEntry { results_len: 8, ..good },
                    SubmissionEntry { method: 77, ..good },
                    call_entry(user, &set_weight(0), 1),
                    call_entry(user, &set_weight(10_001), 2),
                    call_entry(user, &set_affinity(&[2, 0, 0, 0, 0, 0, 0, 0]), 3),
                    call_entry(user, &set_affinity(&[0; 8]), 4),
                    call_entry(user, &set_class(4), 5),
                ];
                bad.iter().for_each(|entry| user.submit(entry));
                enter(0, 0)
            },
            |user: &mut User<'_>| {
                assert_eq!(user.result(), 16);
                let transport = [
                    TransportError::UnknownOperation,
                    TransportError::ReservedField,
                    TransportError::InvalidHandle,
                    TransportError::WrongInterface,
                    TransportError::BadParams,
                    TransportError::BadParams,
                    TransportError::BadResults,
                    TransportError::MessageTooLong,
                    TransportError::MalformedMessage,
                    TransportError::ResultsTooSmall,
                ];
                for (number, error) in transport.into_iter().enumerate() {
                    assert_eq!(user.completion(number as u64).1, -(error as i32), "{error:?}");
                }
                for number in 10..16 {
                    assert_eq!(user.completion(number).2, EXCEPTION);
                }
                for user_data in 1..6 {
                    let (_, status, _, _) = user.completion(10 + user_data as u64);
                    let bytes = user.read(user.stack(RESULTS - user_data * 256), status as usize / 8);
                    assert_eq!(Exception::decode(&bytes).unwrap().kind, ExceptionKind::InvalidArgument);
                }
                let entry = call_entry(user, &Request::Policy(policy::Call::Snapshot), 6);
                user.submit(&entry);
                enter(0, 0)
            },
            |user: &mut User<'_>| {
                let length = user.completion(16).1 as usize;
                let snapshot = user.read(user.stack(RESULTS - 6 * 256), length / 8);
                assert_eq!(SnapshotResults::decode(&snapshot).unwrap().weight, 10_000, "nothing was changed");
                exit(0)
            },
        ],
    );
    assert_eq!(run(machine, ""), ExitStatus::Success, "{}", machine.output());
}

#[test]
fn sleeps_complete_in_order_of_their_deadlines_and_timeouts_end_a_wait() {
    let machine = TestMachine::get();
    let woken_at = Arc::new(AtomicU64::new(0));
    let seen = woken_at.clone();
    machine.set_script(
        entry(0) as usize,
        script![
            |user: &mut User<'_>| {
                for (user_data, deadline_ns) in [(1, 30_000_000), (2, 10_000_000), (3, 0)] {
                    let entry = call_entry(user, &sleep(deadline_ns), user_data);
                    user.submit(&entry);
                }
                enter(2, WAIT_FOREVER)
            },
            move |user: &mut User<'_>| {
                woken_at.store(machine.now().as_nanos(), Ordering::Relaxed);
                assert_eq!(user.result(), 2);
                assert_eq!([0, 1].map(|number| user.completion(number).0), [3, 2], "a past deadline completes at once");
                enter(5, 5_000_000)
            },
            move |user: &mut User<'_>| {
                assert_eq!(user.result(), 2, "the time-out came before the third");
                enter(3, WAIT_FOREVER)
            },
            move |user: &mut User<'_>| {
                assert_eq!((user.result(), user.completion(2).0), (3, 1));
                enter(129, 0)
            },
            move |user: &mut User<'_>| {
                assert_eq!(user.result(), -2);
                exit(0)
            },
        ],
    );
    assert_eq!(run(machine, ""), ExitStatus::Success, "{}", machine.output());
    let woken = seen.load(Ordering::Relaxed);
    assert!((10_000_000..10_200_000).contains(&woken), "{woken}");
}

#[test]
fn a_fault_ends_one_program_and_the_rest_runs_on() {
    let machine = TestMachine::get();
    let fault = Fault { kind: FaultKind::Instruction, address: None, program_counter: VirtualAddress(0x20_0010) };
    machine.set_script(entry(0) as usize, spawning(&[("a", 0), ("b", 0)], &[]));
    machine.set_script(entry(1) as usize, script![move |_: &mut User<'_>| Trap::Fault(fault)]);
    let mut left = 1000;
    machine.set_script(
        entry(2) as usize,
        Box::new(move |user| {
            user.make_progress();
            left -= 1;
            if left == 0 { exit(0) } else { enter(0, 0) }
        }),
    );
    assert_eq!(run(machine, ""), ExitStatus::Success);
    let output = machine.output();
    assert!(output.contains("a.0 was ended: illegal or privileged instruction"), "{output}");
    assert!(output.contains("\"progress\":1000}"), "{output}");
}

#[test]
fn a_thread_that_is_ended_between_the_decision_for_it_and_its_first_instruction_is_retired() {
    let machine = TestMachine::get();
    machine.set_script(entry(0) as usize, spawning(&[("a", 0), ("b", 0)], &[]));
    machine.set_script(entry(1) as usize, script![|_: &mut User<'_>| enter(0, 0), |_: &mut User<'_>| exit(0)]);
    machine.set_script(entry(2) as usize, Box::new(|_| panic!("it was ended before it ran")));
    let mut ended = 0;
    let status = run_beside(machine, "seconds=4", &mut |kernel, next| {
        let Next::Run(id) = next else { return };
        let thread = kernel.thread(id).expect("it was decided for");
        if alloc::format!("{}", thread.process.name) == "b.0"
            && kernel.cpu(CpuId::BOOT).current() != Some(thread.index())
        {
            ended += 1;
            kernel.end_process(&thread.process, Ending::Killed);
        }
    });
    assert_eq!((status, ended), (ExitStatus::Success, 1), "{}", machine.output());
    // `init` waits for the end of both.
    assert!(machine.output().contains("\"reason\":\"all programs have exited\""), "{}", machine.output());
}

#[test]
fn a_cpu_that_has_nothing_to_do_sleeps_while_another_cleans_up() {
    let run = |is_cleaning: bool| {
        let machine = TestMachine::get();
        machine.set_script(entry(0) as usize, spawning(&[("a", 0)], &[]));
        machine.set_script(entry(1) as usize, script![|_: &mut User<'_>| exit(0)]);
        let mut broom = None;
        let status = run_beside(machine, "seconds=2", &mut |kernel, _| {
            if is_cleaning && broom.is_none() {
                broom = Some(kernel.broom.lock());
            }
        });
        assert_eq!(status, ExitStatus::Success, "{}", machine.output());
        machine.output()
    };
    assert!(run(false).contains("all programs have exited"));
    // Time passes on this machine only where a CPU sleeps or a program runs.
    assert!(run(true).contains("time is up"));
}

#[test]
fn a_nonzero_exit_code_makes_the_run_a_failure() {
    let machine = TestMachine::get();
    machine.set_script(entry(0) as usize, script![|_: &mut User<'_>| exit(-3)]);
    assert_eq!(run(machine, ""), ExitStatus::Failure);
    assert!(machine.output().contains("init.0 exited with code -3\n"));
}

/// Two hogs of these weights; answers what each has done when the time is up.
fn hogs(programs: &'static [(&'static str, u16)], command_line: &'static str) -> [u64; 2] {
    let machine = TestMachine::get();
    machine.set_script(entry(0) as usize, spawning(programs, &[]));
    let work = [0, 1].map(|_| Arc::new(AtomicU64::new(0)));
    for (program, work) in work.clone().into_iter().enumerate() {
        let script = move |_: &mut User<'_>| {
            work.fetch_add(1, Ordering::Relaxed);
            enter(0, 0)
        };
        machine.set_script(entry(program as u64 + 1) as usize, Box::new(script));
    }
    assert_eq!(run(machine, command_line), ExitStatus::Success);
    let output = machine.output();
    assert!(output.ends_with("\"reason\":\"time is up\",\"status\":\"success\"}\n"), "{output}");
    work.map(|work| work.load(Ordering::Relaxed))
}

#[test]
fn work_is_shared_by_weight_and_equal_weights_share_equally() {
    for policy in ["seconds=4 policy=wfq", "seconds=4 policy=eevdf"] {
        let [a, b] = hogs(&[("a", 192), ("b", 64)], policy);
        assert!((29 * b..31 * b).contains(&(10 * a)), "{policy}: {a} to {b}");
    }
    let [a, b] = hogs(&[("a", 64), ("b", 64)], "seconds=4");
    assert!((98 * b..102 * b).contains(&(100 * a)), "{a} to {b}");
}

#[test]
fn bad_boot_input_is_one_line_and_a_failure() {
    let line = |command_line, initrd| {
        let machine = TestMachine::get();
        assert_eq!(boot(machine, command_line, initrd, &mut |_, _| ()), ExitStatus::Failure);
        let output = machine.output();
        assert_eq!(output.lines().count(), 1, "{output}");
        output
    };
    assert!(line("bogus=1", None).starts_with("tessera: error: unknown key 'bogus'"));
    assert_eq!(line("", None), "tessera: error: there is no manifest: no initrd was given\n");
    assert!(line("", Some(b"garbage that is no message")).starts_with("tessera: error: "));
    let machine = TestMachine::get();
    assert_eq!(run(machine, "cpus=2"), ExitStatus::Failure);
    assert!(machine.output().starts_with("tessera: error: 2 CPUs were asked for"), "{}", machine.output());
}

#[test]
fn a_program_has_exactly_the_grants_that_it_was_given() {
    let machine = TestMachine::get();
    machine.set_script(entry(0) as usize, spawning(&[("a", 0)], &[("clock", timer::ID)]));
    machine.set_script(
        entry(1) as usize,
        script![|user: &mut User<'_>| {
            assert_eq!((handle(user, console::ID), handle(user, policy::ID)), (0, 0));
            assert_ne!(handle(user, timer::ID), 0);
            let grants = core::mem::offset_of!(tessera_abi::start::StartPage, grants);
            assert_eq!(user.start_page(grants + 16).to_ne_bytes(), *b"clock\0\0\0");
            exit(0)
        }],
    );
    assert_eq!(run(machine, ""), ExitStatus::Success, "{}", machine.output());
}

#[test]
fn who_waits_for_a_process_learns_how_it_ended() {
    let machine = TestMachine::get();
    machine.set_script(
        entry(0) as usize,
        script![
            |user: &mut User<'_>| {
                let spawn = spawn_entry(user, "a", 0, &[], 0);
                user.submit(&spawn);
                enter(1, WAIT_FOREVER)
            },
            |user: &mut User<'_>| {
                let process = received(user, 0);
                for (request, user_data) in [(WAIT, 1), (START, 2)] {
                    let entry = call_of(user, process, &request, user_data);
                    user.submit(&entry);
                }
                enter(3, WAIT_FOREVER)
            },
            |user: &mut User<'_>| {
                let (user_data, status, ..) = user.completion(2);
                assert_eq!(user_data, 1, "the wait completes last");
                let bytes = results(user, 1, status);
                let ending = ProcessEnding::decode(&bytes).unwrap();
                assert_eq!((ending.kind, ending.code.cast_signed(), ending.fault), (0, -7, ""));
                exit(0)
            },
        ],
    );
    machine.set_script(entry(1) as usize, script![|_: &mut User<'_>| exit(-7)]);
    // The program's own failure is the run's.
    assert_eq!(run(machine, ""), ExitStatus::Failure, "{}", machine.output());
}
