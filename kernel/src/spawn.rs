//! Making processes and threads.
//!
//! Everything that can fail comes before anything is visible; on failure everything is freed again.

use crate::{
    console::ProgramOutput,
    elf::{self, ElfError, Image},
    kernel::Kernel,
    memory::{address_space::AddressSpace, direct, heap, region::RegionError, reservation::ReserveError},
    object::{Capability, Object},
    operation::Operations,
    process::{Name, Process, Quotas, Stage, Threads},
    ring::Ring,
    thread::{EndWaiters, Thread, ThreadParts},
};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    fmt, mem,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};
use hal::{Access, CpuSet, Duration, Frame, Machine, PAGE_SIZE, UserContext, VirtualAddress};
use kernel_core::{
    cap::{Table, TableFull},
    limits::{Exceeded, QuotaChain},
    sched::{Attributes, CreateError},
};
use spin::{Mutex, Once};
use tessera_abi::{
    limits::{DEFAULT_CAPABILITIES, DEFAULT_FRAMES, DEFAULT_THREADS, MAX_CAPABILITIES, MAX_THREADS},
    ring::{RING_PAGES, SELF_ADDRESS},
    start::{ARGUMENT_OFFSET, Grant, MAX_ARGUMENT_BYTES, MAX_GRANT_NAME_BYTES, MAX_GRANTS, StartPage},
};

/// Pages of a program's stack: 64 KiB.
pub const STACK_PAGES: usize = 16;
/// The most bytes of a process's name.
pub const MAX_NAME_BYTES: usize = 40;

/// The programs that can be started: those of the boot image.
pub type Images = &'static [(&'static str, &'static [u8])];

/// The right to make processes, within limits.
pub struct Spawner {
    /// The programs.
    pub images: Images,
    /// The CPUs that its processes may use.
    pub cpus: CpuSet,
    /// How many processes it and the spawners derived from it can have at a time.
    pub processes: Arc<QuotaChain>,
}

/// One process of a spawner; given back when it is over.
pub struct SpawnerCharge(Arc<QuotaChain>);

impl SpawnerCharge {
    fn take(spawner: &Spawner) -> Result<Self, Exceeded> {
        spawner.processes.charge(1)?;
        Ok(Self(spawner.processes.clone()))
    }
}

impl Drop for SpawnerCharge {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

/// Why a program could not be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// The file is not a program.
    Elf(ElfError),
    /// Memory could not be mapped, or there is too little of it.
    Map(RegionError),
    /// The image reaches into the stack.
    NoRoomForStack,
    /// More than [`MAX_ARGUMENT_BYTES`].
    ArgumentsTooLong(usize),
    /// More than [`MAX_GRANTS`].
    TooManyGrants(usize),
    /// The name is empty, longer than [`MAX_NAME_BYTES`], or has other characters than letters, digits, `-`, `_`, `.`.
    BadName,
    /// A grant's name is empty, or longer than [`MAX_GRANT_NAME_BYTES`], or there are not as many as capabilities.
    BadGrantName,
    /// More than can be permitted.
    LimitTooHigh,
    /// The capability table is full.
    Capabilities(TableFull),
    /// As many processes of this spawner live as may.
    TooManyProcesses,
    /// The kernel's heap is nearly full.
    OutOfHeap,
    /// The first thread could not be made.
    Thread(ThreadError),
}

/// Why a thread could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadError {
    /// The process has as many as it may.
    Limit,
    /// The process has ended.
    ProcessEnded,
    /// There is no memory for its ring or its records.
    OutOfMemory,
    /// The scheduler refuses.
    Scheduler(CreateError),
    /// Its ring could not be mapped.
    Map(RegionError),
}

impl From<ElfError> for SpawnError {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

impl From<RegionError> for SpawnError {
    fn from(error: RegionError) -> Self {
        Self::Map(error)
    }
}

impl From<ReserveError> for SpawnError {
    fn from(error: ReserveError) -> Self {
        Self::Map(error.into())
    }
}

impl From<RegionError> for ThreadError {
    fn from(error: RegionError) -> Self {
        Self::Map(error)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf(error) => write!(f, "{error}"),
            Self::Map(error) => write!(f, "{error}"),
            Self::NoRoomForStack => write!(f, "the segments reach into the stack"),
            Self::ArgumentsTooLong(length) => {
                write!(f, "{length} bytes of arguments, at most {MAX_ARGUMENT_BYTES} are possible")
            }
            Self::TooManyGrants(count) => write!(f, "{count} grants, at most {MAX_GRANTS} are possible"),
            Self::BadName => write!(f, "the name is not 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' or '.'"),
            Self::BadGrantName => {
                write!(f, "the grants' names are not one of 1 to {MAX_GRANT_NAME_BYTES} bytes for each")
            }
            Self::LimitTooHigh => write!(f, "a limit is higher than can be permitted"),
            Self::Capabilities(TableFull) => write!(f, "the capability table is full"),
            Self::TooManyProcesses => write!(f, "as many processes live as may"),
            Self::OutOfHeap => write!(f, "the kernel's heap is nearly full"),
            Self::Thread(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for ThreadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit => write!(f, "the process has as many threads as it may"),
            Self::ProcessEnded => write!(f, "the process has ended"),
            Self::OutOfMemory => write!(f, "no memory is left for a thread"),
            Self::Scheduler(error) => write!(f, "{error}"),
            Self::Map(error) => write!(f, "{error}"),
        }
    }
}

/// A capability that a new process starts with, and what it calls it.
pub struct NamedGrant<'a, M: Machine> {
    /// The name.
    pub name: &'a str,
    /// The capability.
    pub capability: Capability<M>,
}

/// What a process may use; zero is the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Frames.
    pub frames: u32,
    /// Threads.
    pub threads: u32,
    /// Capabilities.
    pub capabilities: u32,
}

/// What a process is made of.
pub struct SpawnRequest<'a> {
    /// Who makes it.
    pub parent: u64,
    /// What it is called.
    pub name: Name,
    /// The ELF file.
    pub file: &'static [u8],
    /// The argument string.
    pub arguments: &'a str,
    /// What it may use.
    pub limits: Limits,
    /// How its first thread is scheduled. The affinity is also what its other threads may use.
    pub attributes: Attributes,
    /// Its end is not printed.
    pub silent: bool,
}

/// Where the kernel's own pages of a new process stand, from above: a guard page, the stack, a guard page, the start page.
/// Rings stand where the space has room.
struct Layout {
    stack: Range<usize>,
    start_page: usize,
}

impl Layout {
    fn new(user: &Range<usize>) -> Self {
        let stack_end = user.end - PAGE_SIZE;
        let stack = stack_end - STACK_PAGES * PAGE_SIZE..stack_end;
        let start_page = stack.start - 2 * PAGE_SIZE;
        Self { stack, start_page }
    }
}

impl Limits {
    fn or_default(self) -> Result<Self, SpawnError> {
        let or = |wanted: u32, default| if wanted == 0 { default } else { wanted };
        let limits = Self {
            frames: or(self.frames, DEFAULT_FRAMES),
            threads: or(self.threads, DEFAULT_THREADS),
            capabilities: or(self.capabilities, DEFAULT_CAPABILITIES),
        };
        let possible = limits.threads <= MAX_THREADS && limits.capabilities <= MAX_CAPABILITIES;
        if possible { Ok(limits) } else { Err(SpawnError::LimitTooHigh) }
    }
}

fn is_good_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(good)
}

impl<M: Machine> Kernel<M> {
    /// Makes a process with its first thread, which does not run yet.
    pub fn spawn(
        &'static self,
        spawner: &Spawner,
        request: SpawnRequest<'_>,
        grants: Vec<NamedGrant<'_, M>>,
    ) -> Result<Arc<Process<M>>, SpawnError> {
        let limits = request.limits.or_default()?;
        check_texts(&request, &grants)?;
        if heap::is_low() {
            return Err(SpawnError::OutOfHeap);
        }
        let layout = Layout::new(&self.machine.user_range());
        let image = elf::check(request.file, M::ELF_MACHINE, &self.machine.user_range())?;
        // The upper half is for what the kernel places.
        if image.end() > self.machine.user_range().end / 2 {
            return Err(SpawnError::NoRoomForStack);
        }
        let charge = SpawnerCharge::take(spawner).map_err(|_| SpawnError::TooManyProcesses)?;
        let quotas = Arc::new(Quotas::new(limits.frames, limits.threads));
        let space = AddressSpace::new(self.frames, &quotas.frames)?;
        map_image(&space, &image)?;
        space.map_anonymous(VirtualAddress(layout.stack.start), STACK_PAGES, READ_WRITE)?;
        let (_, [start_page]) = space.map_kernel_owned(Some(VirtualAddress(layout.start_page)), READ_WRITE)?;
        let mut capabilities = Table::new(limits.capabilities);
        let grants = insert(&mut capabilities, grants)?;
        let process = Arc::new(Process {
            id: self.counters.next_object_id(),
            parent: request.parent,
            name: request.name,
            silent: request.silent,
            cpus: request.attributes.affinity,
            space,
            capabilities: Mutex::new(capabilities),
            quotas,
            output: Mutex::new(ProgramOutput::new()),
            threads: Mutex::new(Threads::default()),
            main_thread: Mutex::new(None),
            handle: Mutex::new(Weak::new()),
            left_endpoints: Mutex::default(),
            ending: Once::new(),
            waiters: EndWaiters::default(),
            last_progress: Once::new(),
            start_page,
            stage: AtomicU8::new(Stage::Made as u8),
            is_ending: AtomicBool::new(false),
            unretired: AtomicU32::new(0),
            charge: Mutex::new(Some(charge)),
        });
        self.write_start_page(&process, request.arguments, &grants);
        self.graves.prepare().map_err(|_| SpawnError::OutOfHeap)?;
        let start = ThreadStart {
            entry: image.entry,
            stack: VirtualAddress(layout.stack.end),
            argument: layout.start_page,
            thread_pointer: None,
        };
        match self.make_thread(&process, start, request.attributes) {
            Ok(thread) => {
                let ring = direct::word64(self.machine, start_page, mem::offset_of!(StartPage, ring));
                ring.store(thread.ring_address.0 as u64, Ordering::Relaxed);
                *process.main_thread.lock() = Some(thread);
                self.processes.insert(&process);
                Ok(process)
            }
            Err(error) => {
                self.graves.forget();
                Err(SpawnError::Thread(error))
            }
        }
    }

    fn write_start_page(&self, process: &Process<M>, arguments: &str, grants: &[(Grant, usize)]) {
        let (machine, frame) = (self.machine, process.start_page);
        let set64 = |offset, value| direct::word64(machine, frame, offset).store(value, Ordering::Relaxed);
        let set32 = |offset, value| direct::word32(machine, frame, offset).store(value, Ordering::Relaxed);
        set32(mem::offset_of!(StartPage, cpus), self.online.len() as u32);
        set32(mem::offset_of!(StartPage, grant_count), grants.len() as u32);
        set32(mem::offset_of!(StartPage, argument_len), arguments.len() as u32);
        set32(mem::offset_of!(StartPage, instance), process.name.instance);
        for (grant, index) in grants {
            let offset = mem::offset_of!(StartPage, grants) + index * size_of::<Grant>();
            set64(offset, grant.interface);
            set64(offset + 8, grant.handle);
            direct::write(machine, frame, offset + 16, &grant.name);
        }
        direct::write(machine, frame, ARGUMENT_OFFSET, arguments.as_bytes());
    }
}

const READ_WRITE: Access = Access::READ.union(Access::WRITE);

/// Maps the segments over the file's own bytes; a page is copied when it is used for the first time.
fn map_image<M: Machine>(space: &AddressSpace<M>, image: &Image<'static>) -> Result<(), RegionError> {
    image.segments().try_for_each(|segment| {
        let range = segment.page_range();
        let pages = range.len() / PAGE_SIZE;
        space.map_image(VirtualAddress(range.start), pages, segment.access, segment.bytes, segment.start)
    })
}

fn check_texts<M: Machine>(request: &SpawnRequest<'_>, grants: &[NamedGrant<'_, M>]) -> Result<(), SpawnError> {
    if !is_good_name(&request.name.program) {
        return Err(SpawnError::BadName);
    }
    if request.arguments.len() > MAX_ARGUMENT_BYTES {
        return Err(SpawnError::ArgumentsTooLong(request.arguments.len()));
    }
    if grants.len() > MAX_GRANTS {
        return Err(SpawnError::TooManyGrants(grants.len()));
    }
    let bad = |grant: &NamedGrant<'_, M>| grant.name.is_empty() || grant.name.len() > MAX_GRANT_NAME_BYTES;
    if grants.iter().any(bad) { Err(SpawnError::BadGrantName) } else { Ok(()) }
}

/// Fills a new table; gives what the start page says of each.
fn insert<M: Machine>(
    table: &mut Table<Capability<M>>,
    grants: Vec<NamedGrant<'_, M>>,
) -> Result<Vec<(Grant, usize)>, SpawnError> {
    let entries = grants.into_iter().enumerate().map(|(index, grant)| {
        let interface = grant.capability.object.interface();
        let handle = table.insert(grant.capability).map_err(SpawnError::Capabilities)?.to_raw();
        let mut name = [0; MAX_GRANT_NAME_BYTES + 1];
        name[..grant.name.len()].copy_from_slice(grant.name.as_bytes());
        Ok((Grant { interface, handle, name }, index))
    });
    entries.collect()
}

/// Where a new thread begins.
pub struct ThreadStart {
    /// Its first instruction.
    pub entry: VirtualAddress,
    /// Its stack pointer.
    pub stack: VirtualAddress,
    /// Its first argument.
    pub argument: usize,
    /// Its thread pointer; `None`: the address of its ring.
    pub thread_pointer: Option<VirtualAddress>,
}

impl<M: Machine> Kernel<M> {
    /// Makes a thread that does not run yet.
    pub fn make_thread(
        &'static self,
        process: &Arc<Process<M>>,
        start: ThreadStart,
        attributes: Attributes,
    ) -> Result<Arc<Thread<M>>, ThreadError> {
        process.quotas.threads.charge(1).map_err(|_| ThreadError::Limit)?;
        let made = self.make_charged_thread(process, start, attributes);
        if made.is_err() {
            process.quotas.threads.release(1);
        }
        made
    }

    fn make_charged_thread(
        &'static self,
        process: &Arc<Process<M>>,
        start: ThreadStart,
        attributes: Attributes,
    ) -> Result<Arc<Thread<M>>, ThreadError> {
        let number = self.announce_thread(process)?;
        let made = self.map_ring(process).and_then(|ring| {
            self.make_thread_with(process, start, attributes, ring, number).map_err(|(error, ring)| {
                process.threads.lock().free_rings.push(ring.address);
                error
            })
        });
        let mut threads = process.threads.lock();
        threads.coming -= 1;
        let thread = made?;
        if !process.is_ending() {
            process.unretired.fetch_add(1, Ordering::AcqRel);
            threads.live.push(thread.clone());
            return Ok(thread);
        }
        drop(threads);
        let _ = self.dispatcher.terminate(thread.id);
        let next_generation = thread.operations.lock().next_generation();
        self.threads.release(&thread.place, next_generation);
        Err(ThreadError::ProcessEnded)
    }

    /// The new thread's number. Makes room for what its end will need.
    fn announce_thread(&self, process: &Process<M>) -> Result<u32, ThreadError> {
        if heap::is_low() {
            return Err(ThreadError::OutOfMemory);
        }
        let mut threads = process.threads.lock();
        let coming = threads.coming as usize + 1;
        threads.live.try_reserve(coming).map_err(|_| ThreadError::OutOfMemory)?;
        let rings = threads.live.len() + coming;
        threads.free_rings.try_reserve(rings).map_err(|_| ThreadError::OutOfMemory)?;
        threads.coming += 1;
        threads.next_number += 1;
        Ok(threads.next_number - 1)
    }

    fn make_thread_with(
        &'static self,
        process: &Arc<Process<M>>,
        start: ThreadStart,
        attributes: Attributes,
        ring: MappedRing,
        number: u32,
    ) -> Result<Arc<Thread<M>>, (ThreadError, MappedRing)> {
        let Ok((place, next_generation)) = self.threads.reserve() else { return Err((ThreadError::OutOfMemory, ring)) };
        let (id, operations) = match self.prepare_scheduling(attributes, place.index(), next_generation) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.threads.release(&place, next_generation);
                return Err((error, ring));
            }
        };
        let address = ring.address;
        let mut context = M::Context::new(start.entry, start.stack, [start.argument, address.0]);
        context.set_thread_pointer(start.thread_pointer.unwrap_or(address));
        let thread = Arc::new(Thread::new(ThreadParts {
            place,
            id,
            serial: self.counters.next_object_id(),
            number,
            process: process.clone(),
            permitted: attributes.affinity,
            ring: Ring::new(self.machine, ring.frames),
            ring_address: address,
            operations,
            context,
        }));
        self.threads.fill(&thread.place, thread.clone());
        Ok(thread)
    }

    fn prepare_scheduling(
        &self,
        attributes: Attributes,
        index: u32,
        next_generation: u32,
    ) -> Result<(kernel_core::sched::ThreadId, Operations<M>), ThreadError> {
        let operations = Operations::new(next_generation).ok_or(ThreadError::OutOfMemory)?;
        // Each thread can have all its timed operations and a timeout; the kernel itself needs two.
        let timers = self.threads.live().saturating_mul(crate::operation::MAX_TIMED + 1).saturating_add(2);
        self.dispatcher.reserve_timers(timers).map_err(|_| ThreadError::OutOfMemory)?;
        let id = self.dispatcher.create(attributes, index.into()).map_err(ThreadError::Scheduler)?;
        Ok((id, operations))
    }

    /// Pages for a ring: those of a thread that has ended, cleared, or new ones.
    fn map_ring(&self, process: &Process<M>) -> Result<MappedRing, ThreadError> {
        let used = process.threads.lock().free_rings.pop();
        let ring = match used {
            Some(address) => {
                let page = |index| VirtualAddress(address.0 + index * PAGE_SIZE);
                let frame = |index| process.space.translate(page(index)).map(|(frame, _)| frame);
                let (Some(a), Some(b), Some(c)) = (frame(0), frame(1), frame(2)) else {
                    return Err(ThreadError::ProcessEnded);
                };
                [a, b, c].iter().for_each(|&frame| direct::zero(self.machine, frame));
                MappedRing { address, frames: [a, b, c] }
            }
            None => {
                let (address, frames) = process.space.map_kernel_owned(None, READ_WRITE)?;
                MappedRing { address, frames }
            }
        };
        let own_address = direct::word64(self.machine, ring.frames[0], SELF_ADDRESS);
        own_address.store(ring.address.0 as u64, Ordering::Relaxed);
        Ok(ring)
    }
}

/// The pages of a ring that nobody has.
struct MappedRing {
    address: VirtualAddress,
    frames: [Frame; RING_PAGES],
}

/// The attributes that a spawner asks for: zero is the default, a mask is what it permits at most.
pub fn request_of(request_ns: u64) -> Option<Duration> {
    (request_ns != 0).then(|| Duration::from_nanos(request_ns))
}

/// All objects without content, with the names that grants of them have.
pub fn plain_objects<M: Machine>() -> [(&'static str, Object<M>); 13] {
    [
        ("console", Object::Console),
        ("terminal", Object::Terminal),
        ("timer", Object::Timer),
        ("scheduling-policy", Object::SchedulingPolicy),
        ("thread-spawner", Object::ThreadSpawner),
        ("thread-control", Object::ThreadControl),
        ("park-space", Object::ParkSpace),
        ("memory-factory", Object::MemoryFactory),
        ("virtual-memory", Object::VirtualMemory),
        ("endpoint-factory", Object::EndpointFactory),
        ("capability-table", Object::CapabilityTable),
        ("system-inspector", Object::SystemInspector),
        ("system-supervisor", Object::SystemSupervisor),
    ]
}
