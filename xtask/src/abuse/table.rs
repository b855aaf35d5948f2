//! The table of the attacks: as text for whoever runs them, and in Markdown for the docs.

use super::{Results, Row};

/// All rows under a heading, and what is wrong with each below it.
pub(super) fn text(rows: &[Row]) -> String {
    let heading = format!(
        "{:<24} {:>9} {:>10} {:>10} {:>6} {:>9} {:>9}",
        "attack", "acts", "quiet p99", "p99", "ratio", "peak MiB", "bound MiB"
    );
    let faults = rows.iter().flat_map(|row| row.faults.iter().map(|fault| format!("{}: {fault}", row.name)));
    let mut lines = vec![heading];
    lines.extend(rows.iter().map(line));
    lines.extend(faults);
    lines.join("\n")
}

/// One row.
pub(super) fn line(row: &Row) -> String {
    let [acts, quiet, attacked, ratio, peak, bound] = figures(row);
    let verdict = if row.faults.is_empty() { "ok" } else { "FAILED" };
    format!(
        "{:<24} {acts:>9} {quiet:>7} ms {attacked:>7} ms {ratio:>6} {peak:>9} {bound:>9}  {verdict}",
        row.name
    )
}

/// All rows with what they are about, what is wrong with them, and where they were measured.
pub(super) fn markdown(results: &Results) -> String {
    let mut lines = vec![
        "| attack | what it does | acts | p99 before, ms | p99 beside, ms | ratio | peak, MiB | bound, MiB | |".to_owned(),
        "|---|---|---:|---:|---:|---:|---:|---:|---|".to_owned(),
    ];
    lines.extend(results.rows.iter().map(|row| {
        let verdict =
            if row.faults.is_empty() { "ok".to_owned() } else { row.faults.join("; ").replace('|', "\\|") };
        format!("| {} | {} | {} | {verdict} |", row.name, row.about, figures(row).join(" | "))
    }));
    let [before, after] = results.load;
    format!(
        "{}\n\n{} UTC, commit {}, profile `{}`, {} rounds each. {}. Load average {before:.1} before and {after:.1} at the end.\n",
        lines.join("\n"),
        results.at.trim_end_matches('Z').replace('T', " "),
        results.commit,
        results.profile,
        results.rounds,
        results.machine,
    )
}

/// Acts, milliseconds before and beside, their ratio, MiB at the peak and allowed.
fn figures(row: &Row) -> [String; 6] {
    [
        row.acts.to_string(),
        format!("{:.2}", row.quiet_p99_micros / 1e3),
        format!("{:.2}", row.attacked_p99_micros / 1e3),
        format!("{:.2}", row.ratio()),
        format!("{:.1}", row.peak_memory_mib),
        row.memory_bound_mib.to_string(),
    ]
}
