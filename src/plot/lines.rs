//! Line charts: light background, labelled axes, a legend, error bars.
//!
//! Invariant: every series of a chart keeps its colour and mark whatever the others hold.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// As the legend names it.
    pub name: String,
    /// (x, y), in the order in which the line runs.
    pub points: Vec<(f64, f64)>,
    /// Half the length of each point's error bar; as long as `points`.
    pub errors: Option<Vec<f64>>,
}

/// One chart of a figure.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// Above the chart.
    pub title: String,
    /// Under the x axis.
    pub x_label: String,
    /// Beside the y axis.
    pub y_label: String,
    /// The lines, first drawn first.
    pub series: Vec<Series>,
}

/// Width and height of one panel in pixels.
const PANEL: (u32, u32) = (760, 440);
/// Height of the figure's title in pixels.
const TITLE: u32 = 44;
/// Height of the row of a panel's names in pixels.
const LEGEND: u32 = 22;
/// Points at most that get marks; a denser line is drawn bare.
const MARKED: usize = 40;
/// Told apart by eyes that see colours differently (Okabe and Ito 2008), without their yellow.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
];
const PAPER: RGBColor = RGBColor(253, 253, 252);
const GRID: RGBColor = RGBColor(228, 228, 226);
const INK: RGBColor = RGBColor(50, 50, 50);

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws one chart to an SVG file, making its folder if needed. An error when the file cannot be written.
pub fn lines(path: &Path, title: &str, x_label: &str, y_label: &str, series: &[Series]) -> Result<()> {
    let panel =
        Panel { x_label: x_label.into(), y_label: y_label.into(), series: series.to_vec(), ..Default::default() };
    panels(path, title, &[panel])
}

/// Draws several charts under one title: one column for up to two of them, else two columns.
pub fn panels(path: &Path, title: &str, panels: &[Panel]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let columns = if panels.len() > 2 { 2 } else { 1 };
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32 + TITLE);
    let root = SVGBackend::new(path, size).into_drawing_area();
    let draw = || -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        root.fill(&PAPER)?;
        let below = root.titled(title, ("sans-serif", 22).into_font().color(&INK))?;
        for (area, panel) in below.split_evenly((rows, columns)).iter().zip(panels) {
            draw_panel(area, panel)?;
        }
        root.present()
    };
    draw().map_err(|error| anyhow!("the chart {} cannot be drawn: {error}", path.display()))
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Drawn {
    let bar =
        |series: &Series, i: usize| series.errors.as_ref().and_then(|errors| errors.get(i)).copied().unwrap_or(0.0);
    let all =
        || panel.series.iter().flat_map(|one| one.points.iter().enumerate().map(move |(i, point)| (one, i, point)));
    let x = range(all().map(|(_, _, point)| point.0));
    let y = range(all().flat_map(|(one, i, point)| [point.1 - bar(one, i), point.1 + bar(one, i)]));
    let named = || panel.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty());
    let area = area.titled(&panel.title, ("sans-serif", 17).into_font().color(&INK))?;
    let (above, area) = area.split_vertically(if named().next().is_some() { LEGEND } else { 0 });
    draw_legend(&above, named())?;
    // Counts, versions and numbered things have no fractions worth a label.
    let whole = all().all(|(_, _, point)| point.0.fract() == 0.0);
    let x_label = move |x: &f64| match whole {
        true if (x - x.round()).abs() > 1e-6 => String::new(),
        true => format!("{x:.0}"),
        false => format!("{}", (x * 1e6).round() / 1e6),
    };
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .margin_top(4)
        .x_label_area_size(42)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(PAPER)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .x_label_formatter(&x_label)
        .x_desc(&panel.x_label)
        .y_desc(&panel.y_label)
        .draw()?;
    for (number, series) in panel.series.iter().enumerate() {
        draw_series(&mut chart, series, number)?;
    }
    Ok(())
}

/// The series' names in a row above the chart, where they cover nothing.
fn draw_legend<'a>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    named: impl Iterator<Item = (usize, &'a Series)>,
) -> Drawn {
    let style = ("sans-serif", 13).into_font().color(&INK);
    let mut x = 76;
    for (number, series) in named {
        let line = [(x, LEGEND as i32 / 2), (x + 18, LEGEND as i32 / 2)];
        area.draw(&PathElement::new(line, colour(number).stroke_width(3)))?;
        area.draw_text(&series.name, &style, (x + 24, LEGEND as i32 / 2 - 7))?;
        x += 24 + area.estimate_text_size(&series.name, &style)?.0 as i32 + 22;
    }
    Ok(())
}

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

fn draw_series(chart: &mut Chart<'_>, series: &Series, number: usize) -> Drawn {
    let colour = colour(number);
    let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
    let points: Vec<(f64, f64)> = series.points.iter().filter(finite).copied().collect();
    // Later lines are thinner, so that one exactly beneath another still shows.
    let style = colour.stroke_width(4u32.saturating_sub(number as u32).max(2));
    chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
    for (&(x, y), &half) in series.points.iter().zip(series.errors.iter().flatten()) {
        if x.is_finite() && y.is_finite() && half.is_finite() && half > 0.0 {
            let (low, high) = ((x, y - half), (x, y + half));
            chart.draw_series([PathElement::new([low, high], colour.stroke_width(1))])?;
            // The caps are measured in pixels.
            let cap = |end| EmptyElement::at(end) + PathElement::new([(-4, 0), (4, 0)], colour.stroke_width(1));
            chart.draw_series([low, high].map(cap))?;
        }
    }
    if points.len() <= MARKED {
        match number % 3 {
            0 => chart.draw_series(points.iter().map(|&at| Circle::new(at, 4, colour.filled())))?,
            1 => chart.draw_series(points.iter().map(|&at| TriangleMarker::new(at, 5, colour.filled())))?,
            _ => chart.draw_series(points.iter().map(|&at| Cross::new(at, 4, colour.stroke_width(2))))?,
        };
    }
    Ok(())
}

/// The finite values' range with a little room, never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let widen = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.filter(|value| value.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), widen);
    if low > high {
        return 0.0..1.0;
    }
    let room = if high > low { 0.04 * (high - low) } else { 0.5 * high.abs().max(1e-3) };
    low - room..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_names_its_series_and_leaves_out_what_is_not_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/chart.svg");
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)];
        let noisy =
            Series { name: "noisy".into(), points: points.clone(), errors: Some(vec![0.1, 0.2, f64::INFINITY]) };
        let bare = Series { name: "a < b".into(), points, errors: None };
        lines(&path, "A title", "steps", "loss", &[noisy, bare]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["A title", "steps", "loss", "noisy", "a &lt; b"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }

    #[test]
    fn nothing_to_draw_is_an_empty_chart_and_a_broken_path_an_error() {
        let folder = tempfile::tempdir().unwrap();
        lines(&folder.path().join("empty.svg"), "", "", "", &[]).unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(lines(&file.join("chart.svg"), "", "", "", &[]).is_err());
        assert_eq!(range([2.0].into_iter()), 1.0..3.0);
    }
}
