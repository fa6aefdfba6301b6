//! Texts at points of a chart.

use super::{Area, FONT, PlotError};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A text that is centred on a point.
pub(super) struct Centred {
    pub text: String,
    /// In pixels of the whole drawing.
    pub at: (i32, i32),
    /// So many pixels below the point.
    pub below: i32,
}

pub(super) fn write(area: &Area<'_>, texts: impl IntoIterator<Item = Centred>) -> Result<(), PlotError> {
    let style = (FONT, 14).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Bottom));
    let (left, top) = area.get_base_pixel();
    for Centred { text, at: (x, y), below } in texts {
        area.draw(&Text::new(text, (x - left, y - top + below), &style))?;
    }
    Ok(())
}
