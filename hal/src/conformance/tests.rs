//! The suite passes a correct model, and finds each defect that is put into it: just the promise that the defect
//! breaks, and no other.

mod model;

use super::*;
use crate::Duration;
use model::{Fault, Model};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::vec::Vec;

fn run(cpus: u16, fault: Option<Fault>) -> (Vec<Outcome>, Summary) {
    let model = if cpus == 1 { Model::in_virtual_time(2, fault) } else { Model::in_real_time(cpus, fault) };
    let (patience, quiet) = if cpus == 1 { (200, 10) } else { (2_000, 4) };
    let (patience, quiet) = (Duration::from_millis(patience), Duration::from_millis(quiet));
    let suite = Suite::new(&model, &model, Limits { patience, quiet });
    let (session, outcomes) = (Session::new(), Mutex::new(Vec::new()));
    let report = |outcome: Outcome| outcomes.lock().unwrap().push(outcome);
    let summary = std::thread::scope(|scope| {
        for cpu in (1..cpus).map(CpuId::new) {
            let (suite, session, report, model) = (&suite, &session, &report, &model);
            scope.spawn(move || {
                model.become_cpu(cpu);
                participate(suite, session, cpu, &mut |outcome| report(outcome));
            });
        }
        model.become_cpu(CpuId::BOOT);
        lead(&suite, &session, &CpuSet::first(cpus.into()), &mut |outcome| report(outcome))
    });
    (outcomes.into_inner().unwrap(), summary)
}

fn broken(outcomes: &[Outcome]) -> BTreeSet<Must> {
    outcomes
        .iter()
        .filter(|outcome| matches!(outcome.verdict, Verdict::Broken(_)))
        .map(|outcome| outcome.must)
        .collect()
}

#[track_caller]
fn finds(cpus: u16, fault: Fault, expected: &[Must]) {
    let (outcomes, summary) = run(cpus, Some(fault));
    let found = broken(&outcomes);
    assert_eq!(found, expected.iter().copied().collect(), "{fault:?} on {cpus} CPUs: {outcomes:#?}");
    assert!(!summary.passed());
}

#[test]
fn a_correct_machine_keeps_every_promise_at_one_two_and_four_cpus() {
    for cpus in [1, 2, 4] {
        let (outcomes, summary) = run(cpus, None);
        assert!(broken(&outcomes).is_empty(), "{cpus} CPUs: {outcomes:#?}");
        assert!(summary.passed());
        assert_eq!(summary.held + summary.skipped, outcomes.len() as u64);
        let checked: BTreeSet<Must> =
            outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Holds).map(|outcome| outcome.must).collect();
        let two_cpus = [Must::ClockAgrees, Must::CpusAreDistinct, Must::KickArrives, Must::KickOrdersStores];
        let expected = Must::ALL.iter().copied().filter(|must| cpus > 1 || !two_cpus.contains(must));
        assert_eq!(checked, expected.collect(), "{cpus} CPUs");
    }
}

#[test]
fn promises_are_numbered_from_one_without_a_gap() {
    let numbers: Vec<u8> = Must::ALL.iter().map(|must| must.number()).collect();
    assert_eq!(numbers, (1..=Must::ALL.len() as u8).collect::<Vec<_>>());
}

#[test]
fn the_written_contract_states_each_promise_under_its_number() {
    let contract = include_str!("../../../docs/src/hal-contract.md");
    for must in Must::ALL {
        let row = std::format!("**S{}**", must.number());
        let name = std::format!("`{must:?}`");
        let found = contract.lines().filter(|line| line.contains(&row)).collect::<Vec<_>>();
        assert_eq!(found.len(), 1, "{row} in the contract");
        assert!(found[0].contains(&name), "{row} names its check {name}");
    }
}

#[test]
fn nothing_but_the_clock_is_judged_when_time_stands_still() {
    let (outcomes, _) = run(1, Some(Fault::ClockStandsStill));
    assert_eq!(broken(&outcomes), BTreeSet::from([Must::ClockAdvances]));
    assert!(outcomes.iter().all(|outcome| outcome.must <= Must::ClockAdvances));
}

macro_rules! defects {
    ($($name:ident: $cpus:literal, $fault:ident => [$($must:ident),+];)*) => {$(
        #[test]
        fn $name() {
            finds($cpus, Fault::$fault, &[$(Must::$must),+]);
        }
    )*};
}

defects! {
    a_clock_that_steps_back_is_found: 1, ClockStepsBack => [ClockIsMonotonic];
    a_cpu_that_forgets_its_number_is_found: 1, CpuForgetsItself => [CpuIsStable];
    a_core_split_over_two_clusters_is_found: 2, CoreInTwoClusters => [TopologyNests];
    a_restore_that_always_unmasks_is_found: 1, RestoreAlwaysUnmasks => [MaskNests];
    a_mask_that_lets_interrupts_through_is_found: 1, MaskLeaks => [MaskHoldsBack];
    a_mask_that_drops_interrupts_is_found: 1, MaskDrops => [MaskDelivers, KicksCoalesce];
    a_clockevent_without_resolution_is_found: 1, NoResolution => [ClockeventIsSane];
    a_dead_timer_is_found: 1, TimerDead => [TimerFires];
    a_periodic_timer_is_found: 1, TimerPeriodic => [TimerFiresOnce];
    an_early_timer_is_found: 1, TimerEarly => [TimerIsNotEarly];
    a_past_deadline_that_is_forgotten_is_found: 1, PastForgotten => [PastFiresAtOnce];
    a_timer_that_keeps_the_first_deadline_is_found: 1, RearmKeepsFirst => [RearmReplaces];
    a_disarm_without_effect_is_found: 1, DisarmIgnored => [DisarmStops];
    a_far_deadline_that_wraps_is_found: 1, FarDeadlineWraps => [BeyondMaxIsHeld];
    a_shared_request_word_is_found: 1, RequestWordShared => [RequestWordsAreFixed];
    a_lost_kick_to_itself_is_found: 1, SelfKickLost => [SelfKickArrives];
    kicks_that_replace_each_other_are_found: 1, KickDropsLater => [KicksCoalesce];
    an_early_acknowledgement_is_found: 1, AcknowledgedEarly => [KickIsAcknowledged];
    an_idle_that_loses_the_timer_is_found: 1, IdleLosesTimer => [IdleWakesByTimer];
    an_idle_that_loses_a_kick_is_found: 1, IdleLosesKick => [IdleWakesByKick];
    an_idle_that_unmasks_is_found: 1, IdleReturnsUnmasked => [IdleReturnsMasked];
    a_route_that_reads_back_wrong_is_found: 1, RouteReadsBackMasked => [RouteReadsBack, RouteRefusesCpu];
    a_masked_line_that_delivers_is_found: 1, MaskedLineDelivers => [RouteMasks];
    a_line_that_does_not_exist_but_is_accepted_is_found: 1, AbsentLineAccepted => [RouteRefusesLine];
    a_route_to_a_cpu_that_does_not_exist_is_found: 1, AbsentCpuAccepted => [RouteRefusesCpu];
    clocks_that_differ_are_found: 2, ClocksDiffer => [ClockAgrees];
    a_number_that_two_cpus_share_is_found: 2, CpusShareNumber => [CpuIsStable, CpusAreDistinct];
    a_timer_that_fires_on_another_cpu_is_found: 2, TimerFiresElsewhere => [TimerFires];
    a_lost_kick_to_another_cpu_is_found: 2, RemoteKickLost => [KickArrives];
    a_kick_that_goes_to_all_cpus_is_found: 2, KickBroadcast => [KickArrives];
    a_remote_kick_that_drops_later_requests_is_found: 2, KickDropsLater => [KicksCoalesce];
    a_remote_kick_that_overtakes_stores_is_found: 2, StoreOvertaken => [KickOrdersStores];
    a_remote_kick_that_idle_loses_is_found: 2, IdleLosesKick => [IdleWakesByKick];
    a_line_that_goes_to_another_cpu_is_found: 2, LineGoesElsewhere => [RouteDelivers];
}
