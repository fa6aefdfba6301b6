//! Boot order: command line, heap, frames, manifest, CPUs, programs, dispatch.
//!
//! Everything that can be wrong with the input is found before the first program runs and ends the run with one line
//! that says what and where.

use crate::{
    capability::Object,
    command_line::{self, CommandLineError, Mode, Options},
    console::Console,
    cpu_loop, finish, global,
    kernel::{Kernel, Parts, interrupt_hook},
    line::{JsonObject, Line},
    memory::{frames::FrameAllocator, heap},
    process::{Name, Process, SpawnError, SpawnRequest, Spawned},
    thread::{Execution, MAX_SLEEPS, Sleeps, Thread},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;
use hal::{BootInfo, CpuId, CpuSet, Duration, IrqLine, Machine, Route};
use kernel_core::sched::{Attributes, Config, ConfigError, CreateError, Dispatcher, Policy, Weight};
use spin::Mutex;
use tessera_abi::scheduling::GRID_NS;
use tessera_schema::manifest::{self, Capability, Manifest, ManifestError, Program};

/// Why the run cannot begin.
pub(crate) enum StartError<'a> {
    CommandLine(CommandLineError<'a>),
    TooLittleMemory { frames: u64 },
    NoManifest,
    Manifest(ManifestError),
    TooFewCpus { wanted: u16, online: CpuSet },
    Dispatcher(ConfigError),
    NoPermittedCpu { program: &'a str, online: CpuSet },
    Spawn { program: &'a str, error: SpawnError },
    Create { program: &'a str, error: CreateError },
}

impl fmt::Display for StartError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine(error) => write!(f, "{error}: kernel command line"),
            Self::TooLittleMemory { frames } => {
                write!(f, "{} KiB are too little memory for the kernel: memory map", frames * 4)
            }
            Self::NoManifest => write!(f, "there is no manifest: no initrd was given"),
            Self::Manifest(error) => write!(f, "{error}: initrd"),
            Self::TooFewCpus { wanted, online } => write!(f, "{wanted} CPUs were asked for, online are {online}: cpus"),
            Self::Dispatcher(error) => write!(f, "{error}: scheduler configuration"),
            Self::NoPermittedCpu { program, online } => {
                write!(f, "the affinity permits none of CPUs {online}: program '{program}'")
            }
            Self::Spawn { program, error } => write!(f, "{error}: program '{program}'"),
            Self::Create { program, error } => write!(f, "{error}: program '{program}'"),
        }
    }
}

/// Starts the kernel. The platform calls it once, on the boot CPU, with interrupts masked.
pub fn start<M: Machine>(machine: &'static M, boot: BootInfo<'static>) -> ! {
    match prepare(machine, &boot) {
        Ok(Prepared::Run(kernel)) => {
            // The hook first: the other CPUs run as soon as there is a kernel, and must not lose a fire of their timers.
            machine.set_interrupt_hook(interrupt_hook::<M>);
            global::publish(kernel);
            machine.release_secondaries(secondary::<M>);
            cpu_loop::run(kernel, CpuId::BOOT)
        }
        Ok(Prepared::Conformance) => crate::conformance::run(machine),
        Err(error) => finish::refuse(machine, &error),
    }
}

/// What a good command line and manifest lead to.
pub(crate) enum Prepared<M: Machine> {
    Run(&'static Kernel<M>),
    Conformance,
}

/// Does everything that comes before the first dispatch.
pub(crate) fn prepare<M: Machine>(
    machine: &'static M,
    boot: &BootInfo<'static>,
) -> Result<Prepared<M>, StartError<'static>> {
    let options = command_line::parse(boot.command_line).map_err(StartError::CommandLine)?;
    let frames = make_memory(machine, boot)?;
    if options.mode == Mode::Conformance {
        return Ok(Prepared::Conformance);
    }
    let bytes = boot.initrd.filter(|bytes| !bytes.is_empty()).ok_or(StartError::NoManifest)?;
    let manifest = Manifest::read(bytes).map_err(StartError::Manifest)?;
    let online = start_cpus(machine, &options, &manifest)?;
    let config = configuration(&options, &manifest, online);
    let dispatcher = Dispatcher::new(machine, config).map_err(StartError::Dispatcher)?;
    let threads = create_threads(frames, &dispatcher, &manifest, online)?;
    let console: &'static Console<M> = Box::leak(Box::new(Console::new(machine)));
    let length = options.seconds.or(manifest.seconds().map(|seconds| Duration::from_secs(seconds.get().into())));
    let console_line = route_console(machine, console);
    let panics_at_exit = options.mode == Mode::Panic;
    let parts = Parts { frames, console, console_line, dispatcher, config, online, threads, length, panics_at_exit };
    let kernel: &'static Kernel<M> = Box::leak(Box::new(Kernel::new(parts)));
    announce(kernel);
    for thread in &kernel.threads {
        // Just created and never ended, so the id is not stale.
        let started = kernel.dispatcher.start(thread.id, None);
        debug_assert!(started.is_ok());
    }
    Ok(Prepared::Run(kernel))
}

fn make_memory<M: Machine>(
    machine: &'static M,
    boot: &BootInfo<'static>,
) -> Result<&'static FrameAllocator<M>, StartError<'static>> {
    let total = boot.memory.iter().map(|region| region.frames).sum();
    let heap = heap::plan(boot.memory).ok_or(StartError::TooLittleMemory { frames: total })?;
    heap::feed(machine, &heap);
    let rest = boot.memory.iter().map(|region| heap::without_heap(region, &heap));
    Ok(Box::leak(Box::new(FrameAllocator::new(machine, rest))))
}

/// Starts the other CPUs and answers those in use: the first `cpus` of them, by the command line or the manifest.
fn start_cpus<M: Machine>(
    machine: &'static M,
    options: &Options,
    manifest: &Manifest<'_>,
) -> Result<CpuSet, StartError<'static>> {
    let wanted = options.cpus.or(manifest.cpus().map(|count| count.get()));
    let present = machine.cpu_count();
    if let Some(wanted) = wanted.filter(|&wanted| usize::from(wanted) > present) {
        return Err(StartError::TooFewCpus { wanted, online: CpuSet::first(present) });
    }
    if wanted == Some(1) || present == 1 {
        return Ok(CpuSet::of(CpuId::BOOT));
    }
    let up = machine.start_secondaries();
    let online = match wanted {
        Some(wanted) => up.intersection(&CpuSet::first(wanted.into())),
        None => up,
    };
    match wanted {
        Some(wanted) if online.len() < usize::from(wanted) => Err(StartError::TooFewCpus { wanted, online }),
        _ => Ok(online),
    }
}

/// Where another CPU enters the kernel, which is there by then. One that is not used waits for ever.
fn secondary<M: Machine>(cpu: CpuId) -> ! {
    match global::kernel::<M>() {
        Some(kernel) if kernel.online.contains(cpu) => cpu_loop::run(kernel, cpu),
        Some(kernel) => loop {
            kernel.machine.idle();
        },
        None => unreachable!("CPU {cpu} was released before there was a kernel"),
    }
}

fn configuration(options: &Options, manifest: &Manifest<'_>, online: CpuSet) -> Config {
    let policy = options.policy.unwrap_or(match manifest.policy() {
        manifest::Policy::Wfq => Policy::Wfq,
        manifest::Policy::Eevdf => Policy::Eevdf,
    });
    let base_request = Duration::from_micros(manifest.base_request_us().into());
    Config { policy, base_request, grid: Duration::from_nanos(GRID_NS), online }
}

fn create_threads<M: Machine>(
    frames: &'static FrameAllocator<M>,
    dispatcher: &Dispatcher<&'static M>,
    manifest: &Manifest<'static>,
    online: CpuSet,
) -> Result<Vec<Arc<Thread<M>>>, StartError<'static>> {
    let mut threads = Vec::new();
    for program in manifest.programs() {
        for instance in 0..program.count {
            let index = threads.len() as u32;
            threads.push(Arc::new(create_thread(frames, dispatcher, program, instance.into(), index, online)?));
        }
    }
    // Each thread can have all its sleeps and a timeout; the kernel itself needs two.
    let timers = threads.len() * (MAX_SLEEPS + 1) + 2;
    dispatcher.reserve_timers(timers as u32).map_err(|_| StartError::Dispatcher(ConfigError::OutOfMemory))?;
    Ok(threads)
}

fn create_thread<M: Machine>(
    frames: &'static FrameAllocator<M>,
    dispatcher: &Dispatcher<&'static M>,
    program: &Program<'static>,
    instance: u32,
    index: u32,
    online: CpuSet,
) -> Result<Thread<M>, StartError<'static>> {
    let name = program.name;
    let grants: Vec<Object> = program.grants.iter().map(|grant| object(*grant)).collect();
    let request = SpawnRequest {
        name: Name { program: name.into(), instance },
        file: program.elf,
        arguments: program.arguments,
        grants: &grants,
        cpus: online.len() as u32,
    };
    let spawned = Process::spawn(frames, request).map_err(|error| StartError::Spawn { program: name, error })?;
    let Spawned { process, ring, context } = spawned;
    let affinity = program.affinity.map_or(online, |words| CpuSet::from_words(words).intersection(&online));
    if affinity.is_empty() {
        return Err(StartError::NoPermittedCpu { program: name, online });
    }
    let attributes = Attributes {
        // The manifest reader has checked the range.
        weight: Weight::new(program.weight).unwrap_or(Weight::DEFAULT),
        class: program.class,
        request: program.request_ns.map(Duration::from_nanos),
        affinity,
    };
    let id =
        dispatcher.create(attributes, index.into()).map_err(|error| StartError::Create { program: name, error })?;
    let execution = Mutex::new(Execution { context, wait: None, again: None });
    Ok(Thread {
        index,
        id,
        process: Arc::new(process),
        spawner_mask: affinity,
        ring,
        sleeps: Mutex::new(Sleeps::default()),
        execution,
    })
}

const fn object(capability: Capability) -> Object {
    match capability {
        Capability::Console => Object::Console,
        Capability::Timer => Object::Timer,
        Capability::SchedulingPolicy => Object::SchedulingPolicy,
    }
}

/// Routes the console's interrupt to the boot CPU. Without it the console only writes.
fn route_console<M: Machine>(machine: &'static M, console: &Console<M>) -> Option<IrqLine> {
    let line = machine.console_line()?;
    match machine.route_irq(line, Route::Cpu(CpuId::BOOT)) {
        Ok(_) => Some(line),
        Err(error) => {
            console.print(format_args!("tessera: the console receives nothing: {error}"));
            None
        }
    }
}

/// The boot lines: one for people, one record.
fn announce<M: Machine>(kernel: &Kernel<M>) {
    let mut machine = Line::new();
    // A line takes everything.
    let _ = kernel.machine.describe(&mut machine);
    let machine = core::str::from_utf8(machine.as_bytes()).unwrap_or("unnamed machine");
    let policy = kernel.config.policy.name();
    let (cpus, programs) = (kernel.online.len(), kernel.threads.len());
    let unit = if cpus == 1 { "CPU" } else { "CPUs" };
    let memory = kernel.frames.total() * 4 / 1024;
    kernel.console.print(format_args!(
        "tessera: {machine}; {cpus} {unit}, {memory} MiB, policy {policy}, base request {}, {programs} programs",
        kernel.config.base_request
    ));
    kernel.print(|line| {
        let mut record = JsonObject::record(line, "boot")?;
        record.text("machine", machine)?;
        record.value("cpus", cpus)?;
        record.text("policy", policy)?;
        record.value("base_request_ns", kernel.config.base_request.as_nanos())?;
        record.value("grid_ns", kernel.config.grid.as_nanos())?;
        record.value("clock_resolution_ns", kernel.machine.clockevent().resolution.as_nanos())?;
        record.value("memory_frames", kernel.frames.total())?;
        record.value("programs", programs)?;
        record.end()
    });
}
