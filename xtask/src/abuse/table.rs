//! The table of the attacks, as text.

use super::Row;

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
