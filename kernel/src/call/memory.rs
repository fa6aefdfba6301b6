//! `MemoryFactory`, `MemoryObject`, `ReadOnlyMemory` and `VirtualMemory`.
//!
//! Making a mapping touches no page; taking one away is done in steps, between which this CPU serves what was asked of
//! it: the system call is made again and goes on where it was.

use super::{Answer, Refused, Reply, Request, Results, Unfinished, failed, invalid, overloaded};
use crate::{
    kernel::Kernel,
    memory::{
        change::{Progress, ProtectInProgress, UnmapInProgress},
        object::{MemoryObject, ObjectError},
        region::RegionError,
    },
    object::Object,
    process::Process,
    ring::PendingSubmission,
    submission::Caller,
    thread::Thread,
};
use alloc::sync::Arc;
use core::ops::Range;
use hal::{Access, Machine, PAGE_SIZE, VirtualAddress};
use kernel_core::ring::Completed;
use tessera_schema::{
    generated::{
        interfaces::{memory_factory, memory_object, read_only_memory, virtual_memory},
        messages::{MapMemoryParams, MapMemoryResults, MemoryInfo},
    },
    message::ExceptionKind,
};

/// Pages that are changed between two looks at the request word.
const STEP: usize = 64;

/// A change of mappings that is under way.
pub enum Change {
    /// A range is being unmapped.
    Unmap(UnmapInProgress, Range<u64>),
    /// A range is getting another access.
    Protect(ProtectInProgress),
}

/// A change of mappings, and the submission that it completes.
pub struct ChangeInProgress {
    pending: PendingSubmission,
    change: Change,
}

impl<M: Machine> Caller<'_, M> {
    pub(super) fn memory_factory<'r>(&mut self, call: memory_factory::Call, request: &Request<'r, M>) -> Answer<'r, M> {
        let memory_factory::Call::Create(params) = call;
        let places = request.places(1)?;
        let pages = pages_of(params.bytes)?;
        let object = MemoryObject::create(self.kernel.objects, &request.process.quotas.frames, pages);
        let object = object.map_err(|error| match error {
            ObjectError::Empty => invalid("the memory would have no page"),
            ObjectError::Reserve(_) => overloaded("there is not enough memory, or the process may not have more"),
            ObjectError::OutOfHeap => overloaded("there is not enough memory"),
        })?;
        Ok(request.give(Object::Memory(object), places))
    }

    pub(super) fn memory_object<'r>(
        &mut self,
        memory: &Arc<MemoryObject<M>>,
        call: memory_object::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        match call {
            memory_object::Call::Map(params) => map(request.process, memory, &params, access(params.access)?),
            memory_object::Call::Info => Ok(Reply::of(&info(memory))),
            memory_object::Call::ReadOnly => {
                let places = request.places(1)?;
                Ok(request.give(Object::ReadOnlyMemory(memory.clone()), places))
            }
        }
    }

    pub(super) fn read_only_memory<'r>(
        &mut self,
        memory: &Arc<MemoryObject<M>>,
        call: read_only_memory::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        match call {
            read_only_memory::Call::Map(params) => match access(params.access)? {
                Access::READ => map(request.process, memory, &params, Access::READ),
                _ => Err(invalid("the memory can be mapped for reading only")),
            },
            read_only_memory::Call::Info => Ok(Reply::of(&info(memory))),
        }
    }

    pub(super) fn virtual_memory<'r>(&mut self, call: virtual_memory::Call, request: &Request<'r, M>) -> Answer<'r, M> {
        let space = &request.process.space;
        match call {
            virtual_memory::Call::Allocate(params) => {
                let start = space.allocate(pages_of(params.bytes)?, access(params.access)?).map_err(refusal)?;
                Ok(Reply::of(&MapMemoryResults { address: start.0 as u64 }))
            }
            virtual_memory::Call::Unmap(params) => {
                let range = range_of(params.address, params.bytes)?;
                let words = range.start as u64..range.end as u64;
                let unmap = space.unmap_begin(VirtualAddress(range.start), range.len()).map_err(refusal)?;
                self.begin_change(request, Change::Unmap(unmap, words))
            }
            virtual_memory::Call::Protect(params) => {
                let range = range_of(params.address, params.bytes)?;
                let start = VirtualAddress(range.start);
                let protect = space.protect_begin(start, range.len(), any_access(params.access)?).map_err(refusal)?;
                self.begin_change(request, Change::Protect(protect))
            }
        }
    }

    fn begin_change<'r>(&mut self, request: &Request<'r, M>, change: Change) -> Answer<'r, M> {
        self.unfinished = Some(Unfinished::Change(ChangeInProgress { pending: *request.pending, change }));
        Ok(Reply::Later)
    }

    /// One step. When nothing is left, the submission is complete.
    pub(super) fn change_step(&mut self, unfinished: ChangeInProgress) {
        let ChangeInProgress { pending, mut change } = unfinished;
        let kernel = self.kernel;
        let process = self.thread.process.clone();
        let progress = match &mut change {
            Change::Unmap(unmap, _) => {
                let step = process.space.unmap_step(unmap, STEP);
                kernel.flush_others(&process.space);
                Ok(process.space.unmap_settle(unmap, step))
            }
            Change::Protect(protect) => process.space.protect_step(protect, STEP),
        };
        if matches!(progress, Ok(Progress::Unfinished)) {
            self.unfinished = Some(Unfinished::Change(ChangeInProgress { pending, change }));
            return;
        }
        match change {
            Change::Unmap(_, words) => kernel.end_parks_in(&process, &words),
            Change::Protect(_) => kernel.flush_others(&process.space),
        }
        let completed = finished(kernel, self.thread, progress.err(), &pending);
        self.complete(pending.user_data, completed);
    }
}

fn finished<M: Machine>(
    kernel: &Kernel<M>,
    thread: &Thread<M>,
    error: Option<RegionError>,
    pending: &PendingSubmission,
) -> Completed {
    let results = match error.map(refusal) {
        None => Results::empty(),
        Some(Refused::Exception(kind, reason)) => Results::exception(kind, reason),
        Some(Refused::Transport(error)) => return Completed::Transport(error),
    };
    kernel.deliver(thread, results, pending)
}

fn map<'r, M: Machine>(
    process: &Process<M>,
    memory: &Arc<MemoryObject<M>>,
    params: &MapMemoryParams,
    access: Access,
) -> Answer<'r, M> {
    let first = range_of(params.offset, params.bytes)?;
    let start = process.space.map_object(memory, first.start / PAGE_SIZE, first.len() / PAGE_SIZE, access);
    Ok(Reply::of(&MapMemoryResults { address: start.map_err(refusal)?.0 as u64 }))
}

fn info<M: Machine>(memory: &MemoryObject<M>) -> MemoryInfo {
    MemoryInfo { bytes: (memory.pages() * PAGE_SIZE) as u64 }
}

const NOT_PAGES: Refused = invalid("the range is not one of whole pages of 4096 bytes");

fn pages_of(bytes: u64) -> Result<usize, Refused> {
    Ok(range_of(0, bytes)?.len() / PAGE_SIZE)
}

fn range_of(start: u64, bytes: u64) -> Result<Range<usize>, Refused> {
    let end = start.checked_add(bytes).and_then(|end| usize::try_from(end).ok()).ok_or(NOT_PAGES)?;
    let range = start as usize..end;
    let is_whole = !range.is_empty() && range.start.is_multiple_of(PAGE_SIZE) && range.end.is_multiple_of(PAGE_SIZE);
    if is_whole { Ok(range) } else { Err(NOT_PAGES) }
}

/// The access that data can have.
fn access(number: u16) -> Result<Access, Refused> {
    match number {
        1 => Ok(Access::READ),
        3 => Ok(Access::READ | Access::WRITE),
        _ => Err(invalid("the access is neither 1 (read) nor 3 (read and write)")),
    }
}

/// The access that a mapping can be given.
fn any_access(number: u16) -> Result<Access, Refused> {
    match number {
        0 => Ok(Access::empty()),
        5 => Ok(Access::READ | Access::EXECUTE),
        _ => access(number).map_err(|_| invalid("the access is none of 0, 1 (read), 3 (and write), 5 (and execute)")),
    }
}

fn refusal(error: RegionError) -> Refused {
    let (kind, reason) = match error {
        RegionError::NotUserPages(_) => (ExceptionKind::InvalidArgument, "the range is not one of user pages"),
        RegionError::NotMapped(_) => (ExceptionKind::InvalidArgument, "a page of the range is not mapped"),
        RegionError::KernelOwned(_) => (ExceptionKind::InvalidArgument, "a page of the range is the kernel's"),
        RegionError::BadAccess(_) => (ExceptionKind::InvalidArgument, "no page can have this access"),
        RegionError::NotPermitted(_) => (ExceptionKind::InvalidArgument, "the memory does not permit this access"),
        RegionError::OutsideObject => (ExceptionKind::InvalidArgument, "the range is not inside the memory"),
        RegionError::Occupied(_) | RegionError::Busy(_) => return failed("another thread changes the range"),
        RegionError::TooManyMappings => (ExceptionKind::Overloaded, "the process has as many mappings as it may"),
        RegionError::NoPlace => (ExceptionKind::Overloaded, "there is no free range of addresses"),
        RegionError::OutOfHeap => (ExceptionKind::Overloaded, "there is not enough memory"),
        RegionError::Reserve(_) => {
            (ExceptionKind::Overloaded, "there is not enough memory, or the process may not have more")
        }
        RegionError::TornDown => (ExceptionKind::Disconnected, "the process has ended"),
    };
    Refused::Exception(kind, reason)
}
