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
    format!(
        "{:<24} {:>9} {:>7.2} ms {:>7.2} ms {:>6.2} {:>9.1} {:>9}  {}",
        row.name,
        row.acts,
        row.quiet_p99_micros / 1e3,
        row.attacked_p99_micros / 1e3,
        row.attacked_p99_micros / row.quiet_p99_micros,
        row.peak_memory_mib,
        row.memory_bound_mib,
        if row.faults.is_empty() { "ok" } else { "FAILED" },
    )
}

/// All rows with what they are about, what is wrong with them, and where they were measured.
pub(super) fn markdown(results: &Results) -> String {
    let mut lines = vec![
        "| attack | what it does | acts | p99 before, ms | p99 beside, ms | ratio | peak, MiB | bound, MiB | |".to_owned(),
        "|---|---|---:|---:|---:|---:|---:|---:|---|".to_owned(),
    ];
    lines.extend(results.rows.iter().map(|row| {
        format!(
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.1} | {} | {} |",
            row.name,
            row.about,
            row.acts,
            row.quiet_p99_micros / 1e3,
            row.attacked_p99_micros / 1e3,
            row.attacked_p99_micros / row.quiet_p99_micros,
            row.peak_memory_mib,
            row.memory_bound_mib,
            if row.faults.is_empty() { "ok".to_owned() } else { row.faults.join("; ").replace('|', "\\|") },
        )
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
