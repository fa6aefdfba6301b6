//! What holds for any workload: no time is lost or made, the trace says the same as the result, and the same input gives
//! the same bytes.

mod common;

use common::{POLICIES, options, workload};
use kernel_core::sched::Policy;
use proptest::prelude::*;
use sim::engine::{self, Outcome};
use sim::trace::{Event, chrome};

/// What a random task does.
fn events() -> impl Strategy<Value = String> {
    let event = prop_oneof![
        (1_u32..4000).prop_map(|us| format!("\"run\": {us}")),
        (1_u32..4000).prop_map(|us| format!("\"runtime\": {us}")),
        (0_u32..3000).prop_map(|us| format!("\"sleep\": {us}")),
        (500_u32..9000).prop_map(|us| format!("\"timer\": {{\"ref\": \"unique\", \"period\": {us}}}")),
        (500_u32..9000)
            .prop_map(|us| format!("\"timer\": {{\"ref\": \"shared\", \"period\": {us}, \"mode\": \"absolute\"}}")),
        (1_u32..900).prop_map(|us| format!("\"lock\": \"m\", \"run\": {us}, \"unlock\": \"m\"")),
        (1_u32..900).prop_map(|us| format!("\"lock\": \"m\", \"broad\": \"c\", \"unlock\": \"m\", \"run\": {us}")),
        Just("\"lock\": \"m\", \"wait\": {\"ref\": \"c\", \"mutex\": \"m\"}, \"unlock\": \"m\"".to_owned()),
        Just("\"sem_post\": \"s\"".to_owned()),
        Just("\"sem_wait\": \"s\"".to_owned()),
        Just("\"resume\": \"t1\"".to_owned()),
        Just("\"suspend\"".to_owned()),
        Just("\"yield\"".to_owned()),
        Just("\"fork\": \"child\"".to_owned()),
    ];
    prop::collection::vec(event, 1..5).prop_map(|events| events.join(", "))
}

fn tessera(cpus: u16) -> impl Strategy<Value = String> {
    let classes = ["interactive", "normal", "batch", "ipcServer"];
    (1_u32..2000, prop::sample::select(classes.to_vec()), 0_u32..9_000, 0..cpus, any::<bool>(), 1_u32..10_000).prop_map(
        |(weight, class, arrive, cpu, leaves, changed)| {
            let exit = if leaves { format!(", \"exit_us\": {}", arrive + 9_000) } else { String::new() };
            let change = format!("{{\"at_us\": {}, \"weight\": {changed}, \"cpus\": [{cpu}]}}", arrive + 3_000);
            format!(
                "\"tessera\": {{\"weight\": {weight}, \"class\": \"{class}\", \"arrive_us\": {arrive}{exit}, \"changes\": [{change}]}}"
            )
        },
    )
}

/// A random workload on a random machine.
fn workloads() -> impl Strategy<Value = String> {
    let machine = (1_u16..6, 0_u32..20_000, 0_u32..5_000, prop::option::of(1_u32..200_000));
    machine.prop_flat_map(|(cpus, kick, switch, noise)| {
        let task = (events(), tessera(cpus), 1_usize..4, any::<bool>());
        (Just((cpus, kick, switch, noise)), prop::collection::vec(task, 1..6)).prop_map(
            |((cpus, kick, switch, noise), tasks)| {
                let noise = noise.map_or(String::new(), |ns| format!(", \"noise_ns\": {ns}, \"noise_period_us\": 1000"));
                let machine = format!("\"cpus\": {cpus}, \"kick_latency_ns\": {kick}, \"switch_cost_ns\": {switch}{noise}");
                let task = |(number, (events, tessera, instances, ends)): (usize, &(String, String, usize, bool))| {
                    let rounds = if *ends { 7 } else { -1 };
                    // A little running in each round, so that time passes.
                    format!(
                        "\"t{number}\": {{\"instance\": {instances}, \"loop\": {rounds}, \"run\": 40, {events}, {tessera}}}"
                    )
                };
                let tasks: Vec<String> = tasks.iter().enumerate().map(task).collect();
                format!(
                    "{{\"global\": {{\"duration\": 0.02, \"tessera\": {{{machine}}}}}, \"tasks\": {{{}, \
                     \"child\": {{\"instance\": 0, \"loop\": 2, \"run\": 90, \"sleep\": 50}}}}}}",
                    tasks.join(", ")
                )
            },
        )
    })
}

fn run(text: &str, options: &engine::Options) -> Option<Outcome> {
    // Some wait for a timer without any time passing: that is a fault, and not what is tested here.
    engine::run(&workload(text), options, &mut |_| ()).ok()
}

fn assert_conserved(outcome: &Outcome) -> Result<(), TestCaseError> {
    let report = &outcome.report;
    for cpu in &report.cpus_detail {
        prop_assert_eq!(cpu.busy_ns + cpu.idle_ns + cpu.overhead_ns, report.duration_ns);
        let ran: u64 = report.tasks.iter().map(|task| task.cpu_runtime_ns[cpu.id]).sum();
        prop_assert_eq!(ran, cpu.busy_ns);
    }
    for task in &report.tasks {
        prop_assert_eq!(task.cpu_runtime_ns.iter().sum::<u64>(), task.runtime_ns);
        prop_assert!(task.runtime_ns + task.runnable_ns + task.sleep_ns <= report.duration_ns);
        prop_assert!(task.max_wait_ns <= task.runnable_ns);
    }
    Ok(())
}

fn assert_traced(outcome: &Outcome) -> Result<(), TestCaseError> {
    let trace = outcome.trace.as_ref().expect("it was recorded");
    let mut sums = vec![0; trace.threads.len()];
    let mut free = vec![0; trace.cpus];
    for slice in trace.slices() {
        let (begin, end) = (slice.begin.as_nanos(), slice.end.as_nanos());
        prop_assert!(free[slice.cpu.index()] <= begin, "two at once on CPU {}", slice.cpu);
        free[slice.cpu.index()] = end;
        sums[slice.thread.index()] += end - begin;
    }
    let runtimes: Vec<u64> = outcome.report.tasks.iter().map(|task| task.runtime_ns).collect();
    prop_assert_eq!(sums, runtimes);
    let mut text = Vec::new();
    chrome::write(trace, &mut text).expect("a vector takes everything");
    assert_chrome(
        &text,
        &outcome.report.tasks.iter().map(|task| (task.name.clone(), task.runtime_ns)).collect::<Vec<_>>(),
    )
}

/// The file itself: valid JSON, no empty slices, and the slices of each name add up.
fn assert_chrome(text: &[u8], runtimes: &[(String, u64)]) -> Result<(), TestCaseError> {
    let file: serde_json::Value = serde_json::from_slice(text).expect("JSON");
    let events = file["traceEvents"].as_array().expect("events");
    let nanoseconds = |value: &serde_json::Value| (value.as_f64().expect("a number") * 1000.0).round() as u64;
    for (name, runtime) in runtimes {
        let slices = events.iter().filter(|event| event["ph"] == "X" && event["name"] == name.as_str());
        let lengths: Vec<u64> = slices.map(|slice| nanoseconds(&slice["dur"])).collect();
        prop_assert!(lengths.iter().all(|&length| length > 0));
        prop_assert_eq!(lengths.iter().sum::<u64>(), *runtime);
    }
    let arrows = |kind: &str| events.iter().filter(|event| event["ph"] == kind).count();
    prop_assert_eq!(arrows("s"), arrows("f"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_time_is_lost_or_made_and_nothing_is_violated(text in workloads(), seed in any::<u64>()) {
        for policy in POLICIES {
            let Some(outcome) = run(&text, &engine::Options { seed, ..options(policy) }) else { continue };
            prop_assert_eq!(&outcome.violations, &Vec::<String>::new());
            prop_assert!(outcome.report.invariants.checked > 0 && outcome.report.invariants.violations == 0);
            assert_conserved(&outcome)?;
            assert_traced(&outcome)?;
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_and_looking_changes_nothing(text in workloads(), seed in any::<u64>()) {
        let watched = engine::Options { seed, ..options(Policy::Eevdf) };
        let unwatched = engine::Options { check: false, trace: false, ..watched };
        let Some(first) = run(&text, &unwatched) else { return Ok(()) };
        let again = run(&text, &unwatched).expect("as before");
        prop_assert_eq!(first.report.to_json().expect("JSON"), again.report.to_json().expect("JSON"));
        let mut looked_at = run(&text, &watched).expect("as before");
        looked_at.report.invariants = first.report.invariants;
        prop_assert_eq!(first.report.to_json().expect("JSON"), looked_at.report.to_json().expect("JSON"));
    }
}

#[test]
fn another_seed_is_another_noise() {
    let text = r#"{"global": {"duration": 1, "tessera": {"cpus": 2, "noise_ns": 50000, "noise_period_us": 1000}},
        "tasks": {"a": {"instance": 3, "run": 1000, "sleep": 300}}}"#;
    let with = |seed| run(text, &engine::Options { seed, ..options(Policy::Eevdf) }).expect("a run").report.tasks;
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn a_trace_has_arrows_from_wakers_and_counters_of_the_runnable() {
    let text = r#"{"global": {"duration": 0.1, "tessera": {"cpus": 1}}, "tasks": {
        "a": {"run": 1000, "resume": "b"}, "b": {"suspend", "run": 100}, "hog": {"run": 1000}}}"#;
    let outcome = common::run(text, Policy::Eevdf);
    let trace = outcome.trace.expect("it was recorded");
    let mut text = Vec::new();
    chrome::write(&trace, &mut text).expect("a vector takes everything");
    let text = String::from_utf8(text).expect("text");
    for what in ["\"ph\":\"s\"", "\"ph\":\"f\"", "\"ph\":\"C\"", "\"process_name\"", "\"CPU 0\""] {
        assert!(text.contains(what), "no {what}");
    }
}

#[test]
fn the_counter_of_the_runnable_counts_the_one_that_runs_also_while_a_switch_takes_its_time() {
    let text = r#"{"global": {"duration": 0.1, "tessera": {"cpus": 1, "switch_cost_ns": 500}}, "tasks": {
        "a": {"instance": 3, "run": 1000}, "late": {"loop": 1, "run": 1000, "tessera": {"arrive_us": 50000}}}}"#;
    let trace = common::run(text, Policy::Wfq).trace.expect("it was recorded");
    let counts: Vec<usize> = trace
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Runnable { threads, .. } => Some(*threads),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [3, 4, 3]);
    let mut bytes = Vec::new();
    chrome::write(&trace, &mut bytes).expect("a vector takes everything");
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.contains(r#""name":"runnable CPU 0","ts":50000.000,"args":{"runnable":4}"#), "{text}");
}

#[test]
fn an_arrow_begins_inside_the_slice_that_woke_even_if_that_ended_with_it() {
    let text = r#"{"global": {"tessera": {"cpus": 1}}, "tasks": {
        "waker": {"loop": 5, "run": 1000, "sem_post": "s", "sleep": 500},
        "woken": {"loop": 5, "sem_wait": "s", "run": 200}}}"#;
    let trace = common::run(text, Policy::Wfq).trace.expect("it was recorded");
    let mut bytes = Vec::new();
    chrome::write(&trace, &mut bytes).expect("a vector takes everything");
    let parsed: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let events = parsed["traceEvents"].as_array().expect("a list");
    let time = |event: &serde_json::Value, key: &str| event[key].as_f64().expect("a number");
    let of_waker = |at: f64| {
        let holds =
            |slice: &serde_json::Value| (time(slice, "ts")..time(slice, "ts") + time(slice, "dur")).contains(&at);
        events.iter().any(|event| event["ph"] == "X" && event["name"] == "waker" && holds(event))
    };
    let starts: Vec<f64> = events.iter().filter(|event| event["ph"] == "s").map(|event| time(event, "ts")).collect();
    // The first post comes before anybody waits, and wakes nobody.
    assert_eq!(starts.len(), 4);
    assert!(starts.iter().all(|&at| of_waker(at)), "{starts:?}");
}
