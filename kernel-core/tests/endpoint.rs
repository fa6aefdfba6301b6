//! Endpoints: first come, first served, and each call ends exactly once.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::endpoint::{
    CallId, CallPlace, CallRefused, CallStep, Deliver, Endpoint, MOST_CALLS, MOST_RECEIVERS, NoSuchCall,
    ReceiveRefused, ReceiveStep, Receiver, ServerId,
};
use tessera_abi::limits::{ENDPOINT_IN_FLIGHT, ENDPOINT_QUEUE, ENDPOINT_RECEIVERS};

type Numbers = Endpoint<u32, u32>;

const SERVER: ServerId = ServerId(1);
const OTHER: ServerId = ServerId(2);

fn endpoint() -> Numbers {
    Endpoint::new().expect("memory")
}

fn by(server: ServerId, token: u32) -> Receiver<u32> {
    Receiver { token, server }
}

/// Makes a call that a receiver gets at once.
fn delivered(endpoint: &mut Numbers, caller: u32, server: ServerId) -> Deliver<u32, u32> {
    assert_eq!(endpoint.receive(by(server, caller)), Ok(ReceiveStep::Waiting));
    match endpoint.call(caller) {
        Ok(CallStep::Deliver(deliver)) => deliver,
        other => panic!("not delivered: {other:?}"),
    }
}

#[test]
fn a_call_meets_a_receiver_that_waits_and_a_receiver_a_call() {
    let mut endpoint = endpoint();
    let first = delivered(&mut endpoint, 1, SERVER);
    assert_eq!((first.caller, first.receiver), (1, by(SERVER, 1)));
    assert_eq!(endpoint.call(2), Ok(CallStep::Queued));
    let Ok(ReceiveStep::Deliver(second)) = endpoint.receive(by(SERVER, 9)) else { panic!("a call waits") };
    assert_eq!((second.caller, second.receiver.token), (2, 9));
    assert_ne!(first.id, second.id);
    assert_eq!((endpoint.queued(), endpoint.receiving(), endpoint.in_flight()), (0, 0, 2));
    assert_eq!(endpoint.answer(second.id, SERVER), Ok(2));
    assert_eq!(endpoint.answer(first.id, SERVER), Ok(1));
    assert!(endpoint.is_idle());
}

#[test]
fn only_the_server_that_received_a_call_answers_it_and_only_once() {
    let mut endpoint = endpoint();
    let Deliver { id, .. } = delivered(&mut endpoint, 1, SERVER);
    assert_eq!(endpoint.answer(id, OTHER), Err(NoSuchCall(id)));
    for raw in [0, u64::MAX, id.to_raw() + 1, id.to_raw() + 256] {
        let invented = CallId::from_raw(raw);
        assert_eq!(endpoint.answer(invented, SERVER), Err(NoSuchCall(invented)));
    }
    assert_eq!(endpoint.answer(id, SERVER), Ok(1));
    assert_eq!(endpoint.answer(id, SERVER), Err(NoSuchCall(id)));
    let next = delivered(&mut endpoint, 2, SERVER);
    assert_eq!(endpoint.answer(id, SERVER), Err(NoSuchCall(id)), "the place lives again, the id does not");
    assert_eq!(endpoint.answer(next.id, SERVER), Ok(2));
}

#[test]
fn each_store_is_bounded_and_refuses_without_loss() {
    let mut endpoint = endpoint();
    for caller in 0..ENDPOINT_IN_FLIGHT as u32 {
        let _ = delivered(&mut endpoint, caller, SERVER);
    }
    for token in 0..ENDPOINT_RECEIVERS as u32 {
        assert_eq!(endpoint.receive(by(SERVER, token)), Ok(ReceiveStep::Waiting));
    }
    assert_eq!(endpoint.receive(by(SERVER, 0)), Err(ReceiveRefused::Overloaded));
    for caller in 0..ENDPOINT_QUEUE as u32 {
        assert_eq!(endpoint.call(caller), Ok(CallStep::Queued), "no record is free");
    }
    assert_eq!(endpoint.call(0), Err(CallRefused::Overloaded));
    let counts = (endpoint.queued(), endpoint.receiving(), endpoint.in_flight());
    assert_eq!(counts, (ENDPOINT_QUEUE, ENDPOINT_RECEIVERS, ENDPOINT_IN_FLIGHT));
}

#[test]
fn a_freed_place_delivers_the_next_call() {
    let mut endpoint = endpoint();
    let mut last = delivered(&mut endpoint, 0, SERVER);
    for caller in 1..ENDPOINT_IN_FLIGHT as u32 {
        last = delivered(&mut endpoint, caller, SERVER);
    }
    assert_eq!(endpoint.receive(by(SERVER, 500)), Ok(ReceiveStep::Waiting));
    assert_eq!(endpoint.call(1000), Ok(CallStep::Queued));
    assert_eq!(endpoint.next_delivery(), None);
    assert!(endpoint.answer(last.id, SERVER).is_ok());
    let next = endpoint.next_delivery().expect("both wait and a place is free");
    assert_eq!((next.caller, next.receiver.token), (1000, 500));
    assert_eq!(endpoint.next_delivery(), None);
}

#[test]
fn a_delivery_that_failed_puts_back_whoever_was_not_at_fault() {
    let mut endpoint = endpoint();
    let deliver = delivered(&mut endpoint, 1, SERVER);
    assert_eq!(endpoint.call(2), Ok(CallStep::Queued));
    assert_eq!(endpoint.undo_delivery(deliver.id), Ok(1));
    assert_eq!(endpoint.undo_delivery(deliver.id), Err(NoSuchCall(deliver.id)));
    assert_eq!(endpoint.requeue_front(1), Ok(()));
    let Ok(ReceiveStep::Deliver(again)) = endpoint.receive(by(SERVER, 8)) else { panic!("calls wait") };
    assert_eq!(again.caller, 1, "it has not lost its turn");
    assert_eq!(endpoint.undo_delivery(again.id), Ok(1));
    assert_eq!(endpoint.put_receiver_back(again.receiver), Ok(()));
    let next = endpoint.next_delivery().expect("the second call waits");
    assert_eq!((next.caller, next.receiver.token), (2, 8));
}

#[test]
fn what_is_put_back_has_a_place_on_top_of_full_queues_and_no_more() {
    let mut endpoint = endpoint();
    let deliveries: Vec<_> =
        (0..ENDPOINT_IN_FLIGHT as u32).map(|caller| delivered(&mut endpoint, caller, SERVER)).collect();
    (0..ENDPOINT_QUEUE as u32).for_each(|caller| assert_eq!(endpoint.call(100 + caller), Ok(CallStep::Queued)));
    assert_eq!(endpoint.requeue_front(1000), Err(CallRefused::Overloaded), "it was never in flight");
    for deliver in deliveries.iter().rev() {
        assert_eq!(endpoint.undo_delivery(deliver.id), Ok(deliver.caller));
        assert_eq!(endpoint.requeue_front(deliver.caller), Ok(()));
    }
    assert_eq!(endpoint.requeue_front(1000), Err(CallRefused::Overloaded));
    assert_eq!((endpoint.queued(), endpoint.in_flight()), (MOST_CALLS, 0));
    let (mut calls, mut receivers) = (Vec::new(), 0);
    while endpoint.put_receiver_back(by(SERVER, 0)).is_ok() {
        receivers += 1;
    }
    assert_eq!(receivers, MOST_RECEIVERS);
    endpoint.close(&mut |caller| calls.push(caller), &mut |_| receivers -= 1);
    assert!(calls.into_iter().eq((0..64).chain(100..164)) && receivers == 0);
}

#[test]
fn a_call_is_cancelled_wherever_it_is() {
    let mut endpoint = endpoint();
    let deliver = delivered(&mut endpoint, 1, SERVER);
    assert_eq!(endpoint.call(2), Ok(CallStep::Queued));
    assert_eq!(endpoint.cancel_call(|&caller| caller == 2), Some(CallPlace::Queued));
    let in_flight = CallPlace::InFlight { id: deliver.id, server: SERVER };
    assert_eq!(endpoint.cancel_call(|&caller| caller == 1), Some(in_flight));
    assert_eq!(endpoint.cancel_call(|&caller| caller == 1), None);
    assert_eq!(endpoint.answer(deliver.id, SERVER), Err(NoSuchCall(deliver.id)));
    assert_eq!(endpoint.receive(by(SERVER, 5)), Ok(ReceiveStep::Waiting));
    assert_eq!(endpoint.cancel_receive(|&token| token == 5), Some(by(SERVER, 5)));
    assert_eq!(endpoint.cancel_receive(|&token| token == 5), None);
    assert!(endpoint.is_idle());
}

#[test]
fn a_server_that_leaves_ends_what_it_had_and_nothing_else() {
    let mut endpoint = endpoint();
    let _ = delivered(&mut endpoint, 1, SERVER);
    let others = delivered(&mut endpoint, 2, OTHER);
    let _ = delivered(&mut endpoint, 3, SERVER);
    for (token, server) in [(10, OTHER), (11, SERVER), (12, OTHER)] {
        assert_eq!(endpoint.receive(by(server, token)), Ok(ReceiveStep::Waiting));
    }
    let (mut calls, mut receivers) = (Vec::new(), Vec::new());
    endpoint.server_left(SERVER, &mut |caller| calls.push(caller), &mut |token| receivers.push(token));
    assert_eq!((calls, receivers), (vec![1, 3], vec![11]));
    assert_eq!(endpoint.answer(others.id, OTHER), Ok(2));
    assert_eq!((endpoint.receiving(), endpoint.in_flight()), (2, 0));
}

#[test]
fn closing_ends_everything_once_and_refuses_the_rest() {
    let mut endpoint = endpoint();
    let deliver = delivered(&mut endpoint, 1, SERVER);
    assert_eq!(endpoint.call(2), Ok(CallStep::Queued));
    let mut ended = Vec::new();
    endpoint.close(&mut |caller| ended.push(caller), &mut |_| panic!("nobody receives"));
    endpoint.close(&mut |_| panic!("closed already"), &mut |_| panic!("nobody receives"));
    assert_eq!(ended, [1, 2]);
    assert!(endpoint.is_closed() && endpoint.is_idle());
    assert_eq!(endpoint.call(3), Err(CallRefused::Closed));
    assert_eq!(endpoint.receive(by(SERVER, 1)), Err(ReceiveRefused::Closed));
    assert_eq!(endpoint.undo_delivery(deliver.id), Err(NoSuchCall(deliver.id)));
    assert_eq!(endpoint.requeue_front(1), Err(CallRefused::Closed));
    assert_eq!(endpoint.put_receiver_back(deliver.receiver), Err(ReceiveRefused::Closed));
}
