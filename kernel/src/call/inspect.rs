//! `SystemInspector` and `SystemSupervisor`: what the operator's tools stand on.

use super::{Answer, Reply, Request, disconnected, table};
use crate::{line::Line, object::Object, process::Process, submission::Caller, thread::Thread};
use alloc::sync::Arc;
use core::{fmt::Write, sync::atomic::Ordering};
use hal::Machine;
use kernel_core::sched::{Position, Snapshot, ThreadId, ThreadState};
use tessera_schema::generated::{
    interfaces::{system_inspector, system_supervisor},
    messages::{CapabilityRecord, ProcessRecord, ResourceCounts, ThreadRecord, WhyResults},
};

impl<M: Machine> Caller<'_, M> {
    pub(super) fn system_inspector<'r>(
        &mut self,
        call: system_inspector::Call,
        _request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        match call {
            system_inspector::Call::NextProcess(params) => Ok(self.next_process(params.after)),
            system_inspector::Call::NextThread(params) => Ok(self.next_thread(params.after)),
            system_inspector::Call::NextCapability(params) => {
                let process = self.kernel.processes.get(params.process_id);
                let record =
                    process.map_or(CapabilityRecord::default(), |process| table::record_after(&process, params.after));
                Ok(Reply::of(&record))
            }
            system_inspector::Call::Why(params) => Ok(self.why(ThreadId::from_u64(params.thread_id))),
            system_inspector::Call::Resources => Ok(Reply::of(&self.resources())),
        }
    }

    pub(super) fn system_supervisor<'r>(
        &mut self,
        call: system_supervisor::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        let places = request.places(1)?;
        match call {
            system_supervisor::Call::Process(params) => {
                let process = self.kernel.processes.get(params.process_id);
                let process = process.ok_or(disconnected("there is no process with this id"))?;
                Ok(request.give(Object::Process(process.handle(self.kernel)), places))
            }
            system_supervisor::Call::Thread(params) => {
                let thread = self.kernel.thread(ThreadId::from_u64(params.thread_id));
                let thread = thread.ok_or(disconnected("there is no thread with this id"))?;
                Ok(request.give(Object::Thread(thread), places))
            }
        }
    }

    fn next_process<'r>(&self, after: u64) -> Reply<'r, M> {
        let Some(process) = self.kernel.processes.next_after(after) else {
            return Reply::of(&ProcessRecord::default());
        };
        let mut name = Line::new();
        let name = name_of(&process, &mut name);
        Reply::of(&ProcessRecord {
            found: 1,
            state: process.stage() as u16,
            threads: process.threads.lock().live.len() as u32,
            cursor: process.id,
            process_id: process.id,
            parent_id: process.parent,
            frames: process.quotas.frames.used(),
            capabilities: process.capabilities.lock().len(),
            name,
        })
    }

    fn next_thread<'r>(&self, after: u64) -> Reply<'r, M> {
        let mut place = after as u32;
        while let Some((found, thread)) = self.kernel.threads.next_from(place) {
            place = found + 1;
            if let Ok(snapshot) = self.kernel.dispatcher.snapshot(thread.id) {
                return thread_record(&thread, &snapshot, place.into());
            }
        }
        Reply::of(&ThreadRecord::default())
    }

    fn why<'r>(&self, id: ThreadId) -> Reply<'r, M> {
        let kernel = self.kernel;
        let (Some(thread), Ok(position)) = (kernel.thread(id), kernel.dispatcher.position(id)) else {
            return Reply::of(&WhyResults::default());
        };
        let Position { state, cpu, ahead, is_least, waiting_since } = position;
        let mut reasons = Line::new();
        let mut since = waiting_since;
        if state == ThreadState::Blocked {
            describe_waits(&thread, &mut reasons);
            // Nobody else holds the lock of a blocked thread for long.
            since = thread.execution.try_lock().and_then(|execution| Some(execution.wait?.began));
        }
        Reply::of(&WhyResults {
            found: 1,
            state: state_ordinal(state),
            cpu: cpu.get(),
            ahead,
            ahead_is_least: is_least.into(),
            since_ns: since.map_or(0, hal::Instant::as_nanos),
            waits_for: core::str::from_utf8(reasons.as_bytes()).unwrap_or_default(),
        })
    }

    fn resources(&self) -> ResourceCounts {
        let kernel = self.kernel;
        ResourceCounts {
            processes: kernel.processes.len() as u64,
            threads: kernel.threads.live().into(),
            frames: kernel.frames.total() - kernel.frames.free_count(),
            committed_frames: kernel.frames.promised_count(),
            capabilities: kernel.processes.capabilities(),
            endpoints: kernel.counters.endpoints.load(Ordering::Relaxed),
            parks: kernel.parks.count(),
            operations: kernel.counters.operations.load(Ordering::Relaxed),
            memory_objects: kernel.objects.objects() as u64,
            timers: kernel.counters.timers.load(Ordering::Relaxed),
        }
    }
}

fn name_of<'n, M: Machine>(process: &Process<M>, line: &'n mut Line) -> &'n str {
    // Names are short.
    let _ = write!(line, "{}", process.name);
    core::str::from_utf8(line.as_bytes()).unwrap_or_default()
}

fn thread_record<'r, M: Machine>(thread: &Arc<Thread<M>>, snapshot: &Snapshot, cursor: u64) -> Reply<'r, M> {
    let mut name = Line::new();
    let name = name_of(&thread.process, &mut name);
    Reply::of(&ThreadRecord {
        found: 1,
        state: state_ordinal(snapshot.state),
        cpu: snapshot.cpu.get(),
        weight: snapshot.weight.get(),
        class: snapshot.class as u16,
        cursor,
        thread_id: thread.id.as_u64(),
        process_id: thread.process.id,
        runtime_ns: snapshot.runtime.as_nanos(),
        runnable_ns: snapshot.runnable.as_nanos(),
        longest_wait_ns: snapshot.longest_wait.as_nanos(),
        migrations: snapshot.migrations,
        name,
    })
}

const fn state_ordinal(state: ThreadState) -> u16 {
    match state {
        ThreadState::Vacant | ThreadState::Exiting => 6,
        ThreadState::Blocked => 0,
        ThreadState::Waking => 1,
        ThreadState::Queued => 2,
        ThreadState::ReleasedLater => 3,
        ThreadState::Handoff => 4,
        ThreadState::Current => 5,
    }
}

/// What a blocked thread's operations wait for, each kind once.
fn describe_waits<M: Machine>(thread: &Thread<M>, line: &mut Line) {
    let mut said = heapless::Vec::<&'static str, 8>::new();
    for operation in thread.operations.lock().iter() {
        let what = operation.waits_for.describe();
        if !said.contains(&what) && said.push(what).is_ok() {
            // A line takes everything.
            let _ = write!(line, "{}{what}", if said.len() > 1 { ", " } else { "" });
        }
    }
}
