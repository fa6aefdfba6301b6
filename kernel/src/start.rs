//! Boot order: command line, heap, frames, manifest, CPUs, programs, dispatch.
//!
//! Everything that can be wrong with the input is found before the first program runs and ends the run with one line
//! that says what and where.

use crate::{
    command_line::{self, CommandLineError, Mode, Options},
    console::Console,
    cpu_loop, finish, global,
    kernel::{Kernel, Parts, interrupt_hook},
    line::{JsonObject, Line},
    memory::{frames::FrameAllocator, heap, object::ObjectGraves, region::RegionError},
    object::Object,
    process::{Name, Process, Stage},
    spawn::{Images, Limits, NamedGrant, SpawnError, SpawnRequest, Spawner, plain_objects},
    trace,
};
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use core::{fmt, sync::atomic::Ordering};
use hal::{Access, BootInfo, CpuId, CpuSet, Duration, IrqLine, Machine, PAGE_SIZE, Route, VirtualAddress};
use kernel_core::{
    limits::QuotaChain,
    sched::{Attributes, Config, ConfigError, Dispatcher, LatencyClass, Policy, Weight},
};
use tessera_abi::scheduling::{GRID_NS, MAX_WEIGHT};
use tessera_schema::manifest::{self, Manifest, ManifestError};

/// How many processes can live at a time.
const MAX_PROCESSES: u32 = 4096;

/// Why the run cannot begin.
pub(crate) enum StartError<'a> {
    CommandLine(CommandLineError<'a>),
    TooLittleMemory { frames: u64 },
    NoManifest,
    Manifest(ManifestError),
    TooFewCpus { wanted: u16, online: CpuSet },
    Dispatcher(ConfigError),
    Trace { events: u32, cpus: usize },
    NoInit { name: &'a str },
    Init(SpawnError),
    Map(RegionError),
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
            Self::Trace { events, cpus } => {
                write!(f, "there is no memory for {events} events of each of {cpus} CPUs: trace=on")
            }
            Self::NoInit { name } => write!(f, "the boot image has no program '{name}': initrd"),
            Self::Init(error) => write!(f, "{error}: init"),
            Self::Map(error) => write!(f, "{error}: the manifest for init"),
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
            // What came before there was a hook has had its one interrupt, and would keep the line from another.
            kernel.take_received_bytes(CpuId::BOOT);
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
    let mut dispatcher = Dispatcher::new(machine, config).map_err(StartError::Dispatcher)?;
    if options.trace {
        let cpus = machine.cpu_count();
        let events = trace::events_per_cpu(cpus);
        dispatcher.record(events).map_err(|_| StartError::Trace { events, cpus })?;
    }
    let console: &'static Console<M> = Box::leak(Box::new(Console::new(machine)));
    console.let_lines_wait(machine.cpu_count());
    let length = options.seconds.or(manifest.seconds().map(|seconds| Duration::from_secs(seconds.get().into())));
    let console_line = route_console(machine, console);
    let parts = Parts {
        frames,
        objects: Box::leak(Box::new(ObjectGraves::new(frames))),
        console,
        console_line,
        dispatcher,
        config,
        online,
        length,
        reports: !options.without_reports,
        panics_at_exit: options.mode == Mode::Panic,
    };
    let kernel: &'static Kernel<M> = Box::leak(Box::new(Kernel::new(parts)));
    let init = make_init(kernel, &manifest, bytes)?;
    announce(kernel, &manifest);
    kernel.init.call_once(|| init.clone());
    init.stage.store(Stage::Running as u8, Ordering::Release);
    if let Some(thread) = &*init.main_thread.lock() {
        // Just created and never ended, so the id is not stale.
        let started = kernel.dispatcher.start(thread.id, None);
        debug_assert!(started.is_ok());
    }
    Ok(Prepared::Run(kernel))
}

/// Makes the one process that the kernel starts. It holds everything, and has the manifest mapped for reading.
fn make_init<M: Machine>(
    kernel: &'static Kernel<M>,
    manifest: &Manifest<'static>,
    bytes: &'static [u8],
) -> Result<Arc<Process<M>>, StartError<'static>> {
    let images: Vec<(&'static str, &'static [u8])> = manifest.binaries().collect();
    let images: Images = images.leak();
    let name = manifest.init();
    let (_, file) = images.iter().find(|(other, _)| *other == name).ok_or(StartError::NoInit { name })?;
    let spawner = Spawner { images, cpus: kernel.online, processes: Arc::new(QuotaChain::root(MAX_PROCESSES)) };
    let spawner = Arc::new(spawner);
    let grant = |(name, object): (&'static str, Object<M>)| NamedGrant { name, capability: object.into() };
    let spawners = [("process-spawner", Object::ProcessSpawner(spawner.clone()))];
    let grants = plain_objects().into_iter().chain(spawners).map(grant).collect();
    // A quarter up user memory: above every program, below what the kernel places.
    let address = VirtualAddress(kernel.machine.user_range().end / 4 / PAGE_SIZE * PAGE_SIZE);
    let request = SpawnRequest {
        parent: 0,
        name: Name { program: "init".into(), instance: 0 },
        file,
        arguments: &format!("manifest={:#x} bytes={}", address.0, bytes.len()),
        limits: Limits::default(),
        attributes: Attributes {
            // Started programs must not keep it from starting the others.
            weight: Weight::new(MAX_WEIGHT).unwrap_or(Weight::DEFAULT),
            class: LatencyClass::Interactive,
            request: None,
            affinity: kernel.online,
        },
        silent: false,
    };
    let init = kernel.spawn(&spawner, request, grants).map_err(StartError::Init)?;
    let pages = bytes.len().div_ceil(PAGE_SIZE);
    init.space.map_image(address, pages, Access::READ, bytes, address).map_err(StartError::Map)?;
    Ok(init)
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
fn announce<M: Machine>(kernel: &Kernel<M>, manifest: &Manifest<'_>) {
    let mut machine = Line::new();
    // A line takes everything.
    let _ = kernel.machine.describe(&mut machine);
    let machine = core::str::from_utf8(machine.as_bytes()).unwrap_or("unnamed machine");
    let policy = kernel.config.policy.name();
    let (cpus, programs) = (kernel.online.len(), manifest.programs().len());
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
