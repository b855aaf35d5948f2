//! The project's list of the normative statements of MQTT 3.1.1: label, side and short wording, tab-separated.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

const PATH: &str = "docs/mqtt-3.1.1-statements.tsv";

/// One normative statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// As the standard numbers it, `MQTT-3.1.2-24`.
    pub(super) label: String,
    /// Whom it binds: `server`, `client` or `both`.
    pub(super) side: String,
    pub(super) wording: String,
}

/// In the order of the standard.
pub(super) fn read(root: &Path) -> Result<Vec<Statement>> {
    let text = fs::read_to_string(root.join(PATH)).with_context(|| format!("cannot read {PATH}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Statement>> {
    let mut statements: Vec<Statement> = Vec::new();
    for (index, line) in text.lines().enumerate().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [label, side, wording] = columns[..] else {
            bail!("{PATH}:{}: three columns expected, {} found", index + 1, columns.len());
        };
        if !label.starts_with("MQTT-") || !matches!(side, "server" | "client" | "both") {
            bail!("{PATH}:{}: not a statement: {line}", index + 1);
        }
        if statements.iter().any(|earlier| earlier.label == label) {
            bail!("{PATH}:{}: {label} stands twice", index + 1);
        }
        statements.push(Statement { label: label.into(), side: side.into(), wording: wording.into() });
    }
    if statements.is_empty() {
        bail!("{PATH} holds no statement");
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_broken_is_refused() {
        assert_eq!(parse("label\tside\twhat\nMQTT-1.5.3-1\tboth\tWhat\n").unwrap().len(), 1);
        for bad in [
            "MQTT-1.5.3-1\tboth\n",
            "MQTT-1.5.3-1\tnobody\tx\n",
            "MQTT-1-1\tboth\tx\nMQTT-1-1\tboth\tx\n",
            "",
        ] {
            assert!(parse(&format!("label\tside\twhat\n{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_projects_own_list_is_whole() {
        assert_eq!(read(&crate::process::root()).unwrap().len(), 141);
    }
}
