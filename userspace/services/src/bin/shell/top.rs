//! Who runs: a table that is drawn again each second until a key is pressed.

use crate::{
    commands::{Failure, RECORD_BYTES, each_thread},
    screen::Screen,
};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use services::shell::view::{Percent, ThreadName, thread_state};
use tessera_rt::{
    CallError, Client, Timer,
    generated::{
        interfaces::{terminal, timer},
        messages::{ConsoleReadParams, TimerSleepParams},
    },
    message::Message,
    ring::{self, MethodId, operations::Callee, pending::Pending},
};

const PERIOD_NS: u64 = 1_000_000_000;
/// Rows that a terminal of usual size shows.
const ROWS: usize = 20;
/// Erase the screen, go to its upper left corner.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// A thread, and what it ran in the last period.
struct Row {
    id: u64,
    ran_ns: u64,
    cpu: u16,
    weight: u16,
    state: u16,
    name: String,
}

/// Shows the table until a key is pressed.
pub fn run(screen: &mut Screen) -> Result<(), Failure> {
    let timer = Timer::granted()?;
    let key = begin(screen.terminal().handle(), (terminal::ID, terminal::READ), &ConsoleReadParams { most_bytes: 1 })?;
    let mut calls = Vec::from([key]);
    let mut before = BTreeMap::new();
    let mut looked_ns = timer.now()?.now_ns;
    look(&mut before)?;
    while !screen.take_typed() {
        let sleep = TimerSleepParams { deadline_ns: looked_ns + PERIOD_NS };
        calls.push(begin(timer.handle(), (timer::ID, timer::SLEEP), &sleep)?);
        let ended = ring::current().wait_any(&mut calls)?;
        if let Some((place, ended)) = ended {
            ended?;
            drop(calls.swap_remove(place));
            if place == 0 {
                break;
            }
        }
        let now_ns = timer.now()?.now_ns;
        let rows = look(&mut before)?;
        draw(screen, rows, now_ns - looked_ns).map_err(Failure::Screen)?;
        looked_ns = now_ns;
    }
    Ok(())
}

/// Begins a call that is waited for later.
fn begin<'p>(handle: u64, (interface, method): (u64, u16), params: &impl Message<'p>) -> Result<Pending, CallError> {
    let mut encoded = [0; 64];
    let length = params.encode(&mut encoded)?;
    let callee = Callee { handle, method: MethodId { interface, method } };
    ring::current().begin_call(callee, encoded.get(..length).unwrap_or_default(), &[], RECORD_BYTES, 0)
}

/// All threads, and how long each ran since `before`, which is brought up to date.
fn look(before: &mut BTreeMap<u64, u64>) -> Result<Vec<Row>, CallError> {
    let (mut rows, mut now) = (Vec::new(), BTreeMap::new());
    each_thread(|thread| {
        let (id, ran) = (thread.thread_id, thread.runtime_ns);
        now.insert(id, ran);
        let ran_ns = ran.saturating_sub(before.get(&id).copied().unwrap_or(0));
        let (cpu, weight, state) = (thread.cpu, thread.weight, thread.state);
        rows.push(Row { id, ran_ns, cpu, weight, state, name: thread.name.into() });
    })?;
    *before = now;
    Ok(rows)
}

fn draw(screen: &Screen, mut rows: Vec<Row>, elapsed_ns: u64) -> Result<(), CallError> {
    rows.sort_by_key(|row| core::cmp::Reverse(row.ran_ns));
    let mut text = format!("{CLEAR}{} threads; a key ends this\n", rows.len());
    text.push_str("     TID  CPU %  CPU WEIGHT STATE          NAME\n");
    for Row { id, ran_ns, cpu, weight, state, name } in rows.iter().take(ROWS) {
        let tid = format!("{}", ThreadName(*id));
        let share = format!("{}", Percent { part: *ran_ns, whole: elapsed_ns });
        let state = thread_state(*state);
        text.push_str(&format!("{tid:>8} {share:>6} {cpu:>4} {weight:>6} {state:<14} {name}\n"));
    }
    screen.show(&text)
}
