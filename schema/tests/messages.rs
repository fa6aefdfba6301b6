//! Messages survive both directions, agree with the generated readers, and hostile bytes are refused.

use proptest::prelude::*;
use tessera_schema::{
    generated::messages_capnp,
    message::{
        CONSOLE, CPU_WORDS, DecodeError, EncodeError, Exception, ExceptionKind, MethodId, Reply, Request, RequestError,
        SCHEDULING_POLICY, Snapshot, TIMER,
    },
};

const SNAPSHOT: Snapshot = Snapshot {
    weight: 128,
    class: 2,
    current_cpu: 3,
    runtime_ns: 4,
    virtual_runtime_ns: 5,
    runnable_ns: 6,
    voluntary_blocks: 7,
    preemptions: 8,
    migrations: 9,
    dispatches: 10,
    dispatches_outside: 11,
    longest_wait_ns: 12,
    longest_charge_ns: 13,
};

fn requests() -> Vec<Request<'static>> {
    vec![
        Request::ConsoleWrite { text: b"" },
        Request::ConsoleWrite { text: b"a line\n" },
        Request::TimerNow,
        Request::TimerSleep { deadline_ns: u64::MAX },
        Request::SetWeight { weight: 10_001 },
        Request::SetLatencyClass { class: 77 },
        Request::SetAffinity { cpus: [1, 2, 3, 4, 5, 6, 7, 1 << 63] },
        Request::Snapshot,
    ]
}

#[test]
fn every_request_survives_the_way_to_the_kernel() {
    let mut buffer = [0xff; 256];
    for request in requests() {
        let used = request.encode(&mut buffer).unwrap();
        assert_eq!(Request::decode(request.method(), &buffer[..used]), Ok(request));
    }
}

#[test]
fn every_reply_survives_the_way_to_the_program() {
    let mut buffer = [0xff; 256];
    for (request, reply) in [
        (Request::TimerNow, Reply::Now { now_ns: 42 }),
        (Request::Snapshot, Reply::Snapshot(SNAPSHOT)),
        (Request::SetWeight { weight: 1 }, Reply::Empty),
    ] {
        let used = reply.encode(&mut buffer).unwrap();
        assert_eq!(Reply::decode(request.method(), &buffer[..used]), Ok(reply));
    }
}

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
    let used = Request::SetAffinity { cpus: [0, 9, 0, 0, 0, 0, 0, 0] }.encode(&mut buffer).unwrap();
    assert_eq!(buffer[..used], built[..]);
}

#[test]
fn a_buffer_that_is_too_small_is_an_error_that_says_what_is_needed() {
    for size in 0..Reply::Snapshot(SNAPSHOT).encode(&mut [0; 256]).unwrap() {
        let outcome = Reply::Snapshot(SNAPSHOT).encode(&mut vec![0; size]);
        assert!(matches!(outcome, Err(EncodeError::BufferTooSmall { needed, available }) if needed > available));
    }
}

#[test]
fn unknown_methods_and_interfaces_are_told_apart() {
    for interface in [CONSOLE, TIMER, SCHEDULING_POLICY] {
        let id = MethodId { interface, method: 99 };
        let error = Request::decode(id, &[]).unwrap_err();
        assert_eq!(error, RequestError::UnknownMethod(id));
        assert_eq!(error.exception().unwrap().kind, ExceptionKind::Unimplemented);
    }
    let error = Request::decode(MethodId { interface: 1, method: 0 }, &[]).unwrap_err();
    assert_eq!(error, RequestError::UnknownInterface(1));
}

#[test]
fn a_mask_beyond_the_largest_cpu_is_refused_and_trailing_zero_words_are_not() {
    let id = Request::SetAffinity { cpus: [0; CPU_WORDS] }.method();
    for (last, expected) in
        [(0, Ok(Request::SetAffinity { cpus: [5, 0, 0, 0, 0, 0, 0, 0] })), (2, Err(RequestError::CpuOutOfRange(513)))]
    {
        let mut message = capnp::message::Builder::new_default();
        let root = message.init_root::<messages_capnp::set_affinity_params::Builder<'_>>();
        let mut words = root.init_words(9);
        words.set(0, 5);
        words.set(8, last);
        let bytes = capnp::serialize::write_message_to_words(&message);
        assert_eq!(Request::decode(id, &bytes), expected);
    }
}

#[test]
fn messages_of_two_segments_are_refused() {
    let mut bytes = vec![0; 32];
    bytes[0] = 1;
    bytes[4] = 1;
    bytes[8] = 1;
    let outcome = Request::decode(Request::TimerNow.method(), &bytes);
    assert_eq!(outcome, Err(RequestError::Malformed(DecodeError::NotOneSegment(2))));
}

fn decode_everything(bytes: &[u8]) {
    for request in requests() {
        let _ = Request::decode(request.method(), bytes);
        let _ = Reply::decode(request.method(), bytes);
    }
    let _ = Exception::decode(bytes);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        decode_everything(&bytes);
    }

    #[test]
    fn mutated_messages_never_panic(which in 0usize..8, place in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut buffer = [0; 256];
        let used = requests()[which].encode(&mut buffer).unwrap();
        buffer[place.index(used)] = value;
        decode_everything(&buffer[..used]);
        decode_everything(&buffer[..cut.index(used)]);
    }
}
