//! Messages survive both directions, agree with the generated builders, and hostile bytes are refused.

use proptest::prelude::*;
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
fn messages_of_two_segments_are_refused() {
    let mut bytes = vec![0; 32];
    bytes[0] = 1;
    bytes[4] = 1;
    bytes[8] = 1;
    assert_eq!(Empty::decode(&bytes), Err(DecodeError::NotOneSegment(2)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        for (id, _) in interfaces::ALL {
            prop_assert!(interfaces::name(*id).is_some());
        }
        let _ = SpawnParams::decode(&bytes);
        let _ = Exception::decode(&bytes);
    }
}
