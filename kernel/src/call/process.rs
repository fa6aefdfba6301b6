//! `ProcessSpawner` and `ProcessHandle`.

use super::{
    Answer, Refused, Reply, Request, Results, TOO_MANY_OPERATIONS, disconnected, failed, invalid, overloaded,
    refuse_when_heap_is_low, scheduling::cpu_set,
};
use crate::{
    kernel::Kernel,
    line::Line,
    memory::{region::RegionError, reservation::ReserveError},
    object::Object,
    operation::{Operation, OperationRef, WaitsFor},
    process::{Ending, Name, Process, Stage},
    spawn::{Limits, NamedGrant, SpawnError, SpawnRequest, Spawner, ThreadError, request_of},
    submission::Caller,
};
use alloc::{sync::Arc, vec::Vec};
use core::{fmt::Write, sync::atomic::Ordering};
use hal::{CpuSet, Machine};
use kernel_core::{
    limits::QuotaChain,
    sched::{Attributes, CreateError, Weight},
};
use tessera_abi::scheduling::LatencyClass;
use tessera_schema::{
    generated::{
        interfaces::{process_handle, process_spawner},
        messages::{NarrowSpawnerParams, ProcessEnding, ProcessInfo, SpawnParams, SpawnResults},
    },
    message::U64List,
};

impl<M: Machine> Caller<'_, M> {
    pub(super) fn process_spawner<'r>(
        &mut self,
        spawner: &Arc<Spawner>,
        call: process_spawner::Call<'_>,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        match call {
            process_spawner::Call::Spawn(params) => self.spawn(spawner, &params, request),
            process_spawner::Call::Narrow(params) => narrow(spawner, &params, request),
        }
    }

    fn spawn<'r>(&mut self, spawner: &Spawner, params: &SpawnParams<'_>, request: &Request<'r, M>) -> Answer<'r, M> {
        // Before the name and the list of grants are copied.
        refuse_when_heap_is_low()?;
        let places = request.places(1)?;
        let image = spawner.images.iter().find(|(name, _)| *name == params.binary);
        let (_, file) = image.ok_or(invalid("the boot image has no program of this name"))?;
        let attributes = attributes(params.weight, params.class, params.request_ns, params.affinity, &spawner.cpus)?;
        let spawn = SpawnRequest {
            parent: request.process.id,
            name: Name { program: params.name.into(), instance: params.instance },
            file,
            arguments: params.arguments,
            limits: Limits { frames: params.frames, threads: params.threads, capabilities: params.capabilities },
            attributes,
            silent: params.silent != 0,
        };
        let named = request.named()?;
        // Copies: what the call moves leaves the caller's table once the process is there.
        let capabilities = request.process.lend(&named)?;
        let names: Vec<&str> = params.grant_names.split(' ').filter(|name| !name.is_empty()).collect();
        if names.len() != capabilities.len() {
            return Err(invalid("there are not as many grant names as capabilities"));
        }
        let grants = names.into_iter().zip(capabilities).map(|(name, capability)| NamedGrant { name, capability });
        let process = self.kernel.spawn(spawner, spawn, grants.collect()).map_err(refusal)?;
        match request.process.take(&named) {
            Ok(taken) => drop(taken),
            Err(error) => {
                // Another thread of the caller has given one up meanwhile: then nothing was given.
                self.kernel.end_process(&process, Ending::Killed);
                return Err(error.into());
            }
        }
        let results = Results::of(&SpawnResults { process_id: process.id });
        Ok(request.give_with(results, [Object::Process(process.handle(self.kernel)).into()], places))
    }

    pub(super) fn process_handle<'r>(
        &mut self,
        process: &Arc<Process<M>>,
        call: process_handle::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        match call {
            process_handle::Call::Start => self.start(process),
            process_handle::Call::Wait => self.wait_for_process(process, request),
            process_handle::Call::Kill => {
                self.kernel.end_process(process, Ending::Killed);
                Ok(Reply::empty())
            }
            process_handle::Call::Info => Ok(Reply::of(&info(process))),
            process_handle::Call::MainThread => {
                let places = request.places(1)?;
                let thread = process.main_thread.lock().clone();
                let thread = thread.ok_or(disconnected("the process is over"))?;
                Ok(request.give(Object::Thread(thread), places))
            }
        }
    }

    fn start<'r>(&self, process: &Process<M>) -> Answer<'r, M> {
        let (made, running) = (Stage::Made as u8, Stage::Running as u8);
        process
            .stage
            .compare_exchange(made, running, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|_| failed("the process was started or ended before"))?;
        let thread = process.main_thread.lock().clone();
        if let Some(thread) = thread {
            // One that was killed meanwhile is stale, and needs no start.
            let _ = self.kernel.dispatcher.start(thread.id, Some(self.kernel.machine.this_cpu()));
        }
        Ok(Reply::empty())
    }

    fn wait_for_process<'r>(&mut self, process: &Arc<Process<M>>, request: &Request<'r, M>) -> Answer<'r, M> {
        if process.stage() == Stage::Over {
            return Ok(Reply::Results(ending(process)));
        }
        let operation = Operation { pending: *request.pending, waits_for: WaitsFor::ProcessEnd(process.clone()) };
        let reference = self.kernel.begin_for(self.thread, operation).ok_or(TOO_MANY_OPERATIONS)?;
        match process.waiters.add(reference) {
            Ok(true) => Ok(Reply::Later),
            Ok(false) => self.answer_now(reference, ending(process)),
            Err(_) => {
                drop(self.kernel.take(reference));
                Err(overloaded("too many wait for the end of this process"))
            }
        }
    }

    /// What an operation would have waited for has come before it could.
    pub(super) fn answer_now<'r>(&self, reference: OperationRef, results: Results) -> Answer<'r, M> {
        drop(self.kernel.take(reference));
        Ok(Reply::Results(results))
    }
}

fn narrow<'r, M: Machine>(
    spawner: &Spawner,
    params: &NarrowSpawnerParams<'_>,
    request: &Request<'r, M>,
) -> Answer<'r, M> {
    let places = request.places(1)?;
    let cpus = permitted(params.affinity, &spawner.cpus)?;
    refuse_when_heap_is_low()?;
    let processes = QuotaChain::derive(spawner.processes.clone(), params.most_processes);
    let processes = processes.map_err(|_| overloaded("spawners are derived from each other too many times"))?;
    let narrower = Spawner { images: spawner.images, cpus, processes: Arc::new(processes) };
    Ok(request.give(Object::ProcessSpawner(Arc::new(narrower)), places))
}

/// The CPUs that were asked for, which must be permitted; all that are if none were.
pub(super) fn permitted(words: U64List<'_>, most: &CpuSet) -> Result<CpuSet, Refused> {
    if words.is_empty() {
        return Ok(*most);
    }
    let cpus = cpu_set(words)?;
    match cpus.is_empty() {
        true => Err(invalid("the mask permits no CPU")),
        false if !cpus.is_subset_of(most) => {
            Err(invalid("the mask is wider than what is permitted, or than what is online"))
        }
        false => Ok(cpus),
    }
}

/// The attributes that a spawner asks for; zero is the default.
pub(super) fn attributes(
    weight: u16,
    class: u16,
    request_ns: u64,
    affinity: U64List<'_>,
    most: &CpuSet,
) -> Result<Attributes, Refused> {
    let weight = match weight {
        0 => Weight::DEFAULT,
        weight => Weight::new(weight).map_err(|_| invalid("the weight is not in 1..=10000"))?,
    };
    let class = LatencyClass::from_ordinal(class).ok_or(invalid("no latency class has this ordinal"))?;
    Ok(Attributes { weight, class, request: request_of(request_ns), affinity: permitted(affinity, most)? })
}

/// What a spawner is told.
fn refusal(error: SpawnError) -> Refused {
    match error {
        SpawnError::Elf(_) => invalid("the program's file is not one that this machine runs"),
        SpawnError::NoRoomForStack => invalid("the program's segments reach into the kernel's pages"),
        SpawnError::ArgumentsTooLong(_) => invalid("the arguments are too long"),
        SpawnError::TooManyGrants(_) => invalid("there are too many grants"),
        SpawnError::BadName => invalid("the name is not 1 to 31 letters, digits, '-', '_' or '.'"),
        SpawnError::BadGrantName => invalid("a grant's name is empty or longer than 31 bytes"),
        SpawnError::LimitTooHigh => invalid("a limit is higher than can be permitted"),
        SpawnError::Map(RegionError::Reserve(ReserveError::Quota(_))) => {
            overloaded("the process's limit of frames is too low for the program")
        }
        SpawnError::Map(_) | SpawnError::OutOfHeap => overloaded("there is not enough memory"),
        SpawnError::Capabilities(_) => overloaded("the process's limit of capabilities is below its grants"),
        SpawnError::TooManyProcesses => overloaded("as many processes of this spawner live as may"),
        SpawnError::Thread(error) => thread_refusal(error),
    }
}

/// What the maker of a thread is told.
pub(super) fn thread_refusal(error: ThreadError) -> Refused {
    match error {
        ThreadError::Limit => overloaded("the process has as many threads as it may"),
        ThreadError::ProcessEnded => failed("the process has ended"),
        ThreadError::OutOfMemory | ThreadError::Map(_) => overloaded("there is not enough memory for a thread"),
        ThreadError::Scheduler(CreateError::NoCpuOnline) => invalid("the mask permits no CPU that is online"),
        ThreadError::Scheduler(CreateError::Request(_)) => invalid("the request is not within 100 us to 100 ms"),
        ThreadError::Scheduler(_) => overloaded("the scheduler has no room for a thread"),
    }
}

fn info<M: Machine>(process: &Process<M>) -> ProcessInfo {
    ProcessInfo {
        process_id: process.id,
        state: process.stage() as u16,
        threads: process.threads.lock().live.len() as u32,
        frames: process.quotas.frames.used(),
        capabilities: process.capabilities.lock().len(),
    }
}

/// How a process ended.
fn ending<M: Machine>(process: &Process<M>) -> Results {
    let mut fault = Line::new();
    let (kind, code) = match process.ending.get() {
        Some(Ending::Exit(code)) => (0, code.cast_unsigned()),
        Some(Ending::Fault(kind)) => {
            // A line takes everything.
            let _ = write!(fault, "{kind}");
            (1, 0)
        }
        Some(Ending::Killed) | None => (2, 0),
    };
    let fault = core::str::from_utf8(fault.as_bytes()).unwrap_or_default();
    Results::of(&ProcessEnding { kind, code, fault })
}

impl<M: Machine> Kernel<M> {
    /// Tells one who waited that a process is over.
    pub fn complete_wait(&self, waiter: OperationRef, process: &Process<M>) {
        let Some((thread, operation)) = self.take(waiter) else { return };
        let completed = self.deliver(&thread, ending(process), &operation.pending);
        self.finish(&thread, &operation, completed, None);
    }
}
