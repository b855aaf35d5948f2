//! A report as aligned text.

use std::fmt::Write as _;

use super::{Figure, LatencySummary, Report, Unit};
use crate::traffic::Faults;

pub(super) fn render(report: &Report) -> String {
    let mut rows: Vec<(String, String)> = vec![("server".into(), report.name().into())];
    rows.extend(report.settings.iter().cloned());
    rows.extend(results(report));
    rows.extend(report.faults.errors.iter().map(|error| ("error".into(), error.clone())));
    rows.extend(report.notes.iter().map(|note| ("note".into(), note.clone())));
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", report.scenario);
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:width$}  {value}");
    }
    text
}

/// Figures, latency and faults: name and value.
pub(super) fn results(report: &Report) -> Vec<(String, String)> {
    let figures = report.figures.iter();
    let mut rows: Vec<_> =
        figures.map(|Figure { name, value, unit }| (name.clone(), amount_of(*value, *unit))).collect();
    if let Some(latency) = &report.latency {
        rows.push(("latency".into(), percentiles(latency)));
    }
    rows.push(("faults".into(), faults(&report.faults)));
    rows
}

fn faults(faults: &Faults) -> String {
    if !faults.any() {
        return "none: each message once, in order".into();
    }
    format!(
        "{} lost, {} duplicated, {} reordered, {} misrouted, {} errors",
        faults.lost,
        faults.duplicated,
        faults.reordered,
        faults.misrouted,
        faults.errors.len()
    )
}

fn percentiles(latency: &LatencySummary) -> String {
    let LatencySummary { p50_micros, p90_micros, p99_micros, p999_micros, max_micros, .. } = *latency;
    [
        ("p50", p50_micros),
        ("p90", p90_micros),
        ("p99", p99_micros),
        ("p99.9", p999_micros),
        ("max", max_micros),
    ]
    .map(|(name, micros)| format!("{name} {}", time(micros)))
    .join(" · ")
}

/// A value with its unit, for people.
pub(super) fn amount_of(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => grouped(value),
        Unit::PerSecond => format!("{}/s", grouped(value)),
        Unit::Micros => time(value),
        Unit::Secs => format!("{value:.2} s"),
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value)),
        Unit::Cores => format!("{value:.2} cores"),
        Unit::Share => format!("{:.1} %", value * 100.0),
    }
}

fn time(micros: f64) -> String {
    match micros {
        ..10.0 => format!("{micros:.3} µs"),
        ..1_000.0 => format!("{micros:.1} µs"),
        ..1_000_000.0 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

fn bytes(value: f64) -> String {
    match value {
        ..10_240.0 => format!("{} B", grouped(value)),
        ..10_485_760.0 => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{:.1} MiB", value / 1024.0 / 1024.0),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value <= -0.5 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(amount_of(6_774_000.4, Unit::PerSecond), "6,774,000/s");
        assert_eq!(amount_of(0.14, Unit::Micros), "0.140 µs");
        assert_eq!(amount_of(92_000.0, Unit::Micros), "92.00 ms");
        assert_eq!(amount_of(-735.0, Unit::Bytes), "-735 B");
        assert_eq!(amount_of(2_097_152.0, Unit::Bytes), "2048.0 KiB");
    }

    #[test]
    fn a_fault_is_not_called_none() {
        let mut report = Report::new("p2p", "here");
        assert!(report.table().contains("each message once"));
        report.faults().lost = 3;
        assert!(report.table().contains("3 lost"));
        assert!(report.json().contains("\"sound\": false"));
    }
}
