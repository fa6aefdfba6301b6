//! Groups of bars.

use super::legend::{colour_of, draw_entries};
use super::scale::round_up;
use super::texts::{Centred, write};
use super::{Area, FONT, LEGEND_WIDTH, PlotError, WIDTH, draw};
use plotters::prelude::*;

const HEIGHT: u32 = 380;

/// Bars in groups: one group per name, one bar per series.
#[derive(Clone, PartialEq, Debug)]
pub struct Bars {
    /// What stands above.
    pub title: String,
    /// What the heights are, with the unit.
    pub unit: String,
    /// The names of the groups.
    pub groups: Vec<String>,
    /// The name of each series and its heights, one per group.
    pub series: Vec<(String, Vec<f64>)>,
}

/// Draws figures of bars below each other.
pub fn bars(figures: &[Bars]) -> Result<String, PlotError> {
    draw(HEIGHT * figures.len() as u32, |root| {
        for (area, figure) in root.split_evenly((figures.len().max(1), 1)).iter().zip(figures) {
            let (chart, legend) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
            draw_chart(&chart, figure)?;
            let name = |(place, (name, _)): (usize, &(String, Vec<f64>))| (colour_of(place), name.clone());
            draw_entries(&legend, figure.series.iter().enumerate().map(name))?;
        }
        Ok(())
    })
}

fn draw_chart(area: &Area<'_>, figure: &Bars) -> Result<(), PlotError> {
    let groups = figure.groups.len();
    let highest = figure.series.iter().flat_map(|(_, heights)| heights).copied().fold(0.0, f64::max);
    let top = if highest > 0.0 { highest * 1.15 } else { round_up(0.0) };
    let mut chart = ChartBuilder::on(area)
        .caption(&figure.title, (FONT, 18))
        .margin(8)
        .margin_right(26)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..groups as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(0)
        .y_desc(&figure.unit)
        .label_style((FONT, 15))
        .draw()?;
    let width = 0.8 / figure.series.len().max(1) as f64;
    let mut texts = Vec::new();
    for (place, (_, heights)) in figure.series.iter().enumerate() {
        let left = |group: usize| group as f64 + 0.1 + place as f64 * width;
        chart.draw_series(heights.iter().enumerate().map(|(group, &height)| {
            Rectangle::new([(left(group), 0.0), (left(group) + width * 0.92, height)], colour_of(place).filled())
        }))?;
        for (group, &height) in heights.iter().enumerate() {
            let at = chart.plotting_area().map_coordinate(&(left(group) + width * 0.46, height));
            texts.push(Centred { text: number(height), at, below: -4 });
        }
    }
    for (group, name) in figure.groups.iter().enumerate() {
        let at = chart.plotting_area().map_coordinate(&(group as f64 + 0.5, 0.0));
        texts.push(Centred { text: name.clone(), at, below: 22 });
    }
    write(area, texts)
}

fn number(height: f64) -> String {
    match height.abs() {
        0.0 => "0".to_owned(),
        ..0.1 => format!("{height:.3}"),
        ..10.0 => format!("{height:.2}"),
        ..100.0 => format!("{height:.1}"),
        _ => format!("{height:.0}"),
    }
}
