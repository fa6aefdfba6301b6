//! Processes: an address space, capabilities and output; and how one is made from an ELF file.
//!
//! Layout: the image where it was linked; at the top of user memory, from above, a guard page, the stack, a guard page,
//! the ring and the start page. Nothing is shared between processes.

use crate::{
    capability::{CapabilityTable, Object, TableFull},
    console::ProgramOutput,
    elf::{self, ElfError, Image, Segment},
    memory::{
        address_space::{AddressSpace, MapError, pages},
        direct,
        frames::{FrameAllocator, OutOfFrames},
    },
    ring::Ring,
};
use alloc::boxed::Box;
use core::{fmt, ops::Range, sync::atomic::Ordering};
use hal::{Access, Fault, Frame, Machine, PAGE_SIZE, UserContext, VirtualAddress};
use kernel_core::sched::Snapshot;
use spin::{Mutex, Once};
use tessera_abi::{
    ring::RING_PAGES,
    start::{ARGUMENT_OFFSET, MAX_ARGUMENT_BYTES, MAX_GRANTS, StartPage},
};

/// Pages of a program's stack: 64 KiB.
pub const STACK_PAGES: usize = 16;

/// Why a program could not be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// The file is not a program.
    Elf(ElfError),
    /// A page could not be mapped.
    Map(MapError),
    /// The image reaches into the stack.
    NoRoomForStack,
    /// More than [`MAX_ARGUMENT_BYTES`].
    ArgumentsTooLong(usize),
    /// More than [`MAX_GRANTS`].
    TooManyGrants(usize),
    /// The capability table is full.
    Capabilities(TableFull),
}

impl From<ElfError> for SpawnError {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

impl From<MapError> for SpawnError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<OutOfFrames> for SpawnError {
    fn from(error: OutOfFrames) -> Self {
        Self::Map(error.into())
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
            Self::Capabilities(TableFull) => write!(f, "the capability table is full"),
        }
    }
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It called `exit`.
    Exit(i32),
    /// It did what it may not.
    Fault(Fault),
}

/// What is known of a process after its end.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// Its last count of work done.
    pub progress: u64,
    /// Its thread's last account.
    pub snapshot: Option<Snapshot>,
}

/// `name.instance`: what the program is called in every line.
#[derive(Clone, Debug)]
pub struct Name {
    /// From the manifest.
    pub program: Box<str>,
    /// Which of the `count` instances.
    pub instance: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.program, self.instance)
    }
}

/// A process.
pub struct Process<M: Machine> {
    /// What it is called.
    pub name: Name,
    /// Its memory.
    pub space: AddressSpace<M>,
    /// Its capabilities.
    pub capabilities: CapabilityTable,
    /// Its output between newlines.
    pub output: Mutex<ProgramOutput>,
    /// Set once, when it ends.
    pub ended: Once<Ended>,
    start_page: Frame,
}

/// What a process needs besides its file.
pub struct SpawnRequest<'a> {
    /// What it is called.
    pub name: Name,
    /// The ELF file.
    pub file: &'a [u8],
    /// The argument string.
    pub arguments: &'a str,
    /// What it may use.
    pub grants: &'a [Object],
    /// How many CPUs are online.
    pub cpus: u32,
}

/// A new process with its first thread's ring and registers; the caller makes the thread.
pub struct Spawned<M: Machine> {
    /// The process.
    pub process: Process<M>,
    /// Its ring.
    pub ring: Ring<M>,
    /// Its registers.
    pub context: M::Context,
}

/// Where the kernel's own pages of a process stand.
struct Layout {
    stack: Range<usize>,
    ring: usize,
    start_page: usize,
}

impl Layout {
    fn new(user: &Range<usize>) -> Self {
        let stack_end = user.end - PAGE_SIZE;
        let stack = stack_end - STACK_PAGES * PAGE_SIZE..stack_end;
        let ring = stack.start - (1 + RING_PAGES) * PAGE_SIZE;
        Self { stack, ring, start_page: ring - PAGE_SIZE }
    }
}

impl<M: Machine> Process<M> {
    /// Makes a process. On failure everything is freed again.
    pub fn spawn(frames: &'static FrameAllocator<M>, request: SpawnRequest<'_>) -> Result<Spawned<M>, SpawnError> {
        let machine = frames.machine();
        let image = elf::check(request.file, M::ELF_MACHINE, &machine.user_range())?;
        let layout = Layout::new(&machine.user_range());
        // One more page is left out below, so that running off the image's end does not reach the start page.
        if image.end() + PAGE_SIZE > layout.start_page {
            return Err(SpawnError::NoRoomForStack);
        }
        let space = AddressSpace::new(frames)?;
        map_image(machine, &space, &image)?;
        for page in pages(VirtualAddress(layout.stack.start), layout.stack.len()).into_iter().flatten() {
            space.map_new(page, Access::READ | Access::WRITE)?;
        }
        let ring = Ring::new(machine, map_ring(&space, layout.ring)?);
        let start_page = space.map_new(VirtualAddress(layout.start_page), Access::READ | Access::WRITE)?;
        let capabilities = CapabilityTable::new();
        write_start_page(machine, start_page, &layout, &request, &capabilities)?;
        let context = M::Context::new(image.entry, VirtualAddress(layout.stack.end), [layout.start_page, 0]);
        let output = Mutex::new(ProgramOutput::new());
        let process = Self { name: request.name, space, capabilities, output, ended: Once::new(), start_page };
        Ok(Spawned { process, ring, context })
    }

    /// The program's own count of work done; the last one after its end.
    pub fn progress(&self, machine: &M) -> u64 {
        match self.ended.get() {
            Some(ended) => ended.progress,
            None => direct::word64(machine, self.start_page, 0).load(Ordering::Relaxed),
        }
    }
}

fn map_image<M: Machine>(machine: &M, space: &AddressSpace<M>, image: &Image<'_>) -> Result<(), MapError> {
    image.segments().try_for_each(|segment| map_segment(machine, space, segment))
}

/// Maps a segment and fills it, a page at a time.
fn map_segment<M: Machine>(machine: &M, space: &AddressSpace<M>, segment: &Segment<'_>) -> Result<(), MapError> {
    for page in segment.pages() {
        let frame = space.map_new(page, segment.access)?;
        let from = page.0.max(segment.start.0);
        let skipped = from - segment.start.0;
        let length = (page.0 + PAGE_SIZE - from).min(segment.bytes.len().saturating_sub(skipped));
        if length > 0 {
            direct::write(machine, frame, from - page.0, &segment.bytes[skipped..skipped + length]);
        }
        if segment.access.contains(Access::EXECUTE) {
            machine.code_written(frame);
        }
    }
    Ok(())
}

fn map_ring<M: Machine>(space: &AddressSpace<M>, start: usize) -> Result<[Frame; RING_PAGES], MapError> {
    let mut ring = [Frame::from_number(0); RING_PAGES];
    for (index, frame) in ring.iter_mut().enumerate() {
        *frame = space.map_new(VirtualAddress(start + index * PAGE_SIZE), Access::READ | Access::WRITE)?;
    }
    Ok(ring)
}

/// Fills in what the program finds when it starts.
fn write_start_page<M: Machine>(
    machine: &M,
    frame: Frame,
    layout: &Layout,
    request: &SpawnRequest<'_>,
    capabilities: &CapabilityTable,
) -> Result<(), SpawnError> {
    let arguments = request.arguments.as_bytes();
    if arguments.len() > MAX_ARGUMENT_BYTES {
        return Err(SpawnError::ArgumentsTooLong(arguments.len()));
    }
    if request.grants.len() > MAX_GRANTS {
        return Err(SpawnError::TooManyGrants(request.grants.len()));
    }
    let set64 = |offset, value| direct::word64(machine, frame, offset).store(value, Ordering::Relaxed);
    let set32 = |offset, value| direct::word32(machine, frame, offset).store(value, Ordering::Relaxed);
    set64(core::mem::offset_of!(StartPage, ring), layout.ring as u64);
    set32(core::mem::offset_of!(StartPage, cpus), request.cpus);
    set32(core::mem::offset_of!(StartPage, grant_count), request.grants.len() as u32);
    set32(core::mem::offset_of!(StartPage, argument_len), arguments.len() as u32);
    set32(core::mem::offset_of!(StartPage, instance), request.name.instance);
    for (index, &object) in request.grants.iter().enumerate() {
        let handle = capabilities.insert(object).map_err(SpawnError::Capabilities)?;
        let offset = core::mem::offset_of!(StartPage, grants) + index * size_of::<tessera_abi::start::Grant>();
        set64(offset, object.interface());
        set64(offset + 8, handle.to_raw());
    }
    direct::write(machine, frame, ARGUMENT_OFFSET, arguments);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{memory::user_copy::copy_from_user, test_machine::TestMachine};
    use alloc::vec;

    fn request<'a>(file: &'a [u8], grants: &'a [Object]) -> SpawnRequest<'a> {
        let name = Name { program: "hog".into(), instance: 3 };
        SpawnRequest { name, file, arguments: "weight=7", grants, cpus: 4 }
    }

    #[test]
    fn a_process_starts_with_its_image_its_arguments_and_its_grants() {
        let frames = TestMachine::with_frames(64);
        let file = elf::tests::small_program(0x20_0010);
        let spawned = Process::spawn(frames, request(&file, &[Object::Console, Object::Timer])).unwrap();
        let machine = frames.machine();
        let space = &spawned.process.space;
        let layout = Layout::new(&machine.user_range());
        let mut code = vec![0; 0x800];
        copy_from_user(machine, space, 0x20_0000, &mut code).unwrap();
        assert_eq!(code, file[0x1000..0x1800]);
        let mut arguments = [0; 8];
        copy_from_user(machine, space, (layout.start_page + ARGUMENT_OFFSET) as u64, &mut arguments).unwrap();
        assert_eq!(&arguments, b"weight=7");
        assert_eq!(space.translate(VirtualAddress(layout.stack.end)), None, "guard above the stack");
        assert_eq!(space.translate(VirtualAddress(layout.stack.start - 1)), None, "guard below the stack");
        assert!(space.translate(VirtualAddress(layout.stack.end - 8)).is_some());
        assert_eq!(spawned.context.program_counter(), VirtualAddress(0x20_0010));
        assert_eq!(spawned.process.progress(machine), 0);
        direct::word64(machine, spawned.process.start_page, 0).store(9, Ordering::Relaxed);
        assert_eq!(spawned.process.progress(machine), 9);
    }

    #[test]
    fn a_spawn_that_fails_leaks_nothing() {
        let file = elf::tests::small_program(0x20_0010);
        for count in 1..40 {
            let frames = TestMachine::with_frames(count);
            if let Err(error) = Process::spawn(frames, request(&file, &[])) {
                assert_eq!(error, SpawnError::Map(MapError::OutOfFrames));
                assert_eq!(frames.free_count(), count);
            }
        }
        let frames = TestMachine::with_frames(64);
        let grants = [Object::Timer; MAX_GRANTS + 1];
        let error = Process::spawn(frames, request(&file, &grants)).err();
        assert_eq!(error, Some(SpawnError::TooManyGrants(MAX_GRANTS + 1)));
        assert_eq!(frames.free_count(), 64);
    }
}
