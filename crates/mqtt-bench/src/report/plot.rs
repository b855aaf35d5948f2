//! Bars of throughput and curves of latency, as SVG inside a page.

use std::error::Error;

use plotters::prelude::*;

use super::{Report, Unit, table};

const WIDTH: u32 = 900;
const COLOURS: [RGBColor; 6] = [
    RGBColor(32, 99, 155),
    RGBColor(216, 106, 45),
    RGBColor(60, 140, 85),
    RGBColor(140, 80, 150),
    RGBColor(180, 60, 70),
    RGBColor(90, 100, 110),
];

/// The rate that a scenario is about, a bar for each report; `None` if they have none.
pub(super) fn bars(group: &[&Report]) -> Option<String> {
    let rates: Vec<_> = group.iter().filter_map(|report| Some((report.name(), rate_of(report)?))).collect();
    let highest = rates.iter().map(|&(_, (_, rate))| rate).fold(0.0, f64::max);
    if highest <= 0.0 {
        return None;
    }
    draw_bars(&rates, highest).ok()
}

/// What a reader looks for first: deliveries, or else the first rate there is.
fn rate_of(report: &Report) -> Option<(&str, f64)> {
    let rates = || report.figures.iter().filter(|figure| figure.unit == Unit::PerSecond);
    let figure = rates().find(|figure| figure.name == "delivered").or_else(|| rates().next())?;
    Some((&figure.name, figure.value))
}

fn draw_bars(rates: &[(&str, (&str, f64))], highest: f64) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area =
            SVGBackend::with_string(&mut svg, (WIDTH, 70 + 34 * rates.len() as u32)).into_drawing_area();
        let what = rates.first().map_or("", |&(_, (what, _))| what);
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("{what} a second"), ("sans-serif", 18))
            .margin(8)
            .margin_right(24)
            .build_cartesian_2d(0.0..highest * 1.25, 0.0..rates.len() as f64)?;
        for (row, &(name, (_, rate))) in rates.iter().enumerate() {
            let top = (rates.len() - row) as f64;
            let bar = Rectangle::new([(0.0, top - 0.85), (rate, top - 0.15)], colour(row).filled());
            chart.draw_series([bar])?;
            let text = format!("{name}  {}", table::amount_of(rate, Unit::PerSecond));
            let at = if rate > highest / 2.0 { highest * 0.01 } else { rate + highest * 0.01 };
            let paint = if rate > highest / 2.0 { WHITE } else { BLACK };
            chart.draw_series([Text::new(
                text,
                (at, top - 0.32),
                ("sans-serif", 15).into_font().color(&paint),
            )])?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// The share of messages that took at most so long, a curve for each report; `None` if nothing was delivered.
pub(super) fn curves(group: &[&Report]) -> Option<String> {
    let curves: Vec<_> = group
        .iter()
        .filter_map(|report| Some((report.name(), report.latency.as_ref()?.curve.as_slice())))
        .filter(|(_, curve)| !curve.is_empty())
        .collect();
    if curves.is_empty() { None } else { draw_curves(&curves).ok() }
}

fn draw_curves(curves: &[(&str, &[(f64, f64)])]) -> Result<String, Box<dyn Error>> {
    let points = || curves.iter().flat_map(|&(_, curve)| curve);
    let lowest = points().map(|&(micros, _)| micros).fold(f64::INFINITY, f64::min).max(0.1);
    let highest = points().map(|&(micros, _)| micros).fold(lowest * 2.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 320)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption("latency: share of messages within", ("sans-serif", 18))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d((lowest..highest).log_scale(), 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_desc("microseconds")
            .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
            .light_line_style(WHITE)
            .draw()?;
        for (at, &(name, curve)) in curves.iter().enumerate() {
            let style = colour(at).stroke_width(2);
            let points = curve.iter().map(|&(micros, share)| (micros.max(lowest), share));
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

fn colour(at: usize) -> RGBColor {
    COLOURS[at % COLOURS.len()]
}
