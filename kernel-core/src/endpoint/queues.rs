//! [`Endpoint`]: the two queues and their matching.

use super::call_id::{CallId, NoSuchCall};
use super::in_flight::InFlight;
use super::{Receiver, ServerId};
use alloc::collections::VecDeque;
use core::fmt;
use tessera_abi::limits::{ENDPOINT_IN_FLIGHT, ENDPOINT_QUEUE, ENDPOINT_RECEIVERS};

/// There is no memory for an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for an endpoint")
    }
}

impl core::error::Error for OutOfMemory {}

/// Why a call was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallRefused {
    /// As many calls wait as may.
    Overloaded,
    /// The endpoint is closed.
    Closed,
}

impl fmt::Display for CallRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => write!(f, "{ENDPOINT_QUEUE} calls wait at the endpoint already"),
            Self::Closed => write!(f, "the endpoint is closed"),
        }
    }
}

impl core::error::Error for CallRefused {}

/// Why a receiver was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveRefused {
    /// As many receivers wait as may.
    Overloaded,
    /// The endpoint is closed.
    Closed,
}

impl fmt::Display for ReceiveRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => write!(f, "{ENDPOINT_RECEIVERS} receivers wait at the endpoint already"),
            Self::Closed => write!(f, "the endpoint is closed"),
        }
    }
}

impl core::error::Error for ReceiveRefused {}

/// A call and the receiver that gets it. It is in flight already.
#[must_use = "the call is in flight: it must be copied to the receiver, or undone"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deliver<C, R> {
    /// What the answer will name.
    pub id: CallId,
    /// Whose call.
    pub caller: C,
    /// Who gets it.
    pub receiver: Receiver<R>,
}

/// What became of a call.
#[must_use = "a call that is to be delivered is in flight"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallStep<C, R> {
    /// This call, or an earlier one before which it waits now, goes to a receiver.
    Deliver(Deliver<C, R>),
    /// It waits for a receiver.
    Queued,
}

/// What became of a receiver.
#[must_use = "a call that is to be delivered is in flight"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveStep<C, R> {
    /// A call goes to this receiver, or to an earlier one before which it waits now.
    Deliver(Deliver<C, R>),
    /// It waits for a call.
    Waiting,
}

/// Where a call was when it was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallPlace {
    /// It waited for a receiver.
    Queued,
    /// It was received and not answered.
    InFlight {
        /// Its id, which names nothing any more.
        id: CallId,
        /// Who had received it.
        server: ServerId,
    },
}

/// An endpoint. `C` names a call to the kernel, `R` a receive. See the module.
pub struct Endpoint<C, R> {
    calls: VecDeque<C>,
    receivers: VecDeque<Receiver<R>>,
    in_flight: InFlight<C>,
    is_closed: bool,
}

/// The most calls that an endpoint has, queued and in flight together: what [`Endpoint::close`] gives out at most. What
/// is put back comes on top of a queue that may have filled up meanwhile, but it was in flight.
pub const MOST_CALLS: usize = ENDPOINT_QUEUE + ENDPOINT_IN_FLIGHT;

/// The most receivers that can wait: what [`Endpoint::close`] and [`Endpoint::server_left`] give out at most. Those that
/// are put back come on top of a queue that may have filled up meanwhile.
pub const MOST_RECEIVERS: usize = ENDPOINT_RECEIVERS + ENDPOINT_IN_FLIGHT;

impl<C: Copy, R: Copy> Endpoint<C, R> {
    /// An open endpoint at which nobody waits. Allocates all that it will ever need.
    pub fn new() -> Result<Self, OutOfMemory> {
        let (mut calls, mut receivers) = (VecDeque::new(), VecDeque::new());
        calls.try_reserve_exact(MOST_CALLS).map_err(|_| OutOfMemory)?;
        receivers.try_reserve_exact(MOST_RECEIVERS).map_err(|_| OutOfMemory)?;
        Ok(Self { calls, receivers, in_flight: InFlight::new()?, is_closed: false })
    }

    /// A call comes. It waits behind all that wait already; if the first of them can be delivered, it is.
    pub fn call(&mut self, caller: C) -> Result<CallStep<C, R>, CallRefused> {
        if self.is_closed {
            return Err(CallRefused::Closed);
        }
        if self.calls.len() >= ENDPOINT_QUEUE {
            return Err(CallRefused::Overloaded);
        }
        self.calls.push_back(caller);
        Ok(self.next_delivery().map_or(CallStep::Queued, CallStep::Deliver))
    }

    /// A receiver comes. It waits behind all that wait already; if the first of them can get a call, it does.
    pub fn receive(&mut self, receiver: Receiver<R>) -> Result<ReceiveStep<C, R>, ReceiveRefused> {
        if self.is_closed {
            return Err(ReceiveRefused::Closed);
        }
        if self.receivers.len() >= ENDPOINT_RECEIVERS {
            return Err(ReceiveRefused::Overloaded);
        }
        self.receivers.push_back(receiver);
        Ok(self.next_delivery().map_or(ReceiveStep::Waiting, ReceiveStep::Deliver))
    }

    /// Matches the first call with the first receiver, if both wait and a record has a place.
    pub fn next_delivery(&mut self) -> Option<Deliver<C, R>> {
        let (&caller, &receiver) = (self.calls.front()?, self.receivers.front()?);
        let id = self.in_flight.insert(caller, receiver.server)?;
        self.calls.pop_front();
        self.receivers.pop_front();
        Some(Deliver { id, caller, receiver })
    }

    /// Takes a delivery back whose copy has failed, and answers the caller. [`NoSuchCall`]: the call has ended
    /// meanwhile, and its caller is owed nothing.
    ///
    /// Under the same lock the kernel puts back whoever was not at fault ([`Endpoint::requeue_front`],
    /// [`Endpoint::put_receiver_back`]), and looks for the next delivery.
    pub fn undo_delivery(&mut self, id: CallId) -> Result<C, NoSuchCall> {
        self.in_flight.remove(id, None)
    }

    /// Puts a call whose delivery was undone before all others.
    pub fn requeue_front(&mut self, caller: C) -> Result<(), CallRefused> {
        if self.is_closed {
            return Err(CallRefused::Closed);
        }
        if self.calls.len() + self.in_flight.len() >= MOST_CALLS {
            return Err(CallRefused::Overloaded);
        }
        self.calls.push_front(caller);
        Ok(())
    }

    /// Puts a receiver that did not get its call before all others.
    pub fn put_receiver_back(&mut self, receiver: Receiver<R>) -> Result<(), ReceiveRefused> {
        if self.is_closed {
            return Err(ReceiveRefused::Closed);
        }
        if self.receivers.len() >= MOST_RECEIVERS {
            return Err(ReceiveRefused::Overloaded);
        }
        self.receivers.push_front(receiver);
        Ok(())
    }

    /// `server` answers a call that it has received: its record ends, and whoever called is to be told.
    pub fn answer(&mut self, id: CallId, server: ServerId) -> Result<C, NoSuchCall> {
        self.in_flight.remove(id, Some(server))
    }

    /// Cancels the first call whose caller matches. `None`: there is none, or it has ended.
    pub fn cancel_call(&mut self, matches: impl Fn(&C) -> bool) -> Option<CallPlace> {
        if let Some(index) = self.calls.iter().position(&matches) {
            self.calls.remove(index);
            return Some(CallPlace::Queued);
        }
        self.in_flight.remove_caller(matches).map(|(id, server)| CallPlace::InFlight { id, server })
    }

    /// Cancels the first receive that matches. `None`: there is none that waits.
    pub fn cancel_receive(&mut self, matches: impl Fn(&R) -> bool) -> Option<Receiver<R>> {
        let index = self.receivers.iter().position(|receiver| matches(&receiver.token))?;
        self.receivers.remove(index)
    }

    /// A server is gone: the calls that it has received and not answered end, and so do its receives. Calls that wait
    /// go on waiting for another.
    pub fn server_left(&mut self, server: ServerId, calls: &mut impl FnMut(C), receivers: &mut impl FnMut(R)) {
        self.in_flight.remove_all(Some(server), calls);
        self.receivers.retain(|receiver| {
            let stays = receiver.server != server;
            if !stays {
                receivers(receiver.token);
            }
            stays
        });
    }

    /// Nobody calls or receives here any more: all calls and receives end, in the order in which they came (those in
    /// flight first, in no order). Closing again does nothing.
    pub fn close(&mut self, calls: &mut impl FnMut(C), receivers: &mut impl FnMut(R)) {
        self.is_closed = true;
        self.in_flight.remove_all(None, calls);
        self.calls.drain(..).for_each(calls);
        self.receivers.drain(..).for_each(|receiver| receivers(receiver.token));
    }

    /// Whether nobody can call or receive any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether nobody waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queued() + self.receiving() + self.in_flight() == 0
    }

    /// Calls that wait for a receiver.
    pub fn queued(&self) -> usize {
        self.calls.len()
    }

    /// Receivers that wait for a call.
    pub fn receiving(&self) -> usize {
        self.receivers.len()
    }

    /// Calls that were received and not answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}
