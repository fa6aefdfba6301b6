//! Messages survive both directions, agree with the generated builders, and hostile bytes are refused.

mod capnp_tool;

use capnp_tool::capnp;
use tessera_schema::{
    generated::{
        interfaces::{self, console, park_space, scheduling_policy_cap as policy, timer},
        messages::*,
        messages_capnp,
    },
    message::{CPU_WORDS, CallDecodeError, DecodeError, EncodeError, Exception, ExceptionKind, Message, U64List},
};

#[test]
fn every_exception_survives() {
    let mut buffer = [0xff; 128];
    for kind in ExceptionKind::ALL {
        let exception = Exception { kind, reason: "weight 0 is not in 1..=10000" };
        let used = exception.encode(&mut buffer).unwrap();
        assert_eq!(Exception::decode(&buffer[..used]), Ok(exception));
    }
}

#[test]
fn an_exception_of_an_unknown_kind_is_refused_by_its_number() {
    let mut buffer = [0; 64];
    let used = CapException { r#type: 77, reason: "" }.encode(&mut buffer).unwrap();
    assert_eq!(Exception::decode(&buffer[..used]), Err(DecodeError::UnknownEnumerant(77)));
}

#[test]
fn the_encoder_writes_what_the_generated_builder_writes() {
    let mut message = capnp::message::Builder::new_default();
    let mut root = message.init_root::<messages_capnp::cap_exception::Builder<'_>>();
    root.set_type(messages_capnp::cap_exception::Type::InvalidArgument);
    root.set_reason("why");
    let built = capnp::serialize::write_message_to_words(&message);
    let mut buffer = [0; 64];
    let used = Exception { kind: ExceptionKind::InvalidArgument, reason: "why" }.encode(&mut buffer).unwrap();
    assert_eq!(buffer[..used], built[..]);

    let mut message = capnp::message::Builder::new_default();
    let root = message.init_root::<messages_capnp::set_affinity_params::Builder<'_>>();
    let mut words = root.init_words(CPU_WORDS as u32);
    words.set(1, 9);
    let built = capnp::serialize::write_message_to_words(&message);
    let mut buffer = [0; 128];
    let used = SetAffinityParams { words: U64List::new(&[0, 9, 0, 0, 0, 0, 0, 0]) }.encode(&mut buffer).unwrap();
    assert_eq!(buffer[..used], built[..]);
}

#[test]
fn a_buffer_that_is_too_small_is_an_error_that_says_what_is_needed() {
    let snapshot = SnapshotResults { weight: 128, ..Default::default() };
    for size in 0..snapshot.encode(&mut [0; 256]).unwrap() {
        let outcome = snapshot.encode(&mut vec![0; size]);
        assert!(matches!(outcome, Err(EncodeError::BufferTooSmall { needed, available }) if needed > available));
    }
}

#[test]
fn unknown_methods_are_told_apart_from_malformed_parameters() {
    assert_eq!(timer::Call::decode(99, &[]), Err(CallDecodeError::UnknownMethod(99)));
    assert_eq!(park_space::Call::decode(0, &[]), Err(CallDecodeError::UnknownMethod(0)));
    assert!(matches!(timer::Call::decode(timer::NOW, &[]), Err(CallDecodeError::Malformed(_))));
    assert_eq!(interfaces::name(console::ID), Some("Console"));
    assert_eq!(interfaces::name(1), None);
}

#[test]
fn calls_survive_with_their_ordinal() {
    let mut buffer = [0xff; 256];
    for call in [
        policy::Call::SetWeight(SetWeightParams { weight: 10_001 }),
        policy::Call::SetAffinity(SetAffinityParams { words: U64List::new(&[1, 2, 1 << 63]) }),
        policy::Call::Snapshot,
    ] {
        let used = call.encode(&mut buffer).unwrap();
        assert_eq!(policy::Call::decode(call.method(), &buffer[..used]), Ok(call));
    }
}

#[test]
fn a_text_that_is_not_utf8_is_refused() {
    let mut buffer = [0; 64];
    let used = CapException { r#type: 0, reason: "why" }.encode(&mut buffer).unwrap();
    let place = buffer.windows(3).position(|window| window == b"why").unwrap();
    buffer[place] = 0xff;
    assert_eq!(CapException::decode(&buffer[..used]), Err(DecodeError::NotUtf8));
}

#[test]
fn a_list_of_structs_is_no_list_of_numbers() {
    // The list pointer says "structs, one word in all"; the tag behind it: one struct of one data word.
    let words: [u64; 5] = [4 << 32, 1 << 48, 1 | 7 << 32 | 1 << 35, 1 << 2 | 1 << 32, 5];
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    assert_eq!(SetAffinityParams::decode(&bytes), Err(DecodeError::NotNumbers));
}

#[test]
fn messages_of_two_segments_are_refused() {
    let mut bytes = vec![0; 32];
    bytes[0] = 1;
    bytes[4] = 1;
    bytes[8] = 1;
    assert_eq!(Empty::decode(&bytes), Err(DecodeError::NotOneSegment(2)));
}

#[test]
fn the_reference_implementation_reads_what_is_written_and_writes_what_is_read() {
    let params = SpawnParams {
        binary: "hog",
        name: "worker",
        grant_names: "console timer",
        affinity: U64List::new(&[5, 1 << 63]),
        instance: 3,
        weight: 10_000,
        request_ns: u64::MAX,
        capabilities: u32::MAX,
        ..Default::default()
    };
    let mut buffer = [0; 512];
    let used = params.encode(&mut buffer).unwrap();
    let text = capnp("decode", "messages.capnp", "SpawnParams", buffer[..used].to_vec());
    let shown = String::from_utf8(text.clone()).unwrap();
    for field in [
        "binary = \"hog\"",
        "name = \"worker\"",
        "grantNames = \"console timer\"",
        "affinity = [5, 9223372036854775808]",
        "instance = 3",
        "weight = 10000",
        "requestNs = 18446744073709551615",
        "capabilities = 4294967295",
    ] {
        assert!(shown.contains(field), "{field} is not in {shown}");
    }
    let written = capnp("encode", "messages.capnp", "SpawnParams", text);
    assert_eq!(SpawnParams::decode(&written), Ok(params));
}
