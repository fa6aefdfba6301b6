//! Threads of the program.
//!
//! A new thread has a stack of its own from the program's VirtualMemory, between gaps that fault, and what it is to do
//! stands at the stack's upper end: so nothing here allocates. It gives its stack back as its last act, whether somebody
//! joins it or not.

use crate::{
    CallError, Client, arch,
    client::{ThreadControl, ThreadHandle, ThreadSpawner, VirtualMemory},
    generated::{
        interfaces::{thread_control, virtual_memory},
        messages::{AllocateParams, CreateThreadParams, RangeParams, ThreadExitParams},
    },
    message::{CpuWords, U64List},
    ring::{
        self, MethodId, Ring,
        operations::{Callee, last_call},
    },
};
use core::{mem, ptr};
use tessera_abi::scheduling::LatencyClass;

/// The least that a stack can have.
pub const LEAST_STACK_BYTES: usize = 16 << 10;
const PAGE_BYTES: usize = 4096;
const READ_WRITE: u16 = 3;

/// How a new thread is scheduled, and how large its stack is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Its weight; 0: the default.
    pub weight: u16,
    /// Its latency class.
    pub class: LatencyClass,
    /// Its request length in nanoseconds; 0: what the class gives.
    pub request_ns: u64,
    /// The CPUs that it may run on; `None`: the creator's.
    pub affinity: Option<CpuWords>,
    /// Bytes of its stack.
    pub stack_bytes: usize,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { weight: 0, class: LatencyClass::Normal, request_ns: 0, affinity: None, stack_bytes: 64 << 10 }
    }
}

/// What a thread's function can give: the code that joining it gives.
pub trait ExitCode {
    /// The code.
    fn code(self) -> i32;
}

impl ExitCode for () {
    fn code(self) -> i32 {
        0
    }
}

impl ExitCode for i32 {
    fn code(self) -> i32 {
        self
    }
}

/// A thread that was made. Dropped, the thread goes on by itself.
#[derive(Debug)]
pub struct JoinHandle {
    handle: ThreadHandle,
    id: u64,
}

impl JoinHandle {
    /// Waits for the thread's end; gives its code.
    pub fn join(self) -> Result<i32, CallError> {
        let code = self.handle.join()?.code.cast_signed();
        ring::current().release(self.handle.handle())?;
        mem::forget(self);
        Ok(code)
    }

    /// The thread's end is of no interest.
    pub fn detach(self) {}

    /// The handle, for `SchedulingPolicy`.
    pub const fn handle(&self) -> &ThreadHandle {
        &self.handle
    }

    /// The thread's id, as the inspector shows it.
    pub const fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for JoinHandle {
    fn drop(&mut self) {
        // A thread that has ended, or that was joined by somebody else, needs no more.
        let _ = self.handle.detach();
        let _ = ring::current().release(self.handle.handle());
    }
}

/// What stands at the upper end of a new thread's stack: the function's own data stand right above it.
struct Launch {
    /// Calls the function whose data stand at this address.
    run: unsafe fn(*mut u8) -> i32,
    function: *mut u8,
    stack: u64,
    stack_bytes: u64,
    memory: u64,
    control: u64,
}

/// Makes a thread that runs `function`; it runs at once.
///
/// Needs a ThreadSpawner, a ThreadControl and a VirtualMemory.
pub fn spawn<F, R>(attributes: Attributes, function: F) -> Result<JoinHandle, CallError>
where
    F: FnOnce() -> R + Send + 'static,
    R: ExitCode,
{
    let (spawner, memory, control) = (ThreadSpawner::granted()?, VirtualMemory::granted()?, ThreadControl::granted()?);
    let wanted = attributes.stack_bytes.max(LEAST_STACK_BYTES).saturating_add(size_of::<F>() + align_of::<F>());
    let bytes = wanted.checked_next_multiple_of(PAGE_BYTES).unwrap_or(wanted) as u64;
    let stack = memory.allocate(&AllocateParams { bytes, access: READ_WRITE })?.address;
    let upper = ptr::with_exposed_provenance_mut::<u8>((stack + bytes) as usize);
    let launch = Launch {
        run: run::<F, R>,
        function: below::<F>(upper),
        stack,
        stack_bytes: bytes,
        memory: memory.handle(),
        control: control.handle(),
    };
    // SAFETY: the place is aligned and lies in the new stack, which is mapped and larger, and which nobody else knows.
    unsafe { launch.function.cast::<F>().write(function) };
    let place = below::<Launch>(launch.function).cast::<Launch>();
    // SAFETY: as above, below the function's data.
    unsafe { place.write(launch) };
    let affinity = attributes.affinity.as_ref().map_or(U64List::EMPTY, |words| U64List::new(words));
    let created = spawner.create(&CreateThreadParams {
        entry: arch::thread_entry() as u64,
        stack: place.expose_provenance() as u64,
        argument: place.expose_provenance() as u64,
        tls_base: 0,
        affinity,
        weight: attributes.weight,
        class: attributes.class as u16,
        request_ns: attributes.request_ns,
    });
    match created {
        Ok((created, [handle])) => Ok(JoinHandle { handle: ThreadHandle::from_handle(handle), id: created.thread_id }),
        Err(error) => {
            // SAFETY: there is no thread, so the function is still where it was written, and this function's again.
            unsafe { ptr::drop_in_place(below::<F>(upper).cast::<F>()) };
            memory.unmap(&RangeParams { address: stack, bytes })?;
            Err(error)
        }
    }
}

/// [`spawn`] for a plain function with a number.
pub fn spawn_function(
    attributes: Attributes,
    function: fn(usize) -> i32,
    argument: usize,
) -> Result<JoinHandle, CallError> {
    spawn(attributes, move || function(argument))
}

/// The highest place below `end` that a `T` can stand at.
fn below<T>(end: *mut u8) -> *mut u8 {
    let align = align_of::<T>().max(16);
    end.map_addr(|address| (address - size_of::<T>()) & !(align - 1))
}

/// Runs the function at this address.
///
/// # Safety
///
/// An `F` stands there that nobody else uses, and that is gone afterwards.
unsafe fn run<F: FnOnce() -> R, R: ExitCode>(function: *mut u8) -> i32 {
    // SAFETY: the caller's promise.
    let function = unsafe { function.cast::<F>().read() };
    function().code()
}

/// What a new thread runs first.
///
/// # Safety
///
/// Called by the entry of a thread that [`spawn`] made, with the address of its [`Launch`].
#[unsafe(no_mangle)]
unsafe extern "C" fn tessera_thread_start(launch: *mut Launch) -> ! {
    // SAFETY: `spawn` wrote it for this thread alone.
    let launch = unsafe { launch.read() };
    // SAFETY: `spawn` wrote the function's data there and this is the only call.
    let code = unsafe { (launch.run)(launch.function) };
    end(ring::current(), &launch, code)
}

/// Gives the stack back and ends the thread, by two submissions whose messages stand in the ring's own page.
fn end(ring: Ring, launch: &Launch, code: i32) -> ! {
    let range = RangeParams { address: launch.stack, bytes: launch.stack_bytes };
    let unmap = MethodId { interface: virtual_memory::ID, method: virtual_memory::UNMAP };
    let exit = MethodId { interface: thread_control::ID, method: thread_control::EXIT };
    let submitted = last_call(ring, 0, Callee { handle: launch.memory, method: unmap }, &range).and_then(|()| {
        last_call(
            ring,
            1,
            Callee { handle: launch.control, method: exit },
            &ThreadExitParams { code: code.cast_unsigned() },
        )
    });
    match submitted {
        Ok(()) => arch::enter_and_end(),
        Err(error) => panic!("a thread cannot end: {error}"),
    }
}
