//! Curves as SVG.

use crate::commands::Failure;
use plotters::prelude::*;
use std::path::Path;

/// What a curve shows, and its points.
pub type Curve = (&'static str, Vec<(f64, f64)>);

const SIZE: (u32, u32) = (900, 540);

/// Draws curves over logarithmic axes; `axes` are the names of both.
pub fn draw(path: &Path, title: &str, axes: [&str; 2], curves: &[Curve]) -> Result<(), Failure> {
    plot(path, title, axes, curves).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn plot(path: &Path, title: &str, [x_name, y_name]: [&str; 2], curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || curves.iter().flat_map(|(_, points)| points).copied();
    let range = |of: fn((f64, f64)) -> f64| {
        let values = || points().map(of);
        values().fold(f64::MAX, f64::min) / 1.5..values().fold(f64::MIN_POSITIVE, f64::max) * 1.5
    };
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(range(|point| point.0).log_scale(), range(|point| point.1).log_scale())?;
    chart.configure_mesh().x_desc(x_name).y_desc(y_name).draw()?;
    for (index, (name, points)) in curves.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let series = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(4);
        chart.draw_series(series)?.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}
