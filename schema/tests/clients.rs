//! The generated clients: what they submit, what they make of what comes back, and when they refuse it.

use std::cell::RefCell;
use tessera_abi::transfer::{COPY, TransferEntry};
use tessera_schema::{
    client::{Returned, Transport},
    generated::{
        clients::{CapabilityTable, Console, ParkSpace, ProcessSpawner, SchedulingPolicyCap, ThreadControl, Timer},
        interfaces::{console, process_spawner, scheduling_policy_cap as policy, thread_control, timer},
        messages::{ConsoleReadResults, Empty, SpawnParams, SpawnResults, TimerNowResults},
    },
    message::{DecodeError, EncodeError, Message, U64List},
};

#[derive(PartialEq, Eq, Debug)]
enum Error {
    Encode(EncodeError),
    Decode(DecodeError),
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    handle: u64,
    interface: u64,
    method: u16,
    params: Vec<u8>,
    lent: Vec<TransferEntry>,
    room: usize,
}

/// Answers every call alike, and remembers the last one.
struct Kernel {
    results: Vec<u8>,
    gives: Vec<u64>,
    seen: RefCell<Option<Seen>>,
}

impl Kernel {
    fn answering<'a>(results: &impl Message<'a>, gives: &[u64]) -> Self {
        let mut buffer = [0; 256];
        let length = results.encode(&mut buffer).unwrap();
        Self { results: buffer[..length].to_vec(), gives: gives.to_vec(), seen: RefCell::new(None) }
    }

    fn seen(&self) -> Seen {
        self.seen.borrow().clone().unwrap()
    }
}

impl Transport for &Kernel {
    type Error = Error;

    fn call(
        &self,
        handle: u64,
        interface: u64,
        method: u16,
        params: &[u8],
        lent: &[TransferEntry],
        results: &mut [u8],
        received: &mut [TransferEntry],
    ) -> Result<Returned, Error> {
        let (params, lent) = (params.to_vec(), lent.to_vec());
        *self.seen.borrow_mut() = Some(Seen { handle, interface, method, params, lent, room: received.len() });
        results[..self.results.len()].copy_from_slice(&self.results);
        for (entry, handle) in received.iter_mut().zip(&self.gives) {
            entry.handle = *handle;
        }
        Ok(Returned { length: self.results.len(), capabilities: self.gives.len() })
    }
}

#[test]
fn a_call_names_its_handle_interface_and_method_and_carries_its_parameters() {
    let kernel = Kernel::answering(&Empty {}, &[]);
    Console::new(&kernel, 7).write(b"a line\n").unwrap();
    let seen = kernel.seen();
    assert_eq!((seen.handle, seen.interface, seen.method), (7, console::ID, console::WRITE));
    let call = console::Call::decode(seen.method, &seen.params).unwrap();
    assert!(matches!(call, console::Call::Write(params) if params.text == b"a line\n"));
    assert_eq!((seen.lent, seen.room), (vec![], 0));
    assert_eq!(Console::<&Kernel>::INTERFACE, console::ID);
    assert_eq!(ParkSpace::new(&kernel, 9).handle(), 9);
}

#[test]
fn numbers_come_back_by_value_and_bytes_in_the_callers_buffer() {
    let kernel = Kernel::answering(&TimerNowResults { now_ns: 42 }, &[]);
    assert_eq!(Timer::new(&kernel, 1).now(), Ok(TimerNowResults { now_ns: 42 }));
    assert_eq!(kernel.seen().method, timer::NOW);

    let kernel = Kernel::answering(&ConsoleReadResults { bytes: b"typed" }, &[]);
    let mut buffer = [0; 64];
    assert_eq!(Console::new(&kernel, 1).read(5, &mut buffer), Ok(ConsoleReadResults { bytes: b"typed" }));
}

#[test]
fn a_capability_is_lent_only_by_the_method_that_says_so() {
    let kernel = Kernel::answering(&Empty {}, &[]);
    let policy = SchedulingPolicyCap::new(&kernel, 3);
    policy.set_affinity(U64List::new(&[5])).unwrap();
    assert_eq!(kernel.seen().lent, []);
    policy.set_affinity_of(11, U64List::new(&[5])).unwrap();
    let seen = kernel.seen();
    assert_eq!((seen.method, seen.lent), (policy::SET_AFFINITY, vec![TransferEntry { handle: 11, detail: COPY }]));
}

#[test]
fn given_capabilities_travel_as_they_are_and_results_bring_handles() {
    let kernel = Kernel::answering(&SpawnResults { process_id: 5 }, &[21]);
    let given = [TransferEntry::copied(1), TransferEntry::moved(2)];
    let params = SpawnParams { binary: "hog", name: "hog", ..Default::default() };
    let outcome = ProcessSpawner::new(&kernel, 3).spawn(&params, &given);
    assert_eq!(outcome, Ok((SpawnResults { process_id: 5 }, [21])));
    let seen = kernel.seen();
    assert_eq!((seen.lent, seen.room), (given.to_vec(), 1));
    assert_eq!(process_spawner::Call::decode(seen.method, &seen.params), Ok(process_spawner::Call::Spawn(params)));

    let kernel = Kernel::answering(&Empty {}, &[21, 22]);
    assert_eq!(CapabilityTable::new(&kernel, 3).revocable(&[TransferEntry::copied(1)]), Ok([21, 22]));
}

#[test]
fn another_number_of_capabilities_than_the_schema_says_is_an_error() {
    let kernel = Kernel::answering(&Empty {}, &[]);
    let outcome = ThreadControl::new(&kernel, 3).own_handle();
    assert_eq!(outcome, Err(Error::Decode(DecodeError::Capabilities { expected: 1, received: 0 })));
    assert_eq!(kernel.seen().method, thread_control::HANDLE);
}

#[test]
fn parameters_that_fit_no_message_are_refused_before_the_call() {
    let kernel = Kernel::answering(&Empty {}, &[]);
    let outcome = Console::new(&kernel, 3).write(&[0; 4096]);
    assert!(matches!(outcome, Err(Error::Encode(EncodeError::BufferTooSmall { available: 4096, .. }))));
    assert_eq!(*kernel.seen.borrow(), None);
}

#[test]
fn malformed_results_are_an_error() {
    let mut kernel = Kernel::answering(&Empty {}, &[]);
    kernel.results = vec![0xff; 24];
    assert!(matches!(Timer::new(&kernel, 3).now(), Err(Error::Decode(_))));
}
