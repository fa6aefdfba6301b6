//! What is recorded for a trace says of each CPU's time, to the nanosecond, what the books say.
#![cfg(not(any(loom, shuttle)))]

mod sched_driver;

use kernel_core::sched::record::{Arrival, Event, Happening};
use kernel_core::sched::{Policy, Recorder, ThreadId};
use proptest::prelude::*;
use sched_driver::*;
use std::collections::BTreeMap;
use tessera_hal::{CpuId, Duration, Instant};

/// A driver whose dispatcher records.
fn recording(cpus: usize, policy: Policy, events: u32) -> Driver {
    let mut driver = Driver::new(cpus, policy);
    driver.dispatcher.record(events).expect("memory for the rings");
    driver
}

fn recorder(driver: &Driver) -> &Recorder {
    driver.dispatcher.recorder().expect("it records")
}

fn events(driver: &Driver, cpu: CpuId) -> Vec<Event> {
    recorder(driver).events(cpu).collect()
}

/// The slices of one CPU, the last one up to now. Fails if the events of what it runs are not in order.
fn slices(driver: &Driver, cpu: CpuId) -> Vec<(ThreadId, Instant, Instant)> {
    let (mut slices, mut open, mut last) = (Vec::new(), None, Instant::ORIGIN);
    let doing = |event: &Event| matches!(event.what, Happening::Runs(_) | Happening::Interrupted | Happening::Idles);
    for event in events(driver, cpu).iter().filter(|event| doing(event)) {
        assert!(last <= event.at, "{event:?} comes before what was recorded before it");
        last = event.at;
        slices.extend(open.take().map(|(thread, from)| (thread, from, event.at)));
        if let Happening::Runs(thread) = event.what {
            open = Some((thread, event.at));
        }
    }
    slices.extend(open.map(|(thread, from)| (thread, from, driver.now())));
    slices
}

fn recorded_runtimes(driver: &Driver) -> BTreeMap<ThreadId, Duration> {
    let mut runtimes = BTreeMap::<ThreadId, Duration>::new();
    for (thread, from, to) in driver.cpus().flat_map(|cpu| slices(driver, cpu)) {
        let runtime = runtimes.entry(thread).or_default();
        *runtime = runtime.saturating_add(to.saturating_duration_since(from));
    }
    runtimes
}

/// Arrivals of a thread, anywhere: on which queue and how.
fn arrivals(driver: &Driver, thread: ThreadId) -> Vec<(CpuId, Arrival)> {
    let all = driver.cpus().flat_map(|cpu| events(driver, cpu));
    let mine = all.filter_map(|event| match event.what {
        Happening::Arrives { thread: other, on, how } if other == thread => Some((on, how)),
        _ => None,
    });
    mine.collect()
}

/// Disturbs the machine: an interrupt of this length, another weight, another mask.
fn disturb(driver: &mut Driver, kind: u8, at: CpuId, threads: &[ThreadId], length: u64) {
    let thread = threads[length as usize % threads.len()];
    match kind {
        0 => {
            driver.machine.on(at, || driver.dispatcher.interrupt_entered());
            driver.machine.advance(Duration::from_nanos(length));
            driver.machine.on(at, || driver.dispatcher.interrupt_left());
        }
        1 => {
            let weight = weight(1 + (length % 500) as u16);
            driver.act(at, |dispatcher| dispatcher.set_weight(thread, weight)).expect("it lives");
        }
        2 => driver.act(at, |dispatcher| dispatcher.set_affinity(thread, first(1 + at.index()))).expect("it lives"),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn the_slices_of_each_thread_add_up_to_its_run_time(
        eevdf in any::<bool>(),
        steps in proptest::collection::vec((0..2_u16, 1..4_000_000_u64, 0..5_u8, 0..300_000_u64), 1..60),
    ) {
        let mut driver = recording(2, if eevdf { Policy::Eevdf } else { Policy::Wfq }, 1 << 16);
        driver.checked = false;
        let mut threads: Vec<ThreadId> = (0..3).map(|index| driver.spawn(anywhere(64 + index), Program::Hog)).collect();
        threads.push(driver.spawn(anywhere(7), Program::Sleeper { run: us(30), sleep: us(900) }));
        threads.push(driver.spawn(on(&[1], 200), Program::Sleeper { run: us(400), sleep: us(50) }));
        // One that ends: the time of its CPU has it too.
        driver.spawn(anywhere(64), Program::Job(ms(7)));
        for (index, length, kind, number) in steps {
            driver.run(Duration::from_nanos(length));
            disturb(&mut driver, kind, cpu(index), &threads, number);
        }
        let recorded = recorded_runtimes(&driver);
        for &thread in &threads {
            let runtime = driver.dispatcher.snapshot(thread).expect("it lives").runtime;
            prop_assert_eq!(recorded.get(&thread).copied().unwrap_or_default(), runtime, "{:?}", thread);
        }
        for cpu in driver.cpus() {
            prop_assert_eq!(recorder(&driver).dropped(cpu), 0);
            let slices = slices(&driver, cpu).into_iter().map(|(_, from, to)| to.saturating_duration_since(from));
            let thread_time = driver.dispatcher.cpu_snapshot(cpu).expect("it exists").ran.thread;
            prop_assert_eq!(slices.fold(Duration::ZERO, Duration::saturating_add), thread_time);
        }
    }
}

#[test]
fn a_ring_that_is_too_small_says_how_much_it_lost() {
    let run = |events: u32| {
        let mut driver = recording(1, Policy::Eevdf, events);
        let hogs = [0, 1].map(|_| driver.spawn(anywhere(64), Program::Hog));
        driver.run(ms(100));
        let kept = recorder(&driver).events(CpuId::BOOT).count() as u64;
        let runtime = driver.dispatcher.snapshot(hogs[0]).expect("it lives").runtime;
        let whole = recorded_runtimes(&driver)[&hogs[0]] == runtime;
        (kept, recorder(&driver).dropped(CpuId::BOOT), whole)
    };
    let (all, none, whole) = run(4096);
    assert!(none == 0 && whole, "{all} events fit");
    // The time of what was dropped is missing.
    assert_eq!(run(10), (10, all - 10, false));
}

#[test]
fn a_dispatcher_that_does_not_record_has_no_rings() {
    let mut driver = Driver::new(1, Policy::Eevdf);
    driver.spawn(anywhere(64), Program::Hog);
    driver.run(ms(10));
    assert!(driver.dispatcher.recorder().is_none());
}

#[test]
fn a_wake_up_tells_who_did_it() {
    let mut driver = recording(2, Policy::Eevdf, 4096);
    let sleeper = driver.spawn(on(&[0], 64), Program::Sleeper { run: us(100), sleep: ms(3) });
    driver.run(ms(4));
    assert_eq!(arrivals(&driver, sleeper), [(cpu(0), Arrival::Started), (cpu(0), Arrival::WokenByInterrupt)]);
    // By a thread: one that runs on CPU 1, at its own time.
    let hog = driver.spawn(on(&[1], 64), Program::Hog);
    driver.run(us(500));
    assert_eq!(driver.running, [None, Some(hog)]);
    driver.act(cpu(1), |dispatcher| dispatcher.wake(sleeper)).expect("it lives");
    assert_eq!(arrivals(&driver, sleeper).last(), Some(&(cpu(0), Arrival::WokenByThread)));
    let by_cpu_1 = events(&driver, cpu(1)).into_iter().filter(|event| {
        matches!(event.what, Happening::Arrives { thread, how: Arrival::WokenByThread, .. } if thread == sleeper)
    });
    assert_eq!(by_cpu_1.count(), 1, "the waker's ring has it");
}

#[test]
fn blocks_ends_moves_and_idleness_are_recorded() {
    let mut driver = recording(2, Policy::Eevdf, 4096);
    let job = driver.spawn(on(&[0], 64), Program::Job(ms(5)));
    let sleeper = driver.spawn(on(&[0], 64), Program::Sleeper { run: us(100), sleep: ms(50) });
    let hog = driver.spawn(anywhere(64), Program::Hog);
    driver.run(ms(20));
    let all: Vec<Happening> = events(&driver, cpu(0)).into_iter().map(|event| event.what).collect();
    assert!(all.contains(&Happening::Ends(job)) && all.contains(&Happening::Blocks(sleeper)), "{all:?}");
    driver.act(cpu(1), |dispatcher| dispatcher.set_affinity(hog, first(1))).expect("it lives");
    driver.run(ms(5));
    assert_eq!(arrivals(&driver, hog).last(), Some(&(cpu(0), Arrival::Moved { from: cpu(1) })));
    assert_eq!(events(&driver, cpu(1)).last().map(|event| event.what), Some(Happening::Idles));
}

#[test]
fn the_number_of_those_who_wait_goes_with_each_event() {
    let mut driver = recording(1, Policy::Eevdf, 4096);
    let hogs = [0, 1, 2].map(|_| driver.spawn(anywhere(64), Program::Hog));
    driver.run(ms(10));
    let waiting = |wanted: &dyn Fn(&Happening) -> bool| {
        let matching = events(&driver, CpuId::BOOT).into_iter().filter(|event| wanted(&event.what));
        matching.map(|event| event.waiting).collect::<Vec<u32>>()
    };
    assert_eq!(waiting(&|what| matches!(what, Happening::Arrives { .. })), [1, 1, 2]);
    assert_eq!(waiting(&|what| *what == Happening::Runs(hogs[2])).first(), Some(&2));
}
