//! Tables that a command writes into pages of docs/, between two marks that stay.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// What stands around the table that one command writes.
pub(crate) struct Marks {
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

impl Marks {
    /// Puts the table into this page, in place of what was there.
    pub(crate) fn write(&self, page: &Path, table: &str) -> Result<()> {
        let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        let text = self.replace(&text, table).with_context(|| format!("in {}", page.display()))?;
        fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))
    }

    fn replace(&self, text: &str, table: &str) -> Result<String> {
        let Self { begin, end } = self;
        let from = text.find(begin).with_context(|| format!("no line {begin:?}"))? + begin.len();
        let to = text.find(end).filter(|to| *to >= from).with_context(|| format!("no line {end:?}"))?;
        let (before, after) = (text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
        Ok(format!("{before}\n\n{table}\n{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_what_stands_between_the_marks() {
        let marks = Marks { begin: "<!-- begin -->", end: "<!-- end -->" };
        let new = marks.replace("a\n<!-- begin -->\nold\n<!-- end -->\nb\n", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin -->\n\nnew\n\n<!-- end -->\nb\n");
        assert_eq!(marks.replace(&new, "new\n").unwrap(), new);
        assert!(marks.replace("no marks", "new").is_err());
        assert!(marks.replace("<!-- end --> <!-- begin -->", "new").is_err());
    }
}
