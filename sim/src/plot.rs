//! Plots as SVG: who ran where, shares over time, bars and lines with legends and units.
//!
//! The input is a [`crate::trace::Trace`] or plain numbers, so what a booted kernel recorded is drawn by the same code.

mod bars;
mod gantt;
mod legend;
mod lines;
mod scale;
mod shares;
mod texts;

use crate::trace::Trace;
use legend::Palette;
use plotters::coord::Shift;
use plotters::prelude::*;

pub use bars::{Bars, bars};
pub use lines::{Line, Lines, lines};

/// What is drawn on.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw: {0}")]
pub struct PlotError(#[from] DrawingAreaErrorKind<std::io::Error>);

/// The font of all texts.
const FONT: &str = "sans-serif";
/// Width of a plot in pixels.
const WIDTH: u32 = 1200;
/// Width of the legend beside it.
const LEGEND_WIDTH: u32 = 190;
/// CPUs that have a row of their own.
const MAX_ROWS: usize = 64;

/// What to draw of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Show {
    /// A row per CPU with its slices.
    pub gantt: bool,
    /// The shares over time.
    pub shares: bool,
}

/// One trace with its title, as part of a figure.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// What is drawn.
    pub trace: &'a Trace,
    /// Of what.
    pub show: Show,
}

/// A name of at most `longest` characters, without its middle if it has more: names of many often differ only at their
/// end.
pub fn shortened(name: &str, longest: usize) -> String {
    match name.chars().count() {
        length if length > longest => {
            let end = longest.saturating_sub(3) / 2;
            let beginning = longest.saturating_sub(3) - end;
            name.chars().take(beginning).chain("...".chars()).chain(name.chars().skip(length - end)).collect()
        }
        _ => name.to_owned(),
    }
}

/// Who ran where, and the shares over time, with a legend.
pub fn run(title: &str, trace: &Trace) -> Result<String, PlotError> {
    figure(&[Panel { title, trace, show: Show { gantt: true, shares: true } }])
}

/// Several traces below each other.
pub fn figure(panels: &[Panel<'_>]) -> Result<String, PlotError> {
    let heights: Vec<u32> = panels.iter().map(height).collect();
    draw(heights.iter().sum(), |root| {
        let mut rest = root.clone();
        for (panel, height) in panels.iter().zip(heights) {
            let (area, below) = rest.split_vertically(height);
            draw_panel(&area, panel)?;
            rest = below;
        }
        Ok(())
    })
}

fn height(panel: &Panel<'_>) -> u32 {
    let gantt = if panel.show.gantt { gantt::height(panel.trace.cpus) } else { 0 };
    let shares = if panel.show.shares { shares::HEIGHT } else { 0 };
    (gantt + shares).max(legend::height(panel.trace.threads.len(), lines_of_others(panel)))
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>) -> Result<(), PlotError> {
    let palette = Palette::of(panel.trace);
    let (plots, legend) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
    let mut below = plots;
    if panel.show.gantt {
        let shares = if panel.show.shares { shares::HEIGHT } else { 0 };
        let (top, rest) = below.split_vertically(height(panel) - shares);
        gantt::draw(&top, panel.title, panel.trace, &palette)?;
        below = rest;
    }
    if panel.show.shares {
        let title = if panel.show.gantt { "Share of a CPU over time" } else { panel.title };
        shares::draw(&below, title, panel.trace, &palette)?;
    }
    palette.draw(&legend, panel.trace, lines_of_others(panel))
}

/// How many threads without a name in the legend have lines at most, if lines are drawn.
fn lines_of_others(panel: &Panel<'_>) -> Option<usize> {
    panel.show.shares.then_some(shares::MAX_OTHERS)
}

/// Draws an SVG of this height.
fn draw(height: u32, paint: impl FnOnce(&Area<'_>) -> Result<(), PlotError>) -> Result<String, PlotError> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        paint(&root)?;
        root.present()?;
    }
    Ok(text)
}
