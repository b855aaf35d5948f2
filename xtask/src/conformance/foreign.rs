//! The socket tests of mqtt-broker pointed at another broker: where it does not do what we read in the standard.

use super::statements::Statement;
use super::tags::Tag;
use crate::process::{cargo, run_reading};
use anyhow::{Result, bail};
use std::process::Command;

const TESTS: &str = "crates/mqtt-broker/tests/conformance";

pub(super) fn judge(name: &str, addr: &str, statements: &[Statement], tags: &[Tag]) -> Result<()> {
    let mut command = cargo(&["test", "-p", "mqtt-broker", "--test", "conformance", "--no-fail-fast"]);
    let results = results(command.env("MQTT_ADDR", addr))?;
    let disagreements: Vec<&String> = results.iter().filter(|(_, ok)| !ok).map(|(test, _)| test).collect();
    println!("\n{name}: {} tests, {} disagreements", results.len(), disagreements.len());
    for test in disagreements {
        println!("  {test}");
        for statement in statements {
            if tags.iter().any(|tag| tag.label == statement.label && proves(tag, test)) {
                println!("    {}: {}", statement.label, statement.wording);
            }
        }
    }
    Ok(())
}

/// Each test, and whether it passed. That some failed is no error; that they did not come to their end is.
fn results(tests: &mut Command) -> Result<Vec<(String, bool)>> {
    let (mut results, mut has_ended) = (Vec::new(), false);
    let outcome = run_reading(tests, |line| {
        println!("{line}");
        results.extend(result_of(line));
        has_ended |= line.starts_with("test result: ");
    });
    if results.is_empty() || !has_ended {
        outcome?;
        bail!("the socket tests did not come to their end");
    }
    Ok(results)
}

/// Reads `test connect::first_packet ... ok`.
fn result_of(line: &str) -> Option<(String, bool)> {
    let (test, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    match verdict {
        "ok" => Some((test.to_owned(), true)),
        "FAILED" => Some((test.to_owned(), false)),
        _ => None,
    }
}

/// Whether a tag stands at this test: same function, and in the file of its module.
fn proves(tag: &Tag, test: &str) -> bool {
    let (module, function) = test.rsplit_once("::").unwrap_or(("main", test));
    let file = format!("{TESTS}/{}.rs", module.replace("::", "/"));
    tag.path == file && tag.function.as_deref() == Some(function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::program;

    #[test]
    fn results_are_read_from_libtest() {
        assert_eq!(result_of("test connect::first ... ok"), Some(("connect::first".into(), true)));
        assert_eq!(result_of("test connect::first ... FAILED"), Some(("connect::first".into(), false)));
        assert_eq!(result_of("test result: ok. 1 passed; 0 failed"), None);
    }

    /// Those that it had come to were listed, and the rest counted as agreement.
    #[test]
    fn tests_that_die_have_no_result() {
        let run = |script: &str| results(program("sh").args(["-c", script])).ok();
        let failed = vec![("a".to_owned(), true), ("b".to_owned(), false)];
        let lines = "echo 'test a ... ok'; echo 'test b ... FAILED'";
        assert_eq!(
            run(&format!("{lines}; echo 'test result: FAILED. 1 passed; 1 failed'; exit 101")),
            Some(failed)
        );
        assert_eq!(run(&format!("{lines}; kill -9 $$")), None);
        assert_eq!(run(lines), None);
        assert_eq!(run("echo 'test result: ok. 0 passed; 0 failed'"), None);
    }

    #[test]
    fn a_failed_test_finds_its_own_tags() {
        let tag = Tag {
            label: "MQTT-3.1.0-1".into(),
            path: format!("{TESTS}/connect.rs"),
            line: 1,
            function: Some("first".into()),
            proves: true,
        };
        assert!(proves(&tag, "connect::first"));
        assert!(!proves(&tag, "publish::first"));
        assert!(!proves(&tag, "connect_fields::first"));
        assert!(!proves(&tag, "connect::second"));
    }
}
