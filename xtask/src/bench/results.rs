//! What a run of `cargo xtask bench` found: every round of every case and server, kept as JSON.
//!
//! Data and its medians; what the figures should be is in [`super::aims`], how they are shown in [`super::table`].

use super::servers::{self, GMQTT, RELAY};
use crate::median::median;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One run.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) at: String,
    pub(super) machine: String,
    pub(super) commit: String,
    pub(super) rustc: String,
    pub(super) command: String,
    pub(super) quick: bool,
    pub(super) rounds: usize,
    /// Processes that wanted a processor in the last minute, when it began and when it ended.
    pub(super) load: [f64; 2],
    pub(super) servers: Vec<Measured>,
    pub(super) cases: Vec<CaseResult>,
}

/// Who was measured.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) defaults: bool,
    pub(super) version: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CaseResult {
    pub(super) case: String,
    pub(super) cells: Vec<Cell>,
}

/// One server in one case.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) server: String,
    pub(super) defaults: bool,
    pub(super) rounds: Vec<Round>,
}

/// One round: its figures by their names, and what went wrong.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Round {
    pub(super) figures: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) fault: Option<String>,
}

impl Results {
    pub(super) fn load(path: &Path) -> Result<Results> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Results::parse(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn parse(text: &str) -> Result<Results> {
        serde_json::from_str(text).context("these are not the results of cargo xtask bench")
    }

    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Takes the cases of a later run of the same size, of the same servers on the same machine; what both have, it
    /// replaces. A table names one build and one version of each.
    pub(super) fn merge(&mut self, later: Results) -> Result<()> {
        if self.servers != later.servers || self.machine != later.machine {
            bail!(
                "results of other servers, of other versions of them or of another machine cannot be merged"
            );
        }
        if self.commit != later.commit || self.quick != later.quick {
            bail!("results of another commit or of another size (--quick) cannot be merged");
        }
        let replaced = |case: &CaseResult| later.cases.iter().any(|new| new.case == case.case);
        self.cases.retain(|case| !replaced(case));
        let cases = std::mem::take(&mut self.cases);
        *self = later;
        self.cases.extend(cases);
        Ok(())
    }

    pub(super) fn case(&self, name: &str) -> Option<&CaseResult> {
        self.cases.iter().find(|result| result.case == name)
    }

    /// The cases in which ours was at fault, with any settings.
    pub(super) fn failed_by_gmqtt(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for result in &self.cases {
            for cell in result.cells.iter().filter(|cell| cell.server == GMQTT && !cell.is_sound()) {
                failed.push(format!("{} {}: {}", result.case, cell.label(), cell.faults().join("; ")));
            }
        }
        failed
    }

    /// The names of the servers, each once, ours first.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for server in &self.servers {
            if !names.contains(&server.name.as_str()) {
                names.push(server.name.as_str());
            }
        }
        names
    }
}

impl CaseResult {
    pub(super) fn cell(&self, server: &str, defaults: bool) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.server == server && cell.defaults == defaults)
    }

    pub(super) fn gmqtt(&self, metric: &str) -> Option<f64> {
        self.cell(GMQTT, false)?.median(metric)
    }

    pub(super) fn relay(&self, metric: &str) -> Option<f64> {
        self.cell(RELAY, false)?.median(metric)
    }

    /// The peers that did the case without fault.
    pub(super) fn sound_peers(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| cell.server != GMQTT && cell.server != RELAY && cell.is_sound())
    }
}

impl Cell {
    pub(super) fn label(&self) -> String {
        servers::label(&self.server, self.defaults)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.rounds.iter().all(|round| round.fault.is_none())
    }

    /// Each different fault once.
    pub(super) fn faults(&self) -> Vec<&str> {
        let mut faults: Vec<&str> = self.rounds.iter().filter_map(|round| round.fault.as_deref()).collect();
        faults.sort_unstable();
        faults.dedup();
        faults
    }

    /// Of all rounds that have the figure, in ascending order.
    pub(super) fn values(&self, metric: &str) -> Vec<f64> {
        let found = self.rounds.iter().filter_map(|round| round.figures.get(metric).copied());
        let mut values: Vec<f64> = found.collect();
        values.sort_by(f64::total_cmp);
        values
    }

    pub(super) fn median(&self, metric: &str) -> Option<f64> {
        let values = self.values(metric);
        (!values.is_empty()).then(|| median(&values))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One case, a round of each server with one metric.
    pub(in super::super) fn one_case(
        case: &str,
        metric: &str,
        cells: &[(&str, f64, Option<&str>)],
    ) -> Results {
        let cell = |(server, value, fault): &(&str, f64, Option<&str>)| Cell {
            server: (*server).into(),
            defaults: false,
            rounds: vec![Round {
                figures: BTreeMap::from([(metric.into(), *value)]),
                fault: fault.map(Into::into),
            }],
        };
        let measured = |(server, ..): &(&str, f64, Option<&str>)| Measured {
            name: (*server).into(),
            defaults: false,
            version: String::new(),
        };
        Results {
            servers: cells.iter().map(measured).collect(),
            cases: vec![CaseResult { case: case.into(), cells: cells.iter().map(cell).collect() }],
            ..Results::default()
        }
    }

    #[test]
    fn the_median_is_in_the_middle_and_json_keeps_everything() {
        let round = |value: f64| Round { figures: BTreeMap::from([("x".into(), value)]), fault: None };
        let mut cell =
            Cell { server: "a".into(), defaults: false, rounds: vec![round(9.0), round(1.0), round(2.0)] };
        assert_eq!(cell.median("x"), Some(2.0));
        cell.rounds.push(round(4.0));
        assert_eq!(cell.median("x"), Some(3.0));
        assert_eq!(cell.median("y"), None);

        let results = one_case("p2p-qos0", "x", &[("gmqtt", 1.0, None), ("b", 2.0, Some("3 lost"))]);
        let read = Results::parse(&results.json().unwrap()).unwrap();
        let case = read.case("p2p-qos0").unwrap();
        assert_eq!(case.gmqtt("x"), Some(1.0));
        assert_eq!(case.cell("b", false).unwrap().faults(), ["3 lost"]);
        assert_eq!(case.sound_peers().count(), 0);
    }

    #[test]
    fn what_we_fail_is_named_and_what_others_fail_is_not() {
        let failed = |ours, theirs| {
            one_case("p2p-qos0", "x", &[("gmqtt", 1.0, ours), ("b", 2.0, theirs)]).failed_by_gmqtt()
        };
        assert_eq!(failed(Some("1 lost"), None), ["p2p-qos0 gmqtt: 1 lost"]);
        assert!(failed(None, Some("1 lost")).is_empty());
    }

    #[test]
    fn results_of_other_programs_or_sizes_are_not_one_table() {
        let run = || {
            let mut results = one_case("p2p-qos0", "x", &[("gmqtt", 1.0, None)]);
            results.commit = "aaaaaaa".into();
            results
        };
        run().merge(run()).unwrap();
        let mut of_another_commit = run();
        of_another_commit.commit = "bbbbbbb".into();
        let mut quick = run();
        quick.quick = true;
        let mut of_another_version = run();
        of_another_version.servers[0].version = "2".into();
        for other in [of_another_commit, quick, of_another_version] {
            assert!(run().merge(other).is_err());
        }
    }
}
