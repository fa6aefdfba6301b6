//! A file's text to a workload.

use super::error::{Notice, Problem, WorkloadError};
use super::event::Action;
use super::field::Field;
use super::global::{CpuLimit, Global, Machine};
use super::task::{Places, Task, TaskReader};
use super::{MAX_CPUS, MAX_THREADS, Names, Workload};
use crate::json::{self, Member, Position, SyntaxError};
use tessera_hal::Duration;

/// What is decided outside the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// How many CPUs, in place of the file's.
    pub cpus: Option<usize>,
    /// How long, in place of the file's.
    pub duration: Option<Duration>,
    /// Leave memory and I/O events out instead of refusing them.
    pub ignore_unsupported: bool,
}

/// Reads a workload. Any bytes are a workload or an error.
pub fn read(bytes: &[u8], options: &Options) -> Result<Workload, WorkloadError> {
    let start = Position { line: 1, column: 1 };
    let whole = |position, problem| WorkloadError { position, task: None, key: None, problem };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        whole(end_of(&before), Problem::NotText)
    })?;
    let value = json::read(text).map_err(syntax)?;
    let root = Member { position: start, key: String::new(), value: Some(value) };
    let sections =
        Field { task: None, member: &root }.object().map_err(|error| WorkloadError { key: None, ..error })?;
    let mut notices = Vec::new();
    let global = global(sections, &mut notices)?;
    let (mut cpus, topology_at) = cpu_limit(sections, &global, options)?;
    let (tasks, places, names) = tasks(sections, &global, options, &mut cpus, &mut notices)?;
    let machine = Machine {
        cpus: cpus.cpus(),
        topology: global.topology,
        kick_latency: global.kick_latency,
        switch_cost: global.switch_cost,
        noise: global.noise,
    };
    debug_assert!(topology_at.is_none_or(|product| product == machine.cpus));
    let workload = Workload { machine, duration: options.duration.or(global.duration), tasks, names, notices };
    check(&workload, &places)?;
    Ok(workload)
}

/// Says in which task a text is no JSON, and at which key.
fn syntax(error: SyntaxError) -> WorkloadError {
    let (task, keys) = match error.within.as_slice() {
        [section, task, keys @ ..] if section == "tasks" => (Some(task.clone()), keys),
        keys => (None, keys),
    };
    WorkloadError { position: error.position, task, key: keys.last().cloned(), problem: Problem::Syntax(error.problem) }
}

/// Where a text ends.
fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Position { line: line as u32, column: column as u32 }
}

fn fields<'a>(sections: &'a [Member], name: &'static str) -> impl Iterator<Item = Field<'a>> {
    sections.iter().filter(move |member| member.key == name).map(|member| Field { task: None, member })
}

fn global<'a>(sections: &'a [Member], notices: &mut Vec<Notice>) -> Result<Global<'a>, WorkloadError> {
    let mut global = Global::default();
    for member in sections {
        let field = Field { task: None, member };
        match field.key() {
            "global" => global.take(&field, notices)?,
            "tasks" | "resources" => {}
            _ => notices.push(field.notice("has no effect")),
        }
    }
    Ok(global)
}

/// How many CPUs were asked for, and the topology's product.
fn cpu_limit(
    sections: &[Member],
    global: &Global<'_>,
    options: &Options,
) -> Result<(CpuLimit, Option<usize>), WorkloadError> {
    let wrong = |problem| {
        let position =
            fields(sections, "global").next().map_or(Position { line: 1, column: 1 }, |field| field.position());
        WorkloadError { position, task: None, key: Some("global".to_owned()), problem }
    };
    let product = global.topology.and_then(|topology| topology.product());
    let asked = options.cpus.or(global.cpus);
    match (asked, product) {
        (Some(wanted), _) if !(1..=MAX_CPUS).contains(&wanted) => Err(wrong(Problem::Cpus(wanted))),
        (Some(wanted), Some(product)) if wanted != product => Err(wrong(Problem::Topology { product, wanted })),
        _ => Ok((CpuLimit { given: asked.or(product), named: 0 }, product)),
    }
}

fn tasks(
    sections: &[Member],
    global: &Global<'_>,
    options: &Options,
    cpus: &mut CpuLimit,
    notices: &mut Vec<Notice>,
) -> Result<(Vec<Task>, Vec<Places>, Names), WorkloadError> {
    let mut members = Vec::new();
    for field in fields(sections, "tasks") {
        members.extend(field.object()?);
    }
    if members.is_empty() {
        let expected = "an object by name, such as {\"one\": {\"run\": 1000, \"sleep\": 1000}}";
        let problem = Problem::Empty { what: "a task", expected };
        let position =
            fields(sections, "tasks").next().map_or(Position { line: 1, column: 1 }, |field| field.position());
        return Err(WorkloadError { position, task: None, key: Some("tasks".to_owned()), problem });
    }
    let task_names: Vec<&str> = members.iter().map(|member| member.key.as_str()).collect();
    let mut names = Names::default();
    let mut reader = TaskReader {
        tasks: &task_names,
        policy: global.policy,
        ignore_unsupported: options.ignore_unsupported,
        cpus,
        names: &mut names,
        notices,
    };
    let read = |member: &&Member| reader.task(&Field { task: Some(&member.key), member });
    let (tasks, places) = members.iter().map(read).collect::<Result<(Vec<_>, Vec<_>), _>>()?;
    Ok((tasks, places, names))
}

/// What can be said only of the whole.
fn check(workload: &Workload, places: &[Places]) -> Result<(), WorkloadError> {
    let wrong = |task: &Task, position, key: &str, problem| {
        Err(WorkloadError { position, task: Some(task.name.clone()), key: Some(key.to_owned()), problem })
    };
    let all = || workload.tasks.iter().zip(places);
    let mut threads = 0;
    for (task, places) in all() {
        threads += task.instances as u64;
        if threads > MAX_THREADS as u64 {
            return wrong(task, places.instance, "instance", Problem::Threads(threads));
        }
    }
    if let Some((task, places)) = all().next().filter(|_| threads == 0) {
        return wrong(task, places.instance, "instance", Problem::NobodyBegins);
    }
    if workload.duration.is_none() {
        let begin = begins(workload);
        let endless = all().zip(begin).filter(|&(_, begins)| begins);
        for ((task, places), _) in endless {
            if let Some(position) = places.endless {
                return wrong(task, position, "loop", Problem::Endless);
            }
        }
    }
    Ok(())
}

/// Whether each task begins, by itself or by a fork in one that does. What nobody forks is only a template.
fn begins(workload: &Workload) -> Vec<bool> {
    let mut begins: Vec<bool> = workload.tasks.iter().map(|task| task.instances > 0).collect();
    let mut open: Vec<usize> = (0..begins.len()).filter(|&task| begins[task]).collect();
    while let Some(task) = open.pop() {
        for event in workload.tasks[task].events() {
            if let Action::Fork(forked) = event.action
                && !std::mem::replace(&mut begins[forked.index()], true)
            {
                open.push(forked.index());
            }
        }
    }
    begins
}
