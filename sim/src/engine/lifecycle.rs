//! Threads begin, change and end.

use super::Engine;
use super::fault::{Fault, FaultKind};
use super::measure::{Counters, Measured, Seldom};
use super::steps::Advance;
use super::thread::{Cursor, Index, Jobs, Reason, State, Step, Thread};
use crate::trace::{Event, ThreadIndex, Waker};
use crate::workload::{CpuSet, Phase, TaskId, Workload};
use kernel_core::sched::{self, AttributeError, Terminated, Weight};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use tessera_hal::{CpuId, Instant, SchedHal};

/// What the workload itself brings about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Entry {
    /// All instances of a task begin.
    Arrive(TaskId),
    /// A thread changes, by the change at this place of its task's list.
    Change(Index, usize),
    /// A thread is ended.
    Exit(Index),
}

/// What is to come, by time and then in the order in which it was planned.
#[derive(Debug)]
pub(super) struct Plan {
    entries: BinaryHeap<Reverse<(Instant, u64, Entry)>>,
    planned: u64,
}

impl Plan {
    pub(super) fn new(workload: &Workload) -> Self {
        let mut plan = Self { entries: BinaryHeap::new(), planned: 0 };
        for task in workload.task_ids().filter(|&task| workload.task(task).instances > 0) {
            plan.add(Instant::ORIGIN.saturating_add(workload.task(task).arrive), Entry::Arrive(task));
        }
        plan
    }

    fn add(&mut self, at: Instant, entry: Entry) {
        self.entries.push(Reverse((at, self.planned, entry)));
        self.planned += 1;
    }

    /// Leaves out what is first as long as it is about a thread that `has_ended`.
    fn skip(&mut self, has_ended: impl Fn(Index) -> bool) {
        while let Some(Reverse((_, _, Entry::Change(thread, _) | Entry::Exit(thread)))) = self.entries.peek()
            && has_ended(*thread)
        {
            self.entries.pop();
        }
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse((at, _, _))| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Numbers instances.
#[derive(Debug)]
pub(super) struct Numbering {
    /// For each task the first of its name.
    first: Vec<usize>,
    /// How many of that name there will be without forks, and the next number.
    counts: Vec<(usize, usize)>,
    /// The names of all tasks.
    tasks: HashSet<String>,
}

impl Numbering {
    pub(super) fn new(workload: &Workload) -> Self {
        let mut known = HashMap::new();
        let first: Vec<usize> = (0..workload.tasks.len())
            .map(|index| *known.entry(workload.tasks[index].name.as_str()).or_insert(index))
            .collect();
        let mut counts = vec![(0, 0); workload.tasks.len()];
        for (task, &first) in workload.tasks.iter().zip(&first) {
            counts[first].0 += task.instances;
        }
        Self { first, counts, tasks: workload.tasks.iter().map(|task| task.name.clone()).collect() }
    }

    /// The name of the next instance: with a number, unless it is the only one that the workload begins.
    fn next(&mut self, workload: &Workload, id: TaskId) -> String {
        let name = &workload.task(id).name;
        let (planned, begun) = &mut self.counts[self.first[id.index()]];
        if *planned == 1 && *begun == 0 {
            *begun = 1;
            return name.clone();
        }
        loop {
            let numbered = format!("{name}-{begun}");
            *begun += 1;
            // A task may have the name that an instance of another one would get.
            if !self.tasks.contains(&numbered) {
                return numbered;
            }
        }
    }
}

impl<const W: usize> Engine<'_, W> {
    /// Does the first thing of the plan. CPU 0 does it, as far as it needs a CPU.
    pub(super) fn act_on_plan(&mut self) -> Result<(), Fault> {
        let Some(Reverse((_, _, entry))) = self.plan.entries.pop() else { return Ok(()) };
        self.machine.become_cpu(CpuId::BOOT);
        match entry {
            Entry::Arrive(task) => {
                for _ in 0..self.workload.task(task).instances {
                    self.begin_thread(task, None)?;
                }
            }
            Entry::Change(thread, change) => self.change(thread, change)?,
            Entry::Exit(thread) => self.kill(thread),
        }
        if self.machine.request_word(CpuId::BOOT).is_pending() {
            self.machine.interrupt(CpuId::BOOT);
        }
        self.refresh(CpuId::BOOT);
        Ok(())
    }

    /// What is planned for threads that have ended keeps no run going.
    pub(super) fn tidy_plan(&mut self) {
        let threads = &self.threads;
        self.plan.skip(|thread| threads[thread].state == State::Ended);
    }

    /// Begins an instance of a task, by the thread that runs on `creator` or by nobody.
    pub(super) fn begin_thread(&mut self, task_id: TaskId, creator: Option<CpuId>) -> Result<(), Fault> {
        let task = self.workload.task(task_id);
        let index = self.threads.len();
        let name = self.numbering.next(self.workload, task_id);
        if let Some(trace) = &mut self.trace {
            trace.thread(name.clone());
        }
        let weight = task.attributes.weight;
        let cpus = task.cpus.unwrap_or(CpuSet::ALL);
        let group = self.ideal.group(weight, &cpus, self.now);
        self.threads.push(Thread {
            task: task_id,
            id: None,
            state: State::Absent,
            cursor: Cursor::default(),
            step: Step::Next,
            is_dying: false,
            awaits_release: false,
            jobs: Jobs::of(task),
            group,
            measured: Measured::default(),
            seldom: Box::new(Seldom::new(name, weight, task.taskgroup.clone(), self.now)),
        });
        let attributes = sched::Attributes {
            weight,
            class: task.attributes.class,
            request: task.attributes.request,
            affinity: narrow(&cpus),
        };
        let refused = |engine: &Self, error: String| engine.fault(index, FaultKind::Refused(error));
        let created = self.dispatcher.create(attributes, index as u64);
        let id = created.map_err(|error| refused(self, error.to_string()))?;
        self.threads[index].id = Some(id);
        self.live += 1;
        self.events += 1;
        // What should have come before comes first.
        let overdue = task.changes.iter().take_while(|change| change.at <= self.now).count();
        (0..overdue).try_for_each(|place| self.change(index, place))?;
        if task.exit.is_some_and(|exit| exit <= self.now) {
            self.kill(index);
            return Ok(());
        }
        self.threads[index].state = State::Waiting { since: self.now };
        self.become_runnable(index, creator.map_or(Waker::Start, Waker::Thread));
        self.dispatcher.start(id, creator).map_err(|error| refused(self, error.to_string()))?;
        self.plan_for(index, overdue);
        Ok(())
    }

    /// Plans what is to come for a thread that has begun, behind the changes that it begins with.
    fn plan_for(&mut self, index: Index, overdue: usize) {
        let task = self.workload.task(self.threads[index].task);
        for (place, change) in task.changes.iter().enumerate().skip(overdue) {
            self.plan.add(change.at, Entry::Change(index, place));
        }
        if let Some(exit) = task.exit {
            self.plan.add(exit, Entry::Exit(index));
        }
    }

    /// It counts for the ideal from now on.
    pub(super) fn become_runnable(&mut self, index: Index, waker: Waker) {
        let group = self.threads[index].group;
        self.ideal.add(group, self.now);
        self.threads[index].measured.lag.counted_to = Some(self.ideal.service(group, self.now));
        self.record(Event::Wake { at: self.now, thread: ThreadIndex::new(index), waker });
    }

    /// It does not count for the ideal any more.
    pub(super) fn become_unrunnable(&mut self, index: Index) {
        self.sample_lag(index);
        let thread = &mut self.threads[index];
        if thread.measured.lag.counted_to.take().is_some() {
            self.ideal.remove(thread.group, self.now);
        }
    }

    /// The thread belongs to another group of the ideal.
    fn regroup(&mut self, index: Index, weight: Weight, cpus: &CpuSet) {
        let counts = self.threads[index].measured.lag.counted_to.is_some();
        self.sample_lag(index);
        if counts {
            self.ideal.remove(self.threads[index].group, self.now);
        }
        let group = self.ideal.group(weight, cpus, self.now);
        let thread = &mut self.threads[index];
        (thread.group, thread.seldom.weight) = (group, weight);
        if counts {
            self.ideal.add(group, self.now);
            self.threads[index].measured.lag.counted_to = Some(self.ideal.service(group, self.now));
        }
    }

    /// A phase may change how its thread is scheduled.
    pub(super) fn begin_phase(&mut self, index: Index, phase: &Phase) -> Result<(), Fault> {
        let Some(id) = self.threads[index].id else { return Ok(()) };
        let taskgroup = &mut self.threads[index].seldom.taskgroup;
        if phase.taskgroup.is_some() && phase.taskgroup != *taskgroup {
            taskgroup.clone_from(&phase.taskgroup);
        }
        if let Some(wanted) = phase.attributes {
            self.events += 1;
            let set = |dispatcher: &sched::Dispatcher<_, W>| {
                dispatcher.set_weight(id, wanted.weight)?;
                dispatcher.set_class(id, wanted.class)?;
                dispatcher.set_request(id, wanted.request)
            };
            set(&self.dispatcher).map_err(|error| self.refused(index, &error))?;
            let cpus = self.affinity(index);
            self.regroup(index, wanted.weight, &cpus);
        }
        match &phase.cpus {
            Some(cpus) => self.set_affinity(index, &cpus.unwrap_or(CpuSet::ALL)),
            None => Ok(()),
        }
    }

    fn change(&mut self, index: Index, place: usize) -> Result<(), Fault> {
        let change = &self.workload.task(self.threads[index].task).changes[place];
        let Some(id) = self.threads[index].id.filter(|_| self.threads[index].state != State::Ended) else {
            return Ok(());
        };
        self.events += 1;
        let set = |dispatcher: &sched::Dispatcher<_, W>| {
            change.weight.map_or(Ok(()), |weight| dispatcher.set_weight(id, weight))?;
            change.class.map_or(Ok(()), |class| dispatcher.set_class(id, class))?;
            change.request.map_or(Ok(()), |request| dispatcher.set_request(id, Some(request)))
        };
        set(&self.dispatcher).map_err(|error| self.refused(index, &error))?;
        if let Some(weight) = change.weight {
            let cpus = self.affinity(index);
            self.regroup(index, weight, &cpus);
        }
        change.cpus.map_or(Ok(()), |cpus| self.set_affinity(index, &cpus))
    }

    fn set_affinity(&mut self, index: Index, cpus: &CpuSet) -> Result<(), Fault> {
        let Some(id) = self.threads[index].id else { return Ok(()) };
        self.events += 1;
        let set = self.dispatcher.set_affinity(id, narrow(cpus));
        set.map_err(|error| self.refused(index, &error))?;
        self.regroup(index, self.threads[index].seldom.weight, cpus);
        Ok(())
    }

    fn affinity(&self, index: Index) -> CpuSet {
        self.ideal.cpus(self.threads[index].group)
    }

    fn refused(&self, index: Index, error: &AttributeError) -> Fault {
        self.fault(index, FaultKind::Refused(error.to_string()))
    }

    /// The current thread of `cpu` has come to the end of its task.
    pub(super) fn exit(&mut self, cpu: CpuId, index: Index) -> Advance {
        self.stop(cpu);
        self.take_counters(index);
        self.end_thread(index);
        self.cpus[cpu.index()].current = None;
        self.decide(|engine| engine.dispatcher.exit_current())
    }

    /// The workload ends a thread. One that runs goes on until its CPU has got the kick.
    fn kill(&mut self, index: Index) {
        let Some(id) = self.threads[index].id.filter(|_| self.threads[index].state != State::Ended) else { return };
        self.take_counters(index);
        if let State::Blocked { reason, .. } = self.threads[index].state {
            self.resources.forget(index);
            if let Reason::Time(timer) = reason {
                self.dispatcher.cancel_timer(timer);
            }
        }
        self.events += 1;
        match self.dispatcher.terminate(id) {
            Ok(Terminated::RunningOn(_)) => self.threads[index].is_dying = true,
            Ok(Terminated::Gone) | Err(_) => self.end_thread(index),
        }
    }

    /// A CPU has left a thread: if that was ended by somebody, it is over now.
    pub(super) fn bury(&mut self, index: Index) {
        if self.threads[index].is_dying && self.threads[index].state != State::Ended {
            self.end_thread(index);
        }
    }

    fn end_thread(&mut self, index: Index) {
        let now = self.now;
        self.become_unrunnable(index);
        let thread = &mut self.threads[index];
        let measured = &mut thread.measured;
        match thread.state {
            State::Waiting { since } => {
                let waited = now.saturating_duration_since(since);
                measured.waited = measured.waited.saturating_add(waited);
                measured.max_wait = measured.max_wait.max(waited);
            }
            State::Blocked { since, reason } => {
                measured.slept = measured.slept.saturating_add(now.saturating_duration_since(since));
                self.waiting_for_others -= usize::from(!matches!(reason, Reason::Time(_)));
            }
            State::Absent | State::Running { .. } | State::Ended => {}
        }
        thread.state = State::Ended;
        thread.seldom.timers = Vec::new();
        self.live -= 1;
    }

    /// Keeps what the dispatcher counted, while it still knows the thread.
    pub(super) fn take_counters(&mut self, index: Index) {
        let Some(Ok(snapshot)) = self.threads[index].id.map(|id| self.dispatcher.snapshot(id)) else { return };
        self.threads[index].seldom.counters = Counters {
            class: snapshot.class,
            dispatches: snapshot.dispatches,
            preemptions: snapshot.preemptions,
            voluntary_blocks: snapshot.voluntary_blocks,
            migrations: snapshot.migrations,
        };
        self.watch.compare_runtime(&self.options, &self.threads[index], snapshot.runtime);
    }
}

/// The same set in the dispatcher's size.
fn narrow<const W: usize>(cpus: &CpuSet) -> tessera_hal::CpuSet<W> {
    tessera_hal::CpuSet::from_words(std::array::from_fn(|word| cpus.words().get(word).copied().unwrap_or(0)))
}
