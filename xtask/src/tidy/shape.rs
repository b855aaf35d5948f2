//! The shape of a file: it says what it is, and a person can hold it, and each function in it, in their head.

use super::Finding;
use crate::source::SourceFile;

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;

pub(super) fn check(file: &SourceFile, findings: &mut Vec<Finding>) {
    opens_with_its_purpose(file, findings);
    file_is_short(file, findings);
    functions_are_short(file, findings);
}

fn opens_with_its_purpose(file: &SourceFile, findings: &mut Vec<Finding>) {
    let mut lines =
        file.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("#!"));
    if !lines.next().is_some_and(|line| line.starts_with("//!")) {
        let remedy = "open it with a //! that says what it is and what it is not";
        findings.push(Finding::in_file(file, 1, "a module that does not say what it is", remedy));
    }
}

fn file_is_short(file: &SourceFile, findings: &mut Vec<Finding>) {
    let lines = file.text.lines().count();
    if lines > MAX_FILE_LINES {
        let what = format!("a file of {lines} lines (at most {MAX_FILE_LINES})");
        findings.push(Finding::in_file(file, lines, what, "split it where its sentence has an \"and\""));
    }
}

fn functions_are_short(file: &SourceFile, findings: &mut Vec<Finding>) {
    for function in &file.functions {
        let lines = function.lines.clone().count();
        if lines > MAX_FUNCTION_LINES {
            let what = format!("`{}` has {lines} lines (at most {MAX_FUNCTION_LINES})", function.name);
            findings.push(Finding::in_file(
                file,
                *function.lines.start(),
                what,
                "give its steps names of their own",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings_of;
    use super::*;

    #[test]
    fn a_module_without_a_head_is_found() {
        assert_eq!(findings_of(opens_with_its_purpose, "crates/a/src/b.rs", "use std::io;\n").len(), 1);
        assert_eq!(findings_of(opens_with_its_purpose, "crates/a/src/b.rs", "// b\n//! b\n").len(), 1);
        assert_eq!(findings_of(opens_with_its_purpose, "crates/a/src/b.rs", "").len(), 1);
        let good = "#![cfg(loom)]\n\n//! The outbox under loom.\n";
        assert_eq!(findings_of(opens_with_its_purpose, "crates/a/src/b.rs", good), [""; 0]);
    }

    #[test]
    fn a_file_of_601_lines_is_found() {
        assert_eq!(findings_of(file_is_short, "crates/a/src/b.rs", &"\n".repeat(600)), [""; 0]);
        assert_eq!(findings_of(file_is_short, "crates/a/src/b.rs", &"\n".repeat(601)).len(), 1);
    }

    #[test]
    fn a_function_of_71_lines_is_found() {
        let of_lines = |lines: usize| format!("fn long() {{{}}}\n", "\n".repeat(lines - 1));
        assert_eq!(findings_of(functions_are_short, "crates/a/src/b.rs", &of_lines(70)), [""; 0]);
        let found = findings_of(functions_are_short, "crates/a/src/b.rs", &of_lines(71));
        assert!(found[0].starts_with("crates/a/src/b.rs:1: `long` has 71 lines"), "{found:?}");
    }
}
