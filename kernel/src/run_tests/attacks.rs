//! Programs that mean harm, on the test machine: what they break is theirs, and everything that they had comes back.

use super::*;
use crate::{kernel::Kernel, process::Process};
use alloc::sync::Weak;
use core::cell::Cell;
use spin::Mutex;
use tessera_abi::{
    ring::RECEIVE_BYTES,
    transfer::{MOVE, TransferEntry},
};
use tessera_schema::generated::{
    interfaces::{endpoint, endpoint_factory, park_space, thread_control},
    messages::MintParams,
};

std::thread_local! {
    static KERNEL: Cell<Option<&'static Kernel<TestMachine>>> = const { Cell::new(None) };
}

/// Remembers the kernel that runs in this test.
pub(super) fn remember(kernel: &'static Kernel<TestMachine>) {
    KERNEL.set(Some(kernel));
}

fn kernel() -> &'static Kernel<TestMachine> {
    KERNEL.get().expect("a kernel runs")
}

/// The process with this program's name.
fn process_named(name: &str) -> Option<Weak<Process<TestMachine>>> {
    let mut after = 0;
    while let Some(process) = kernel().processes.next_after(after) {
        if &*process.name.program == name {
            return Some(Arc::downgrade(&process));
        }
        after = process.id;
    }
    None
}

/// An interface of no kernel object.
const FOREIGN: u64 = 0xf00d;
/// Where a receive's buffer stands, below the stack's end.
const RECEIVED: usize = 40_000;

/// A call with these bytes as parameters, which sends these capabilities and has room for one.
fn raw_call(
    user: &User<'_>,
    (handle, interface): (u64, u64),
    params: &[u8],
    sent: &[TransferEntry],
    user_data: u64,
) -> SubmissionEntry {
    let at = user.stack(PARAMS - user_data as usize * 256);
    user.write(at, params);
    for (index, entry) in sent.iter().enumerate() {
        user.write(array(user, user_data) + index as u64 * 16, &entry.handle.to_ne_bytes());
        user.write(array(user, user_data) + index as u64 * 16 + 8, &entry.detail.to_ne_bytes());
    }
    SubmissionEntry {
        operation: Operation::Call as u8,
        params_len: params.len() as u32,
        handle,
        user_data,
        interface,
        params: at,
        results: user.stack(RESULTS - user_data as usize * 256),
        results_len: 256,
        capabilities: counts(sent.len() as u16, 1),
        argument: array(user, user_data),
        ..SubmissionEntry::default()
    }
}

/// A receive with room for one capability.
fn receive(user: &User<'_>, handle: u64, user_data: u64) -> SubmissionEntry {
    SubmissionEntry {
        operation: Operation::Recv as u8,
        handle,
        user_data,
        results: user.stack(RECEIVED),
        results_len: RECEIVE_BYTES,
        capabilities: counts(0, 1),
        argument: array(user, user_data),
        ..SubmissionEntry::default()
    }
}

fn create_endpoint(user: &User<'_>, user_data: u64) -> SubmissionEntry {
    let mut params = [0; 64];
    let length = endpoint_factory::Call::Create.encode(&mut params).unwrap();
    let factory = (handle(user, endpoint_factory::ID), endpoint_factory::ID);
    raw_call(user, factory, &params[..length], &[], user_data)
}

fn mint(user: &User<'_>, server: u64, user_data: u64) -> SubmissionEntry {
    let mut params = [0; 64];
    let call = endpoint::Call::Mint(MintParams { interface: FOREIGN, badge: 7 });
    let length = call.encode(&mut params).unwrap();
    raw_call(user, (server, endpoint::ID), &params[..length], &[], user_data)
}

/// What the completion of this submission says: status and flags.
fn completion_of(user: &User<'_>, user_data: u64, among: u64) -> (i32, u32) {
    let found = (0..among).map(|number| user.completion(number)).find(|(found, ..)| *found == user_data);
    found.map(|(_, status, flags, _)| (status, flags)).expect("the submission is complete")
}

#[test]
fn nothing_of_an_ended_process_stays_although_it_and_its_thread_know_each_other() {
    let machine = TestMachine::get();
    machine.set_script(entry(0) as usize, spawning(&[("a", 0)], &[]));
    let seen = Arc::new(Mutex::new(None));
    let seen_by_program = seen.clone();
    machine.set_script(
        entry(1) as usize,
        script![move |_: &mut User<'_>| {
            *seen_by_program.lock() = process_named("a");
            exit(0)
        }],
    );
    assert_eq!(run(machine, ""), ExitStatus::Success, "{}", machine.output());
    let process = seen.lock().take().expect("the program ran");
    assert_eq!(process.strong_count(), 0);
}

#[test]
fn a_process_that_nobody_can_start_any_more_ends() {
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
                assert_eq!(kernel().processes.len(), 2);
                let handle = received(user, 0);
                let operation = Operation::Release as u8;
                user.submit(&SubmissionEntry { operation, handle, ..SubmissionEntry::default() });
                enter(99, 1_000_000)
            },
            |_: &mut User<'_>| {
                assert_eq!(kernel().processes.len(), 1);
                exit(0)
            },
        ],
    );
    assert_eq!(run(machine, ""), ExitStatus::Success, "{}", machine.output());
    assert!(machine.output().contains("a.0 was killed"), "{}", machine.output());
}

#[test]
fn calls_of_a_server_end_with_it_although_it_has_given_its_endpoint_away() {
    let machine = TestMachine::get();
    machine.set_script(
        entry(0) as usize,
        script![
            |user: &mut User<'_>| {
                for user_data in [0, 1] {
                    let create = create_endpoint(user, user_data);
                    user.submit(&create);
                }
                enter(2, WAIT_FOREVER)
            },
            |user: &mut User<'_>| {
                for (made, user_data) in [(0, 2), (1, 3)] {
                    let mint = mint(user, received(user, made), user_data);
                    user.submit(&mint);
                }
                enter(4, WAIT_FOREVER)
            },
            |user: &mut User<'_>| {
                let spawn = spawn_entry(user, "a", 0, &[("server", endpoint::ID), ("back", endpoint::ID)], 4);
                for (index, made) in [(0, 0), (1, 3)] {
                    user.write(array(user, 4) + index * 16, &received(user, made).to_ne_bytes());
                }
                user.submit(&spawn);
                enter(5, WAIT_FOREVER)
            },
            |user: &mut User<'_>| {
                let process = received(user, 4);
                let start = call_of(user, process, &START, 5);
                let wait = call_of(user, process, &WAIT, 6);
                let call = raw_call(user, (received(user, 2), FOREIGN), b"question", &[], 7);
                let receive = receive(user, received(user, 1), 8);
                for entry in [start, wait, call, receive] {
                    user.submit(&entry);
                }
                // Without its exception the call would wait for ever.
                enter(9, 1_000_000_000)
            },
            |user: &mut User<'_>| {
                let (status, flags) = completion_of(user, 7, 9);
                assert_eq!(flags, EXCEPTION);
                let bytes = results(user, 7, status);
                assert_eq!(Exception::decode(&bytes).unwrap().kind, ExceptionKind::Disconnected);
                assert!(completion_of(user, 8, 9).0 > 0, "the endpoint has arrived");
                exit(0)
            },
        ],
    );
    machine.set_script(
        entry(1) as usize,
        script![
            |user: &mut User<'_>| {
                let receive = receive(user, handle(user, endpoint::ID), 0);
                user.submit(&receive);
                enter(1, WAIT_FOREVER)
            },
            |user: &mut User<'_>| {
                let (_, status, ..) = user.completion(0);
                assert!(status > 0, "{status}");
                let moved = TransferEntry { handle: handle(user, endpoint::ID), detail: MOVE };
                let call = raw_call(user, (handle(user, FOREIGN), FOREIGN), b"yours", &[moved], 1);
                user.submit(&call);
                enter(0, 0)
            },
            |_: &mut User<'_>| exit(0),
        ],
    );
    assert_eq!(run(machine, ""), ExitStatus::Success, "{}", machine.output());
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    3,
    5,
    64,
    4096,
    8192,
    1 << 20,
    1 << 40,
    (1 << 47) - 4096,
    1 << 47,
    0x8000_0000_0000_0000,
    0xffff_ffff_8020_0000,
    u64::MAX - 4095,
    u64::MAX,
];

/// A submission of which each field is taken from what a program should not say, or from what it may. It never ends its
/// own thread, and never takes its own stack away.
fn random_entry(random: &mut Random, user: &User<'_>) -> SubmissionEntry {
    let grants = core::mem::offset_of!(tessera_abi::start::StartPage, grants);
    let grant = grants + random.below(14) * size_of::<tessera_abi::start::Grant>();
    let (interface, granted) = (user.start_page(grant), user.start_page(grant + 8));
    let forged = granted ^ random.one_of(&[0, 0, 0, 1, 1 << 32, 7 << 32]);
    let stack = user.stack(8 * (1 + random.below(7000)));
    let address = |random: &mut Random| match random.below(3) {
        0 => random.one_of(&NUMBERS),
        1 => stack & !4095,
        _ => stack,
    };
    // A message of one segment whose root has random data.
    let mut params = Vec::new();
    let words = 1 + random.below(7);
    params.extend([0_u32.to_ne_bytes(), (words as u32).to_ne_bytes()].concat());
    params.extend(((words as u64 - 1) << 32).to_ne_bytes());
    for _ in 1..words {
        let word = if random.below(4) == 0 { random.next() } else { random.one_of(&NUMBERS) };
        params.extend(word.to_ne_bytes());
    }
    let params_at = user.stack(60_000);
    user.write(params_at, &params);
    let is_call = random.below(3) > 0;
    let method = if interface == thread_control::ID { 1 } else { random.below(6) as u16 };
    let wild = random.below(8) == 0;
    SubmissionEntry {
        operation: if is_call { Operation::Call as u8 } else { random.one_of(&[0, 2, 3, 5, 6, 7, 255]) },
        flags: if wild { random.next() as u8 } else { 0 },
        method: if is_call { method } else { 0 },
        params_len: if random.below(4) == 0 { random.next() as u32 } else { params.len() as u32 },
        handle: forged,
        user_data: random.next(),
        interface: if wild { random.next() } else { interface },
        params: if random.below(4) == 0 { address(random) } else { params_at },
        results: address(random),
        results_len: random.one_of(&[0, 8, 64, 256, 4096, 8192, u32::MAX]),
        capabilities: random.one_of(&[0, 1, 1 << 16, 2 << 16, 16, 17, 17 << 16, u32::MAX]),
        argument: address(random),
    }
}

/// Interfaces with which a random call can end the program, or take pages away on which its script stands.
fn is_spared(entry: &SubmissionEntry) -> bool {
    use tessera_schema::generated::interfaces::{system_supervisor, terminal, thread_spawner};
    [terminal::ID, thread_spawner::ID, system_supervisor::ID, console::ID].contains(&entry.interface)
}

#[test]
fn random_submissions_bring_nothing_down() {
    const ROUNDS: usize = 400;
    for seed in [0x5eed_0001_u64, 0x5eed_0002, 0x5eed_0003] {
        let machine = TestMachine::get();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut rounds = 0;
        machine.set_script(
            entry(0) as usize,
            Box::new(move |user| {
                rounds += 1;
                if rounds > ROUNDS {
                    return exit(0);
                }
                assert!(handle(user, park_space::ID) != 0);
                for _ in 0..1 + random.below(63) {
                    let entry = random_entry(&mut random, user);
                    if !is_spared(&entry) {
                        user.submit(&entry);
                    }
                }
                user.read_all_completions();
                enter(random.one_of(&[0, 0, 0, 1]), 1000)
            }),
        );
        assert_eq!(run(machine, ""), ExitStatus::Success, "seed {seed:#x}: {}", machine.output());
        assert!(!machine.output().contains("violation"), "seed {seed:#x}: {}", machine.output());
    }
}
