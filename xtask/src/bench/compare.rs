//! What got slower or larger since an earlier result.
//!
//! Figures depend on the machine's mood, so a change counts only if it is more than a margin and the rounds of then and
//! now do not overlap.

use super::cases::{Better, CASES, Metric};
use super::results::{Cell, Results};
use super::servers::GMQTT;
use super::table::amount;

/// Changes of less are noise.
const MARGIN: f64 = 0.10;

/// One line for each of our figures that both have, and for each case that we fail now; what got worse says so.
pub(super) fn lines(then: &Results, now: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    if then.machine != now.machine {
        lines.push(format!("another machine: {} then, {} now", then.machine, now.machine));
    }
    if then.quick != now.quick {
        let size = |results: &Results| if results.quick { "--quick" } else { "full" };
        lines.push(format!("another size: {} then, {} now", size(then), size(now)));
    }
    for case in CASES {
        let cell =
            |results: &Results| results.case(case.name).and_then(|result| result.cell(GMQTT, false)).cloned();
        let (Some(before), Some(after)) = (cell(then), cell(now)) else { continue };
        if before.is_sound() && !after.is_sound() {
            lines.push(format!("{:<16} FAILS: {}", case.name, after.faults().join("; ")));
        }
        for metric in case.metrics {
            let is_alike = then.quick == now.quick || !case.has_sizes();
            let line = change(metric, &before, &after, is_alike);
            lines.extend(line.map(|line| format!("{:<16} {line}", case.name)));
        }
    }
    lines
}

/// No verdict where one did less than the other.
fn change(metric: &Metric, before: &Cell, after: &Cell, is_alike: bool) -> Option<String> {
    let (then, now) = (before.median(metric.name)?, after.median(metric.name)?);
    let ratio = now / then;
    let growth = if metric.better == Better::Higher { 1.0 / ratio } else { ratio };
    let verdict = match growth {
        _ if !is_alike || !apart(&before.values(metric.name), &after.values(metric.name)) => "",
        worse if worse > 1.0 + MARGIN => "WORSE",
        better if better < 1.0 / (1.0 + MARGIN) => "better",
        _ => "",
    };
    let line =
        format!("{:<24} {:>12} -> {:>12}  {ratio:.2} x  {verdict}", metric.name, amount(then), amount(now));
    Some(line.trim_end().to_owned())
}

/// Whether no value of one lies among those of the other; both ascend.
fn apart(one: &[f64], other: &[f64]) -> bool {
    let ends = |values: &[f64]| Some((*values.first()?, *values.last()?));
    match (ends(one), ends(other)) {
        (Some((low, high)), Some((other_low, other_high))) => high < other_low || other_high < low,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::one_case;
    use super::*;

    fn compared(metric: &str, then: f64, now: f64) -> String {
        let result = |value| one_case("p2p-qos0", metric, &[("gmqtt", value, None)]);
        lines(&result(then), &result(now)).concat()
    }

    #[test]
    fn what_got_worse_says_so_in_either_direction() {
        assert!(compared("deliveries/s", 100.0, 80.0).ends_with("WORSE"));
        assert!(compared("deliveries/s", 100.0, 120.0).ends_with("better"));
        assert!(compared("CPU µs each", 1.0, 1.2).ends_with("WORSE"));
        assert!(compared("CPU µs each", 1.0, 1.05).ends_with('x'));
    }

    #[test]
    fn rounds_that_overlap_are_noise() {
        assert!(apart(&[1.0, 2.0], &[3.0, 4.0]) && apart(&[3.0], &[1.0, 2.0]));
        assert!(!apart(&[1.0, 3.0], &[2.0, 4.0]));
        assert!(!apart(&[], &[2.0]));
    }

    #[test]
    fn a_case_that_fails_now_is_told_with_figures_and_without() {
        let then = one_case("p2p-qos0", "deliveries/s", &[("gmqtt", 100.0, None)]);
        let mut now = one_case("p2p-qos0", "deliveries/s", &[("gmqtt", 100.0, Some("3 lost"))]);
        assert!(lines(&then, &now).concat().contains("FAILS: 3 lost"));
        now.cases[0].cells[0].rounds[0].figures.clear();
        assert!(lines(&then, &now).concat().contains("FAILS: 3 lost"));
        assert!(!lines(&now, &now).concat().contains("FAILS"));
    }

    #[test]
    fn sizes_that_differ_are_told_and_judge_nothing() {
        let run =
            |case, quick, value| Results { quick, ..one_case(case, "clients/s", &[("gmqtt", value, None)]) };
        let told = lines(&run("connect", false, 100.0), &run("connect", true, 50.0));
        assert!(told[0].contains("another size") && !told.concat().contains("WORSE"), "{told:?}");
        let told = lines(&run("connect", true, 100.0), &run("connect", true, 50.0));
        assert!(told.concat().contains("WORSE"), "{told:?}");
    }
}
