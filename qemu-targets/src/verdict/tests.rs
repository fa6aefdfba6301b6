//! Each expectation has a run that meets it and one that must fail.

use super::{Conditions, Verdict, judge, sample};
use crate::{
    log::RunLog,
    records::{Exit, Silent},
    target::Target,
};

const FAIR: &str = "
description = 'd'
cpus = 1
[[manifest.program]]
name = 'heavy'
weight = 128
[[manifest.program]]
name = 'light'
count = 2
[expect]
fair = 'everybody'
ratio = { heavy = 2, light = 1 }
";

const S: u64 = 1_000_000_000;

fn good_run() -> RunLog {
    sample::fairness(&[("heavy.0", 128, 2 * S), ("light.0", 64, S), ("light.1", 64, S)])
}

fn verdict_on(log: &RunLog, target: &str, exact: bool) -> Verdict {
    judge(log, &Target::parse("t.toml", target).unwrap(), Conditions { cpus: 1, exact, waited: 0.0 })
}

fn failures(log: &RunLog) -> Vec<String> {
    let verdict = verdict_on(log, FAIR, false);
    assert!(!verdict.passed());
    assert!(verdict.to_string().contains("verdict: FAILED"));
    verdict.findings.into_iter().filter(|finding| !finding.good).map(|finding| finding.text).collect()
}

#[test]
fn a_good_run_passes_and_says_its_bound() {
    let verdict = verdict_on(&good_run(), FAIR, false);
    assert!(verdict.passed(), "{verdict}");
    assert!(verdict.to_string().contains("one request 2.000 ms + longest charge 2.000 ms"));
    assert!(verdict_on(&good_run(), FAIR, true).passed());
}

const PAIR: &str = "
description = 'd'
cpus = 1
[[manifest.program]]
name = 'client'
[[manifest.program]]
name = 'server'
[[manifest.program]]
name = 'hog'
[expect]
share = [{ programs = ['client', 'server'], least = 0.5, most = 0.666666667, least-progress = 1000 }]
";

#[test]
fn the_part_of_a_pair_just_past_its_bounds_fails_and_just_within_passes() {
    // The pair has this much of six seconds. Within 4 ms: one request and the longest charge.
    let run = |pair: u64| {
        sample::fairness(&[("client.0", 64, pair / 2), ("server.0", 64, pair / 2), ("hog.0", 64, 6 * S - pair)])
    };
    let passes = |pair, exact| verdict_on(&run(pair), PAIR, exact).passed();
    assert!(passes(3 * S - 3_900_000, false) && !passes(3 * S - 4_100_000, false));
    assert!(passes(4 * S + 3_900_000, false) && !passes(4 * S + 4_100_000, false));
    // Counted exactly: 0.5 % of three seconds is 15 ms, of four 20 ms.
    assert!(passes(3 * S - 14_900_000, true) && !passes(3 * S - 15_100_000, true));
    assert!(passes(4 * S + 19_900_000, true) && !passes(4 * S + 20_100_000, true));
}

#[test]
fn a_hog_that_waits_for_more_than_a_request_of_each_thread_fails() {
    let target = PAIR.replace("[expect]", "[expect]\nin-turn = ['hog']");
    let passes = |longest_wait_ns| {
        let mut log = sample::fairness(&[("client.0", 64, 2 * S), ("server.0", 64, S), ("hog.0", 64, 3 * S)]);
        log.threads.values_mut().for_each(|thread| thread.longest_wait_ns = longest_wait_ns);
        verdict_on(&log, &target, true).passed()
    };
    // Three requests and the longest charge, 2 ms each.
    assert!(passes(8_000_000) && !passes(8_000_001));
}

#[test]
fn a_pair_that_did_too_little_fails() {
    let mut log = sample::fairness(&[("client.0", 64, 2 * S), ("server.0", 64, S), ("hog.0", 64, 3 * S)]);
    assert!(verdict_on(&log, PAIR, true).passed());
    let server = log.threads.values_mut().find(|thread| thread.program() == "server").unwrap();
    server.progress = 999;
    assert!(!verdict_on(&log, PAIR, true).passed());
}

#[test]
fn equal_shares_under_unequal_weights_fail() {
    let third = 4 * S / 3;
    let log = sample::fairness(&[("heavy.0", 128, third), ("light.0", 64, third), ("light.1", 64, third)]);
    assert!(failures(&log).iter().any(|text| text.starts_with("shares of 3 threads")));
}

#[test]
fn the_counterfactual_target_refuses_the_weighted_run_and_accepts_the_equal_one() {
    let equal = FAIR.replace("weight = 128", "").replace("heavy = 2", "heavy = 1");
    let mut weighted = good_run();
    weighted.threads.values_mut().for_each(|thread| thread.weight = 64);
    assert!(!verdict_on(&weighted, &equal, false).passed());
    let log = sample::fairness(&[("heavy.0", 64, S), ("light.0", 64, S), ("light.1", 64, S)]);
    assert!(verdict_on(&log, &equal, true).passed());
}

#[test]
fn a_share_just_past_the_bound_fails_and_just_within_passes() {
    // The bound is 4 ms: one request and the longest charge.
    let run =
        |off: u64| sample::fairness(&[("heavy.0", 128, 2 * S + off), ("light.0", 64, S - off), ("light.1", 64, S)]);
    assert!(verdict_on(&run(3_900_000), FAIR, false).passed());
    assert!(!verdict_on(&run(4_100_000), FAIR, false).passed());
    // Counted exactly, 0.5 % of the light one's second is 5 ms.
    assert!(verdict_on(&run(4_900_000), FAIR, true).passed());
    assert!(!verdict_on(&run(5_100_000), FAIR, true).passed());
}

#[test]
fn a_kernel_whose_accounting_flatters_is_caught_by_the_programs_progress() {
    let mut log = good_run();
    let heavy = log.threads.get_mut(&0).unwrap();
    (heavy.progress, heavy.dispatches) = (S / 1000, 1000);
    assert!(failures(&log).iter().any(|text| text.contains("of the group's progress")));
}

#[test]
fn programs_that_count_more_than_they_ran_do_not_help_a_wrong_kernel() {
    let mut log = sample::fairness(&[("heavy.0", 128, S), ("light.0", 64, S), ("light.1", 64, S)]);
    log.threads.get_mut(&0).unwrap().progress = 2 * S / 1000;
    assert!(failures(&log).iter().any(|text| text.contains("of the group's run time")));
}

#[test]
fn the_bound_on_progress_tightens_with_the_number_of_slices() {
    let run = |dispatches: u64, exact: bool| {
        let mut log = good_run();
        let heavy = log.threads.get_mut(&0).unwrap();
        (heavy.progress, heavy.dispatches) = (heavy.progress * 12 / 10, dispatches);
        log.threads.values_mut().for_each(|thread| thread.dispatches = dispatches);
        verdict_on(&log, FAIR, exact).passed()
    };
    assert!(run(400, false));
    assert!(!run(40_000, false));
    assert!(!run(400, true));
}

#[test]
fn a_long_stop_of_the_host_widens_the_bound_on_progress() {
    let run = |longest_charge_ns: u64| {
        let mut log = good_run();
        log.threads.get_mut(&0).unwrap().progress *= 2;
        log.threads.values_mut().for_each(|thread| thread.dispatches = 40_000);
        log.threads.values_mut().for_each(|thread| thread.longest_charge_ns = longest_charge_ns);
        log.cpus.values_mut().for_each(|cpu| cpu.longest_charge_ns = longest_charge_ns);
        verdict_on(&log, FAIR, false).passed()
    };
    assert!(run(2 * S));
    assert!(!run(S / 100));
}

#[test]
fn waits_for_the_host_explain_as_much_progress_as_they_can_hide_and_no_more() {
    let run = |part: f64, waited: f64, exact: bool| {
        let mut log = good_run();
        log.threads.values_mut().for_each(|thread| thread.dispatches = 40_000);
        let others: u64 = [0, 2].iter().map(|id| log.threads[id].progress).sum();
        log.threads.get_mut(&1).unwrap().progress = (others as f64 * part / (1.0 - part)) as u64;
        log.threads.get_mut(&0).unwrap().longest_charge_ns = 0;
        let verdict = judge(&log, &Target::parse("t.toml", FAIR).unwrap(), Conditions { cpus: 1, exact, waited });
        !verdict.findings.iter().any(|finding| !finding.good && finding.text.starts_with("light.0"))
    };
    // Of a quarter, with a fifth of all hidden: at most 0.25 / 0.8, at least 0.05 / 0.8, and a little for chance.
    assert!(run(0.312, 0.2, false) && !run(0.34, 0.2, false) && !run(0.312, 0.0, false));
    assert!(run(0.063, 0.2, false) && !run(0.04, 0.2, false) && !run(0.063, 0.1, false));
    assert!(!run(0.30, 0.2, true));
}

#[test]
fn a_start_that_the_host_delayed_explains_so_much_and_no_more() {
    let run = |alone: u64, late: u64| {
        let mut log = good_run();
        let heavy = log.threads.get_mut(&0).unwrap();
        heavy.runtime_ns += alone;
        heavy.progress += alone / 1000;
        heavy.dispatches = 10;
        [1, 2].iter().for_each(|id| log.threads.get_mut(id).unwrap().runnable_ns += alone - late);
        let cpu = log.cpus.get_mut(&0).unwrap();
        (cpu.elapsed_ns, cpu.thread_ns, cpu.paid_fair_ns) =
            (cpu.elapsed_ns + alone, cpu.thread_ns + alone, cpu.paid_fair_ns + alone);
        verdict_on(&log, FAIR, false).passed()
    };
    assert!(run(0, 0) && run(100_000_000, 100_000_000));
    assert!(!run(100_000_000, 0) && !run(100_000_000, 20_000_000));
}

#[test]
fn a_thread_that_stands_still_fails_unless_it_hardly_ran() {
    let run = |dispatches: u64, exact: bool| {
        let target = FAIR.replace("ratio = { heavy = 2, light = 1 }", "");
        let mut log = good_run();
        let light = log.threads.get_mut(&1).unwrap();
        (light.progress, light.dispatches) = (0, dispatches);
        verdict_on(&log, &target, exact).passed()
    };
    assert!(!run(8, false));
    assert!(run(7, false));
    assert!(!run(7, true));
}

#[test]
fn books_that_do_not_close_fail() {
    let mut log = good_run();
    log.cpus.get_mut(&0).unwrap().interrupt_ns = 1;
    assert!(failures(&log).iter().any(|text| text.contains("do not close")));
    let mut log = good_run();
    log.cpus.get_mut(&0).unwrap().paid_fair_ns -= 1;
    assert!(failures(&log).iter().any(|text| text.contains("do not close")));
}

#[test]
fn threads_that_ran_more_than_their_cpus_gave_fail() {
    let mut log = good_run();
    let cpu = log.cpus.get_mut(&0).unwrap();
    (cpu.thread_ns, cpu.idle_ns) = (cpu.thread_ns - 5, 5);
    assert!(failures(&log).iter().any(|text| text.starts_with("threads ran")));
}

#[test]
fn time_that_cpus_gave_to_threads_and_no_thread_had_fails_beyond_the_last_charges_of_the_exited() {
    let run = |missing: u64| {
        let mut log = exits_run();
        log.threads.get_mut(&0).unwrap().runtime_ns -= missing;
        verdict_on(&log, EXITS, false).passed()
    };
    // Three exits, each with a last charge of 2 ms at most.
    assert!(run(6_000_000));
    assert!(!run(6_000_001));
    let mut log = good_run();
    log.threads.get_mut(&0).unwrap().runtime_ns -= 1;
    assert!(failures(&log).iter().any(|text| text.starts_with("threads ran")));
}

#[test]
fn what_threads_without_records_had_closes_the_books_with_theirs() {
    let run = |silent: Silent, had: u64| {
        let mut log = good_run();
        log.threads.get_mut(&0).unwrap().runtime_ns -= had;
        log.silent = silent;
        failures_of_books(&log).is_empty()
    };
    assert!(run(Silent { threads: 1, runtime_ns: 9 }, 9));
    // One of them ended with a last charge of 2 ms at most, which nobody's account holds.
    assert!(run(Silent { threads: 1, runtime_ns: 9 }, 2_000_009));
    assert!(!run(Silent { threads: 1, runtime_ns: 9 }, 2_000_010));
    assert!(!run(Silent { threads: 1, runtime_ns: 9 }, 8), "more than the CPUs gave");
}

#[test]
fn threads_that_end_by_themselves_have_last_charges_too() {
    let mut log = good_run();
    let thread = log.threads.get_mut(&0).unwrap();
    thread.runtime_ns -= 2_000_000;
    assert!(!failures_of_books(&log).is_empty());
    log.threads.get_mut(&0).unwrap().state = "exited".into();
    assert!(failures_of_books(&log).is_empty());
}

fn failures_of_books(log: &RunLog) -> Vec<String> {
    let findings = verdict_on(log, FAIR, false).findings;
    let bad = findings.into_iter().filter(|finding| !finding.good && finding.text.starts_with("threads ran"));
    bad.map(|finding| finding.text).collect()
}

#[test]
fn a_dispatch_outside_the_mask_fails() {
    let mut log = good_run();
    log.threads.get_mut(&1).unwrap().dispatches_outside = 1;
    assert_eq!(failures(&log), ["1 of 30 dispatches were outside the thread's mask"]);
}

#[test]
fn a_run_without_end_boot_or_all_reports_fails() {
    let mut log = good_run();
    log.end = None;
    assert_eq!(failures(&log), ["the run has not reached its end"]);
    let mut log = good_run();
    log.boot = None;
    assert_eq!(failures(&log), ["the machine has not said that it booted"]);
    let mut log = good_run();
    log.threads.get_mut(&2).unwrap().is_final = false;
    assert!(failures(&log).contains(&"2 of 3 threads reported at the end".to_string()));
    let mut log = good_run();
    log.end.as_mut().unwrap().status = "failure".into();
    assert_eq!(failures(&log).len(), 1);
    assert!(!verdict_on(&RunLog::default(), FAIR, false).passed());
}

#[test]
fn a_record_that_cannot_be_read_fails() {
    let mut log = good_run();
    log.feed("{\"tessera\":\"thread\",\"at_ns\":");
    assert!(failures(&log)[0].starts_with("a record cannot be read"));
}

#[test]
fn an_unexpected_exit_fails() {
    let mut log = good_run();
    log.exits.push(Exit { name: "heavy".into(), instance: 0, code: Some(0), fault: None });
    assert_eq!(failures(&log), ["heavy.0 ended unexpectedly: code 0"]);
}

const EXITS: &str = "
description = 'd'
cpus = 1
[[manifest.program]]
name = 'a'
count = 2
[[manifest.program]]
name = 'b'
[expect]
end = 'all-exited'
exit = [{ name = 'a', code = 0 }, { name = 'b', fault = ['arithmetic', 'page fault (load'] }]
";

fn exits_run() -> RunLog {
    let mut log = sample::fairness(&[("a.0", 64, S), ("a.1", 64, S), ("b.0", 64, S)]);
    log.end.as_mut().unwrap().reason = "all programs have exited".into();
    for instance in 0..2 {
        log.exits.push(Exit { name: "a".into(), instance, code: Some(0), fault: None });
    }
    let fault = Some("page fault (load, not mapped) at address 0x0".into());
    log.exits.push(Exit { name: "b".into(), instance: 0, code: None, fault });
    log
}

#[test]
fn every_expected_exit_must_be_seen_once_and_as_expected() {
    assert!(verdict_on(&exits_run(), EXITS, false).passed());
    let changed = |change: fn(&mut RunLog)| {
        let mut log = exits_run();
        change(&mut log);
        verdict_on(&log, EXITS, false).passed()
    };
    assert!(!changed(|log| drop(log.exits.remove(0))));
    assert!(!changed(|log| log.exits[1].instance = 0));
    assert!(!changed(|log| log.exits[0].code = Some(1)));
    assert!(!changed(|log| log.exits[2].fault = Some("illegal instruction".into())));
    assert!(!changed(|log| log.exits[2] = Exit { name: "b".into(), instance: 0, code: Some(0), fault: None }));
    assert!(!changed(|log| log.end.as_mut().unwrap().reason = "time is up".into()));
}

const RUNS_ON: &str = "
description = 'd'
cpus = 1
[[manifest.program]]
name = 'survivor'
[expect]
runs-on = ['survivor']
";

#[test]
fn a_survivor_that_stands_still_or_ends_fails() {
    let run = |change: fn(&mut crate::records::Thread)| {
        let mut log = sample::fairness(&[("survivor.0", 64, S)]);
        change(log.threads.get_mut(&0).unwrap());
        verdict_on(&log, RUNS_ON, false).passed()
    };
    assert!(run(|_| {}));
    assert!(!run(|thread| thread.progress = 0));
    assert!(!run(|thread| thread.state = "exited".into()));
}

const PROMPT: &str = "
description = 'd'
cpus = 1
[[manifest.program]]
name = 'hog'
[[manifest.program]]
name = 'sleeper'
[expect]
prompt = ['sleeper']
";

#[test]
fn a_sleeper_that_waits_longer_than_a_request_and_a_charge_fails() {
    let run = |longest: u64, mean: u64, exact: bool| {
        let mut log = sample::fairness(&[("hog.0", 64, 3 * S), ("sleeper.0", 64, S / 100)]);
        let sleeper = log.threads.get_mut(&1).unwrap();
        (sleeper.voluntary_blocks, sleeper.longest_wait_ns) = (100, longest);
        sleeper.runnable_ns = mean * sleeper.dispatches;
        verdict_on(&log, PROMPT, exact).passed()
    };
    assert!(run(4_000_000, 1, true));
    assert!(!run(4_000_001, 1, true));
    assert!(run(90_000_000, 4_000_000, false));
    assert!(!run(90_000_000, 4_000_001, false));
}

#[test]
fn a_sleeper_that_two_dispatches_pass_fails_where_instructions_are_counted() {
    let run = |passed_by: u64, exact: bool| {
        let mut log = sample::fairness(&[("hog.0", 64, 3 * S), ("sleeper.0", 64, S / 100)]);
        let sleeper = log.threads.get_mut(&1).unwrap();
        (sleeper.voluntary_blocks, sleeper.runnable_ns, sleeper.most_passed_by) = (100, 1000, passed_by);
        verdict_on(&log, PROMPT, exact).passed()
    };
    assert!(run(1, true));
    assert!(!run(2, true));
    assert!(run(2, false));
}

#[test]
fn waits_for_the_host_widen_the_part_of_a_pair() {
    let passes = |pair: u64, waited: f64| {
        let mut log =
            sample::fairness(&[("client.0", 64, pair / 2), ("server.0", 64, pair / 2), ("hog.0", 64, 6 * S - pair)]);
        log.threads.get_mut(&0).unwrap().progress = 800;
        judge(&log, &Target::parse("t.toml", PAIR).unwrap(), Conditions { cpus: 1, exact: false, waited }).passed()
    };
    // With a quarter of the time hidden the pair has 0.375 to 0.75 of it, and three quarters of the least progress.
    assert!(passes(3 * S, 0.25) && !passes(3 * S, 0.1));
    assert!(passes(2_251_000_000, 0.25) && !passes(2_240_000_000, 0.25));
    assert!(passes(4_499_000_000, 0.25) && !passes(4_510_000_000, 0.25));
}

#[test]
fn few_slices_are_excused_on_a_crowded_host_only() {
    let run = |cpus: u16, dispatches: u64, exact: bool| {
        let mut log = good_run();
        log.boot.as_mut().unwrap().cpus = u32::from(cpus);
        let heavy = log.threads.get_mut(&0).unwrap();
        heavy.progress *= 100;
        log.threads.values_mut().for_each(|thread| thread.dispatches = dispatches);
        let target = Target::parse("t.toml", FAIR).unwrap();
        judge(&log, &target, Conditions { cpus, exact, waited: 0.0 }).passed()
    };
    assert!(run(64, 29, false));
    assert!(!run(64, 30, false));
    assert!(!run(64, 29, true));
    assert!(!run(8, 29, false));
}

#[test]
fn work_that_stayed_on_few_cpus_is_no_spread() {
    let target = FAIR.replace("[expect]", "[expect]\nbusy-cpus = 'half'");
    let verdict = |log: &RunLog| {
        let verdict =
            judge(log, &Target::parse("t.toml", &target).unwrap(), Conditions { cpus: 3, exact: false, waited: 0.0 });
        verdict.findings.into_iter().find(|finding| finding.text.contains("CPUs ran threads")).unwrap()
    };
    let mut log = good_run();
    let lonely = verdict(&log);
    assert_eq!((lonely.good, lonely.text.as_str()), (false, "1 of 3 CPUs ran threads, at least 2 must"));
    let second = log.cpus[&0].clone();
    log.cpus.insert(1, second);
    assert!(verdict(&log).good);
    log.cpus.get_mut(&1).unwrap().thread_ns = 0;
    assert!(!verdict(&log).good);
}
