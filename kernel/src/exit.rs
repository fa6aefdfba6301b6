//! The end of threads and processes.
//!
//! A process ends once: the first who says how wins. Every thread is taken off by the dispatcher, then *retired* by
//! whoever learns first that it will not run again: its operations are cancelled, its places given back. With the last
//! thread the process goes to the graves, from where the CPU loops free what it had in small steps. Only then do those
//! who wait for its end learn of it, so that what it had is there to be used again.
//!
//! Nothing here allocates.

use crate::{
    call::Unfinished,
    kernel::Kernel,
    memory::change::TearDown,
    object::Object,
    operation::{Operation, OperationRef, WaitsFor},
    process::{Ending, Process, Stage},
    thread::Thread,
};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;
use hal::{CpuSet, Machine};
use heapless::Vec;
use kernel_core::{
    cap::Table,
    sched::{Terminated, ThreadId},
};

/// Threads that are taken off between two looks at the list.
const THREADS_STEP: usize = 16;
/// The most capabilities, or frames, that one cleanup step gives back.
pub const CLEANUP_STEP: usize = 64;

impl<M: Machine> Kernel<M> {
    /// Ends a process, unless something else has ended it. The caller may be one of its threads.
    pub fn end_process(&self, process: &Arc<Process<M>>, ending: Ending) {
        if process.is_ending.swap(true, Ordering::AcqRel) {
            return;
        }
        process.ending.call_once(|| ending);
        process.stage.store(Stage::Ending as u8, Ordering::Release);
        process.output.lock().flush(|line| self.console.write_lines(line));
        let progress = process.progress(self.machine);
        process.last_progress.call_once(|| progress);
        self.report_exit(process, ending);
        loop {
            // Retired threads leave the list; those that run are left to their CPUs.
            let threads: Vec<Arc<Thread<M>>, THREADS_STEP> = {
                let list = process.threads.lock();
                list.live.iter().filter(|thread| !thread.is_condemned()).take(THREADS_STEP).cloned().collect()
            };
            if threads.is_empty() {
                return;
            }
            for thread in threads {
                self.end_thread(&thread);
            }
        }
    }

    /// Takes a thread off for good. One that runs is retired by its CPU.
    fn end_thread(&self, thread: &Arc<Thread<M>>) {
        thread.condemn();
        if let Ok(snapshot) = self.dispatcher.snapshot(thread.id) {
            thread.last_snapshot.call_once(|| snapshot);
        }
        match self.dispatcher.terminate(thread.id) {
            Ok(Terminated::RunningOn(_)) => {}
            Ok(Terminated::Gone) | Err(_) => self.retire_if_gone(thread),
        }
    }

    /// Whether the dispatcher still has a thread.
    fn is_known(&self, thread: ThreadId) -> bool {
        self.dispatcher.payload(thread).is_ok()
    }

    /// Retires a thread that the dispatcher has let go of.
    pub fn retire_if_gone(&self, thread: &Arc<Thread<M>>) {
        if !self.is_known(thread.id) && thread.begin_retirement() {
            self.retire(thread);
        }
    }

    /// Takes back what a thread had. It does not run any more, and never will.
    fn retire(&self, thread: &Arc<Thread<M>>) {
        thread.ring.close();
        thread.operations.lock().close();
        let (wait, unfinished) = {
            let mut execution = thread.execution.lock();
            (execution.wait.take(), execution.unfinished.take())
        };
        if let Some(wait) = wait {
            self.end_wait(&wait);
        }
        if let Some(Unfinished::Deliver(endpoint)) = unfinished {
            // What it owed to others; what it wanted itself ends with it.
            let _ = endpoint.match_up(None);
        }
        loop {
            let taken = thread.operations.lock().take_any();
            let Some((key, operation)) = taken else { break };
            self.counters.operations.fetch_sub(1, Ordering::Relaxed);
            self.forget(&thread.process, OperationRef { thread: thread.index(), key }, operation);
        }
        self.report_thread_end(thread);
        let process = &thread.process;
        {
            let mut threads = process.threads.lock();
            if let Some(place) = threads.live.iter().position(|other| Arc::ptr_eq(other, thread)) {
                let removed = threads.live.swap_remove(place);
                // Room was made when the thread was.
                threads.free_rings.push(removed.ring_address);
                drop(threads);
                drop(removed);
            }
        }
        process.quotas.threads.release(1);
        let next_generation = thread.operations.lock().next_generation();
        self.threads.release(&thread.place, next_generation);
        for waiter in thread.waiters.end() {
            self.complete_join(waiter, thread);
        }
        if process.unretired.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.last_thread_ended(process, thread.exit_code.get().copied().unwrap_or(0));
        }
    }

    fn last_thread_ended(&self, process: &Arc<Process<M>>, code: i32) {
        self.end_process(process, Ending::Exit(code));
        self.graves.bury(process.clone());
    }

    /// Tells whoever holds a reference to an operation that it will not complete.
    fn forget(&self, process: &Process<M>, reference: OperationRef, operation: Operation<M>) {
        match operation.waits_for {
            WaitsFor::Sleep { timer } => {
                if let Some(timer) = timer {
                    self.disarm(timer);
                }
            }
            WaitsFor::Input => self.cancel_read(reference),
            WaitsFor::Call { endpoint, .. } => endpoint.cancel_call(reference),
            WaitsFor::Receive(endpoint) => endpoint.cancel_receive(reference),
            WaitsFor::Park { key, timer } => {
                if let Some(timer) = timer {
                    self.disarm(timer);
                }
                self.parks.cancel(&key, reference);
                process.quotas.parks.release(1);
            }
            WaitsFor::ProcessEnd(ended) => ended.waiters.remove(reference),
            WaitsFor::ThreadEnd(thread) => thread.waiters.remove(reference),
        }
    }

    /// One bounded step towards giving back what an ended process had. Answers whether it is over. Interrupts are on, no
    /// lock is held, and no CPU has the space loaded.
    pub fn free_step(&self, process: &Arc<Process<M>>) -> bool {
        if !self.drain_capabilities(process) || process.space.tear_down(CLEANUP_STEP) == TearDown::Unfinished {
            return false;
        }
        let left = core::mem::take(&mut *process.left_endpoints.lock());
        for endpoint in left.iter().filter_map(Weak::upgrade) {
            endpoint.server_left(process, None);
        }
        self.processes.remove(process.id);
        // Handles of the process and of its thread may last for long: they keep nothing large.
        let main_thread = process.main_thread.lock().take();
        let capabilities = core::mem::replace(&mut *process.capabilities.lock(), Table::new(0));
        drop((main_thread, capabilities));
        drop(process.charge.lock().take());
        // Whoever asks from now on is told at once that it is over, and may count on all that it had.
        process.stage.store(Stage::Over as u8, Ordering::Release);
        for waiter in process.waiters.end() {
            self.complete_wait(waiter, process);
        }
        self.process_is_over(process);
        true
    }

    /// Drops some of the capabilities, with no lock held. Answers whether none are left.
    fn drain_capabilities(&self, process: &Arc<Process<M>>) -> bool {
        let mut dropped = Vec::<_, CLEANUP_STEP>::new();
        let is_empty = process.capabilities.lock().drain_step(CLEANUP_STEP, &mut |capability| {
            let _ = dropped.push(capability);
        });
        for capability in &dropped {
            if let Object::Endpoint(serving) = &capability.object {
                serving.endpoint().server_left(process, None);
            }
        }
        is_empty
    }

    /// A process whose space a CPU may still have loaded.
    pub fn find_loaded(&self) -> Option<(Arc<Process<M>>, CpuSet)> {
        let mut after = 0;
        while let Some(process) = self.processes.next_after(after) {
            let cpus = process.space.loaded_on();
            if !cpus.is_empty() {
                return Some((process, cpus));
            }
            after = process.id;
        }
        None
    }

    /// The run is over and no CPU runs programs: takes all memory back, whatever they were doing.
    pub fn abandon_all(&self) {
        let mut place = 0;
        while let Some((found, thread)) = self.threads.next_from(place) {
            thread.ring.close();
            place = found + 1;
        }
        while let Some(process) = self.processes.next_after(0) {
            while !self.drain_capabilities(&process) {}
            while process.space.tear_down(CLEANUP_STEP) == TearDown::Unfinished {}
            self.processes.remove(process.id);
        }
    }
}
