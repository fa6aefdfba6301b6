//! Shares over time: a line per thread, from the time that it ran in each of some sixty steps.

use super::legend::Palette;
use super::scale::{Unit, round_up};
use super::{Area, FONT, PlotError};
use crate::trace::{ThreadIndex, Trace};
use plotters::prelude::*;
use tessera_hal::{Duration, Instant};

/// The height of the chart.
pub(super) const HEIGHT: u32 = 340;
/// About so many steps are told apart.
const STEPS: f64 = 60.0;
/// How many threads that the legend does not name have lines; it says so if there are more.
pub(super) const MAX_OTHERS: usize = 100;

/// For each thread, how long it ran in each step.
struct Steps {
    length: u64,
    runtimes: Vec<Vec<u64>>,
}

impl Steps {
    fn of(trace: &Trace) -> Self {
        let length = (round_up(trace.end.as_nanos() as f64 / STEPS) as u64).max(1);
        // A last step that is not whole would show too little.
        let count = ((trace.end.as_nanos() / length) as usize).max(1);
        let mut steps = Self { length, runtimes: vec![vec![0; count]; trace.threads.len()] };
        for slice in trace.slices() {
            steps.add(slice.thread, slice.begin.as_nanos(), slice.end.as_nanos());
        }
        steps
    }

    fn add(&mut self, thread: ThreadIndex, begin: u64, end: u64) {
        let Some(runtimes) = self.runtimes.get_mut(thread.index()) else { return };
        let mut at = begin;
        while at < end {
            let step = at / self.length;
            let until = end.min((step + 1) * self.length);
            if let Some(runtime) = runtimes.get_mut(step as usize) {
                *runtime += until - at;
            }
            at = until;
        }
    }

    /// The middle of each step and the thread's share in it, in percent of a CPU.
    fn line(&self, thread: ThreadIndex, unit: Unit) -> Vec<(f64, f64)> {
        let point = |(step, &runtime): (usize, &u64)| {
            let middle = step as u64 * self.length + self.length / 2;
            (unit.count(middle), 100.0 * runtime as f64 / self.length as f64)
        };
        self.runtimes[thread.index()].iter().enumerate().map(point).collect()
    }

    fn highest(&self) -> f64 {
        let most = self.runtimes.iter().flatten().copied().max().unwrap_or(0);
        100.0 * most as f64 / self.length as f64
    }
}

pub(super) fn draw(area: &Area<'_>, title: &str, trace: &Trace, palette: &Palette) -> Result<(), PlotError> {
    let unit = Unit::of(trace.end.saturating_duration_since(Instant::ORIGIN));
    let steps = Steps::of(trace);
    let end = unit.count(trace.end.as_nanos()).max(f64::MIN_POSITIVE);
    let top = (steps.highest() * 1.08).clamp(1.0, 105.0);
    let step = Duration::from_nanos(steps.length);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{title}, in steps of {step}"), (FONT, 18))
        .margin(8)
        .margin_right(26)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(format!("time ({})", unit.name))
        .y_desc("share of a CPU (%)")
        .x_labels(10)
        .y_labels(8)
        .label_style((FONT, 15))
        .draw()?;
    let threads = || (0..trace.threads.len()).map(ThreadIndex::new);
    for thread in threads().filter(|&thread| !palette.is_named(thread)).take(MAX_OTHERS) {
        chart.draw_series(LineSeries::new(steps.line(thread, unit), palette.colour(thread).mix(0.5)))?;
    }
    for thread in threads().filter(|&thread| palette.is_named(thread)) {
        let style = palette.colour(thread).stroke_width(2);
        chart.draw_series(LineSeries::new(steps.line(thread, unit), style))?;
    }
    Ok(())
}
