//! Each event does what rt-app's tutorial says, in exact simulated time.

mod common;

use common::{POLICIES, options, run, task, try_run, workload};
use kernel_core::sched::Policy;
use sim::engine::{self, FaultKind};

fn ms(milliseconds: u64) -> u64 {
    milliseconds * 1_000_000
}

#[test]
fn a_run_takes_its_time_and_a_task_without_a_duration_ends_when_it_is_done() {
    for policy in POLICIES {
        let outcome = run(r#"{"tasks": {"a": {"loop": 3, "run": 1000, "sleep": 2000}}}"#, policy);
        let a = task(&outcome, "a");
        assert_eq!((a.runtime_ns, a.sleep_ns, a.runnable_ns), (ms(3), ms(6), 0));
        assert_eq!((outcome.report.duration_ns, a.jobs, a.voluntary_blocks), (ms(9), 3, 3));
    }
}

#[test]
fn a_runtime_ends_by_the_clock_even_if_somebody_else_had_the_cpu() {
    let text = r#"{"global": {"tessera": {"cpus": 1}}, "tasks": {
        "a": {"loop": 1, "runtime": 10000}, "b": {"loop": 1, "run": 10000}}}"#;
    let outcome = run(text, Policy::Eevdf);
    let (a, b) = (task(&outcome, "a"), task(&outcome, "b"));
    assert_eq!(b.runtime_ns, ms(10));
    assert!(a.runtime_ns < ms(7), "{}", a.runtime_ns);
}

#[test]
fn a_relative_timer_begins_anew_after_an_overrun_and_an_absolute_one_catches_up() {
    let text = |mode: &str| {
        format!(
            r#"{{"tasks": {{"a": {{"loop": 1, "phases": {{
                "x": {{"loop": 2, "run": 10000, "timer": {{"ref": "unique", "period": 20000, "mode": "{mode}"}}}},
                "y": {{"run": 30000, "timer": {{"ref": "unique", "period": 20000, "mode": "{mode}"}}}},
                "z": {{"loop": 2, "run": 10000, "timer": {{"ref": "unique", "period": 20000, "mode": "{mode}"}}}}}}}}}}}}"#
        )
    };
    let relative = run(&text("relative"), Policy::Eevdf);
    let a = task(&relative, "a");
    assert_eq!(
        (relative.report.duration_ns, a.jobs, a.deadline_misses, a.period_drift_ns),
        (ms(110), 5, 1, ms(10) as i64)
    );
    let absolute = run(&text("absolute"), Policy::Eevdf);
    let a = task(&absolute, "a");
    assert_eq!((absolute.report.duration_ns, a.jobs, a.deadline_misses, a.period_drift_ns), (ms(100), 5, 1, 0));
}

#[test]
fn a_mutex_is_held_by_one_at_a_time_and_handed_to_the_one_who_waited_longest() {
    let text = r#"{"global": {"tessera": {"cpus": 4}}, "tasks": {
        "m": {"instance": 4, "loop": 1, "lock": "x", "run": 5000, "unlock": "x"}}}"#;
    let outcome = run(text, Policy::Eevdf);
    assert_eq!(outcome.report.duration_ns, ms(20));
    let sleeps: Vec<u64> = outcome.report.tasks.iter().map(|task| task.sleep_ns).collect();
    assert_eq!(sleeps, [0, ms(5), ms(10), ms(15)]);
}

#[test]
fn a_signal_wakes_one_who_waits_and_a_broadcast_all() {
    let text = |event: &str, rounds: u32| {
        format!(
            r#"{{"global": {{"tessera": {{"cpus": 4}}}}, "tasks": {{
                "w": {{"instance": 3, "loop": 1, "lock": "x", "wait": {{"ref": "c", "mutex": "x"}}, "unlock": "x", "run": 1000}},
                "s": {{"loop": {rounds}, "run": 10000, "lock": "x", "{event}": "c", "unlock": "x"}}}}}}"#
        )
    };
    let sleeps = |text: &str| {
        let outcome = run(text, Policy::Eevdf);
        outcome.report.tasks.iter().take(3).map(|task| task.sleep_ns).collect::<Vec<_>>()
    };
    assert_eq!(sleeps(&text("signal", 3)), [ms(10), ms(20), ms(30)]);
    assert_eq!(sleeps(&text("broad", 1)), [ms(10), ms(10), ms(10)]);
}

#[test]
fn sync_wakes_the_other_and_waits_itself() {
    let text = r#"{"global": {"tessera": {"cpus": 2}}, "tasks": {
        "a": {"loop": 1, "lock": "x", "wait": {"ref": "c", "mutex": "x"}, "unlock": "x",
              "run": 3000, "lock1": "x", "signal": "c", "unlock1": "x"},
        "b": {"loop": 1, "run": 5000, "lock": "x", "sync": {"ref": "c", "mutex": "x"}, "unlock": "x", "run1": 1000}}}"#;
    let outcome = run(text, Policy::Eevdf);
    assert_eq!((task(&outcome, "a").sleep_ns, task(&outcome, "b").sleep_ns), (ms(5), ms(3)));
    assert_eq!(outcome.report.duration_ns, ms(9));
}

#[test]
fn a_resume_wakes_who_is_suspended_and_is_lost_if_nobody_is() {
    let text = r#"{"global": {"tessera": {"cpus": 2}}, "tasks": {
        "a": {"loop": 1, "run": 2000, "suspend", "run1": 1000},
        "b": {"loop": 1, "run": 1000, "resume": "a", "run1": 4000, "resume1": "a"}}}"#;
    let outcome = run(text, Policy::Eevdf);
    assert_eq!((task(&outcome, "a").sleep_ns, outcome.report.duration_ns), (ms(3), ms(6)));
}

#[test]
fn a_barrier_lets_all_go_when_the_last_has_come() {
    let text = r#"{"global": {"tessera": {"cpus": 3}}, "tasks": {
        "a": {"instance": 2, "loop": 1, "run": 1000, "barrier": "b", "run1": 1000},
        "c": {"loop": 1, "run": 7000, "barrier": "b", "run1": 1000}}}"#;
    let outcome = run(text, Policy::Eevdf);
    let sleeps: Vec<u64> = outcome.report.tasks.iter().map(|task| task.sleep_ns).collect();
    assert_eq!((sleeps, outcome.report.duration_ns), (vec![ms(6), ms(6), 0], ms(8)));
}

#[test]
fn a_semaphore_keeps_what_nobody_waits_for() {
    let text = r#"{"global": {"tessera": {"cpus": 2}}, "tasks": {
        "p": {"loop": 1, "sem_post": "s", "run": 4000, "sem_post1": "s"},
        "c": {"loop": 1, "run": 1000, "sem_wait": "s", "run1": 1000, "sem_wait1": "s", "run2": 1000}}}"#;
    let outcome = run(text, Policy::Eevdf);
    assert_eq!((task(&outcome, "c").sleep_ns, outcome.report.duration_ns), (ms(2), ms(5)));
}

#[test]
fn forks_are_numbered_instances() {
    let text = r#"{"global": {"tessera": {"cpus": 4}}, "tasks": {
        "parent": {"loop": 2, "run": 1000, "fork": "child"}, "child": {"instance": 0, "loop": 1, "run": 500},
        "twins": {"instance": 2, "loop": 1, "run": 100}}}"#;
    let outcome = run(text, Policy::Eevdf);
    let names: Vec<&str> = outcome.report.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["parent", "twins-0", "twins-1", "child-0", "child-1"]);
    assert!(outcome.report.tasks.iter().skip(3).all(|task| task.runtime_ns == 500_000));
}

#[test]
fn threads_arrive_change_and_are_ended_on_time() {
    let text = r#"{"global": {"duration": 1, "tessera": {"cpus": 2}}, "tasks": {
        "a": {"cpus": [0], "run": 1000, "tessera": {"arrive_us": 100000, "exit_us": 600000,
              "changes": [{"at_us": 200000, "cpus": [1]}, {"at_us": 300000, "weight": 640, "class": "batch"}]}},
        "b": {"loop": 1, "delay": 50000, "sleep": 5000000, "tessera": {"exit_us": 90000}}}}"#;
    for policy in POLICIES {
        let outcome = run(text, policy);
        let (a, b) = (task(&outcome, "a"), task(&outcome, "b"));
        assert_eq!(a.cpu_runtime_ns, [ms(100), ms(400)]);
        assert_eq!((a.weight, a.class.as_str(), a.first_dispatch_ns), (640, "batch", Some(0)));
        assert_eq!((b.sleep_ns, outcome.report.duration_ns), (ms(40), ms(600)), "it is over when the last has ended");
    }
}

#[test]
fn no_instance_takes_the_name_of_another_task() {
    let text = r#"{"tasks": {"t": {"instance": 3, "loop": 1, "run": 5}, "t-1": {"loop": 1, "run": 5}}}"#;
    let outcome = run(text, Policy::Wfq);
    let names: Vec<&str> = outcome.report.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["t-0", "t-2", "t-3", "t-1"]);
}

#[test]
fn what_should_have_come_before_a_thread_began_comes_at_once() {
    let text = r#"{"global": {"tessera": {"cpus": 1}, "duration": 1}, "tasks": {
        "late": {"run": 1000, "delay": 500000, "tessera": {"changes": [{"at_us": 1000, "weight": 640}]}},
        "other": {"run": 1000},
        "child": {"instance": 0, "sem_post": "s", "run": 1000, "tessera": {"exit_us": 2000}},
        "never": {"loop": 1, "sem_wait": "s", "run": 1000},
        "parent": {"loop": 1, "run": 5000, "fork": "child"}}}"#;
    for policy in POLICIES {
        let outcome = run(text, policy);
        assert_eq!((task(&outcome, "late").weight, task(&outcome, "other").weight), (640, 64));
        assert_eq!((task(&outcome, "child-0").dispatches, task(&outcome, "never").runtime_ns), (0, 0));
    }
}

#[test]
fn a_run_is_over_when_the_last_task_has_ended_whatever_was_planned_for_it() {
    let planned = r#""exit_us": 500000, "changes": [{"at_us": 400000, "weight": 10}]"#;
    let outcome =
        run(&format!(r#"{{"tasks": {{"t": {{"loop": 1, "run": 1000, "tessera": {{{planned}}}}}}}}}"#), Policy::Wfq);
    assert_eq!((outcome.report.duration_ns, task(&outcome, "t").share), (ms(1), 1.0));
}

#[test]
fn many_finite_steps_at_one_time_are_no_loop() {
    let text = r#"{"tasks": {"t": {"instance": 100, "loop": 1, "phases": {
        "p": {"loop": 6000, "sem_post": "s"}, "q": {"run": 1}}}}}"#;
    assert_eq!(run(text, Policy::Wfq).report.tasks.len(), 100);
}

#[test]
fn phases_may_move_a_thread_and_change_its_weight() {
    let text = r#"{"global": {"tessera": {"cpus": 3}}, "tasks": {"a": {"loop": 1, "cpus": [2], "phases": {
        "p": {"cpus": [0], "run": 1000}, "q": {"cpus": [1], "priority": -5, "run": 2000}, "r": {"run": 4000}}}}}"#;
    let outcome = run(text, Policy::Eevdf);
    let a = task(&outcome, "a");
    assert_eq!((a.cpu_runtime_ns.clone(), a.weight), (vec![ms(1), ms(2), ms(4)], 195));
}

#[test]
fn a_kick_a_switch_and_noise_take_their_time() {
    let quiet = r#"{"global": {"tessera": {"cpus": 2, "kick_latency_ns": 7000, "switch_cost_ns": 3000}}, "tasks": {
        "a": {"loop": 1, "run": 1000, "resume": "b", "run1": 1000}, "b": {"loop": 1, "suspend", "run": 500}}}"#;
    let outcome = run(quiet, Policy::Eevdf);
    let b = task(&outcome, "b");
    // To the other CPU: the kick, then the switch.
    assert_eq!((b.first_dispatch_ns, b.wake_latency_ns.max), (Some(10_000), 10_000));
    let noisy = r#"{"global": {"duration": 1, "tessera": {"cpus": 1, "noise_ns": 10000, "noise_period_us": 1000}},
        "tasks": {"a": {"run": 1000}}}"#;
    let outcome = run(noisy, Policy::Eevdf);
    assert_eq!((outcome.report.cpus_detail[0].overhead_ns, task(&outcome, "a").runtime_ns), (ms(10), ms(990)));
}

#[test]
fn mistakes_at_run_time_end_the_run_and_are_named() {
    let fault = |text: &str| try_run(text, Policy::Eevdf).expect_err("a mistake");
    let one = |inside: &str| format!("{{\"tasks\": {{\"t\": {{\"loop\": 1, \"run\": 1000, {inside}}}}}}}");
    let not_held = fault(&one("\"unlock\": \"x\""));
    assert_eq!(not_held.kind, FaultKind::NotHeld("x".to_owned()));
    assert_eq!(
        not_held.to_string(),
        "1:42: task \"t\", key \"unlock\", after 1.000 ms: gives back the mutex \"x\", which it does not hold; \
         expected a \"lock\" before"
    );
    assert_eq!(fault(&one("\"lock\": \"x\", \"lock1\": \"x\"")).kind, FaultKind::LockedTwice("x".to_owned()));
    let wait = "\"wait\": {\"ref\": \"c\", \"mutex\": \"x\"}";
    assert_eq!(fault(&one(wait)).kind, FaultKind::WaitsWithout("x".to_owned()));
    assert_eq!(fault(&one("\"suspend\": \"\"")).kind, FaultKind::Deadlock);
}

#[test]
fn a_task_that_never_lets_time_pass_is_found() {
    let fault = try_run(r#"{"global": {"duration": 1}, "tasks": {"t": {"signal": "c"}}}"#, Policy::Eevdf);
    assert_eq!(fault.expect_err("a mistake").kind, FaultKind::NoTimePasses);
    let yields = r#"{"global": {"duration": 1}, "tasks": {"t": {"instance": 2, "yield"}}}"#;
    assert_eq!(try_run(yields, Policy::Wfq).expect_err("a mistake").kind, FaultKind::NoTimePasses);
}

#[test]
fn niceness_and_policies_become_weights_and_classes() {
    let text = r#"{"global": {"duration": 1, "default_policy": "SCHED_BATCH"}, "tasks": {
        "a": {"run": 1, "policy": "SCHED_OTHER", "priority": -5}, "b": {"run": 1}, "c": {"run": 1, "policy": "SCHED_IDLE"},
        "d": {"run": 1, "policy": "SCHED_OTHER", "dl-runtime": 500, "tessera": {"weight": 7, "class": "interactive"}}}}"#;
    let workload = common::workload(text);
    let found: Vec<_> = workload
        .tasks
        .iter()
        .map(|task| (task.attributes.weight.get(), task.attributes.class.name(), task.attributes.request.is_some()))
        .collect();
    let expected = [(195, "normal", false), (64, "batch", false), (1, "batch", false), (7, "interactive", true)];
    assert_eq!(found, expected);
}

#[test]
fn to_find_nothing_to_run_a_cpu_reads_one_cache_line_however_many_cpus_there_are() {
    // Three threads that sleep and run on their own CPUs: nobody waits.
    let text = |cpus: usize, topology: &str| {
        format!(
            r#"{{"global": {{"duration": 0.02, "tessera": {{"cpus": {cpus}{topology}}}}},
            "tasks": {{"a": {{"instance": 3, "loop": -1, "run": 300, "sleep": 700}}}}}}"#
        )
    };
    // Without checks after each event, which a thousand CPUs make long.
    let options = engine::Options { check: false, trace: false, ..options(Policy::Eevdf) };
    let searches = |text: &str| engine::run(&workload(text), &options, &mut |_| ()).expect("it runs").searches;
    let levels = r#", "topology": {"smt": 2, "cores": 8, "clusters": 8, "nodes": 8}"#;
    for (cpus, topology) in [(4, ""), (64, ""), (1024, ""), (1024, levels)] {
        let searches = searches(&text(cpus, topology));
        assert!(searches.count >= cpus as u64);
        assert_eq!(searches.lines, searches.count, "{cpus} CPUs {topology}");
    }
    // Where somebody waits, the lines of those who may have one to give come to that.
    let waiting = r#"{"global": {"duration": 1, "tessera": {"cpus": 4}},
        "tasks": {"a": {"instance": 6, "loop": -1, "run": 300, "sleep": 100}}}"#;
    let searches = searches(waiting);
    assert!(searches.lines > searches.count, "{} lines, {} searches", searches.lines, searches.count);
}

#[test]
fn the_group_of_a_phase_is_reported_and_stays_until_another_one_comes() {
    let text = |loops: u32| {
        format!(
            r#"{{"tasks": {{
                "moves": {{"loop": {loops}, "taskgroup": "/task", "phases": {{
                    "first": {{"run": 100, "taskgroup": "/first"}}, "second": {{"run": 100}}}}}},
                "stays": {{"loop": 1, "run": 100, "taskgroup": "/task"}},
                "later": {{"loop": 1, "phases": {{"first": {{"run": 100}}, "second": {{"run": 100, "taskgroup": "/b"}}}}}},
                "none": {{"loop": 1, "run": 100}}}}}}"#
        )
    };
    for loops in [1, 2] {
        let outcome = common::run(&text(loops), Policy::Wfq);
        let groups = ["moves", "stays", "later", "none"].map(|name| common::task(&outcome, name).taskgroup.as_deref());
        assert_eq!(groups, [Some("/first"), Some("/task"), Some("/b"), None]);
    }
}
