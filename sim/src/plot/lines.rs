//! Lines over a few named points.

use super::legend::{colour_of, draw_entries};
use super::texts::{Centred, write};
use super::{Area, FONT, LEGEND_WIDTH, PlotError, WIDTH, draw};
use plotters::prelude::*;

const HEIGHT: u32 = 340;

/// A line: for each point the lowest, the mean and the highest value.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// The values, one per point.
    pub values: Vec<(f64, f64, f64)>,
}

/// Lines over the same points.
#[derive(Clone, PartialEq, Debug)]
pub struct Lines {
    /// What stands above.
    pub title: String,
    /// What the points are.
    pub points_are: String,
    /// What the values are, with the unit.
    pub unit: String,
    /// The names of the points.
    pub points: Vec<String>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// Draws figures of lines below each other.
pub fn lines(figures: &[Lines]) -> Result<String, PlotError> {
    draw(HEIGHT * figures.len() as u32, |root| {
        for (area, figure) in root.split_evenly((figures.len().max(1), 1)).iter().zip(figures) {
            let (chart, legend) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
            draw_chart(&chart, figure)?;
            let name = |(place, line): (usize, &Line)| (colour_of(place), line.name.clone());
            draw_entries(&legend, figure.lines.iter().enumerate().map(name))?;
        }
        Ok(())
    })
}

fn draw_chart(area: &Area<'_>, figure: &Lines) -> Result<(), PlotError> {
    let highest = figure.lines.iter().flat_map(|line| &line.values).map(|&(_, _, high)| high).fold(0.0, f64::max);
    let top = if highest > 0.0 { highest * 1.1 } else { 1.0 };
    let last = figure.points.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(&figure.title, (FONT, 18))
        .margin(8)
        .margin_right(26)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(-0.3..last + 0.3, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(0)
        .y_desc(&figure.unit)
        .label_style((FONT, 15))
        .draw()?;
    for (place, line) in figure.lines.iter().enumerate() {
        let colour = colour_of(place);
        // Lines that lie on each other are told apart by a small step aside.
        let x = |point: usize| point as f64 + 0.04 * place as f64;
        let means = line.values.iter().enumerate().map(|(point, &(_, mean, _))| (x(point), mean));
        chart.draw_series(LineSeries::new(means.clone(), colour.stroke_width(2)))?;
        chart.draw_series(means.map(|at| Circle::new(at, 4, colour.filled())))?;
        chart.draw_series(line.values.iter().enumerate().map(|(point, &(low, _, high))| {
            PathElement::new(vec![(x(point), low), (x(point), high)], colour.stroke_width(1))
        }))?;
    }
    let at = |point: f64| chart.plotting_area().map_coordinate(&(point, 0.0));
    let names = figure.points.iter().enumerate();
    let names = names.map(|(point, name)| Centred { text: name.clone(), at: at(point as f64), below: 20 });
    let axis = Centred { text: figure.points_are.clone(), at: at(last / 2.0), below: 40 };
    write(area, names.chain([axis]).collect::<Vec<_>>())
}
