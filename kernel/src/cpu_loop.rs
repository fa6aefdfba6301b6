//! The loop of one CPU: ask the dispatcher, load the address space, run user mode, handle what it left for, again.
//!
//! Interrupts are masked wherever a decision is taken and user mode or idle is entered, and on while a trap is handled.
//! An interrupt that arrives in the kernel only posts to the request word; the word is served, with interrupts masked,
//! before user mode or idle, so nothing posted is missed. A thread's context is complete in memory and its execution
//! lock free before the dispatcher can give the thread to another CPU.

use crate::{
    finish,
    kernel::Kernel,
    memory::address_space::TearDown,
    process::{Ended, Ending, Process},
    report::Reporter,
    system_call::SystemCallOutcome,
    thread::Thread,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::{CpuId, Duration, InterruptState, Machine, Requests, Trap, UserContext};
use kernel_core::sched::{Next, ThreadId};

/// The most frames that one cleanup step frees.
const CLEANUP_STEP: usize = 64;
/// How long the boot CPU waits for the others to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What only the loop of one CPU knows.
pub struct CpuLoop<M: Machine> {
    /// What all share.
    pub kernel: &'static Kernel<M>,
    /// This CPU.
    pub cpu: CpuId,
    /// The process whose space is loaded.
    loaded: Option<Arc<Process<M>>>,
    /// The thread that the dispatcher last gave, until the next decision takes it away.
    current: Option<Arc<Thread<M>>>,
    /// The time counts as "interrupt and switch".
    in_interrupt: bool,
    /// The report being printed; only on the boot CPU.
    reporter: Reporter,
}

/// Runs this CPU for good.
pub fn run<M: Machine>(kernel: &'static Kernel<M>, cpu: CpuId) -> ! {
    let reporter = Reporter::new(kernel.run.started);
    CpuLoop { kernel, cpu, loaded: None, current: None, in_interrupt: false, reporter }.run()
}

impl<M: Machine> CpuLoop<M> {
    fn run(mut self) -> ! {
        let _ = self.kernel.machine.mask_interrupts();
        if self.cpu == CpuId::BOOT {
            self.reporter.arm_first(self.kernel);
        }
        let mut next = self.kernel.dispatcher.begin();
        loop {
            self.background();
            next = self.serve_requests(next);
            if self.kernel.run.is_ending() {
                self.stop();
            }
            next = match next {
                Next::Run(id) => self.run_thread(id),
                Next::Idle => self.idle(),
            };
        }
    }

    /// Serves what other CPUs, timers and this CPU's own hook have posted. Interrupts are masked.
    fn serve_requests(&mut self, mut next: Next) -> Next {
        let kernel = self.kernel;
        let word = kernel.machine.request_word(self.cpu);
        while word.is_pending() {
            let taken = word.take();
            if taken.requests.contains(Requests::TLB) {
                self.serve_flush();
            }
            let decisions = taken.requests.difference(Requests::TLB | Requests::CLEANUP);
            if !decisions.is_empty() {
                self.complete_current_context();
                next = kernel.dispatcher.serve(decisions, &mut |payload| kernel.expired(payload));
                self.forget_unless(next);
            }
            word.acknowledge(taken);
        }
        next
    }

    /// The dispatcher may give the current thread to another CPU: its FPU state goes to memory first.
    fn complete_current_context(&self) {
        if let Some(thread) = &self.current {
            self.kernel.machine.save_user_state(&mut thread.execution.lock().context);
        }
    }

    /// A thread that was taken off may run on another CPU by now: its context is not this CPU's to touch any more.
    fn forget_unless(&mut self, next: Next) {
        if self.current.as_ref().is_some_and(|thread| next != Next::Run(thread.id)) {
            self.current = None;
        }
    }

    fn serve_flush(&mut self) {
        // An ended process is let go of, so that its tables can be freed.
        if self.current.is_none() && self.loaded.as_ref().is_some_and(|process| process.ended.is_completed()) {
            self.unload();
        }
        let loaded = &self.loaded;
        self.kernel.cpu(self.cpu).flush.serve(|| {
            if let Some(process) = loaded {
                process.space.flush();
            }
        });
    }

    fn load(&mut self, thread: &Thread<M>) {
        if self.loaded.as_ref().is_some_and(|process| Arc::ptr_eq(process, &thread.process)) {
            return;
        }
        // The old space stays valid until the new root is loaded: `loaded` holds it.
        let is_alive = thread.process.space.load_on(self.cpu);
        assert!(is_alive, "a runnable thread of {} without an address space", thread.process.name);
        if let Some(old) = self.loaded.replace(thread.process.clone()) {
            old.space.unloaded_on(self.cpu);
        }
    }

    fn unload(&mut self) {
        if let Some(old) = self.loaded.take() {
            self.kernel.machine.load_kernel_root();
            old.space.unloaded_on(self.cpu);
        }
    }

    /// The time from here on is nobody's: interrupts, switches, cleanup and reports.
    fn enter_interrupt(&mut self) {
        if !self.in_interrupt {
            self.in_interrupt = true;
            self.kernel.dispatcher.interrupt_entered();
        }
    }

    fn leave_interrupt(&mut self) {
        if self.in_interrupt {
            self.in_interrupt = false;
            self.kernel.dispatcher.interrupt_left();
        }
    }

    fn take_thread(&mut self, id: ThreadId) -> Arc<Thread<M>> {
        let kernel = self.kernel;
        match self.current.take().filter(|thread| thread.id == id) {
            Some(thread) => thread,
            None => {
                kernel.thread(id).cloned().unwrap_or_else(|| panic!("the dispatcher runs an unknown thread {id:?}"))
            }
        }
    }

    /// Runs a thread until it leaves user mode, and handles why. Interrupts are masked.
    fn run_thread(&mut self, id: ThreadId) -> Next {
        let kernel = self.kernel;
        let thread = self.take_thread(id);
        self.load(&thread);
        kernel.cpu(self.cpu).set_current(Some(thread.index));
        let mut execution = thread.execution.lock();
        if let Some(wait) = execution.wait {
            let Some(result) = kernel.poll(&thread, &wait, kernel.machine.now()) else {
                drop(execution);
                return kernel.dispatcher.block_current();
            };
            execution.wait = None;
            kernel.end_wait(&wait);
            execution.context.set_system_call_result(result);
        }
        self.leave_interrupt();
        let trap = match execution.again.take() {
            Some(call) => Trap::SystemCall(call),
            None => kernel.machine.run_user(&mut execution.context),
        };
        match trap {
            Trap::Interrupt(interrupt) => {
                drop(execution);
                self.enter_interrupt();
                kernel.interrupt(interrupt);
                self.current = Some(thread);
                Next::Run(id)
            }
            Trap::SystemCall(call) => {
                kernel.machine.restore_interrupts(InterruptState::Unmasked);
                let outcome = kernel.system_call(&thread, &call);
                let _ = kernel.machine.mask_interrupts();
                match outcome {
                    SystemCallOutcome::Return(result) => {
                        execution.context.set_system_call_result(result);
                        drop(execution);
                        self.current = Some(thread);
                        Next::Run(id)
                    }
                    SystemCallOutcome::Again => {
                        execution.again = Some(call);
                        drop(execution);
                        self.current = Some(thread);
                        Next::Run(id)
                    }
                    SystemCallOutcome::Wait(wait) => {
                        execution.wait = Some(wait);
                        kernel.machine.save_user_state(&mut execution.context);
                        drop(execution);
                        kernel.dispatcher.block_current()
                    }
                    SystemCallOutcome::Exit(code) => {
                        drop(execution);
                        kernel.run.note_exit();
                        self.end_process(&thread, Ending::Exit(code))
                    }
                }
            }
            Trap::Fault(fault) => {
                drop(execution);
                self.end_process(&thread, Ending::Fault(fault))
            }
        }
    }

    /// Ends the running thread's process: says so, takes back what is outstanding, and leaves its memory for cleanup.
    fn end_process(&mut self, thread: &Thread<M>, ending: Ending) -> Next {
        let kernel = self.kernel;
        let machine = kernel.machine;
        machine.restore_interrupts(InterruptState::Unmasked);
        let process = &thread.process;
        process.output.lock().flush(|line| kernel.console.write_lines(line));
        for sleep in thread.sleeps.lock().drain() {
            sleep.timer.map(|timer| kernel.dispatcher.cancel_timer(timer));
        }
        thread.ring.close();
        let ended =
            Ended { ending, progress: process.progress(machine), snapshot: kernel.dispatcher.snapshot(thread.id).ok() };
        process.ended.call_once(|| ended);
        kernel.report_exit(&process.name, ending);
        let _ = machine.mask_interrupts();
        let next = kernel.dispatcher.exit_current();
        self.unload();
        kernel.bury(process.clone());
        if kernel.run.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            kernel.end_run();
        }
        next
    }

    /// Nothing is runnable here. Interrupts are masked.
    fn idle(&mut self) -> Next {
        let machine = self.kernel.machine;
        self.current = None;
        self.kernel.cpu(self.cpu).set_current(None);
        self.unload();
        let has_work = machine.request_word(self.cpu).is_pending() || self.has_background();
        if !has_work {
            self.leave_interrupt();
            machine.idle();
            self.enter_interrupt();
        }
        Next::Idle
    }

    fn has_background(&self) -> bool {
        let run = &self.kernel.run;
        self.kernel.has_graves() || self.cpu == CpuId::BOOT && run.report_due.load(Ordering::Relaxed)
    }

    /// One bounded step of work that belongs to no thread, with interrupts on. Entered and left with them masked.
    fn background(&mut self) {
        if !self.has_background() {
            return;
        }
        let kernel = self.kernel;
        self.enter_interrupt();
        kernel.machine.restore_interrupts(InterruptState::Unmasked);
        self.clean_up_step();
        if self.cpu == CpuId::BOOT && kernel.run.report_due.swap(false, Ordering::Relaxed) {
            self.reporter.step(kernel);
        }
        let _ = kernel.machine.mask_interrupts();
        if self.cpu == CpuId::BOOT {
            self.reporter.arm(kernel);
        }
    }

    /// Frees a few pages of an ended process.
    fn clean_up_step(&mut self) {
        let Some(process) = self.kernel.exhume() else { return };
        let others = process.space.loaded_on();
        if !others.is_empty() {
            self.expel(&process);
        }
        let is_loaded = !process.space.loaded_on().is_empty();
        if is_loaded || process.space.tear_down(CLEANUP_STEP) == TearDown::Unfinished {
            self.kernel.bury(process);
        }
    }

    /// Makes all CPUs that have the space loaded drop it, and waits until they have. Interrupts are on, no lock is
    /// held; this CPU goes on serving what others wait for.
    fn expel(&mut self, process: &Process<M>) {
        let kernel = self.kernel;
        let mut others = process.space.loaded_on();
        others.remove(self.cpu);
        for cpu in others.iter() {
            let flush = &kernel.cpu(cpu).flush;
            let ticket = flush.request();
            let _ = kernel.machine.kick(cpu, Requests::TLB);
            while !flush.is_done(ticket) {
                self.serve_flush();
                core::hint::spin_loop();
            }
        }
    }

    /// The run is over. The boot CPU waits for the others, reports and powers off; the others wait for interrupts for
    /// ever and only serve flushes.
    fn stop(&mut self) -> ! {
        let kernel = self.kernel;
        self.complete_current_context();
        self.enter_interrupt();
        self.current = None;
        self.unload();
        kernel.run.stopped.insert(self.cpu);
        if self.cpu == CpuId::BOOT {
            kernel.machine.restore_interrupts(InterruptState::Unmasked);
            self.wait_for_others();
            finish::finish(kernel);
        }
        kernel.machine.disarm();
        loop {
            let word = kernel.machine.request_word(self.cpu);
            while word.is_pending() {
                let taken = word.take();
                self.serve_flush();
                word.acknowledge(taken);
            }
            kernel.machine.idle();
        }
    }

    /// Waits until every CPU in use has stopped, serving what they may wait for.
    fn wait_for_others(&mut self) {
        let kernel = self.kernel;
        let began = kernel.machine.now();
        while kernel.run.stopped.snapshot() != kernel.online {
            self.serve_flush();
            core::hint::spin_loop();
            if kernel.machine.now().saturating_duration_since(began) > STOP_LIMIT {
                finish::violated_stop(kernel, STOP_LIMIT);
                return;
            }
        }
    }
}
