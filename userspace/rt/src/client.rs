//! Typed clients of the capabilities that a program can hold.
//!
//! Those of the kernel's interfaces are generated from the schema; [`Client`] finds the ones that the program was started
//! with. [`EndpointClient`] is for interfaces of the program's own, whose messages can be any bytes.

use crate::{
    CallError, OwnRing,
    ring::{self, MethodId, operations::Callee},
    start,
};
use tessera_abi::{
    ring::MAX_MESSAGE_BYTES,
    transfer::{COPY, MOVE, TransferEntry},
};
use tessera_schema::{generated::clients, message::Message};

/// A client over the calling thread's ring.
pub trait Client: Sized {
    /// The interface's id.
    const ID: u64;

    /// A client of any handle; the kernel checks it at each call.
    fn from_handle(handle: u64) -> Self;

    /// The first capability with this interface that the program was started with.
    fn granted() -> Result<Self, CallError> {
        start::granted_interface(Self::ID).map(Self::from_handle).ok_or(CallError::NotGranted(Self::ID))
    }

    /// The capability that the program was started with under this name, if it has this interface.
    fn named(name: &str) -> Result<Self, CallError> {
        let grant = start::granted(name).filter(|grant| grant.interface == Self::ID);
        grant.map(|grant| Self::from_handle(grant.handle)).ok_or(CallError::NotGranted(Self::ID))
    }
}

macro_rules! clients {
    ($($(#[$documentation:meta])* $name:ident = $generated:ident;)*) => {
        $(
            $(#[$documentation])*
            pub type $name = clients::$generated<OwnRing>;

            impl Client for $name {
                const ID: u64 = Self::INTERFACE;

                fn from_handle(handle: u64) -> Self {
                    Self::new(OwnRing, handle)
                }
            }
        )*
    };
}

clients! {
    /// The system console.
    Console = Console;
    /// The system console as a terminal.
    Terminal = Terminal;
    /// The monotonic clock.
    Timer = Timer;
    /// Scheduling attributes of the calling thread, or of a thread whose handle is lent.
    SchedulingPolicy = SchedulingPolicyCap;
    /// Makes processes.
    ProcessSpawner = ProcessSpawner;
    /// A process.
    ProcessHandle = ProcessHandle;
    /// Makes threads of this process.
    ThreadSpawner = ThreadSpawner;
    /// A thread.
    ThreadHandle = ThreadHandle;
    /// The calling thread.
    ThreadControl = ThreadControl;
    /// The permission to park.
    ParkSpace = ParkSpace;
    /// Makes memory that can be shared.
    MemoryFactory = MemoryFactory;
    /// Memory that can be shared.
    MemoryObject = MemoryObject;
    /// Memory that can be read.
    ReadOnlyMemory = ReadOnlyMemory;
    /// This process's address space.
    VirtualMemory = VirtualMemory;
    /// Makes endpoints.
    EndpointFactory = EndpointFactory;
    /// The server's side of an endpoint.
    Endpoint = Endpoint;
    /// This process's capabilities.
    CapabilityTable = CapabilityTable;
    /// Revokes a capability.
    Revoker = Revoker;
    /// Looks at all processes and threads.
    SystemInspector = SystemInspector;
    /// Handles of all processes and threads.
    SystemSupervisor = SystemSupervisor;
}

/// A copy of this capability goes along.
pub const fn copied(handle: u64) -> TransferEntry {
    TransferEntry { handle, detail: COPY }
}

/// This capability goes away with the message, if it is delivered.
pub const fn moved(handle: u64) -> TransferEntry {
    TransferEntry { handle, detail: MOVE }
}

/// A client of a server of the program's own making.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndpointClient {
    handle: u64,
    interface: u64,
}

impl EndpointClient {
    /// A client of this handle and interface; the kernel checks both at each call.
    pub const fn new(handle: u64, interface: u64) -> Self {
        Self { handle, interface }
    }

    /// The capability that the program was started with under this name.
    pub fn named(name: &str) -> Option<Self> {
        start::granted(name).map(|grant| Self::new(grant.handle, grant.interface))
    }

    /// The handle.
    pub const fn handle(&self) -> u64 {
        self.handle
    }

    /// Calls a method with any bytes. Gives how many bytes stand in `results`.
    pub fn call(&self, method: u16, params: &[u8], results: &mut [u8]) -> Result<usize, CallError> {
        ring::current().call(self.callee(method), params, &[], results, &mut []).map(|returned| returned.length)
    }

    /// Calls a method with capabilities. Gives how many bytes stand in `results`, and how many capabilities came along.
    pub fn call_with(
        &self,
        method: u16,
        params: &[u8],
        lent: &[TransferEntry],
        results: &mut [u8],
        received: &mut [TransferEntry],
    ) -> Result<ring::Returned, CallError> {
        ring::current().call(self.callee(method), params, lent, results, received)
    }

    /// Calls a method whose parameters and results are structs of a schema. The results borrow from `buffer`.
    pub fn invoke<'p, 'r, R: Message<'r>>(
        &self,
        method: u16,
        params: &impl Message<'p>,
        buffer: &'r mut [u8],
    ) -> Result<R, CallError> {
        let mut encoded = [0; MAX_MESSAGE_BYTES as usize];
        let length = params.encode(&mut encoded)?;
        let length = self.call(method, encoded.get(..length).unwrap_or_default(), buffer)?;
        Ok(R::decode(buffer.get(..length).unwrap_or_default())?)
    }

    const fn callee(&self, method: u16) -> Callee {
        Callee { handle: self.handle, method: MethodId { interface: self.interface, method } }
    }
}
