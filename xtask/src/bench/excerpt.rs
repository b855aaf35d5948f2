//! A few of the figures, for the project's README: one line a figure, without aims, and who is ahead of us.

use super::cases::{Better, Case, Metric};
use super::results::{Cell, Results};
use super::servers::{GMQTT, RELAY};
use super::table::amount;

/// Case and figure: what an evaluator asks first, whether we are ahead or not.
const FIGURES: [(&str, &str); 11] = [
    ("p2p-qos0", "deliveries/s"),
    ("p2p-qos1", "deliveries/s"),
    ("p2p-qos1", "CPU µs each"),
    ("fanout-qos1", "deliveries/s"),
    ("fanin-qos1", "deliveries/s"),
    ("rate", "p50 µs"),
    ("rate", "CPU µs each"),
    ("connect", "clients/s"),
    ("idle", "bytes each"),
    ("offline", "drained/s"),
    ("offline", "bytes a queued message"),
];

/// In Markdown.
pub(super) fn markdown(results: &Results) -> String {
    let names: Vec<&str> = results.names().into_iter().filter(|name| *name != RELAY).collect();
    let mut lines = vec![
        format!("| case | figure | {} | |", names.join(" | ")),
        format!("|---|---|{}---|", "---:|".repeat(names.len())),
    ];
    for (case, metric) in FIGURES {
        lines.extend(line(results, &names, case, metric));
    }
    let day = results.at.split('T').next().unwrap_or_default();
    let machine = format!("{}; commit {}; {day}.", results.machine, results.commit);
    lines.join("\n") + "\n\n" + &machine + "\n"
}

fn line(results: &Results, names: &[&str], case: &str, metric: &str) -> Option<String> {
    let (case, result) = (Case::find(case)?, results.case(case)?);
    let metric = case.metrics.iter().find(|known| known.name == metric)?;
    let cells: Vec<Option<&Cell>> = names.iter().map(|name| result.cell(name, false)).collect();
    let ours = result.cell(GMQTT, false)?;
    let ours = ours.median(metric.name).filter(|_| ours.is_sound());
    let ahead: Vec<&str> = cells
        .iter()
        .flatten()
        .filter(|cell| cell.server != GMQTT && cell.is_sound())
        .filter(|cell| {
            cell.median(metric.name)
                .is_some_and(|value| ours.is_none_or(|ours| is_better(value, ours, metric)))
        })
        .map(|cell| cell.server.as_str())
        .collect();
    let verdict = match ahead[..] {
        [] => String::new(),
        [one] => format!("{one} is ahead"),
        _ => format!("{} are ahead", ahead.join(", ")),
    };
    let figures: Vec<String> = cells.into_iter().map(|cell| figure(cell, metric)).collect();
    Some(format!("| {} | {} | {} | {verdict} |", case.about, metric.name, figures.join(" | ")))
}

fn is_better(value: f64, than: f64, metric: &Metric) -> bool {
    if metric.better == Better::Higher { value > than } else { value < than }
}

fn figure(cell: Option<&Cell>, metric: &Metric) -> String {
    let Some(cell) = cell else { return String::new() };
    match cell.median(metric.name).filter(|_| cell.is_sound()) {
        Some(value) => amount(value),
        None => "failed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{cases::CASES, results::tests::one_case};
    use super::*;

    #[test]
    fn each_figure_is_one_that_is_measured() {
        for (case, figure) in FIGURES {
            let case = CASES.iter().find(|known| known.name == case).unwrap();
            assert!(case.metrics.iter().any(|metric| metric.name == figure), "{} {figure}", case.name);
        }
    }

    #[test]
    fn who_is_ahead_is_said_and_who_failed_too() {
        let cells = [("gmqtt", 50.0, None), ("a", 40.0, None), ("b", 60.0, None), ("c", 1.0, Some("3 lost"))];
        let text = markdown(&one_case("rate", "p50 µs", &cells));
        assert!(
            text.contains(
                "| open loop, 5,000/s, QoS 1 | p50 µs | 50.0 | 40.0 | 60.0 | failed | a is ahead |"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_case_that_we_fail_keeps_its_line() {
        let cells = [("gmqtt", 50.0, Some("3 lost")), ("a", 60.0, None)];
        let mut results = one_case("rate", "p50 µs", &cells);
        let line = "| open loop, 5,000/s, QoS 1 | p50 µs | failed | 60.0 | a is ahead |";
        assert!(markdown(&results).contains(line), "{}", markdown(&results));
        results.cases[0].cells[0].rounds[0].figures.clear();
        assert!(markdown(&results).contains(line), "{}", markdown(&results));
    }
}
