//! Bars for a document: a group a case, a bar a server, each group with a scale of its own.

use super::results::{Cell, Results};
use super::table::amount;
use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 130.0;
const BAR: f64 = 18.0;
const GROUP_GAP: f64 = 30.0;
/// Room for the figure behind the longest bar.
const FIGURE: f64 = 110.0;
const OURS: &str = "#20639b";
const THEIRS: &str = "#b7c3cf";

/// One figure in all cases that have it, servers with equal settings; `None` if none has it.
pub(super) fn bars(results: &Results, title: &str, metric: &str) -> Option<String> {
    let mut body = String::new();
    let (mut y, mut has_faults) = (40.0, false);
    for result in &results.cases {
        let equal = result.cells.iter().filter(|cell| !cell.defaults);
        let rows: Vec<(&Cell, f64)> = equal.filter_map(|cell| Some((cell, cell.median(metric)?))).collect();
        let longest = rows.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        has_faults |= rows.iter().any(|(cell, _)| !cell.is_sound());
        if longest <= 0.0 {
            continue;
        }
        let _ = writeln!(body, r#"<text x="8" y="{:.0}" font-weight="bold">{}</text>"#, y + 4.0, result.case);
        y += 12.0;
        for (cell, value) in rows {
            let (server, mark) = (&cell.server, if cell.is_sound() { "" } else { " !" });
            let length = (value / longest * (WIDTH - LEFT - FIGURE)).max(1.0);
            let colour = if server == super::servers::GMQTT { OURS } else { THEIRS };
            let (base, end) = (y + BAR - 6.0, LEFT + length + 6.0);
            let _ = writeln!(
                body,
                r#"<text x="{:.0}" y="{base:.0}" text-anchor="end">{server}</text>
<rect x="{LEFT}" y="{y:.0}" width="{length:.1}" height="{:.0}" fill="{colour}"/>
<text x="{end:.0}" y="{base:.0}">{}{mark}</text>"#,
                LEFT - 8.0,
                BAR - 3.0,
                amount(value),
            );
            y += BAR;
        }
        y += GROUP_GAP;
    }
    if body.is_empty() {
        return None;
    }
    let legend = if has_faults { "; !: at fault" } else { "" };
    Some(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0}" viewBox="0 0 {WIDTH} {y:.0}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="8" y="22" font-size="15">{title}{legend}</text>
{body}</svg>
"##
    ))
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::one_case;
    use super::*;

    #[test]
    fn the_longest_bar_is_the_largest_figure() {
        let results = one_case("p2p-qos0", "deliveries/s", &[("gmqtt", 200.0, None), ("a", 100.0, None)]);
        let svg = bars(&results, "deliveries a second", "deliveries/s").unwrap();
        assert!(svg.contains(r#"width="620.0""#) && svg.contains(r#"width="310.0""#), "{svg}");
        assert!(svg.contains(OURS) && svg.contains("p2p-qos0"));
        assert!(bars(&results, "", "no such figure").is_none());
    }

    #[test]
    fn who_was_at_fault_is_marked() {
        let cells = [("gmqtt", 200.0, None), ("a", 100.0, Some("3 lost"))];
        let svg = bars(&one_case("p2p-qos0", "deliveries/s", &cells), "deliveries", "deliveries/s").unwrap();
        assert!(svg.contains(">100 !<") && svg.contains(">deliveries; !: at fault<"), "{svg}");
        let svg =
            bars(&one_case("p2p-qos0", "deliveries/s", &cells[..1]), "deliveries", "deliveries/s").unwrap();
        assert!(!svg.contains('!'), "{svg}");
    }
}
