//! What is wrong with a workload is said with line, column, task and key, and with what would be right.

mod common;

use sim::workload::{Options, read};

fn refusal(text: &str) -> String {
    read(text.as_bytes(), &Options::default()).expect_err("this is no workload").to_string()
}

/// A workload of one task with this inside.
fn task(inside: &str) -> String {
    format!("{{\"global\": {{\"duration\": 1}}, \"tasks\": {{\"t\": {{{inside}}}}}}}")
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    let expected = [
        ("{\"tasks\": {\"t\": {\n \"rum\": 5}}}", "2:2: task \"t\", key \"rum\": unknown key; expected "),
        ("{\"tasks\": {\"t\": {\n \"run\": \"5\"}}}", "2:9: task \"t\", key \"run\": expected an integer from 0 to "),
        ("{\"tasks\": {\"t\": {\"run\": -1}}}", "1:25: task \"t\", key \"run\": -1 is not allowed; expected "),
        ("{\"tasks\": {\"t\": {\"run\"}}}", "1:18: task \"t\", key \"run\": expected an integer from 0 to "),
        ("{\"tasks\": {\"t\": {}}}", "1:17: task \"t\", key \"t\": phases or an event is missing; expected a key"),
        ("{\"tasks\":\n {}}", "2:2: key \"tasks\": a task is missing; expected an object by name, such as {"),
        ("{}", "1:1: key \"tasks\": a task is missing; expected an object by name, such as {"),
        ("[1]", "1:1: expected an object, found an array"),
        ("{\"tasks\": {\"t\": {\"run\": yes}}}", "1:25: task \"t\", key \"run\": expected a value, found `yes`"),
        ("{\"tasks\": {\"t\": {\"run\": 5 5}}}", "1:27: task \"t\", expected `,` or `}`, found the number 5"),
        ("{\"tasks\": {\"t\": {\"run\": 5, \"x}}}", "1:28: task \"t\", this string has no end on its line"),
        ("{\"tasks\": {\"t\": {\"run\": 5} \"x}}", "1:28: key \"tasks\": this string has no end on its line"),
        ("{\"global\": {\"duration\": 1.2.3}}", "1:25: key \"duration\": 1.2.3 is no number"),
        ("{\"tasks\": {\"t\": {}}} /*", "1:22: this comment has no end"),
        ("{\"tasks\": {\"t\": {\"run\": 5}}}", "1:12: task \"t\", key \"loop\": never ends, and there is no duration"),
        ("{\"tasks\": {\"t\": {\"run\": 5, \"loop\": -1}}}", "1:36: task \"t\", key \"loop\": never ends, and there"),
        (
            "{\"tasks\": {\"t\": {\"loop\": 1, \"phases\": {\"p\": {\"run\": 5, \"loop\": -1}}}}}",
            "1:64: task \"t\", key \"loop\": never ends, and there is no duration; expected ",
        ),
        (
            "{\"tasks\": {\"t\": {\"run\": 5, \"instance\": 0}}}",
            "1:40: task \"t\", key \"instance\": no task begins by itself; expected one with an \"instance\" of 1",
        ),
        (
            "{\"tasks\": {\"t\": {\"run\": 5}, \"u\": {\"run\": 5, \"instance\": 100000}, \"v\": {\"run\": 5}}}",
            "1:57: task \"u\", key \"instance\": 100001 threads with those of the tasks before it; expected at most 100000",
        ),
    ];
    for (text, beginning) in expected {
        let found = refusal(text);
        assert!(found.starts_with(beginning), "{text}\n  {found}\n  {beginning}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let refused = [
        ("\"run\": 1, \"policy\": \"SCHED_DEADLINE\"", "the policy SCHED_DEADLINE is not supported"),
        ("\"run\": 1, \"policy\": \"SCHED_FIFO\"", "the policy SCHED_FIFO is not supported"),
        ("\"run\": 1, \"policy\": \"SCHED_RR\"", "the policy SCHED_RR is not supported"),
        ("\"run\": 1, \"dl-period\": 1000", "\"dl-period\" is not supported"),
        ("\"run\": 1, \"dl-deadline\": 1000", "\"dl-deadline\" is not supported"),
        ("\"run\": 1, \"tessera\": {\"budget_us\": 1000}", "\"budget_us\" is not supported"),
        ("\"run\": 1, \"tessera\": {\"period_us\": 1000}", "\"period_us\" is not supported"),
        ("\"run\": 1, \"mem\": 1000", "\"mem\" is not supported"),
        ("\"run\": 1, \"memrun2\": 1000", "\"memrun2\" is not supported"),
        ("\"run\": 1, \"iorun\": 1000", "\"iorun\" is not supported"),
        ("\"instance\": 0, \"run\": 1, \"barrier\": \"b\"", "a barrier in a task that is only forked is not supported"),
    ];
    for (inside, name) in refused {
        let found = refusal(&task(inside));
        assert!(found.contains(name), "{inside}: {found}");
    }
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    let refused = [
        ("\"run\": 1, \"loop\": 0", "expected -1 (for ever) or 1 and more"),
        ("\"run\": 1, \"loop\": -2", "expected -1 (for ever) or 1 and more"),
        ("\"run\": 1, \"priority\": 20", "expected an integer from -20 to 19"),
        ("\"run\": 1, \"dl-runtime\": 99", "expected an integer from 100 to 100000"),
        ("\"run\": 1, \"cpus\": []", "expected at least one CPU number"),
        ("\"run\": 1, \"cpus\": [4096]", "expected CPU numbers from 0 to 4095"),
        ("\"run\": 1, \"tessera\": {\"weight\": 10001}", "expected an integer from 1 to 10000"),
        ("\"run\": 1, \"tessera\": {\"weight\": 0}", "expected an integer from 1 to 10000"),
        ("\"run\": 1, \"tessera\": {\"class\": \"fast\"}", "expected interactive, normal, batch, ipcServer"),
        ("\"run\": 1, \"tessera\": {\"wight\": 5}", "unknown key; expected weight, class"),
        ("\"run\": 1, \"tessera\": {\"arrive_us\": 9, \"exit_us\": 9}", "expected a time after arrive_us and delay"),
        ("\"run\": 1, \"delay\": 9, \"tessera\": {\"exit_us\": 9}", "key \"exit_us\": it would end before it begins"),
        ("\"run\": 1, \"loop\": 1.5", "expected -1 (for ever) or 1 and more"),
        (
            "\"phases\": {\"p\": {\"run\": 1}}, \"phases\": {\"p\": {\"run\": 2}}",
            "key \"phases\": stands here a second time",
        ),
        ("\"run\": 1, \"tessera\": {}, \"tessera\": {}", "key \"tessera\": stands here a second time"),
        ("\"run\": 1, \"tessera\": {\"changes\": [{\"weight\": 5}]}", "\"at_us\" is missing; expected microseconds"),
        (
            "\"run\": 1, \"tessera\": {\"changes\": [{\"at_us\": 5}]}",
            "what changes is missing; expected weight (1 to 10000), class",
        ),
        ("\"timer\": {\"period\": 5}", "\"ref\" is missing; expected a timer's name"),
        ("\"timer\": {\"ref\": \"a\"}", "\"period\" is missing; expected microseconds, an integer from 1 to "),
        ("\"wait\": {\"mutex\": \"a\"}", "\"ref\" is missing; expected a condition's name"),
        ("\"timer\": {\"ref\": \"a\", \"period\": 0}", "expected an integer from 1"),
        ("\"timer\": {\"ref\": \"a\", \"period\": 1, \"mode\": \"slow\"}", "expected relative or absolute"),
        ("\"wait\": {\"ref\": \"a\"}", "\"mutex\" is missing; expected a mutex's name"),
        ("\"lock\": \"\"", "expected a name"),
        ("\"fork\": \"u\"", "no task is named \"u\"; expected one of t"),
        ("\"run\": 1, \"phases\": {\"p\": {\"run\": 1}}", "cannot stand beside events"),
        ("\"phases\": {}", "a phase is missing; expected an object by name"),
        ("\"phases\": {\"p\": {}}", "an event is missing; expected a key"),
        ("\"phases\": {\"p\": {\"run\": 1, \"tessera\": {}}}", "unknown key; expected loop, cpus, policy, "),
    ];
    for (inside, range) in refused {
        let found = refusal(&task(inside));
        assert!(found.contains(range), "{inside}: {found}");
    }
}

#[test]
fn tasks_without_a_name_that_can_be_shown_are_refused() {
    for name in ["", "a\\u0001b", "a\\nb"] {
        let text = format!("{{\"tasks\": {{\"{name}\": {{\"loop\": 1, \"run\": 1}}}}}}");
        let found = refusal(&text);
        assert!(found.contains("expected a name with something in it and no control characters"), "{text}: {found}");
    }
}

#[test]
fn machines_that_do_not_fit_are_refused() {
    let machine = |tessera: &str, task: &str| {
        format!("{{\"global\": {{\"duration\": 1, \"tessera\": {{{tessera}}}}}, \"tasks\": {{\"t\": {{{task}}}}}}}")
    };
    let refused = [
        (
            machine("\"cpus\": 2", "\"run\": 1, \"cpus\": [2]"),
            "CPU 2 does not exist on a machine of 2; expected 0 to 1, or --cpus 3",
        ),
        (machine("\"cpus\": 4097", "\"run\": 1"), "expected an integer from 1 to 4096"),
        (machine("\"cpus\": 3, \"topology\": {\"cores\": 2}", "\"run\": 1"), "the topology gives 2 CPUs, but 3"),
        (machine("\"topology\": {\"cores\": 4096, \"smt\": 2}", "\"run\": 1"), "8192 CPUs; expected 1 to 4096"),
        (machine("\"noise_ns\": 5", "\"run\": 1"), "\"noise_period_us\" is missing; expected microseconds"),
        (machine("\"noise_ns\": 5000, \"noise_period_us\": 5", "\"run\": 1"), "expected less than noise_period_us"),
        (machine("\"kick\": 1", "\"run\": 1"), "unknown key; expected cpus, topology"),
    ];
    for (text, problem) in refused {
        let found = refusal(&text);
        assert!(found.contains(problem), "{text}: {found}");
    }
}

#[test]
fn what_is_said_once_is_refused_a_second_time_where_that_stands() {
    let twice = [
        ("\"weight\":5,\n\"weight\":6", "weight", "\"run\": 1, \"tessera\": {", "}"),
        ("\"at_us\":5,\n\"at_us\":6", "at_us", "\"run\": 1, \"tessera\": {\"changes\": [{\"weight\": 1,", "}]}"),
        ("\"instance\":5,\n\"instance\":6", "instance", "\"run\": 1,", ""),
        ("\"loop\":5,\n\"loop\":5", "loop", "\"run\": 1,", ""),
        ("\"taskgroup\":\"a\",\n\"taskgroup\":\"b\"", "taskgroup", "\"run\": 1,", ""),
        ("\"cpus\":[0],\n\"cpus\":[0]", "cpus", "\"phases\": {\"p\": {\"run\": 1,", "}}"),
        ("\"period\":5,\n\"period\":6", "period", "\"timer\": {\"ref\": \"a\",", "}"),
        ("\"mutex\":\"a\",\n\"mutex\":\"b\"", "mutex", "\"wait\": {\"ref\": \"a\",", "}"),
    ];
    for (keys, key, before, after) in twice {
        let text = task(&format!("{before}{keys}{after}"));
        let expected = format!("2:1: task \"t\", key \"{key}\": stands here a second time; expected one");
        assert_eq!(refusal(&text), expected, "{text}");
    }
    let global = |keys: &str| format!("{{\"global\": {{{keys}}}, \"tasks\": {{\"t\": {{\"run\": 1}}}}}}");
    for (key, keys) in [
        ("duration", "\"duration\": 1,\n\"duration\": 2"),
        ("cpus", "\"tessera\": {\"cpus\": 1,\n\"cpus\": 2}"),
        ("cores", "\"tessera\": {\"topology\": {\"cores\": 1,\n\"cores\": 2}}"),
    ] {
        assert_eq!(refusal(&global(keys)), format!("2:1: key \"{key}\": stands here a second time; expected one"));
    }
}

#[test]
fn events_and_phases_of_one_name_are_several() {
    let workload = common::workload(&task("\"run\": 1, \"sleep\": 2, \"run\": 3"));
    assert_eq!(workload.tasks[0].events().count(), 3);
    let workload = common::workload(&task("\"phases\": {\"p\": {\"run\": 1}, \"p\": {\"run\": 2}}"));
    assert_eq!(workload.tasks[0].phases.len(), 2);
}

#[test]
fn what_nobody_forks_may_be_endless() {
    let with = |forks: &str| {
        format!(
            "{{\"tasks\": {{\"a\": {{\"instance\": 0, \"run\": 10}}, \"c\": {{\"instance\": 0, \"loop\": 1, \
             \"fork\": \"a\"}}, \"b\": {{\"run\": 5, \"loop\": 1{forks}}}}}}}"
        )
    };
    assert_eq!(common::workload(&with("")).tasks.len(), 3);
    for forks in [", \"fork\": \"a\"", ", \"fork\": \"c\""] {
        let found = refusal(&with(forks));
        assert!(found.starts_with("1:12: task \"a\", key \"loop\": never ends"), "{found}");
    }
}

#[test]
fn a_key_is_noticed_once_per_task_however_many_phases_and_instances_have_it() {
    let text = "{\"global\": {\"duration\": 1}, \"tasks\": {\"t\": {\"instance\": 3, \"util_min\": 1, \"phases\": \
                {\"p\": {\"run\": 1, \"util_min\": 2, \"util_max\": 3}, \"q\": {\"run\": 1, \"util_max\": 3}}}, \
                \"u\": {\"run\": 1, \"util_min\": 4}}}";
    let workload = common::workload(text);
    let noticed: Vec<_> = workload.notices.iter().map(|notice| (notice.task.as_deref(), notice.key.as_str())).collect();
    assert_eq!(noticed, [(Some("t"), "util_min"), (Some("t"), "util_max"), (Some("u"), "util_min")]);
}

#[test]
fn what_has_no_effect_is_noticed_and_not_refused() {
    let text = task("\"run\": 1, \"util_min\": 5, \"nodes_membind\": [0], \"taskgroup\": \"/a\"");
    let workload = common::workload(&text.replace("\"duration\"", "\"logdir\": \"/tmp\", \"duration\""));
    let keys: Vec<&str> = workload.notices.iter().map(|notice| notice.key.as_str()).collect();
    assert_eq!(keys, ["logdir", "util_min", "nodes_membind", "taskgroup"]);
    assert_eq!(workload.tasks[0].taskgroup.as_deref(), Some("/a"));
}

#[test]
fn memory_events_are_left_out_on_demand() {
    let options = Options { ignore_unsupported: true, ..Options::default() };
    let workload = read(task("\"run\": 1, \"mem\": 5").as_bytes(), &options).expect("a workload");
    assert_eq!((workload.tasks[0].events().count(), workload.notices.len()), (1, 1));
    for inside in ["\"mem\": 5", "\"phases\": {\"p\": {\"iorun\": 5}}"] {
        let error = read(task(inside).as_bytes(), &options).expect_err("nothing to do").to_string();
        assert!(error.contains("nothing is left of it without memory and I/O events"), "{error}");
    }
}
