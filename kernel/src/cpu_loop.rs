//! The loop of one CPU: ask the dispatcher, load the address space, run user mode, handle what it left for, again.
//!
//! Interrupts are masked wherever a decision is taken and user mode or idle is entered, and on while a trap is handled.
//! An interrupt that arrives in the kernel only posts to the request word; the word is served, with interrupts masked,
//! before user mode or idle, so nothing posted is missed. A thread's context is complete in memory and its execution
//! lock free before the dispatcher can give the thread to another CPU.

use crate::{
    exit::CLEANUP_STEP,
    finish,
    kernel::Kernel,
    memory::address_space::Faulted,
    process::{Ending, Process, Stage},
    report::Reporter,
    system_call::SystemCallOutcome,
    thread::Thread,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::{
    CpuId, Duration, Fault, FaultKind, InterruptState, Machine, Requests, Trap, UserContext, machine::FlushScope,
};
use kernel_core::sched::{Next, ThreadId};

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
    let (mut this, mut next) = CpuLoop::begin(kernel, cpu);
    loop {
        next = this.turn(next);
    }
}

impl<M: Machine> CpuLoop<M> {
    /// The first decision on this CPU. Masks interrupts.
    pub fn begin(kernel: &'static Kernel<M>, cpu: CpuId) -> (Self, Next) {
        let _ = kernel.machine.mask_interrupts();
        let mut reporter = Reporter::new(kernel.run.started);
        if cpu == CpuId::BOOT {
            reporter.arm_first(kernel);
        }
        let this = Self { kernel, cpu, loaded: None, current: None, in_interrupt: false, reporter };
        (this, kernel.dispatcher.begin())
    }

    /// Carries out a decision and answers with the next one. Does not return once the run is over.
    pub fn turn(&mut self, next: Next) -> Next {
        self.background();
        let next = self.serve_requests(next);
        if self.kernel.run.is_ending() {
            self.stop();
        }
        match next {
            Next::Run(id) => self.run_thread(id),
            Next::Idle => self.idle(),
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
                let ran = self.current.take();
                let decided = if ran.is_none() { self.decided_on(next) } else { None };
                next = kernel.dispatcher.serve(decisions, &mut |payload| kernel.expired(payload));
                self.current = ran.and_then(|thread| self.keep_if(next, thread));
                // One that goes on having this CPU is found when it runs.
                drop(decided.and_then(|thread| self.keep_if(next, thread)));
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

    /// A thread that the dispatcher gave this CPU and that has not run yet. Whoever ends it marks it first and asks this
    /// CPU to stop it afterwards, so any decision in between may be the one that lets go of it: then it is this CPU that
    /// must retire it.
    fn decided_on(&self, next: Next) -> Option<Arc<Thread<M>>> {
        match next {
            Next::Run(id) => self.kernel.thread(id),
            Next::Idle => None,
        }
    }

    /// A thread that was taken off may run on another CPU by now: its context is not this CPU's to touch any more. One
    /// that was ended meanwhile is retired here.
    fn keep_if(&self, next: Next, thread: Arc<Thread<M>>) -> Option<Arc<Thread<M>>> {
        if next == Next::Run(thread.id) {
            return Some(thread);
        }
        self.retire_if_ended(&thread);
        None
    }

    /// Takes back what a thread had that was ended while this CPU ran it. Interrupts are masked, and on meanwhile.
    fn retire_if_ended(&self, thread: &Arc<Thread<M>>) {
        if thread.is_condemned() {
            let machine = self.kernel.machine;
            machine.restore_interrupts(InterruptState::Unmasked);
            self.kernel.retire_if_gone(thread);
            let _ = machine.mask_interrupts();
        }
    }

    fn serve_flush(&mut self) {
        // An ended process is let go of, so that its tables can be freed.
        if self.current.is_none() && self.loaded.as_ref().is_some_and(|process| process.stage() == Stage::Ending) {
            self.unload();
        }
        let loaded = &self.loaded;
        self.kernel.cpu(self.cpu).flush.serve(|| {
            if let Some(process) = loaded {
                process.space.flush(FlushScope::User);
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
            None => kernel.thread(id).unwrap_or_else(|| panic!("the dispatcher runs an unknown thread {id:?}")),
        }
    }

    /// Runs a thread until it leaves user mode, and handles why. Interrupts are masked.
    fn run_thread(&mut self, id: ThreadId) -> Next {
        let kernel = self.kernel;
        let thread = self.take_thread(id);
        self.load(&thread);
        kernel.cpu(self.cpu).set_current(Some(thread.index()));
        let mut execution = thread.execution.lock();
        if let Some(wait) = execution.wait {
            let Some(result) = kernel.poll(&thread, &wait, kernel.machine.now()) else {
                drop(execution);
                return self.block(&thread, None);
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
                let outcome = kernel.system_call(&thread, &mut execution, &call);
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
                    SystemCallOutcome::Wait(wait, handoff) => {
                        execution.wait = Some(wait);
                        kernel.machine.save_user_state(&mut execution.context);
                        drop(execution);
                        self.block(&thread, handoff)
                    }
                    SystemCallOutcome::Exit(code) => {
                        drop(execution);
                        kernel.run.note_exit();
                        self.end_process(&thread, Ending::Exit(code))
                    }
                    SystemCallOutcome::ExitThread(code) => {
                        drop(execution);
                        thread.exit_code.call_once(|| code);
                        self.end_thread(&thread)
                    }
                }
            }
            Trap::Fault(fault) if self.is_resolved(&thread, &fault) => {
                drop(execution);
                self.current = Some(thread);
                Next::Run(id)
            }
            Trap::Fault(fault) => {
                drop(execution);
                self.end_process(&thread, Ending::Fault(fault))
            }
        }
    }

    /// The running thread blocks; `handoff` is woken and has its CPU, if it may.
    fn block(&self, thread: &Arc<Thread<M>>, handoff: Option<ThreadId>) -> Next {
        let next = match handoff {
            Some(receiver) => self.kernel.dispatcher.handoff_to(receiver),
            None => self.kernel.dispatcher.block_current(),
        };
        if next != Next::Run(thread.id) {
            self.retire_if_ended(thread);
        }
        next
    }

    /// Gives a page that was never used its frame. Answers whether the instruction can be tried again.
    fn is_resolved(&self, thread: &Thread<M>, fault: &Fault) -> bool {
        let (FaultKind::Page { access, mapped }, Some(address)) = (fault.kind, fault.address) else { return false };
        let machine = self.kernel.machine;
        machine.restore_interrupts(InterruptState::Unmasked);
        let faulted = thread.process.space.fault(address, access);
        let _ = machine.mask_interrupts();
        if mapped || faulted == Ok(Faulted::AlreadyThere) {
            thread.process.space.flush(FlushScope::Page(address));
        }
        faulted.is_ok()
    }

    /// Ends the running thread's process, and with it the thread. Interrupts are masked.
    fn end_process(&mut self, thread: &Arc<Thread<M>>, ending: Ending) -> Next {
        let machine = self.kernel.machine;
        machine.restore_interrupts(InterruptState::Unmasked);
        self.kernel.end_process(&thread.process, ending);
        let _ = machine.mask_interrupts();
        self.end_thread(thread)
    }

    /// Ends the running thread.
    fn end_thread(&mut self, thread: &Arc<Thread<M>>) -> Next {
        let kernel = self.kernel;
        thread.condemn();
        if let Ok(snapshot) = kernel.dispatcher.snapshot(thread.id) {
            thread.last_snapshot.call_once(|| snapshot);
        }
        let next = kernel.dispatcher.exit_current();
        self.retire_if_ended(thread);
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
        let kernel = self.kernel;
        let on_boot_cpu = kernel.run.report_due.load(Ordering::Relaxed)
            || kernel.input_pending.load(Ordering::Acquire)
            || kernel.console.has_work();
        kernel.can_clean_up() || self.cpu == CpuId::BOOT && on_boot_cpu
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
        if self.cpu == CpuId::BOOT {
            if kernel.input_pending.swap(false, Ordering::AcqRel) {
                kernel.input_arrived();
            }
            kernel.console.write_step();
            if kernel.run.report_due.swap(false, Ordering::Relaxed) {
                self.reporter.step(kernel);
            }
        }
        let _ = kernel.machine.mask_interrupts();
        if self.cpu == CpuId::BOOT {
            self.reporter.arm(kernel);
        }
    }

    /// Frees some of what an ended process had, and some of memory objects that are gone. What is left makes
    /// `has_background` true again.
    fn clean_up_step(&mut self) {
        let kernel = self.kernel;
        let Some(_broom) = kernel.broom.try_lock() else { return };
        let _ = kernel.objects.free_step(CLEANUP_STEP);
        let Some(process) = kernel.graves.exhume() else { return };
        if !process.space.loaded_on().is_empty() {
            self.expel(&process);
        }
        if !process.space.loaded_on().is_empty() || !kernel.free_step(&process) {
            kernel.graves.bury(process);
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
