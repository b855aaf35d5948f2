//! Results as people read them: a table on the terminal, the same in Markdown.

use super::aims;
use super::cases::{CASES, Case, Metric};
use super::results::{CaseResult, Results};
use super::servers::{GMQTT, RELAY};
use std::fmt::Write as _;

/// One line of the table.
struct Row {
    case: String,
    metric: String,
    /// One a server.
    cells: Vec<String>,
    aim: String,
    verdict: &'static str,
}

/// For a terminal.
pub(super) fn text(results: &Results) -> String {
    let names = results.names();
    let mut lines = vec![headings(&names)];
    lines.extend(rows(results).into_iter().map(Row::columns));
    let count = lines.first().map_or(0, Vec::len);
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (at, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            // Figures to the right, words to the left.
            let is_figure = (2..2 + names.len()).contains(&at);
            let _ =
                if is_figure { write!(text, "{cell:>width$}  ") } else { write!(text, "{cell:<width$}  ") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text + "\n" + &notes(results, "").join("\n") + "\n"
}

/// For a document.
pub(super) fn markdown(results: &Results) -> String {
    let names = results.names();
    let mut text = String::new();
    let mut line = |cells: Vec<String>| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(headings(&names));
    let align =
        (0..names.len() + 4).map(|at| if (2..2 + names.len()).contains(&at) { "---:" } else { "---" });
    line(align.map(String::from).collect());
    for row in rows(results) {
        line(row.columns());
    }
    text + "\n" + &notes(results, "- ").join("\n") + "\n"
}

/// A number as people read it, without its unit.
pub(super) fn amount(value: f64) -> String {
    match value.abs() {
        ..10.0 => format!("{value:.3}"),
        ..100.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

fn headings(names: &[&str]) -> Vec<String> {
    let ends = |words: [&str; 2]| words.map(String::from);
    let names = names.iter().map(|name| (*name).to_owned());
    ends(["case", "figure"]).into_iter().chain(names).chain(ends(["aim", "verdict"])).collect()
}

fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for case in CASES {
        let Some(result) = results.case(case.name) else { continue };
        for (at, metric) in case.metrics.iter().enumerate() {
            rows.extend(row(results, case, result, metric, at == 0));
        }
    }
    rows
}

/// A figure with equal settings and, below it, with the defaults.
fn row(results: &Results, case: &Case, result: &CaseResult, metric: &Metric, first: bool) -> Vec<Row> {
    let cells = |defaults| -> Vec<String> {
        results.names().iter().map(|name| cell(result, name, defaults, metric)).collect()
    };
    let judgement = aims::judge(case, metric.name, result);
    let verdict = judgement.as_ref().map_or("", |judgement| if judgement.met { "met" } else { "NOT MET" });
    let mut rows = vec![Row {
        case: if first { case.name.into() } else { String::new() },
        metric: metric.name.into(),
        cells: cells(false),
        aim: judgement.map_or_else(String::new, |judgement| judgement.because),
        verdict,
    }];
    if result.cells.iter().any(|cell| cell.defaults) {
        rows.push(Row {
            case: String::new(),
            metric: "  with defaults".into(),
            cells: cells(true),
            aim: String::new(),
            verdict: "",
        });
    }
    rows
}

/// The median; for others than ours how it stands to ours; a mark where the server was at fault.
fn cell(result: &CaseResult, server: &str, defaults: bool, metric: &Metric) -> String {
    let Some(cell) = result.cell(server, defaults) else { return String::new() };
    let mark = if cell.is_sound() { "" } else { " !" };
    let Some(value) = cell.median(metric.name) else { return format!("failed{mark}") };
    let ratio = result.gmqtt(metric.name).filter(|_| server != GMQTT).map(|ours| value / ours);
    let ratio = ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2} x)"));
    format!("{}{ratio}{mark}", amount(value))
}

/// What the reader needs to know about the table: the run, the ratios to the relay, the faults.
fn notes(results: &Results, bullet: &str) -> Vec<String> {
    let mut notes = vec![
        format!(
            "{}; {}; {}; {}; median of {}, load {:.1} before and {:.1} after{}",
            results.at,
            results.machine,
            results.commit,
            results.rustc,
            rounds(results),
            results.load[0],
            results.load[1],
            if results.quick { "; --quick: shorter and smaller" } else { "" }
        ),
        "in brackets: times gmqtt's figure; \"!\": at fault, see below, and not counted as a peer to be ahead of".into(),
    ];
    for server in &results.servers {
        let defaults = if server.defaults { ", defaults" } else { "" };
        notes.push(format!("{}{defaults}: {}", server.name, server.version));
    }
    notes.extend(to_relay(results));
    for result in &results.cases {
        for cell in result.cells.iter().filter(|cell| !cell.is_sound()) {
            notes.push(format!("! {} {}: {}", result.case, cell.label(), cell.faults().join("; ")));
        }
    }
    notes.into_iter().map(|note| format!("{bullet}{note}")).collect()
}

/// Of several runs that were merged each case has its own.
fn rounds(results: &Results) -> String {
    let cells = results.cases.iter().flat_map(|case| &case.cells);
    let counts = cells.map(|cell| cell.rounds.len());
    match (counts.clone().min(), counts.max()) {
        (Some(fewest), Some(most)) if fewest < most => format!("{fewest} to {most} round(s)"),
        (_, most) => format!("{} round(s)", most.unwrap_or(results.rounds)),
    }
}

/// One line a figure that the relay has too: everybody's times the relay's.
fn to_relay(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for result in &results.cases {
        for metric in Case::find(&result.case).map_or(&[][..], |case| case.metrics) {
            let Some(relay) = result.relay(metric.name).filter(|relay| *relay > 0.0) else { continue };
            let others = result.cells.iter().filter(|cell| cell.server != RELAY);
            let ratios = others.filter_map(|cell| {
                Some(format!("{} {:.2} x", cell.label(), cell.median(metric.name)? / relay))
            });
            let ratios = ratios.collect::<Vec<_>>().join(", ");
            lines.push(format!("to the relay, {} {}: {ratios}", result.case, metric.name));
        }
    }
    lines
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Row {
    fn columns(self) -> Vec<String> {
        let Row { case, metric, cells, aim, verdict } = self;
        [case, metric].into_iter().chain(cells).chain([aim, verdict.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::one_case;
    use super::*;

    #[test]
    fn a_row_has_medians_ratios_marks_and_a_verdict() {
        let cells = [("gmqtt", 2_000_000.0, None), ("a", 500_000.0, None), ("b", 1.5, Some("3 lost"))];
        let results = one_case("p2p-qos0", "deliveries/s", &cells);
        let text = text(&results);
        let row = text.lines().nth(1).unwrap();
        for part in ["p2p-qos0", "2,000,000", "500,000 (0.25 x)", "1.500 (0.00 x) !", "4.00 x a", "met"] {
            assert!(row.contains(part), "{part}: {row}");
        }
        assert!(text.contains("! p2p-qos0 b: 3 lost"));
        let markdown = markdown(&results);
        let columns = |line: &str| line.matches('|').count();
        assert!(markdown.lines().take(3).all(|line| columns(line) == 8), "{markdown}");
    }

    #[test]
    fn what_has_no_figure_has_failed() {
        let mut results =
            one_case("p2p-qos0", "deliveries/s", &[("gmqtt", 1.0, None), ("a", 1.0, Some("it hung"))]);
        results.cases[0].cells[1].rounds[0].figures.clear();
        assert!(text(&results).lines().nth(1).unwrap().contains("failed !"));
    }

    #[test]
    fn how_many_rounds_there_were_is_told_of_all_cases() {
        let mut results = one_case("p2p-qos0", "deliveries/s", &[("gmqtt", 1.0, None), ("a", 1.0, None)]);
        assert!(text(&results).contains("median of 1 round(s)"));
        let again = results.cases[0].cells[1].rounds[0].clone();
        results.cases[0].cells[1].rounds.extend([again.clone(), again]);
        assert!(text(&results).contains("median of 1 to 3 round(s)"));
    }
}
