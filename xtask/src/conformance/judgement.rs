//! What the tags say of each statement, and what is wrong with that.

use super::statements::Statement;
use super::tags::Tag;
use std::collections::{BTreeMap, BTreeSet};

/// Every statement with the places that obey and prove it, and every fault found on the way.
pub(super) struct Judgement {
    pub(super) entries: Vec<Entry>,
    strays: Vec<String>,
}

/// One statement as it stands in the project.
pub(super) struct Entry {
    pub(super) statement: Statement,
    pub(super) code: BTreeSet<String>,
    pub(super) tests: BTreeSet<String>,
    pub(super) exception: Option<String>,
}

impl Judgement {
    pub(super) fn of(
        statements: &[Statement],
        tags: &[Tag],
        exceptions: &BTreeMap<String, String>,
    ) -> Judgement {
        let entry = |statement: &Statement| {
            let places = |proves: bool| {
                let ours = tags.iter().filter(|tag| tag.label == statement.label && tag.proves == proves);
                ours.map(Tag::place).collect()
            };
            Entry {
                statement: statement.clone(),
                code: places(false),
                tests: places(true),
                exception: exceptions.get(&statement.label).cloned(),
            }
        };
        let unknown = |label: &str| !statements.iter().any(|statement| statement.label == label);
        let dangling = tags.iter().filter(|tag| unknown(&tag.label)).map(|tag| {
            format!("{}:{}: [{}] is no statement of MQTT 3.1.1; mend the tag", tag.path, tag.line, tag.label)
        });
        let excepted = exceptions.keys().filter(|label| unknown(label)).map(|label| {
            format!(
                "{}: the exception {label} is no statement of MQTT 3.1.1; take it out",
                super::record::PATH
            )
        });
        let strays = dangling.chain(excepted).collect();
        Judgement { entries: statements.iter().map(entry).collect(), strays }
    }

    /// One line for each thing to mend.
    pub(super) fn faults(&self) -> Vec<String> {
        let of_entries = self.entries.iter().filter_map(Entry::fault);
        of_entries.chain(self.strays.iter().cloned()).collect()
    }

    pub(super) fn summary(&self) -> String {
        let count = |keep: fn(&&Entry) -> bool| self.entries.iter().filter(keep).count();
        format!(
            "{} statements: {} obeyed and proved, {} excepted, {} with a gap",
            self.entries.len(),
            count(|entry| entry.is_proved()),
            count(|entry| !entry.is_proved() && entry.exception.is_some()),
            count(|entry| !entry.is_proved() && entry.exception.is_none()),
        )
    }

    pub(super) fn print_table(&self) {
        for entry in &self.entries {
            let Statement { label, side, wording } = &entry.statement;
            let verdict = match (&entry.exception, entry.is_proved()) {
                (_, true) => "proved",
                (Some(_), false) => "excepted",
                (None, false) => "GAP",
            };
            println!("{label:<14} {side:<6} {verdict:<8} {wording}");
            let places = |kind: &str, places: &BTreeSet<String>| {
                for place in places {
                    println!("{:<30} {kind} {place}", "");
                }
            };
            places("code", &entry.code);
            places("test", &entry.tests);
            if let Some(reason) = &entry.exception {
                println!("{:<30} why  {reason}", "");
            }
        }
    }
}

impl Entry {
    fn is_proved(&self) -> bool {
        !self.code.is_empty() && !self.tests.is_empty()
    }

    fn fault(&self) -> Option<String> {
        let Statement { label, side, wording } = &self.statement;
        if let Some(reason) = &self.exception {
            return match (self.is_proved(), reason.trim().is_empty()) {
                (true, _) => {
                    Some(format!("{label}: obeyed and proved, yet excepted; take the exception out"))
                }
                (false, true) => Some(format!("{label}: an exception without a reason; give it one")),
                (false, false) => None,
            };
        }
        let missing = match (self.code.is_empty(), self.tests.is_empty()) {
            (false, false) => return None,
            (true, true) => "no tag in code or tests",
            (true, false) => "a test, but no tag at the code that obeys",
            (false, true) => "code, but no tag at a test that proves it",
        };
        Some(format!("{label} ({side}): {missing}: {wording}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(tags: &[(&str, bool)], exceptions: &[(&str, &str)]) -> Judgement {
        let statement = Statement {
            label: "MQTT-3.1.0-1".into(),
            side: "server".into(),
            wording: "CONNECT first".into(),
        };
        let tag = |&(label, proves): &(&str, bool)| Tag {
            label: label.into(),
            path: "crates/a/src/b.rs".into(),
            line: 7,
            function: None,
            proves,
        };
        let exceptions = exceptions.iter().map(|&(label, reason)| (label.into(), reason.into())).collect();
        Judgement::of(&[statement], &tags.iter().map(tag).collect::<Vec<_>>(), &exceptions)
    }

    #[test]
    fn code_and_test_together_are_enough() {
        let judgement = judge(&[("MQTT-3.1.0-1", false), ("MQTT-3.1.0-1", true)], &[]);
        assert_eq!(judgement.faults(), [""; 0]);
        assert_eq!(judgement.summary(), "1 statements: 1 obeyed and proved, 0 excepted, 0 with a gap");
    }

    #[test]
    fn a_gap_is_found_whatever_is_missing() {
        for tags in [&[][..], &[("MQTT-3.1.0-1", false)], &[("MQTT-3.1.0-1", true)]] {
            assert_eq!(judge(tags, &[]).faults().len(), 1, "{tags:?}");
            assert_eq!(judge(tags, &[("MQTT-3.1.0-1", "no server here")]).faults(), [""; 0]);
        }
    }

    #[test]
    fn a_dangling_tag_is_found_at_its_line() {
        let faults = judge(&[("MQTT-9.9.9-9", true)], &[("MQTT-3.1.0-1", "reason")]).faults();
        assert!(faults[0].starts_with("crates/a/src/b.rs:7: [MQTT-9.9.9-9] is no statement"), "{faults:?}");
    }

    #[test]
    fn an_exception_must_have_a_statement_a_reason_and_a_need() {
        let both = [("MQTT-3.1.0-1", false), ("MQTT-3.1.0-1", true)];
        assert!(judge(&both, &[("MQTT-3.1.0-1", "stale")]).faults()[0].contains("take the exception out"));
        assert!(judge(&[], &[("MQTT-3.1.0-1", " ")]).faults()[0].contains("without a reason"));
        assert!(judge(&both, &[("MQTT-9.9.9-9", "x")]).faults()[0].contains("no statement"));
    }
}
