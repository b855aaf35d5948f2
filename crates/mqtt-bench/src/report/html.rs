//! Reports as one HTML file: results of the same scenario and settings side by side, with bars and curves in SVG.

use std::fmt::{self, Write as _};

use super::{Report, plot, table};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;\
                     color:#1c2430;background:#fff}h1{font-size:1.6rem}h2{margin-top:2.5rem;font-size:1.25rem}\
                     table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .8rem;text-align:left;\
                     border-bottom:1px solid #dde3ea}td{font-variant-numeric:tabular-nums}th{font-weight:600}\
                     .fault{color:#b3261e;font-weight:600}.quiet{color:#5b6675}svg{max-width:100%;height:auto}\
                     code{font-size:.9em;overflow-wrap:anywhere}";

/// One page with all of `reports`, in the order of their first of each kind.
pub fn page(reports: &[Report]) -> String {
    let mut html = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut html, reports);
    html
}

fn write_page(html: &mut String, reports: &[Report]) -> fmt::Result {
    write!(html, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>MQTT benchmark</title>")?;
    write!(html, "<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>")?;
    write!(html, "<h1>MQTT benchmark</h1>")?;
    for group in groups(reports) {
        write_group(html, &group)?;
    }
    write_environments(html, reports)
}

/// Reports of the same scenario and settings.
fn groups(reports: &[Report]) -> Vec<Vec<&Report>> {
    let mut groups: Vec<Vec<&Report>> = Vec::new();
    for report in reports {
        let same = |group: &&mut Vec<&Report>| {
            group[0].scenario == report.scenario && group[0].settings == report.settings
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(report),
            None => groups.push(vec![report]),
        }
    }
    groups
}

fn write_group(html: &mut String, group: &[&Report]) -> fmt::Result {
    let first = group[0];
    write!(html, "<h2>{}</h2><p class=\"quiet\">", Text(&first.scenario))?;
    for (name, value) in &first.settings {
        write!(html, "{}: {} · ", Text(name), Text(value))?;
    }
    write!(html, "</p>")?;
    if let Some(bars) = plot::bars(group) {
        html.push_str(&bars);
    }
    if let Some(curves) = plot::curves(group) {
        html.push_str(&curves);
    }
    write!(html, "<table><tr><th></th>")?;
    for report in group {
        write!(html, "<th>{}</th>", Text(report.name()))?;
    }
    write!(html, "</tr>")?;
    let rows: Vec<Vec<(String, String)>> = group.iter().map(|report| table::results(report)).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        write!(html, "<tr><th>{}</th>", Text(name))?;
        for (report, row) in group.iter().zip(&rows) {
            let value = row.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value);
            let class = if name == "faults" && !report.is_sound() { " class=\"fault\"" } else { "" };
            write!(html, "<td{class}>{}</td>", Text(value))?;
        }
        write!(html, "</tr>")?;
    }
    write!(html, "</table>")?;
    for report in group {
        for note in report.faults.errors.iter().chain(&report.notes) {
            write!(html, "<p class=\"quiet\">{}: {}</p>", Text(report.name()), Text(note))?;
        }
    }
    Ok(())
}

fn write_environments(html: &mut String, reports: &[Report]) -> fmt::Result {
    write!(html, "<h2>How it was measured</h2>")?;
    if let Some(first) = reports.first() {
        let machine = &first.environment;
        write!(
            html,
            "<p>{}, {} processors for the generator and the server together if that is on the same machine, \
             {} MiB of memory, {}. {}.</p>",
            Text(&machine.processor),
            machine.processors,
            machine.memory_bytes >> 20,
            Text(&machine.system),
            Text(&machine.generator)
        )?;
    }
    write!(html, "<table><tr><th>result</th><th>when</th><th>generator</th><th>server</th></tr>")?;
    for report in reports {
        let environment = &report.environment;
        write!(
            html,
            "<tr><td>{} {}</td><td>{}</td><td><code>{}</code></td><td><code>{}</code></td></tr>",
            Text(&report.scenario),
            Text(report.name()),
            Text(&environment.at),
            Text(&environment.command),
            Text(&environment.server)
        )?;
    }
    write!(html, "</table></html>")
}

/// Text that HTML must not take for its own.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{LatencySummary, Unit};

    fn report(label: &str, rate: f64) -> Report {
        let mut report = Report::new("p2p", "127.0.0.1:1883");
        report.label = Some(label.into());
        report.add("delivered", rate, Unit::PerSecond);
        report.latency = Some(LatencySummary {
            count: 2,
            p50_micros: 10.0,
            p90_micros: 20.0,
            p99_micros: 30.0,
            p999_micros: 40.0,
            max_micros: 50.0,
            curve: vec![(10.0, 0.5), (50.0, 1.0)],
        });
        report
    }

    #[test]
    fn results_of_one_kind_share_a_table_and_plots() {
        let html = page(&[report("one", 5.0), report("<two>", 7.0)]);
        assert_eq!(html.matches("<h2>p2p</h2>").count(), 1);
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("<th>&lt;two&gt;</th>") && !html.contains("<th><two>"));
        assert!(html.contains("7/s"));
    }

    #[test]
    fn a_fault_stands_out() {
        let mut faulty = report("one", 5.0);
        faulty.faults().lost = 1;
        assert!(page(&[faulty]).contains("class=\"fault\">1 lost"));
        assert!(!page(&[report("one", 5.0)]).contains("class=\"fault\""));
    }

    #[test]
    fn nothing_makes_an_empty_page() {
        assert!(page(&[]).contains("MQTT benchmark"));
    }

    #[test]
    fn a_figure_that_the_first_lacks_has_its_row() {
        let without = Report::new("p2p", "a");
        let mut with = Report::new("p2p", "b");
        with.add("server CPU each", 1.0, Unit::Micros);
        assert!(page(&[without, with]).contains("server CPU each"));
    }
}
