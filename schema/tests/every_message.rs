//! Every message and every interface of the schema: values survive the way, bytes that mean harm are refused.
//!
//! What a message holds is found by probing: the encoding of its default says how many words and pointers it has, and
//! each pointer is tried as a text and as a list. So the tests know no field by name, and none can be forgotten.

use proptest::prelude::*;
use tessera_schema::{
    generated::{interfaces, messages},
    message::{CallDecodeError, DecodeError, Message},
};

/// The parts of a message that the tests write themselves.
#[derive(Clone, Debug)]
struct Wire {
    data: Vec<u64>,
    pointers: Vec<Pointer>,
}

#[derive(Clone, Debug)]
enum Pointer {
    Null,
    Bytes(Vec<u8>),
    Words(Vec<u64>),
}

impl Wire {
    fn bytes(&self) -> Vec<u8> {
        let first_list = 1 + self.data.len() + self.pointers.len();
        let mut words = vec![(self.data.len() as u64) << 32 | (self.pointers.len() as u64) << 48];
        words.extend(&self.data);
        words.resize(first_list, 0);
        for (index, pointer) in self.pointers.iter().enumerate() {
            let place = 1 + self.data.len() + index;
            let to = |end: usize| 1 | ((end - place - 1) as u64) << 2;
            match pointer {
                Pointer::Null => {}
                Pointer::Bytes(bytes) => {
                    words[place] = to(words.len()) | 2 << 32 | (bytes.len() as u64) << 35;
                    words.extend(bytes.chunks(8).map(little_endian));
                }
                Pointer::Words(list) => {
                    words[place] = to(words.len()) | 5 << 32 | (list.len() as u64) << 35;
                    words.extend(list);
                }
            }
        }
        let framing = (words.len() as u64) << 32;
        [framing].into_iter().chain(words).flat_map(u64::to_le_bytes).collect()
    }
}

/// Up to eight bytes as a word; missing ones are zero.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The words and pointers of `T`, each pointer with something that it can point at.
fn shape<'a, T: Message<'a> + Default>() -> (usize, Vec<Pointer>) {
    let mut buffer = [0; 1024];
    T::default().encode(&mut buffer).unwrap();
    let words = usize::from(u16::from_le_bytes([buffer[12], buffer[13]]));
    let count = usize::from(u16::from_le_bytes([buffer[14], buffer[15]]));
    let kinds = (0..count).map(|index| {
        let candidates = [Pointer::Bytes(b"text\0".to_vec()), Pointer::Words(vec![7])];
        let fitting = candidates.into_iter().find(|candidate| {
            let mut pointers = vec![Pointer::Null; count];
            pointers[index] = candidate.clone();
            let bytes = Wire { data: vec![0; words], pointers }.bytes().leak();
            T::decode(bytes).is_ok()
        });
        fitting.unwrap_or_else(|| panic!("pointer {index} takes neither text nor numbers"))
    });
    (words, kinds.collect())
}

/// Random content of the shape.
fn wire(words: usize, kinds: &[Pointer]) -> impl Strategy<Value = Wire> + use<> {
    let pointers = kinds.iter().map(|kind| match kind {
        Pointer::Words(_) => prop::collection::vec(any::<u64>(), 0..12).prop_map(Pointer::Words).boxed(),
        _ => "[ -~é]{0,40}".prop_map(|text: String| Pointer::Bytes((text + "\0").into_bytes())).boxed(),
    });
    let pointers: Vec<_> = pointers.map(|kind| prop_oneof![Just(Pointer::Null), kind].boxed()).collect();
    (prop::collection::vec(any::<u64>(), words), pointers).prop_map(|(data, pointers)| Wire { data, pointers })
}

/// One message's type, behind functions.
#[derive(Debug)]
struct Case {
    name: &'static str,
    shape: fn() -> (usize, Vec<Pointer>),
    survives: fn(&[u8]) -> Result<(), DecodeError>,
}

macro_rules! messages {
    ($($name:ident),* $(,)?) => {
        const MESSAGES: &[Case] = &[$(Case {
            name: stringify!($name),
            shape: shape::<messages::$name>,
            survives: |bytes| {
                let message = messages::$name::decode(bytes)?;
                let mut buffer = vec![0xff; bytes.len() + 1024];
                let length = message.encode(&mut buffer).expect("what was decoded fits");
                assert_eq!(messages::$name::decode(&buffer[..length]), Ok(message));
                Ok(())
            },
        }),*];
    };
}

messages! {
    AllocateParams, CapException, CapabilityRecord, ConsoleReadParams, ConsoleReadResults, ConsoleWriteParams,
    CreateMemoryParams, CreateThreadParams, CreateThreadResults, Empty, MapMemoryParams, MapMemoryResults, MemoryInfo,
    MintParams, NarrowSpawnerParams, NextCapabilityParams, NextParams, ProcessEnding, ProcessIdParams, ProcessInfo,
    ProcessRecord, ProtectParams, RangeParams, ResourceCounts, SetAffinityParams, SetLatencyClassParams,
    SetRequestParams, SetTlsBaseParams, SetWeightParams, SnapshotResults, SpawnParams, SpawnResults, ThreadEnding,
    ThreadExitParams, ThreadIdParams, ThreadRecord, TimerNowResults, TimerSleepParams, WhyResults,
}

/// Reads the bytes as a call of the interface's method; what is good can be encoded again, with the same ordinal.
type DecodeCall = fn(u16, &[u8]) -> Result<(), CallDecodeError>;

macro_rules! interfaces {
    ($($name:ident),* $(,)?) => {
        const INTERFACES: &[(u64, DecodeCall)] = &[$((interfaces::$name::ID, |method, bytes| {
            let call = interfaces::$name::Call::decode(method, bytes)?;
            assert_eq!(call.method(), method);
            let mut buffer = vec![0xff; bytes.len() + 1024];
            let length = call.encode(&mut buffer).expect("what was decoded fits");
            assert_eq!(interfaces::$name::Call::decode(method, &buffer[..length]), Ok(call));
            Ok(())
        })),*];
    };
}

interfaces! {
    capability_table, console, endpoint, endpoint_factory, memory_factory, memory_object, park_space, process_handle,
    process_spawner, read_only_memory, revoker, scheduling_policy_cap, system_inspector, system_supervisor, terminal,
    thread_control, thread_handle, thread_spawner, timer, virtual_memory,
}

fn decode_as_everything(bytes: &[u8]) {
    for case in MESSAGES {
        let _ = (case.survives)(bytes);
    }
    for (_, decode) in INTERFACES {
        for method in 0..6 {
            let _ = decode(method, bytes);
        }
    }
}

/// Random content of a random message's shape.
fn any_message() -> impl Strategy<Value = (&'static Case, Wire)> {
    (0..MESSAGES.len()).prop_flat_map(|index| {
        let case = &MESSAGES[index];
        let (words, kinds) = (case.shape)();
        wire(words, &kinds).prop_map(move |wire| (case, wire))
    })
}

#[test]
fn no_message_and_no_interface_of_the_schema_is_missing_here() {
    let schema = include_str!("../messages.capnp");
    let mut declared: Vec<_> = schema.lines().filter_map(|line| line.strip_prefix("struct ")).collect();
    declared.iter_mut().for_each(|line| *line = line.split(' ').next().unwrap());
    declared.sort_unstable();
    assert_eq!(MESSAGES.iter().map(|case| case.name).collect::<Vec<_>>(), declared);
    assert_eq!(
        INTERFACES.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        interfaces::ALL.iter().map(|(id, _)| *id).collect::<Vec<_>>()
    );
}

#[test]
fn a_method_beyond_the_last_is_unknown_in_every_interface() {
    for (_, decode) in INTERFACES {
        assert_eq!(decode(999, &[]), Err(CallDecodeError::UnknownMethod(999)));
    }
}

#[test]
fn a_pointer_out_of_the_message_or_of_the_wrong_kind_is_refused() {
    for case in MESSAGES {
        let (words, kinds) = (case.shape)();
        for (index, kind) in kinds.iter().enumerate() {
            let pointer_at = |pointer: Pointer| {
                let mut pointers = vec![Pointer::Null; kinds.len()];
                pointers[index] = pointer;
                Wire { data: vec![0; words], pointers }.bytes()
            };
            let wrong = match kind {
                Pointer::Words(_) => Pointer::Bytes(b"text\0".to_vec()),
                _ => Pointer::Words(vec![7]),
            };
            assert!((case.survives)(&pointer_at(wrong)).is_err(), "{} takes a wrong list at {index}", case.name);
            let place = 8 + (1 + words + index) * 8;
            for outside in
                [0x0000_8002_0000_0001, 0x0000_8005_0000_0001, 0xffff_ffff_ffff_fffd, 0x0000_0042_ffff_ff01, 3, 2]
            {
                let mut bytes = pointer_at(kind.clone());
                bytes[place..place + 8].copy_from_slice(&u64::to_le_bytes(outside));
                assert!((case.survives)(&bytes).is_err(), "{} takes {outside:#x} at {index}", case.name);
            }
        }
    }
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    for case in MESSAGES {
        let (data, pointers) = (case.shape)();
        let bytes = Wire { data: vec![u64::MAX; data], pointers }.bytes();
        assert_eq!((case.survives)(&bytes), Ok(()), "{}", case.name);
        for length in 0..bytes.len() {
            assert!((case.survives)(&bytes[..length]).is_err(), "{} takes {length} bytes", case.name);
        }
    }
}

proptest! {
    #[test]
    fn every_message_survives_at_every_alignment((case, wire) in any_message(), shift in 0usize..8) {
        let mut bytes = vec![0xa5; shift];
        bytes.extend(wire.bytes());
        prop_assert_eq!((case.survives)(&bytes[shift..]), Ok(()), "{}", case.name);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn mutated_messages_never_panic(
        (_, wire) in any_message(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = wire.bytes();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        decode_as_everything(&bytes);
        decode_as_everything(&bytes[..cut.index(bytes.len())]);
    }
}
