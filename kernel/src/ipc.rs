//! Endpoints: calls from client to server and answers back.
//!
//! Messages are copied once, from the caller's memory to the server's, when both are there: the kernel keeps nothing but
//! references to the two operations. Who delivers takes the receiver's operation out first, so nobody else can complete
//! it, and puts it back if the caller turns out to be bad. A CALL that is delivered and its RETURN lock the endpoint
//! once each and allocate nothing. Lock level: endpoint, then nothing.
//!
//! One side can be bad again and again, and new ones come from other CPUs meanwhile: after `MOST_DELIVERIES` of them
//! this CPU serves what was asked of it, and the submission goes on then.

use crate::{
    call::Unfinished,
    kernel::Kernel,
    memory::user_copy::{check_readable, check_writable, copy_between, copy_to_user},
    object::Client,
    operation::{Operation, OperationRef, WaitsFor},
    process::{Process, Quotas},
    ring::PendingSubmission,
    submission::Caller,
    thread::Thread,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::Machine;
use kernel_core::{
    endpoint::{
        self, CallRefused, CallStep, Deliver, MOST_CALLS, MOST_RECEIVERS, OutOfMemory, ReceiveRefused, ReceiveStep,
        Receiver, ServerId,
    },
    ring::{Call, Completed, Return, Submission},
};
use spin::Mutex;
use tessera_abi::{
    limits::ENDPOINT_IN_FLIGHT,
    ring::{MAX_MESSAGE_BYTES, TransportError},
    transfer::RECEIVED_CALL_BYTES,
};
use tessera_schema::message::ExceptionKind;

type State = endpoint::Endpoint<OperationRef, OperationRef>;

/// An endpoint.
pub struct Endpoint<M: Machine> {
    /// Its number, for reports and for the scope of caller identities.
    pub id: u64,
    kernel: &'static Kernel<M>,
    state: Mutex<State>,
    /// The process that made it pays for it.
    owner: Arc<Quotas>,
}

impl<M: Machine> Drop for Endpoint<M> {
    fn drop(&mut self) {
        self.owner.endpoints.release(1);
        self.kernel.counters.endpoints.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The server's side of an endpoint. When the last one goes, the endpoint is closed.
pub struct Serving<M: Machine>(Arc<Endpoint<M>>);

impl<M: Machine> Serving<M> {
    /// The endpoint.
    pub const fn endpoint(&self) -> &Arc<Endpoint<M>> {
        &self.0
    }
}

impl<M: Machine> Drop for Serving<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Deliveries of one submission between two looks at the request word.
const MOST_DELIVERIES: usize = 64;

/// Whether everything was delivered that can be.
#[must_use = "what is left must be delivered later"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Matched {
    /// It was.
    All,
    /// Others keep bringing what cannot be delivered.
    Part,
}

/// Why there is no new endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateEndpointError {
    /// The process has as many as it may.
    Limit,
    /// There is no memory.
    OutOfMemory,
}

impl From<OutOfMemory> for CreateEndpointError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl<M: Machine> Endpoint<M> {
    /// A new endpoint, paid for by `owner`.
    pub fn create(kernel: &'static Kernel<M>, owner: &Process<M>) -> Result<Serving<M>, CreateEndpointError> {
        let state = Mutex::new(State::new()?);
        owner.quotas.endpoints.charge(1).map_err(|_| CreateEndpointError::Limit)?;
        let id = kernel.counters.next_object_id();
        kernel.counters.endpoints.fetch_add(1, Ordering::Relaxed);
        Ok(Serving(Arc::new(Self { id, kernel, state, owner: owner.quotas.clone() })))
    }

    /// Who calls, as one number that means something at this endpoint only: servers cannot compare notes.
    fn caller_identity(&self, process: &Process<M>) -> u64 {
        self.kernel.counters.scoped_identity(self.id, process.id)
    }

    /// A call begins. The operation waits until a server has answered it.
    pub fn call(self: &Arc<Self>, caller: &mut Caller<'_, M>, pending: PendingSubmission, client: &Client<M>) {
        let operation =
            Operation { pending, waits_for: WaitsFor::Call { endpoint: self.clone(), badge: client.badge } };
        let Some(reference) = caller.begin(operation) else { return };
        let step = self.state.lock().call(reference);
        match step {
            Ok(CallStep::Deliver(delivery)) => self.deliver_some(delivery, caller),
            Ok(CallStep::Queued) => {}
            Err(CallRefused::Closed) => {
                self.kernel.refuse(reference, ExceptionKind::Disconnected, "the server is gone")
            }
            Err(CallRefused::Overloaded) => {
                self.kernel.refuse(reference, ExceptionKind::Overloaded, "too many calls wait at the endpoint");
            }
        }
    }

    /// A server is ready for a call.
    pub fn receive(self: &Arc<Self>, caller: &mut Caller<'_, M>, pending: PendingSubmission) {
        let operation = Operation { pending, waits_for: WaitsFor::Receive(self.clone()) };
        let Some(token) = caller.begin(operation) else { return };
        let receiver = Receiver { token, server: ServerId(caller.thread.process.id) };
        let step = self.state.lock().receive(receiver);
        match step {
            Ok(ReceiveStep::Deliver(delivery)) => self.deliver_some(delivery, caller),
            Ok(ReceiveStep::Waiting) => {}
            Err(ReceiveRefused::Closed) => self.kernel.complete(token, TransportError::Disconnected),
            Err(ReceiveRefused::Overloaded) => self.kernel.complete(token, TransportError::Overloaded),
        }
    }

    /// Delivers as a submission of `caller`, which goes on later if one side proves bad again and again.
    fn deliver_some(self: &Arc<Self>, first: Deliver<OperationRef, OperationRef>, caller: &mut Caller<'_, M>) {
        if self.deliver_all(first, Some(caller)) == Matched::Part {
            caller.unfinished = Some(Unfinished::Deliver(self.clone()));
        }
    }

    /// Delivers what can be delivered.
    pub fn match_up(&self, caller: Option<&mut Caller<'_, M>>) -> Matched {
        let next = self.state.lock().next_delivery();
        next.map_or(Matched::All, |next| self.deliver_all(next, caller))
    }

    /// Delivers, and goes on with the next call and receiver as long as one side proves bad.
    fn deliver_all(
        &self,
        first: Deliver<OperationRef, OperationRef>,
        mut caller: Option<&mut Caller<'_, M>>,
    ) -> Matched {
        self.deliver(&first, caller.as_deref_mut());
        for _ in 1..MOST_DELIVERIES {
            let Some(next) = self.state.lock().next_delivery() else { return Matched::All };
            self.deliver(&next, caller.as_deref_mut());
        }
        Matched::Part
    }

    fn deliver(&self, delivery: &Deliver<OperationRef, OperationRef>, caller: Option<&mut Caller<'_, M>>) {
        let kernel = self.kernel;
        let (receiver, calling) = (delivery.receiver.token, delivery.caller);
        let Some((server, receiving)) = kernel.take(receiver) else {
            self.wait_on(delivery);
            return;
        };
        let outcome = kernel.look_at(calling, |client, pending, badge| {
            let Submission::Call(call) = pending.submission else { return Err(Bad::Caller(TransportError::BadParams)) };
            self.transmit(client, &Calling { call, badge }, &server, &receiving)
        });
        match outcome {
            Some(Ok(Delivered { length, capabilities })) => {
                let completed = Completed::Received { length, call: delivery.id, capabilities };
                kernel.finish(&server, &receiving, completed, caller);
            }
            Some(Err(Bad::Receiver(error))) => {
                kernel.finish(&server, &receiving, Completed::Transport(error), caller);
                self.wait_on(delivery);
            }
            Some(Err(Bad::Caller(error))) => {
                self.receive_again(delivery, &server, receiving);
                kernel.complete(calling, error);
            }
            None => self.receive_again(delivery, &server, receiving),
        }
    }

    /// The receiver was bad, or has gone: the call waits on, ahead of all others, unless it was cancelled meanwhile.
    fn wait_on(&self, delivery: &Deliver<OperationRef, OperationRef>) {
        let refused = {
            let mut state = self.state.lock();
            let Ok(call) = state.undo_delivery(delivery.id) else { return };
            state.requeue_front(call).err()
        };
        match refused {
            None => {}
            Some(CallRefused::Closed) => {
                self.kernel.refuse(delivery.caller, ExceptionKind::Disconnected, "the server is gone");
            }
            Some(CallRefused::Overloaded) => {
                self.kernel.refuse(delivery.caller, ExceptionKind::Overloaded, "too many calls wait at the endpoint");
            }
        }
    }

    /// The caller was bad, or has gone: the receiver waits on, ahead of all others.
    fn receive_again(
        &self,
        delivery: &Deliver<OperationRef, OperationRef>,
        server: &Arc<Thread<M>>,
        receiving: Operation<M>,
    ) {
        // A call that was cancelled meanwhile is not in flight any more.
        let _ = self.state.lock().undo_delivery(delivery.id);
        let user_data = receiving.pending.user_data;
        match self.kernel.begin_for(server, receiving) {
            Some(token) => self.put_back(Receiver { token, server: delivery.receiver.server }),
            // The server's thread has filled the place of this receive with something else meanwhile, or has ended.
            None => {
                if server.ring.complete(user_data, Completed::Transport(TransportError::Overloaded)) {
                    self.kernel.wake(server.id);
                }
            }
        }
    }

    fn put_back(&self, receiver: Receiver<OperationRef>) {
        let refused = self.state.lock().put_receiver_back(receiver);
        match refused {
            Ok(()) => {}
            Err(ReceiveRefused::Closed) => self.kernel.complete(receiver.token, TransportError::Disconnected),
            Err(ReceiveRefused::Overloaded) => self.kernel.complete(receiver.token, TransportError::Overloaded),
        }
    }

    /// Copies a call to its receiver and moves its capabilities.
    fn transmit(
        &self,
        client: &Arc<Thread<M>>,
        calling: &Calling,
        server: &Arc<Thread<M>>,
        receiving: &Operation<M>,
    ) -> Result<Delivered, Bad> {
        let machine = self.kernel.machine;
        let (from, to) = (&client.process, &server.process);
        let Submission::Receive(receive) = receiving.pending.submission else {
            return Err(Bad::Receiver(TransportError::Disconnected));
        };
        let call = &calling.call;
        let named = from.named(machine, &call.transfer).map_err(Bad::Caller)?;
        let places = to.places(named.len(), &receive.transfer).map_err(|error| match error {
            // No room is the caller's loss: another receiver of this process would have none either.
            TransportError::CapabilitiesRefused => Bad::Caller(error),
            _ => Bad::Receiver(error),
        })?;
        let header = self.header(from, calling, named.len());
        copy_to_user(machine, &to.space, receive.buffer, &header)
            .map_err(|_| Bad::Receiver(TransportError::BadResults))?;
        let body = receive.buffer + RECEIVED_CALL_BYTES as u64;
        check_writable(&to.space, body, call.params_len as usize)
            .map_err(|_| Bad::Receiver(TransportError::BadResults))?;
        copy_between(machine, (&from.space, call.params), (&to.space, body), call.params_len as usize)
            .map_err(|_| Bad::Caller(TransportError::BadParams))?;
        let capabilities = from.take(&named).map_err(Bad::Caller)?;
        let capabilities = places.fill(machine, capabilities, receive.transfer.array);
        Ok(Delivered { length: RECEIVED_CALL_BYTES as u32 + call.params_len, capabilities })
    }

    fn header(&self, from: &Process<M>, calling: &Calling, capabilities: usize) -> [u8; RECEIVED_CALL_BYTES] {
        let mut bytes = [0; RECEIVED_CALL_BYTES];
        bytes[0..8].copy_from_slice(&calling.call.interface.to_ne_bytes());
        bytes[8..16].copy_from_slice(&calling.badge.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.caller_identity(from).to_ne_bytes());
        bytes[24..26].copy_from_slice(&calling.call.method.to_ne_bytes());
        bytes[26..28].copy_from_slice(&(capabilities as u16).to_ne_bytes());
        bytes[28..32].copy_from_slice(&calling.call.params_len.to_ne_bytes());
        bytes
    }

    /// A server answers a call. What can fail on the server's side is looked at before the call ends.
    pub fn answer(self: &Arc<Self>, caller: &mut Caller<'_, M>, answer: &Return) -> Result<(), TransportError> {
        let machine = self.kernel.machine;
        let server = caller.thread.process.clone();
        if answer.results_len > MAX_MESSAGE_BYTES {
            return Err(TransportError::MessageTooLong);
        }
        check_readable(&server.space, answer.results, answer.results_len as usize)
            .map_err(|_| TransportError::BadParams)?;
        let named = server.named(machine, &answer.transfer)?;
        drop(server.lend(&named)?);
        let (calling, next) = {
            let mut state = self.state.lock();
            let calling = state.answer(answer.call, ServerId(server.id)).map_err(|_| TransportError::NoSuchCall)?;
            (calling, state.next_delivery())
        };
        if let Some(next) = next
            && self.deliver_all(next, None) == Matched::Part
        {
            caller.unfinished = Some(Unfinished::Deliver(self.clone()));
        }
        let (client, operation) = self.kernel.take(calling).ok_or(TransportError::NoSuchCall)?;
        let Submission::Call(call) = operation.pending.submission else { return Err(TransportError::NoSuchCall) };
        let returned = self.bring_back(&server, &client.process, answer, &call, &named);
        let (completed, result) = match returned {
            Ok(completed) => (completed, Ok(())),
            Err(Bad::Caller(error)) => (Completed::Transport(error), Ok(())),
            // The call was answered with something that could not be read any more.
            Err(Bad::Receiver(error)) => (Completed::Transport(TransportError::Disconnected), Err(error)),
        };
        let refused = completed == Completed::Transport(TransportError::CapabilitiesRefused);
        self.kernel.finish(&client, &operation, completed, Some(caller));
        if refused { Err(TransportError::CapabilitiesRefused) } else { result }
    }

    fn bring_back(
        &self,
        server: &Process<M>,
        client: &Process<M>,
        answer: &Return,
        call: &Call,
        named: &crate::capability::Named,
    ) -> Result<Completed, Bad> {
        let machine = self.kernel.machine;
        let length = answer.results_len;
        if length > call.results_len {
            return Err(Bad::Caller(TransportError::ResultsTooSmall));
        }
        let places = client.places(named.len(), &call.transfer).map_err(Bad::Caller)?;
        check_writable(&client.space, call.results, length as usize)
            .map_err(|_| Bad::Caller(TransportError::BadResults))?;
        copy_between(machine, (&server.space, answer.results), (&client.space, call.results), length as usize)
            .map_err(|_| Bad::Receiver(TransportError::BadParams))?;
        let capabilities = server.take(named).map_err(Bad::Receiver)?;
        let capabilities = places.fill(machine, capabilities, call.transfer.array);
        Ok(match answer.is_exception {
            true => Completed::Exception { length },
            false => Completed::Results { length, capabilities },
        })
    }

    /// A process gives the calls up that it has received, and its receives. Those that come while it does may stay: a
    /// process that still holds the endpoint gives them up when it ends.
    pub fn server_left(self: &Arc<Self>, process: &Process<M>, caller: Option<&mut Caller<'_, M>>) {
        let mut calls = heapless::Vec::<OperationRef, ENDPOINT_IN_FLIGHT>::new();
        let mut receivers = heapless::Vec::<OperationRef, MOST_RECEIVERS>::new();
        self.state.lock().server_left(ServerId(process.id), &mut |call| keep(&mut calls, call), &mut |receiver| {
            keep(&mut receivers, receiver)
        });
        // Nothing is completed under the lock.
        self.end(&calls, &receivers);
        if self.match_up(None) == Matched::Part
            && let Some(caller) = caller
        {
            caller.unfinished = Some(Unfinished::Deliver(self.clone()));
        }
    }

    /// Whether nobody can call or receive any more.
    pub fn is_closed(&self) -> bool {
        self.state.lock().is_closed()
    }

    fn close(&self) {
        let mut calls = heapless::Vec::<OperationRef, MOST_CALLS>::new();
        let mut receivers = heapless::Vec::<OperationRef, MOST_RECEIVERS>::new();
        self.state.lock().close(&mut |call| keep(&mut calls, call), &mut |receiver| keep(&mut receivers, receiver));
        self.end(&calls, &receivers);
    }

    fn end(&self, calls: &[OperationRef], receivers: &[OperationRef]) {
        for &call in calls {
            self.kernel.refuse(call, ExceptionKind::Disconnected, "the server is gone");
        }
        for &receiver in receivers {
            self.kernel.complete(receiver, TransportError::Disconnected);
        }
    }

    /// Forgets a call whose thread ends. One that was received can be answered no more.
    pub fn cancel_call(&self, call: OperationRef) {
        self.state.lock().cancel_call(|other| *other == call);
        let _ = self.match_up(None);
    }

    /// Forgets a receive whose thread ends.
    pub fn cancel_receive(&self, receiver: OperationRef) {
        self.state.lock().cancel_receive(|other| *other == receiver);
    }
}

/// Keeps a reference; there is room for all that an endpoint can have.
fn keep<const N: usize>(list: &mut heapless::Vec<OperationRef, N>, reference: OperationRef) {
    let pushed = list.push(reference);
    debug_assert!(pushed.is_ok(), "an endpoint has more operations than it may");
}

/// What a delivery looks at of a call.
pub struct Calling {
    /// The call.
    pub call: Call,
    /// The badge of the client's capability.
    pub badge: u64,
}

struct Delivered {
    length: u32,
    capabilities: u32,
}

/// Whose fault it was.
enum Bad {
    Caller(TransportError),
    Receiver(TransportError),
}
