//! What is kept of a run: its table, in the docs.

use super::{Results, table};
use crate::marked::Marks;
use crate::process;
use anyhow::Result;

const PAGE: &str = "docs/under-attack.md";
const MARKS: Marks = Marks {
    begin: "<!-- results: written by cargo xtask abuse --record -->",
    end: "<!-- end of results -->",
};

/// Writes the table into its page, rows that failed included.
pub(super) fn keep(results: &Results) -> Result<()> {
    MARKS.write(&process::root().join(PAGE), &table::markdown(results))?;
    println!("kept in {PAGE}");
    Ok(())
}
