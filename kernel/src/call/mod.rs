//! Calls of the kernel's own objects: from a submission to a method and back.
//!
//! The order is always the same: the capability, the place for the results, the parameters, the places for capabilities
//! that come with the results; then the method; then delivery. So a call that cannot be answered does nothing. (Results
//! with texts or lists can be longer than what is asked for at first; their methods change nothing, but for a read of the
//! console, which takes no more than there is room for.)

mod console;
mod inspect;
mod memory;
mod process;
mod scheduling;
mod table;
mod thread;
mod timer;

pub use console::Reader;
pub use memory::ChangeInProgress;

use crate::{
    capability::{Named, Places},
    ipc::{Endpoint, Matched},
    kernel::Kernel,
    memory::{
        heap,
        user_copy::{check_writable, copy_from_user, copy_to_user},
    },
    object::{Capability, Object},
    park::UnparkInProgress,
    process::Process,
    ring::PendingSubmission,
    submission::Caller,
    thread::Thread,
};
use alloc::sync::Arc;
use hal::Machine;
use kernel_core::ring::{Call, Completed, Submission};
use tessera_abi::ring::{MAX_MESSAGE_BYTES, TransportError};
use tessera_schema::{
    generated::{interfaces, messages},
    message::{CallDecodeError, Exception, ExceptionKind, Message},
};

/// Work of a submission that goes on when this CPU has served what was asked of it.
pub enum Unfinished<M: Machine> {
    /// Mappings are being changed.
    Change(ChangeInProgress),
    /// Many are being woken.
    Unpark(UnparkInProgress),
    /// Calls and receivers wait at this endpoint, and others keep bringing ones that cannot be delivered.
    Deliver(Arc<Endpoint<M>>),
}

/// Bytes of the longest result that any method has; the encoders check it.
const RESULT_BYTES: usize = 512;

/// Encoded results, or an exception.
pub struct Results {
    bytes: [u8; RESULT_BYTES],
    length: Option<usize>,
    is_exception: bool,
}

impl Results {
    /// The results of a method.
    pub fn of<'m>(message: &impl Message<'m>) -> Self {
        let mut bytes = [0; RESULT_BYTES];
        let length = message.encode(&mut bytes).ok();
        Self { bytes, length, is_exception: false }
    }

    /// No results.
    pub fn empty() -> Self {
        Self::of(&messages::Empty {})
    }

    /// A refusal.
    pub fn exception(kind: ExceptionKind, reason: &'static str) -> Self {
        let mut bytes = [0; RESULT_BYTES];
        let length = Exception { kind, reason }.encode(&mut bytes).ok();
        Self { bytes, length, is_exception: true }
    }
}

/// Why a method did nothing.
pub enum Refused {
    /// The object refuses.
    Exception(ExceptionKind, &'static str),
    /// The submission is at fault.
    Transport(TransportError),
}

impl From<TransportError> for Refused {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<CallDecodeError> for Refused {
    fn from(error: CallDecodeError) -> Self {
        match error {
            CallDecodeError::UnknownMethod(_) => {
                Self::Exception(ExceptionKind::Unimplemented, "the interface has no such method")
            }
            CallDecodeError::Malformed(_) => Self::Transport(TransportError::MalformedMessage),
        }
    }
}

const fn invalid(reason: &'static str) -> Refused {
    Refused::Exception(ExceptionKind::InvalidArgument, reason)
}

const fn failed(reason: &'static str) -> Refused {
    Refused::Exception(ExceptionKind::Failed, reason)
}

const fn overloaded(reason: &'static str) -> Refused {
    Refused::Exception(ExceptionKind::Overloaded, reason)
}

const fn disconnected(reason: &'static str) -> Refused {
    Refused::Exception(ExceptionKind::Disconnected, reason)
}

/// Records that a program makes the kernel hold are refused while they could take what must not fail.
fn refuse_when_heap_is_low() -> Result<(), Refused> {
    if heap::is_low() { Err(overloaded("the kernel's memory is nearly full")) } else { Ok(()) }
}

/// The capabilities that results give: two at most.
type Given<M> = heapless::Vec<Capability<M>, 2>;

/// What a method answers.
#[expect(clippy::large_enum_variant, reason = "made and used up on one stack; nothing is allocated for a call")]
enum Reply<'a, M: Machine> {
    /// Results.
    Results(Results),
    /// Results, and capabilities for the places that were taken for them.
    Given(Results, Places<'a, M>, Given<M>),
    /// The operation that has begun will complete the call.
    Later,
}

type Answer<'a, M> = Result<Reply<'a, M>, Refused>;

impl<M: Machine> Reply<'_, M> {
    fn of<'m>(message: &impl Message<'m>) -> Self {
        Self::Results(Results::of(message))
    }

    fn empty() -> Self {
        Self::Results(Results::empty())
    }
}

/// A call on its way to its object.
struct Request<'a, M: Machine> {
    pending: &'a PendingSubmission,
    call: &'a Call,
    process: &'a Arc<Process<M>>,
    machine: &'static M,
}

impl<'a, M: Machine> Request<'a, M> {
    /// Takes places for `count` capabilities that the results will give.
    fn places(&self, count: usize) -> Result<Places<'a, M>, Refused> {
        Ok(self.process.places(count, &self.call.transfer)?)
    }

    /// The capabilities that the call names.
    fn named(&self) -> Result<Named, Refused> {
        Ok(self.process.named(self.machine, &self.call.transfer)?)
    }

    /// The one capability that the call may lend.
    fn lent(&self) -> Result<Option<Capability<M>>, Refused> {
        let mut lent = self.process.lend(&self.named()?)?;
        let one = lent.pop();
        if lent.is_empty() { Ok(one) } else { Err(invalid("the method takes one capability at most")) }
    }

    /// Gives one capability without results.
    fn give(&self, object: Object<M>, places: Places<'a, M>) -> Reply<'a, M> {
        self.give_with(Results::empty(), [object.into()], places)
    }

    /// Gives capabilities with results.
    fn give_with<const N: usize>(
        &self,
        results: Results,
        objects: [Capability<M>; N],
        places: Places<'a, M>,
    ) -> Reply<'a, M> {
        Reply::Given(results, places, objects.into_iter().collect())
    }
}

impl<M: Machine> Caller<'_, M> {
    /// Carries a call out. `None`: it completes later.
    pub fn call(&mut self, pending: &PendingSubmission) -> Result<Option<Completed>, TransportError> {
        let Submission::Call(call) = &pending.submission else { return Err(TransportError::UnknownOperation) };
        let process = self.thread.process.clone();
        let capability = process.capability(call.handle)?;
        if capability.object.interface() != call.interface {
            return Err(TransportError::WrongInterface);
        }
        if call.params_len > MAX_MESSAGE_BYTES {
            return Err(TransportError::MessageTooLong);
        }
        let results_len = call.results_len.min(MAX_MESSAGE_BYTES) as usize;
        check_writable(&process.space, call.results, results_len).map_err(|_| TransportError::BadResults)?;
        if let Object::Client(client) = &capability.object {
            client.endpoint.call(self, *pending, client);
            return Ok(None);
        }
        if results_len < interfaces::least_results(call.interface, call.method) {
            return Err(TransportError::ResultsTooSmall);
        }
        let machine = self.kernel.machine;
        let mut buffer = [0; MAX_MESSAGE_BYTES as usize];
        let params = &mut buffer[..call.params_len as usize];
        copy_from_user(machine, &process.space, call.params, params).map_err(|_| TransportError::BadParams)?;
        let request = Request { pending, call, process: &process, machine };
        match self.invoke(&capability.object, &request, params) {
            Ok(Reply::Later) => Ok(None),
            Ok(Reply::Results(results)) => Ok(Some(self.kernel.deliver(self.thread, results, pending))),
            Ok(Reply::Given(results, places, capabilities)) => {
                let completed = self.kernel.deliver(self.thread, results, pending);
                let Completed::Results { length, .. } = completed else { return Ok(Some(completed)) };
                let capabilities = places.fill(machine, capabilities, call.transfer.array);
                Ok(Some(Completed::Results { length, capabilities }))
            }
            Err(Refused::Exception(kind, reason)) => {
                Ok(Some(self.kernel.deliver(self.thread, Results::exception(kind, reason), pending)))
            }
            Err(Refused::Transport(error)) => Err(error),
        }
    }

    /// One step of what a submission has begun.
    pub fn go_on(&mut self, unfinished: Unfinished<M>) {
        match unfinished {
            Unfinished::Change(change) => self.change_step(change),
            Unfinished::Unpark(unpark) => self.unpark_step(unpark),
            Unfinished::Deliver(endpoint) => {
                if endpoint.match_up(Some(self)) == Matched::Part {
                    self.unfinished = Some(Unfinished::Deliver(endpoint));
                }
            }
        }
    }

    fn invoke<'r>(&mut self, object: &Object<M>, request: &Request<'r, M>, params: &[u8]) -> Answer<'r, M> {
        use interfaces as interface;
        let method = request.call.method;
        match object {
            Object::Console => self.console(interface::console::Call::decode(method, params)?, request),
            Object::Terminal => self.terminal(interface::terminal::Call::decode(method, params)?, request),
            Object::Timer => self.timer(interface::timer::Call::decode(method, params)?, request),
            Object::SchedulingPolicy => {
                self.scheduling_policy(interface::scheduling_policy_cap::Call::decode(method, params)?, request)
            }
            Object::ProcessSpawner(spawner) => {
                self.process_spawner(spawner, interface::process_spawner::Call::decode(method, params)?, request)
            }
            Object::Process(handle) => {
                self.process_handle(handle.process(), interface::process_handle::Call::decode(method, params)?, request)
            }
            Object::ThreadSpawner => {
                self.thread_spawner(interface::thread_spawner::Call::decode(method, params)?, request)
            }
            Object::Thread(thread) => {
                self.thread_handle(thread, interface::thread_handle::Call::decode(method, params)?, request)
            }
            Object::ThreadControl => {
                self.thread_control(interface::thread_control::Call::decode(method, params)?, request)
            }
            Object::MemoryFactory => {
                self.memory_factory(interface::memory_factory::Call::decode(method, params)?, request)
            }
            Object::Memory(memory) => {
                self.memory_object(memory, interface::memory_object::Call::decode(method, params)?, request)
            }
            Object::ReadOnlyMemory(memory) => {
                self.read_only_memory(memory, interface::read_only_memory::Call::decode(method, params)?, request)
            }
            Object::VirtualMemory => {
                self.virtual_memory(interface::virtual_memory::Call::decode(method, params)?, request)
            }
            Object::EndpointFactory => {
                self.endpoint_factory(interface::endpoint_factory::Call::decode(method, params)?, request)
            }
            Object::Endpoint(serving) => {
                self.endpoint(serving, interface::endpoint::Call::decode(method, params)?, request)
            }
            Object::CapabilityTable => {
                self.capability_table(interface::capability_table::Call::decode(method, params)?, request)
            }
            Object::Revoker(revocation) => self.revoker(revocation, interface::revoker::Call::decode(method, params)?),
            Object::SystemInspector => {
                self.system_inspector(interface::system_inspector::Call::decode(method, params)?, request)
            }
            Object::SystemSupervisor => {
                self.system_supervisor(interface::system_supervisor::Call::decode(method, params)?, request)
            }
            Object::ParkSpace | Object::Client(_) => Err(CallDecodeError::UnknownMethod(method).into()),
        }
    }
}

const TOO_MANY_OPERATIONS: Refused = overloaded("too many operations are outstanding");

impl<M: Machine> Kernel<M> {
    /// Brings results into the program's buffer.
    pub fn deliver(&self, thread: &Thread<M>, results: Results, pending: &PendingSubmission) -> Completed {
        let Submission::Call(call) = &pending.submission else {
            return Completed::Transport(TransportError::UnknownOperation);
        };
        let Some(length) = results.length.filter(|&length| length <= call.results_len as usize) else {
            return Completed::Transport(TransportError::ResultsTooSmall);
        };
        match copy_to_user(self.machine, &thread.process.space, call.results, &results.bytes[..length]) {
            Err(_) => Completed::Transport(TransportError::BadResults),
            Ok(()) if results.is_exception => Completed::Exception { length: length as u32 },
            Ok(()) => Completed::Results { length: length as u32, capabilities: 0 },
        }
    }
}
