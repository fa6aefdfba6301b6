//! Colours of threads, and the legend that explains them.

use super::{Area, FONT, MAX_ROWS, PlotError, shortened};
use crate::trace::{ThreadIndex, Trace};
use plotters::prelude::*;
use plotters::style::RGBColor;

/// Colours that can be told apart.
const COLOURS: [RGBColor; 14] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 60, 60),
    RGBColor(130, 90, 170),
    RGBColor(86, 180, 233),
    RGBColor(120, 80, 40),
    RGBColor(220, 110, 170),
    RGBColor(150, 170, 30),
    RGBColor(30, 60, 110),
    RGBColor(240, 200, 60),
    RGBColor(90, 200, 170),
    RGBColor(240, 120, 60),
    RGBColor(170, 150, 210),
];
/// The others. Threads that follow each other on a CPU often have a fixed distance in number, so they are not simply
/// taken by turns.
const GREYS: [RGBColor; 3] = [RGBColor(160, 160, 160), RGBColor(185, 185, 185), RGBColor(210, 210, 210)];

/// Where the first entry of a legend stands, and from one to the next, in pixels.
const TOP: i32 = 40;
const STEP: i32 = 20;
/// How many characters of a name fit beside its colour.
const LONGEST: usize = 22;

/// How many threads a legend of so many does not name.
fn others(threads: usize) -> usize {
    threads.saturating_sub(COLOURS.len())
}

/// What the legend says beside the number of others, if `lines` are drawn and are fewer.
fn fewer_lines(others: usize, lines: Option<usize>) -> Option<String> {
    lines.filter(|&lines| lines < others).map(|lines| format!("(lines: {lines} of them)"))
}

/// The height of a legend of so many threads, of whose others at most so many have lines.
pub(super) fn height(threads: usize, lines: Option<usize>) -> u32 {
    let remark = fewer_lines(others(threads), lines).is_some();
    let entries = threads.min(COLOURS.len() + 1) + usize::from(remark);
    (TOP + STEP * entries as i32) as u32
}

/// Who has a colour: the threads that ran most.
pub(super) struct Palette {
    /// By thread.
    places: Vec<Option<usize>>,
    /// By place.
    coloured: Vec<ThreadIndex>,
}

impl Palette {
    pub(super) fn of(trace: &Trace) -> Self {
        let mut runtimes = vec![0; trace.threads.len()];
        // Rows that are not drawn need no colours.
        for slice in trace.slices().filter(|slice| slice.cpu.index() < MAX_ROWS) {
            if let Some(runtime) = runtimes.get_mut(slice.thread.index()) {
                *runtime += slice.end.saturating_duration_since(slice.begin).as_nanos();
            }
        }
        let mut coloured: Vec<usize> = (0..runtimes.len()).collect();
        coloured.sort_by_key(|&thread| std::cmp::Reverse(runtimes[thread]));
        coloured.truncate(COLOURS.len());
        coloured.sort_unstable();
        let mut places = vec![None; runtimes.len()];
        coloured.iter().enumerate().for_each(|(place, &thread)| places[thread] = Some(place));
        Self { places, coloured: coloured.into_iter().map(ThreadIndex::new).collect() }
    }

    /// Whether the thread is one of those that the legend names.
    pub(super) fn is_named(&self, thread: ThreadIndex) -> bool {
        self.places.get(thread.index()).is_some_and(Option::is_some)
    }

    pub(super) fn colour(&self, thread: ThreadIndex) -> RGBColor {
        match self.places.get(thread.index()) {
            Some(Some(place)) => COLOURS[*place],
            _ => GREYS[(thread.index().count_ones() as usize + thread.index() / 16) % GREYS.len()],
        }
    }

    /// The legend. `lines`: how many of those that it does not name have lines at most, if there are lines.
    pub(super) fn draw(&self, area: &Area<'_>, trace: &Trace, lines: Option<usize>) -> Result<(), PlotError> {
        let named = self.coloured.iter().map(|&thread| (self.colour(thread), trace.threads[thread.index()].clone()));
        let others = others(trace.threads.len());
        let rest = (others > 0).then(|| (GREYS[0], format!("{others} others")));
        let remark = fewer_lines(others, lines).map(|remark| (WHITE, remark));
        draw_entries(area, named.chain(rest).chain(remark))
    }
}

/// The colour of a row of bars or of a line.
pub(super) fn colour_of(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

/// Squares with names beside them.
pub(super) fn draw_entries(
    area: &Area<'_>,
    entries: impl IntoIterator<Item = (RGBColor, String)>,
) -> Result<(), PlotError> {
    let style = (FONT, 15).into_font().color(&BLACK);
    for (row, (colour, name)) in entries.into_iter().enumerate() {
        let top = TOP + STEP * row as i32;
        area.draw(&Rectangle::new([(4, top), (16, top + 12)], colour.filled()))?;
        area.draw(&Text::new(shortened(&name, LONGEST), (22, top), &style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Panel, Show, figure};

    #[test]
    fn the_legend_says_how_many_of_the_others_have_lines_if_not_all_have() {
        let drawn = |threads: usize, show| {
            let mut trace = Trace::new(1);
            for number in 0..threads {
                trace.thread(format!("t{number}"));
            }
            figure(&[Panel { title: "threads", trace: &trace, show }]).expect("a figure")
        };
        let (both, gantt) = (Show { gantt: true, shares: true }, Show { gantt: true, shares: false });
        let many = drawn(300, both);
        assert!(many.contains("286 others") && many.contains("(lines: 100 of them)"));
        assert_eq!(many.matches("<polyline").count() - drawn(0, both).matches("<polyline").count(), 114);
        assert!(!drawn(300, gantt).contains("lines:") && drawn(114, both).contains("100 others"));
        assert!(!drawn(114, both).contains("lines:"));
    }

    #[test]
    fn long_names_that_differ_at_their_end_are_told_apart() {
        assert_eq!(shortened("a name that just fits.", LONGEST).as_str(), "a name that just fits.");
        let names = [1, 2].map(|number| shortened(&format!("ein l\u{e4}ngerer Name einer Aufgabe {number}"), LONGEST));
        assert_eq!(names[0], "ein l\u{e4}nger...Aufgabe 1");
        assert_ne!(names[0], names[1]);
    }
}
