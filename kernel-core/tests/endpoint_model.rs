//! Endpoints under random calls, receives, answers, cancellations and departures, against a model that keeps whole
//! lists: the order is the order of arrival, and each call ends exactly once.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::endpoint::{
    CallId, CallPlace, CallRefused, CallStep, Deliver, Endpoint, MOST_CALLS, MOST_RECEIVERS, NoSuchCall,
    ReceiveRefused, ReceiveStep, Receiver, ServerId,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use tessera_abi::limits::{ENDPOINT_IN_FLIGHT, ENDPOINT_QUEUE, ENDPOINT_RECEIVERS};

/// What the endpoint is asked to do, `times` times. Picks choose among all that there ever were.
#[derive(Clone, Debug)]
enum Step {
    Call { times: usize },
    Receive { server: u64, times: usize },
    Answer { pick: prop::sample::Index, server: Option<u64>, times: usize },
    Undo { pick: prop::sample::Index, requeue: bool, put_back: bool },
    CancelCall(prop::sample::Index),
    CancelReceive(prop::sample::Index),
    ServerLeaves(u64),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let times = prop_oneof![3 => 1..4_usize, 1 => 30..70_usize];
    let (pick, server) = (any::<prop::sample::Index>, 0..3_u64);
    prop_oneof![
        40 => times.clone().prop_map(|times| Step::Call { times }),
        40 => (server.clone(), times.clone()).prop_map(|(server, times)| Step::Receive { server, times }),
        60 => (pick(), prop::option::weighted(0.1, server.clone()), times)
            .prop_map(|(pick, server, times)| Step::Answer { pick, server, times }),
        20 => (pick(), any::<bool>(), any::<bool>())
            .prop_map(|(pick, requeue, put_back)| Step::Undo { pick, requeue, put_back }),
        20 => pick().prop_map(Step::CancelCall),
        20 => pick().prop_map(Step::CancelReceive),
        5 => server.prop_map(Step::ServerLeaves),
        1 => Just(Step::Close),
    ]
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Answered,
    Undone,
    Cancelled,
    Disconnected,
}

/// The endpoint, and the lists that say what it must do.
struct Pair {
    endpoint: Endpoint<u32, u32>,
    calls: VecDeque<u32>,
    receivers: VecDeque<Receiver<u32>>,
    in_flight: BTreeMap<CallId, Deliver<u32, u32>>,
    /// Every delivery that there ever was.
    delivered: Vec<Deliver<u32, u32>>,
    endings: BTreeMap<u32, Ending>,
    /// Calls that were taken; callers are numbered.
    callers: u32,
    tokens: u32,
    is_closed: bool,
}

impl Pair {
    fn new() -> Self {
        Self {
            endpoint: Endpoint::new().expect("memory"),
            calls: VecDeque::new(),
            receivers: VecDeque::new(),
            in_flight: BTreeMap::new(),
            delivered: Vec::new(),
            endings: BTreeMap::new(),
            callers: 0,
            tokens: 0,
            is_closed: false,
        }
    }

    fn end(&mut self, caller: u32, ending: Ending) {
        assert_eq!(self.endings.insert(caller, ending), None, "{caller} ends a second time");
    }

    /// What the model says of the next delivery must be what the endpoint has said of it.
    fn expect_delivery(&mut self, actual: Option<Deliver<u32, u32>>) {
        let is_due = !self.calls.is_empty() && !self.receivers.is_empty() && self.in_flight.len() < ENDPOINT_IN_FLIGHT;
        assert_eq!(actual.is_some(), is_due);
        let Some(deliver) = actual else { return };
        assert_eq!(Some(deliver.caller), self.calls.pop_front());
        assert_eq!(Some(deliver.receiver), self.receivers.pop_front());
        assert!(deliver.id.to_raw() != 0 && self.delivered.iter().all(|before| before.id != deliver.id));
        self.in_flight.insert(deliver.id, deliver);
        self.delivered.push(deliver);
    }

    fn call(&mut self) {
        let expected = match (self.is_closed, self.calls.len() >= ENDPOINT_QUEUE) {
            (true, _) => Err(CallRefused::Closed),
            (false, true) => Err(CallRefused::Overloaded),
            (false, false) => Ok(()),
        };
        let actual = self.endpoint.call(self.callers);
        assert_eq!(actual.map(drop), expected);
        let Ok(step) = actual else { return };
        self.calls.push_back(self.callers);
        self.callers += 1;
        self.expect_delivery(match step {
            CallStep::Deliver(deliver) => Some(deliver),
            CallStep::Queued => None,
        });
    }

    fn receive(&mut self, server: u64) {
        let expected = match (self.is_closed, self.receivers.len() >= ENDPOINT_RECEIVERS) {
            (true, _) => Err(ReceiveRefused::Closed),
            (false, true) => Err(ReceiveRefused::Overloaded),
            (false, false) => Ok(()),
        };
        let receiver = Receiver { token: self.tokens, server: ServerId(server) };
        let actual = self.endpoint.receive(receiver);
        assert_eq!(actual.map(drop), expected);
        let Ok(step) = actual else { return };
        self.receivers.push_back(receiver);
        self.tokens += 1;
        self.expect_delivery(match step {
            ReceiveStep::Deliver(deliver) => Some(deliver),
            ReceiveStep::Waiting => None,
        });
    }

    /// One of all deliveries, more often one that is in flight.
    fn pick(&self, pick: &prop::sample::Index) -> Option<Deliver<u32, u32>> {
        let in_flight = self.in_flight.values();
        let all: Vec<_> = self.delivered.iter().chain(in_flight.clone()).chain(in_flight).copied().collect();
        (!all.is_empty()).then(|| *pick.get(&all))
    }

    fn answer(&mut self, deliver: &Deliver<u32, u32>, server: ServerId) {
        let is_its = server == deliver.receiver.server;
        let expected = match self.in_flight.remove(&deliver.id) {
            Some(deliver) if is_its => Ok(deliver.caller),
            Some(deliver) => {
                self.in_flight.insert(deliver.id, deliver);
                Err(NoSuchCall(deliver.id))
            }
            None => Err(NoSuchCall(deliver.id)),
        };
        assert_eq!(self.endpoint.answer(deliver.id, server), expected);
        if let Ok(caller) = expected {
            self.end(caller, Ending::Answered);
        }
    }

    fn undo(&mut self, deliver: &Deliver<u32, u32>, requeue: bool, put_back: bool) {
        let expected = self.in_flight.remove(&deliver.id).map(|deliver| deliver.caller);
        let actual = self.endpoint.undo_delivery(deliver.id);
        assert_eq!(actual, expected.ok_or(NoSuchCall(deliver.id)));
        let Ok(caller) = actual else { return };
        if requeue {
            assert_eq!(self.endpoint.requeue_front(caller), Ok(()), "what was in flight always has its place");
            self.calls.push_front(caller);
        } else {
            self.end(caller, Ending::Undone);
        }
        if put_back {
            assert_eq!(self.endpoint.put_receiver_back(deliver.receiver), Ok(()));
            self.receivers.push_front(deliver.receiver);
        }
    }

    fn cancel_call(&mut self, caller: u32) {
        let in_flight = self.in_flight.values().find(|deliver| deliver.caller == caller).copied();
        let expected = match (self.calls.iter().position(|&waiting| waiting == caller), in_flight) {
            (Some(index), _) => {
                self.calls.remove(index);
                Some(CallPlace::Queued)
            }
            (None, Some(deliver)) => {
                self.in_flight.remove(&deliver.id);
                Some(CallPlace::InFlight { id: deliver.id, server: deliver.receiver.server })
            }
            (None, None) => None,
        };
        assert_eq!(self.endpoint.cancel_call(|&its| its == caller), expected);
        if expected.is_some() {
            self.end(caller, Ending::Cancelled);
        }
    }

    fn cancel_receive(&mut self, token: u32) {
        let index = self.receivers.iter().position(|receiver| receiver.token == token);
        let expected = index.and_then(|index| self.receivers.remove(index));
        assert_eq!(self.endpoint.cancel_receive(|&its| its == token), expected);
    }

    fn server_leaves(&mut self, server: ServerId) {
        let (mut calls, mut tokens) = (Vec::new(), Vec::new());
        self.endpoint.server_left(server, &mut |caller| calls.push(caller), &mut |token| tokens.push(token));
        let leaves = |receiver: &Receiver<u32>| receiver.server == server;
        let gone: Vec<_> = self.receivers.iter().filter(|&it| leaves(it)).map(|receiver| receiver.token).collect();
        assert_eq!(tokens, gone);
        self.receivers.retain(|receiver| !leaves(receiver));
        let before = self.in_flight.len();
        self.in_flight.retain(|_, deliver| !leaves(&deliver.receiver));
        assert_eq!(calls.len(), before - self.in_flight.len());
        calls.into_iter().for_each(|caller| self.end(caller, Ending::Disconnected));
    }

    fn close(&mut self) {
        let (mut calls, mut tokens) = (Vec::new(), Vec::new());
        self.endpoint.close(&mut |caller| calls.push(caller), &mut |token| tokens.push(token));
        assert!(calls.ends_with(self.calls.make_contiguous()));
        assert_eq!(calls.len(), self.calls.len() + self.in_flight.len());
        assert!(tokens.into_iter().eq(self.receivers.drain(..).map(|receiver| receiver.token)));
        (self.calls, self.in_flight, self.is_closed) = (VecDeque::new(), BTreeMap::new(), true);
        calls.into_iter().for_each(|caller| self.end(caller, Ending::Disconnected));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Call { times } => (0..times).for_each(|_| self.call()),
            Step::Receive { server, times } => (0..times).for_each(|_| self.receive(server)),
            Step::Answer { pick, server, times } => (0..times).for_each(|_| {
                if let Some(deliver) = self.pick(&pick) {
                    self.answer(&deliver, server.map_or(deliver.receiver.server, ServerId));
                }
            }),
            Step::Undo { pick, requeue, put_back } => {
                if let Some(deliver) = self.pick(&pick) {
                    self.undo(&deliver, requeue, put_back);
                }
            }
            Step::CancelCall(pick) => self.cancel_call(pick.index(self.callers.max(1) as usize) as u32),
            Step::CancelReceive(pick) => self.cancel_receive(pick.index(self.tokens.max(1) as usize) as u32),
            Step::ServerLeaves(server) => self.server_leaves(ServerId(server)),
            Step::Close => self.close(),
        }
    }

    /// Delivers all that can be delivered, as the kernel does after each change.
    fn settle(&mut self) {
        loop {
            let next = self.endpoint.next_delivery();
            self.expect_delivery(next);
            if next.is_none() {
                return;
            }
        }
    }

    fn compare(&self) {
        let counts = (self.endpoint.queued(), self.endpoint.receiving(), self.endpoint.in_flight());
        assert_eq!(counts, (self.calls.len(), self.receivers.len(), self.in_flight.len()));
        assert!(counts.0 + counts.2 <= MOST_CALLS && counts.1 <= MOST_RECEIVERS);
        assert_eq!(self.endpoint.is_idle(), counts == (0, 0, 0));
        assert_eq!(self.endings.len() + counts.0 + counts.2, self.callers as usize, "each call is in one place");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn calls_are_served_in_order_and_end_exactly_once(
        steps in prop::collection::vec((step(), prop::bool::weighted(0.8)), 1..120),
    ) {
        let mut pair = Pair::new();
        for (step, settles) in steps {
            pair.take(step);
            if settles {
                pair.settle();
            }
            pair.compare();
        }
        pair.close();
        prop_assert!(pair.endpoint.is_idle());
        prop_assert!(pair.endings.into_keys().eq(0..pair.callers));
    }
}
