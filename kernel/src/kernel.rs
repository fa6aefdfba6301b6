//! [`Kernel`]: what all CPUs share. Built once at boot, never dropped.

use crate::{
    call::Reader,
    console::Console,
    counters::Counters,
    cpu_mask::CpuMask,
    expiry::Expiry,
    flush::FlushWord,
    memory::{frames::FrameAllocator, object::ObjectGraves},
    park::Parks,
    process::Process,
    process_table::{Graves, ProcessTable},
    thread::Thread,
    thread_table::ThreadTable,
};
use alloc::{boxed::Box, sync::Arc};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hal::{CpuId, CpuSet, Duration, Instant, Interrupt, IrqLine, Machine, Requests};
use kernel_core::sched::{Config, Dispatcher, MAX_THREADS, ThreadId, TimerError, TimerId};
use spin::{Mutex, Once};

/// What one CPU publishes for others to read. On its own cache lines.
#[derive(Default)]
#[repr(align(64))]
pub struct CpuState {
    /// Flushes wanted and done.
    pub flush: FlushWord,
    /// The running thread's place plus one, or zero; for the panic path.
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
    /// Whether accounts are printed each second.
    pub reports: bool,
    /// `init` is over.
    pub init_is_over: AtomicBool,
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
    fn new(started: Instant, length: Option<Duration>, reports: bool, panics_at_exit: bool) -> Self {
        Self {
            started,
            length,
            reports,
            init_is_over: AtomicBool::new(false),
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
    /// Memory objects whose frames are to be freed.
    pub objects: &'static ObjectGraves<M>,
    /// Its console.
    pub console: &'static Console<M>,
    /// The console's interrupt line, if it has one and it could be routed.
    pub console_line: Option<IrqLine>,
    /// Who waits for console input.
    pub reader: Mutex<Option<Reader>>,
    /// Input has arrived since somebody looked.
    pub input_pending: AtomicBool,
    /// Who runs where.
    pub dispatcher: Dispatcher<&'static M>,
    /// What the dispatcher was built with.
    pub config: Config,
    /// The CPUs in use.
    pub online: CpuSet,
    /// All threads, by the place that is the dispatcher's payload.
    pub threads: ThreadTable<M>,
    /// All processes.
    pub processes: ProcessTable<M>,
    /// Ended ones.
    pub graves: Graves<M>,
    /// Held for a step of cleanup. One CPU is enough for it: others that have nothing to do sleep, and do not wait for
    /// each other.
    pub broom: Mutex<()>,
    /// The process that the kernel starts.
    pub init: Once<Arc<Process<M>>>,
    /// Words that threads wait on.
    pub parks: Parks,
    /// Counts and numbers.
    pub counters: Counters,
    /// By CPU.
    pub cpus: Box<[CpuState]>,
    /// The run.
    pub run: Run,
}

/// What [`Kernel`] is built of.
pub struct Parts<M: Machine> {
    /// The memory.
    pub frames: &'static FrameAllocator<M>,
    /// Memory objects whose frames are to be freed.
    pub objects: &'static ObjectGraves<M>,
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
    /// How long the run lasts at most.
    pub length: Option<Duration>,
    /// Whether accounts are printed each second.
    pub reports: bool,
    /// Whether the first program that exits brings the kernel down.
    pub panics_at_exit: bool,
}

impl<M: Machine> Kernel<M> {
    /// Puts the parts together; the run begins now.
    pub fn new(parts: Parts<M>) -> Self {
        let machine = parts.frames.machine();
        // Without a source of entropy the secret is one of this boot's times: good enough to keep programs from comparing
        // identities by accident, not against an attacker.
        let secret = machine.entropy().unwrap_or_else(|| machine.now().as_nanos().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            machine,
            frames: parts.frames,
            objects: parts.objects,
            console: parts.console,
            console_line: parts.console_line,
            reader: Mutex::new(None),
            input_pending: AtomicBool::new(false),
            dispatcher: parts.dispatcher,
            config: parts.config,
            online: parts.online,
            threads: ThreadTable::new(MAX_THREADS),
            processes: ProcessTable::default(),
            graves: Graves::default(),
            broom: Mutex::new(()),
            init: Once::new(),
            parks: Parks::new(secret.rotate_left(17)),
            counters: Counters::new(secret),
            cpus: (0..machine.cpu_count()).map(|_| CpuState::default()).collect(),
            run: Run::new(machine.now(), parts.length, parts.reports, parts.panics_at_exit),
        }
    }

    /// What `cpu` publishes.
    pub fn cpu(&self, cpu: CpuId) -> &CpuState {
        &self.cpus[cpu.index()]
    }

    /// The thread that the dispatcher calls `id`.
    pub fn thread(&self, id: ThreadId) -> Option<Arc<Thread<M>>> {
        let index = self.dispatcher.payload(id).ok()?;
        self.threads.get(u32::try_from(index).ok()?).filter(|thread| thread.id == id)
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
            self.take_received_bytes(cpu);
        }
    }

    /// Takes what the console's device has received. Interrupts are masked.
    pub fn take_received_bytes(&self, cpu: CpuId) {
        while let Some(byte) = self.machine.console_read() {
            self.cpu(cpu).console_bytes.fetch_add(1, Ordering::Relaxed);
            self.console.input.push(byte);
            self.input_pending.store(true, Ordering::Release);
        }
    }

    /// Arms a timer on this CPU.
    pub fn arm(&self, deadline: Instant, expiry: Expiry) -> Result<TimerId, TimerError> {
        let timer = self.dispatcher.arm_timer(deadline, expiry.to_raw())?;
        let is_a_programs = matches!(expiry, Expiry::Operation(_) | Expiry::EnterTimeout { .. });
        self.counters.timers.fetch_add(is_a_programs.into(), Ordering::Relaxed);
        Ok(timer)
    }

    /// Cancels a program's timer, if it has not fired.
    pub fn disarm(&self, timer: TimerId) {
        let cancelled = self.dispatcher.cancel_timer(timer);
        self.counters.timers.fetch_sub(cancelled.into(), Ordering::Relaxed);
    }

    /// What a timer does when it has fired. Called by the dispatcher on the CPU that armed it, with interrupts masked
    /// and no lock held.
    pub fn expired(&self, payload: u64) {
        match Expiry::from_raw(payload) {
            Some(Expiry::Operation(operation)) => {
                self.counters.timers.fetch_sub(1, Ordering::Relaxed);
                self.operation_expired(operation);
            }
            Some(Expiry::EnterTimeout { thread }) => {
                self.counters.timers.fetch_sub(1, Ordering::Relaxed);
                if let Some(thread) = self.threads.get(thread) {
                    self.wake(thread.id);
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
    pub fn wake(&self, thread: ThreadId) {
        let _ = self.dispatcher.wake(thread);
    }

    /// All CPUs stop, the boot CPU reports and powers off.
    pub fn end_run(&self) {
        if !self.run.ending.swap(true, Ordering::AcqRel) {
            for cpu in self.online.iter() {
                let _ = self.machine.kick(cpu, Requests::RESCHEDULE);
            }
        }
    }

    /// A process was freed. The run ends with `init`.
    pub fn process_is_over(&self, process: &Arc<Process<M>>) {
        self.graves.forget();
        if self.init.get().is_some_and(|init| Arc::ptr_eq(init, process)) {
            self.run.init_is_over.store(true, Ordering::Release);
            self.end_run();
        }
    }

    /// Whether something of ended processes or objects is to be freed, and no CPU is at it.
    pub fn can_clean_up(&self) -> bool {
        (!self.graves.is_empty() || self.objects.has_graves()) && !self.broom.is_locked()
    }
}

/// The hook for interrupts that arrive while the kernel runs.
pub fn interrupt_hook<M: Machine>(interrupt: Interrupt) {
    if let Some(kernel) = crate::global::kernel::<M>() {
        kernel.interrupt(interrupt);
    }
}
