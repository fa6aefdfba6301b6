//! What capabilities name.
//!
//! A capability is an object and, if it was made revocable, the revocations that it depends on. The interface is the
//! permission: an object answers exactly the methods of its interface, and there are no rights bits. Objects without
//! content act on the process or thread that calls.
//!
//! The last capability of some objects ends something (an endpoint is closed, memory is freed): capabilities are dropped
//! with no lock held.

use crate::{
    ipc::{Endpoint, Serving},
    memory::object::MemoryObject,
    process::ProcessHandle,
    spawn::Spawner,
    thread::Thread,
};
use alloc::sync::Arc;
use hal::Machine;
use kernel_core::cap::Revocation;
use tessera_schema::generated::interfaces as interface;

/// What a capability names.
pub enum Object<M: Machine> {
    /// Whole lines to the serial console.
    Console,
    /// Bytes to the serial console.
    Terminal,
    /// Monotonic time and sleeping.
    Timer,
    /// Scheduling attributes of the caller, or of a thread whose handle is lent.
    SchedulingPolicy,
    /// Makes processes.
    ProcessSpawner(Arc<Spawner>),
    /// A process.
    Process(Arc<ProcessHandle<M>>),
    /// Makes threads of the caller's process.
    ThreadSpawner,
    /// A thread.
    Thread(Arc<Thread<M>>),
    /// The calling thread.
    ThreadControl,
    /// Parks and unparks.
    ParkSpace,
    /// Makes memory objects.
    MemoryFactory,
    /// Memory that can be mapped read-write.
    Memory(Arc<MemoryObject<M>>),
    /// Memory that can be mapped for reading.
    ReadOnlyMemory(Arc<MemoryObject<M>>),
    /// The caller's address space.
    VirtualMemory,
    /// Makes endpoints.
    EndpointFactory,
    /// The server's side of an endpoint.
    Endpoint(Arc<Serving<M>>),
    /// A client's side of an endpoint.
    Client(Client<M>),
    /// The caller's capabilities.
    CapabilityTable,
    /// Ends what was made revocable.
    Revoker(Arc<Revocation>),
    /// Looks at everything.
    SystemInspector,
    /// Gives handles of everything.
    SystemSupervisor,
}

/// A client's side of an endpoint.
pub struct Client<M: Machine> {
    /// The endpoint.
    pub endpoint: Arc<Endpoint<M>>,
    /// The interface that the server gave it.
    pub interface: u64,
    /// The badge that the server gave it.
    pub badge: u64,
}

impl<M: Machine> Clone for Client<M> {
    fn clone(&self) -> Self {
        Self { endpoint: self.endpoint.clone(), interface: self.interface, badge: self.badge }
    }
}

impl<M: Machine> Clone for Object<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Console => Self::Console,
            Self::Terminal => Self::Terminal,
            Self::Timer => Self::Timer,
            Self::SchedulingPolicy => Self::SchedulingPolicy,
            Self::ProcessSpawner(spawner) => Self::ProcessSpawner(spawner.clone()),
            Self::Process(process) => Self::Process(process.clone()),
            Self::ThreadSpawner => Self::ThreadSpawner,
            Self::Thread(thread) => Self::Thread(thread.clone()),
            Self::ThreadControl => Self::ThreadControl,
            Self::ParkSpace => Self::ParkSpace,
            Self::MemoryFactory => Self::MemoryFactory,
            Self::Memory(memory) => Self::Memory(memory.clone()),
            Self::ReadOnlyMemory(memory) => Self::ReadOnlyMemory(memory.clone()),
            Self::VirtualMemory => Self::VirtualMemory,
            Self::EndpointFactory => Self::EndpointFactory,
            Self::Endpoint(serving) => Self::Endpoint(serving.clone()),
            Self::Client(client) => Self::Client(client.clone()),
            Self::CapabilityTable => Self::CapabilityTable,
            Self::Revoker(revocation) => Self::Revoker(revocation.clone()),
            Self::SystemInspector => Self::SystemInspector,
            Self::SystemSupervisor => Self::SystemSupervisor,
        }
    }
}

impl<M: Machine> Object<M> {
    /// The interface's Cap'n Proto id.
    pub const fn interface(&self) -> u64 {
        match self {
            Self::Console => interface::console::ID,
            Self::Terminal => interface::terminal::ID,
            Self::Timer => interface::timer::ID,
            Self::SchedulingPolicy => interface::scheduling_policy_cap::ID,
            Self::ProcessSpawner(_) => interface::process_spawner::ID,
            Self::Process(_) => interface::process_handle::ID,
            Self::ThreadSpawner => interface::thread_spawner::ID,
            Self::Thread(_) => interface::thread_handle::ID,
            Self::ThreadControl => interface::thread_control::ID,
            Self::ParkSpace => interface::park_space::ID,
            Self::MemoryFactory => interface::memory_factory::ID,
            Self::Memory(_) => interface::memory_object::ID,
            Self::ReadOnlyMemory(_) => interface::read_only_memory::ID,
            Self::VirtualMemory => interface::virtual_memory::ID,
            Self::EndpointFactory => interface::endpoint_factory::ID,
            Self::Endpoint(_) => interface::endpoint::ID,
            Self::Client(client) => client.interface,
            Self::CapabilityTable => interface::capability_table::ID,
            Self::Revoker(_) => interface::revoker::ID,
            Self::SystemInspector => interface::system_inspector::ID,
            Self::SystemSupervisor => interface::system_supervisor::ID,
        }
    }

    /// The badge that a server gave a client's capability; zero for all others.
    pub const fn badge(&self) -> u64 {
        match self {
            Self::Client(client) => client.badge,
            _ => 0,
        }
    }
}

/// What a process holds: an object, for as long as nothing that it depends on is revoked.
pub struct Capability<M: Machine> {
    /// The object.
    pub object: Object<M>,
    /// What it depends on.
    pub revocation: Option<Arc<Revocation>>,
}

impl<M: Machine> Clone for Capability<M> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), revocation: self.revocation.clone() }
    }
}

impl<M: Machine> From<Object<M>> for Capability<M> {
    fn from(object: Object<M>) -> Self {
        Self { object, revocation: None }
    }
}

impl<M: Machine> Capability<M> {
    /// Whether it was revoked.
    pub fn is_revoked(&self) -> bool {
        self.revocation.as_ref().is_some_and(|revocation| revocation.is_revoked())
    }
}
