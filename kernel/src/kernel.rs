//! [`Kernel`]: what all CPUs share. Built once at boot, never dropped.

use crate::{
    console::Console,
    cpu_mask::CpuMask,
    expiry::Expiry,
    flush::FlushWord,
    memory::{frames::FrameAllocator, object::ObjectGraves},
    process::Process,
    thread::Thread,
};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hal::{CpuId, CpuSet, Duration, Instant, Interrupt, IrqLine, Machine, Requests};
use kernel_core::sched::{Config, Dispatcher, ThreadId};
use spin::Mutex;

/// What one CPU publishes for others to read. On its own cache lines.
#[derive(Default)]
#[repr(align(64))]
pub struct CpuState {
    /// Flushes wanted and done.
    pub flush: FlushWord,
    /// The running thread's index plus one, or zero; for the panic path.
    current: AtomicU32,
    /// Device interrupts that arrived here.
    pub device_interrupts: AtomicU64,
    /// Console bytes that this CPU has moved.
    pub console_bytes: AtomicU64,
}

impl CpuState {
    /// Says which thread runs here.
    pub fn set_current(&self, index: Option<u32>) {
        self.current.store(index.map_or(0, |index| index + 1), Ordering::Relaxed);
    }

    /// Which thread runs here.
    pub fn current(&self) -> Option<u32> {
        self.current.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// The run as a whole.
pub struct Run {
    /// When it began.
    pub started: Instant,
    /// How long it lasts at most.
    pub length: Option<Duration>,
    /// Programs that have not ended.
    pub live: AtomicUsize,
    /// CPUs must stop.
    ending: AtomicBool,
    /// Something failed.
    failed: AtomicBool,
    /// CPUs that have stopped.
    pub stopped: CpuMask,
    /// The next piece of a report is due.
    pub report_due: AtomicBool,
    /// The length is over.
    pub time_is_up: AtomicBool,
    /// The first program that exits brings the kernel down.
    panics_at_exit: bool,
}

impl Run {
    fn new(started: Instant, length: Option<Duration>, programs: usize, panics_at_exit: bool) -> Self {
        Self {
            started,
            length,
            live: AtomicUsize::new(programs),
            ending: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            stopped: CpuMask::new(),
            report_due: AtomicBool::new(false),
            time_is_up: AtomicBool::new(false),
            panics_at_exit,
        }
    }

    /// Whether CPUs must stop.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// The run's status is a failure.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// A program has exited.
    pub fn note_exit(&self) {
        assert!(!self.panics_at_exit, "a program has exited, and mode=panic was asked for");
    }

    /// Whether something failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The kernel.
pub struct Kernel<M: Machine> {
    /// The machine.
    pub machine: &'static M,
    /// Its memory.
    pub frames: &'static FrameAllocator<M>,
    /// The memory objects that nobody can reach any more.
    pub objects: &'static ObjectGraves<M>,
    /// Its console.
    pub console: &'static Console<M>,
    /// The console's interrupt line, if it has one and it could be routed.
    pub console_line: Option<IrqLine>,
    /// Who runs where.
    pub dispatcher: Dispatcher<&'static M>,
    /// What the dispatcher was built with.
    pub config: Config,
    /// The CPUs in use.
    pub online: CpuSet,
    /// All threads, by the index that is the dispatcher's payload. All are made before the first one starts.
    pub threads: Vec<Arc<Thread<M>>>,
    /// By CPU.
    pub cpus: Box<[CpuState]>,
    /// The run.
    pub run: Run,
    /// Ended processes whose memory is not freed yet. Has room for all of them.
    graves: Mutex<VecDeque<Arc<Process<M>>>>,
    /// How many there are; a hint that needs no lock.
    grave_count: AtomicUsize,
}

/// What [`Kernel`] is built of.
pub struct Parts<M: Machine> {
    /// The memory.
    pub frames: &'static FrameAllocator<M>,
    /// The console.
    pub console: &'static Console<M>,
    /// The console's interrupt line.
    pub console_line: Option<IrqLine>,
    /// The dispatcher.
    pub dispatcher: Dispatcher<&'static M>,
    /// What it was built with.
    pub config: Config,
    /// The CPUs in use.
    pub online: CpuSet,
    /// The threads.
    pub threads: Vec<Arc<Thread<M>>>,
    /// How long the run lasts at most.
    pub length: Option<Duration>,
    /// Whether the first program that exits brings the kernel down.
    pub panics_at_exit: bool,
}

impl<M: Machine> Kernel<M> {
    /// Puts the parts together; the run begins now.
    pub fn new(parts: Parts<M>) -> Self {
        let machine = parts.frames.machine();
        let programs = parts.threads.len();
        Self {
            machine,
            frames: parts.frames,
            objects: Box::leak(Box::new(ObjectGraves::new(parts.frames))),
            console: parts.console,
            console_line: parts.console_line,
            dispatcher: parts.dispatcher,
            config: parts.config,
            online: parts.online,
            threads: parts.threads,
            cpus: (0..machine.cpu_count()).map(|_| CpuState::default()).collect(),
            run: Run::new(machine.now(), parts.length, programs, parts.panics_at_exit),
            graves: Mutex::new(VecDeque::with_capacity(programs)),
            grave_count: AtomicUsize::new(0),
        }
    }

    /// What `cpu` publishes.
    pub fn cpu(&self, cpu: CpuId) -> &CpuState {
        &self.cpus[cpu.index()]
    }

    /// The thread that the dispatcher calls `id`. A live thread always has one.
    pub fn thread(&self, id: ThreadId) -> Option<&Arc<Thread<M>>> {
        let index = self.dispatcher.payload(id).ok()?;
        self.threads.get(usize::try_from(index).ok()?)
    }

    /// What every interrupt does, in user mode or in the kernel: bits and bytes are moved, nothing else. The request
    /// word is served before user mode is entered again. Interrupts are masked.
    pub fn interrupt(&self, interrupt: Interrupt) {
        let cpu = self.machine.this_cpu();
        match interrupt {
            Interrupt::Timer => {
                // The word is looked at before user mode: nobody needs to be interrupted for it.
                let _ = self.machine.request_word(cpu).post(Requests::TIMER);
            }
            Interrupt::Kick | Interrupt::Spurious => {}
            Interrupt::Device(line) => self.device_interrupt(cpu, line),
        }
    }

    fn device_interrupt(&self, cpu: CpuId, line: IrqLine) {
        let state = self.cpu(cpu);
        state.device_interrupts.fetch_add(1, Ordering::Relaxed);
        if self.console_line == Some(line) {
            while let Some(byte) = self.machine.console_read() {
                state.console_bytes.fetch_add(1, Ordering::Relaxed);
                self.console.input.push(byte);
            }
        }
    }

    /// What a timer does when it has fired. Called by the dispatcher on the CPU that armed it, with interrupts masked
    /// and no lock held.
    pub fn expired(&self, payload: u64) {
        match Expiry::from_raw(payload) {
            Some(Expiry::Sleep { thread, key }) => {
                if let Some(thread) = self.threads.get(thread as usize) {
                    self.complete_sleep(thread, key);
                }
            }
            Some(Expiry::EnterTimeout { thread }) => {
                if let Some(thread) = self.threads.get(thread as usize) {
                    self.wake(thread);
                }
            }
            Some(Expiry::Report) => self.run.report_due.store(true, Ordering::Relaxed),
            Some(Expiry::EndOfRun) => {
                self.run.time_is_up.store(true, Ordering::Relaxed);
                self.end_run();
            }
            None => debug_assert!(false, "the kernel never armed a timer with payload {payload:#x}"),
        }
    }

    /// Wakes a thread; one that has ended since needs nothing.
    pub fn wake(&self, thread: &Thread<M>) {
        let _ = self.dispatcher.wake(thread.id);
    }

    /// All CPUs stop, the boot CPU reports and powers off.
    pub fn end_run(&self) {
        if !self.run.ending.swap(true, Ordering::AcqRel) {
            for cpu in self.online.iter() {
                let _ = self.machine.kick(cpu, Requests::RESCHEDULE);
            }
        }
    }

    /// Hands an ended process over for cleanup.
    pub fn bury(&self, process: Arc<Process<M>>) {
        let mut graves = self.graves.lock();
        graves.push_back(process);
        self.grave_count.store(graves.len(), Ordering::Relaxed);
    }

    /// An ended process to clean up.
    pub fn exhume(&self) -> Option<Arc<Process<M>>> {
        if !self.has_graves() {
            return None;
        }
        let mut graves = self.graves.lock();
        let process = graves.pop_front();
        self.grave_count.store(graves.len(), Ordering::Relaxed);
        process
    }

    /// Whether processes wait for cleanup.
    pub fn has_graves(&self) -> bool {
        self.grave_count.load(Ordering::Relaxed) > 0
    }
}

/// The hook for interrupts that arrive while the kernel runs.
pub fn interrupt_hook<M: Machine>(interrupt: Interrupt) {
    if let Some(kernel) = crate::global::kernel::<M>() {
        kernel.interrupt(interrupt);
    }
}
