//! The plots of the documentation. Each is computed from a workload that is part of the sources.

use crate::engine::{self, Fault, Outcome};
use crate::plot::{self, Bars, Panel, PlotError, Show};
use crate::workload::{self, WorkloadError};
use kernel_core::sched::Policy;

/// A plot of the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its file.
    pub file: &'static str,
    /// Draws it.
    pub draw: fn() -> Result<String, FigureError>,
}

/// All of them.
pub const FIGURES: &[Figure] = &[
    Figure { file: "shares.svg", draw: shares },
    Figure { file: "burstiness.svg", draw: burstiness },
    Figure { file: "placement.svg", draw: placement },
    Figure { file: "migration.svg", draw: migration },
    Figure { file: "latency-classes.svg", draw: latency_classes },
];

/// A figure could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// Its workload is wrong.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Its workload does something wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

const POLICIES: [Policy; 2] = [Policy::Wfq, Policy::Eevdf];

fn run(text: &str, policy: Policy) -> Result<Outcome, FigureError> {
    let workload = workload::read(text.as_bytes(), &workload::Options::default())?;
    Ok(engine::run(&workload, &engine::Options { policy, seed: 1, check: false, trace: true }, &mut |_| ())?)
}

/// The same workload under both policies, below each other.
fn under_both(text: &str, what: &str, show: Show) -> Result<String, FigureError> {
    let runs = POLICIES.map(|policy| run(text, policy).map(|outcome| (policy, outcome)));
    let [first, second] = runs;
    let runs = [first?, second?];
    let titles = runs.each_ref().map(|(policy, _)| format!("{what}, {}", policy.name()));
    let panels: Vec<Panel<'_>> = runs
        .iter()
        .zip(&titles)
        .filter_map(|((_, outcome), title)| Some(Panel { title, trace: outcome.trace.as_ref()?, show }))
        .collect();
    Ok(plot::figure(&panels)?)
}

fn shares() -> Result<String, FigureError> {
    let text = include_str!("../workloads/weights.json");
    let reports = [run(text, POLICIES[0])?.report, run(text, POLICIES[1])?.report];
    let [wfq, eevdf] = &reports;
    let percent = |values: Vec<f64>| values.into_iter().map(|share| share * 100.0).collect::<Vec<f64>>();
    let figure = Bars {
        title: "Shares of four weights and a periodic task on two CPUs, 10 s".to_owned(),
        unit: "share of a CPU (%)".to_owned(),
        groups: wfq.tasks.iter().map(|task| task.name.clone()).collect(),
        series: vec![
            ("ideal (fluid)".to_owned(), percent(wfq.tasks.iter().map(|task| task.ideal_share).collect())),
            ("wfq".to_owned(), percent(wfq.tasks.iter().map(|task| task.share).collect())),
            ("eevdf".to_owned(), percent(eevdf.tasks.iter().map(|task| task.share).collect())),
        ],
    };
    Ok(plot::bars(&[figure])?)
}

fn burstiness() -> Result<String, FigureError> {
    let show = Show { gantt: true, shares: false };
    under_both(include_str!("../workloads/burstiness.json"), "Weight 640 beside ten of 64", show)
}

fn placement() -> Result<String, FigureError> {
    let show = Show { gantt: false, shares: true };
    under_both(include_str!("../workloads/placement.json"), "A newcomer at 1 s, a sleeper back at 2 s", show)
}

fn migration() -> Result<String, FigureError> {
    let show = Show { gantt: true, shares: true };
    let outcome = run(include_str!("../workloads/migration.json"), Policy::default())?;
    let title = format!("Five equal threads on four CPUs, {}", Policy::default().name());
    let panels = outcome.trace.as_ref().map(|trace| Panel { title: &title, trace, show });
    Ok(plot::figure(panels.as_slice())?)
}

fn latency_classes() -> Result<String, FigureError> {
    let text = include_str!("../workloads/classes.json");
    let mut figures = Vec::new();
    for policy in POLICIES {
        let report = run(text, policy)?.report;
        let sleepers: Vec<_> = report.tasks.iter().filter(|task| task.wake_latency_ns.max > 0).collect();
        let milliseconds = |value: fn(&crate::result::Latency) -> u64| {
            sleepers.iter().map(|task| value(&task.wake_latency_ns) as f64 / 1e6).collect::<Vec<f64>>()
        };
        figures.push(Bars {
            title: format!("From wake-up to running beside four hogs on one CPU, {}", policy.name()),
            unit: "latency (ms)".to_owned(),
            groups: sleepers.iter().map(|task| task.name.clone()).collect(),
            series: vec![
                ("half of them".to_owned(), milliseconds(|latency| latency.p50)),
                ("99 of 100".to_owned(), milliseconds(|latency| latency.p99)),
                ("the longest".to_owned(), milliseconds(|latency| latency.max)),
            ],
        });
    }
    Ok(plot::bars(&figures)?)
}
