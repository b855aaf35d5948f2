//! What figures have to be read with: the machine that they were measured on, and what else it did.

use crate::process::program;
use std::fs;

/// What a command prints, without its line end; empty if it cannot be asked.
pub(crate) fn output(command: &str, arguments: &[&str]) -> String {
    let output = program(command).args(arguments).output();
    output.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(out.stdout.trim_ascii()).into_owned())
}

/// Its processors and its kernel.
pub(crate) fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let system = output("uname", &["-srm"]);
    format!("{processors} x {}, {system}", model.trim_start_matches([':', ' ', '\t']))
}

/// Processes that wanted a processor in the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// Now, in UTC, to the second.
pub(crate) fn now() -> String {
    output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
}

/// The commit, and whether the sources differ from it.
pub(crate) fn commit() -> String {
    output("git", &["describe", "--always", "--dirty"])
}
