//! Who runs where: a row per CPU, a box per slice.

use super::legend::Palette;
use super::scale::Unit;
use super::{Area, FONT, MAX_ROWS, PlotError};
use crate::trace::{Slice, Trace};
use plotters::prelude::*;
use tessera_hal::{Duration, Instant};

/// Slices of one CPU that can be told apart on the width of a plot.
const SLICES_PER_ROW: usize = 200;
/// What stands above and below the rows.
const FRAME: u32 = 92;

fn row_height(rows: usize) -> u32 {
    (420 / rows.max(1) as u32).clamp(9, 36)
}

/// The height of a chart of a machine of `cpus`.
pub(super) fn height(cpus: usize) -> u32 {
    let rows = cpus.clamp(1, MAX_ROWS);
    FRAME + rows as u32 * row_height(rows)
}

/// As much of the beginning as can be told apart.
fn window(trace: &Trace) -> Instant {
    let mut counts = vec![0; trace.cpus];
    let full = trace.slices().find(|slice| {
        let count = &mut counts[slice.cpu.index()];
        *count += 1;
        *count >= SLICES_PER_ROW
    });
    full.map_or(trace.end, |slice| slice.end)
}

pub(super) fn draw(area: &Area<'_>, title: &str, trace: &Trace, palette: &Palette) -> Result<(), PlotError> {
    let rows = trace.cpus.clamp(1, MAX_ROWS);
    let until = window(trace);
    let span = until.saturating_duration_since(Instant::ORIGIN);
    let unit = Unit::of(span);
    let end = unit.count(until.as_nanos()).max(f64::MIN_POSITIVE);
    let mut chart = ChartBuilder::on(area)
        .caption(caption(title, trace, span), (FONT, 18))
        .margin(8)
        .margin_right(26)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..rows as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(0)
        .x_labels(10)
        .x_desc(format!("time ({})", unit.name))
        .label_style((FONT, 15))
        .draw()?;
    let visible = |slice: &Slice| slice.cpu.index() < rows && slice.begin < until;
    chart.draw_series(trace.slices().filter(visible).map(|slice| {
        let row = (rows - slice.cpu.index()) as f64;
        let end = slice.end.min(until);
        let corners = [(unit.count(slice.begin.as_nanos()), row - 0.88), (unit.count(end.as_nanos()), row - 0.12)];
        Rectangle::new(corners, palette.colour(slice.thread).filled())
    }))?;
    let labels: Vec<_> = (0..rows)
        .step_by(row_step(rows))
        .map(|cpu| (cpu, chart.plotting_area().map_coordinate(&(0.0, (rows - cpu) as f64 - 0.5))))
        .collect();
    label_rows(area, labels)
}

/// Every how many-th row has a label.
fn row_step(rows: usize) -> usize {
    if row_height(rows) >= 13 { 1 } else { 4 }
}

fn label_rows(area: &Area<'_>, labels: Vec<(usize, (i32, i32))>) -> Result<(), PlotError> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let style = (FONT, 14).into_font().color(&BLACK).pos(Pos::new(HPos::Right, VPos::Center));
    let (left, top) = area.get_base_pixel();
    for (cpu, (x, y)) in labels {
        area.draw(&Text::new(format!("CPU {cpu}"), (x - left - 8, y - top), &style))?;
    }
    Ok(())
}

fn caption(title: &str, trace: &Trace, span: Duration) -> String {
    let whole = Duration::from_nanos(trace.end.as_nanos());
    let mut caption = title.to_owned();
    if span < whole {
        caption.push_str(&format!(" (the first {span} of {whole})"));
    }
    if trace.cpus > MAX_ROWS {
        caption.push_str(&format!(" (the first {MAX_ROWS} of {} CPUs)", trace.cpus));
    }
    caption
}
