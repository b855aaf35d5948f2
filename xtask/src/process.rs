//! Starting other programs: always from the top of the workspace, always named in full before they run.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The top folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from))
}

/// The `cargo` that started us (a toolchain override included), run from the top of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = program(std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from));
    command.args(arguments);
    command
}

/// Any program, run from the top of the workspace.
pub(crate) fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
    command.current_dir(root());
    command
}

/// Runs to the end with our own standard output and error; anything but exit code 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let spelled = announce(command);
    let status = command.status().with_context(|| format!("cannot start `{spelled}`"))?;
    if !status.success() {
        bail!("`{spelled}` failed ({status})");
    }
    Ok(())
}

/// Sends a signal to a process that we have started. By the shell's own `kill`: a bare machine lacks the program.
pub(crate) fn signal(process: &Child, name: &str) -> Result<()> {
    let id = process.id().to_string();
    let status = program("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status()?;
    ensure!(status.success(), "cannot send {name} to process {id}");
    Ok(())
}

/// How many tests a run of `cargo test` says that it executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Reads one of libtest's closing lines, `test result: ok. 3 passed; 0 failed; …`; any other line counts nothing.
    fn of_line(line: &str) -> Tally {
        let Some((_, counts)) = line.split_once("test result:") else { return Tally::default() };
        let words: Vec<&str> = counts.split_whitespace().collect();
        let number_before = |word: &str| {
            let pair = words.windows(2).find(|pair| pair[1].trim_end_matches(';') == word);
            pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        Tally { passed: number_before("passed"), failed: number_before("failed") }
    }
}

/// Like [`run`], passing the standard output on line by line while counting the tests in it.
///
/// The counts come back whether or not the run failed.
pub(crate) fn run_counting(command: &mut Command) -> (Tally, Result<()>) {
    let mut tally = Tally::default();
    let outcome = run_reading(command, |line| {
        println!("{line}");
        tally.add(Tally::of_line(line));
    });
    (tally, outcome)
}

/// Like [`run`], handing each line of the standard output to `each_line` instead of showing it.
pub(crate) fn run_reading(command: &mut Command, mut each_line: impl FnMut(&str)) -> Result<()> {
    let spelled = announce(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{spelled}`"))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            each_line(&String::from_utf8_lossy(&line?));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{spelled}` failed ({status})");
    }
    Ok(())
}

/// Prints the command as a person would type it.
fn announce(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(key, value)| Some(format!("{}='{}'", key.to_string_lossy(), value?.to_string_lossy())))
        .collect();
    let program = Path::new(command.get_program());
    words.push(program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned());
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    let spelled = words.join(" ");
    eprintln!("$ {spelled}");
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_closing_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::of_line(line), Tally { passed: 12, failed: 3 });
        assert_eq!(Tally::of_line("test parses_a_result ... ok"), Tally::default());
    }

    #[test]
    fn a_failing_program_is_an_error_and_its_count_is_kept() {
        let (tally, outcome) = run_counting(
            program("sh").args(["-c", "echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 3"]),
        );
        assert_eq!(tally, Tally { passed: 1, failed: 1 });
        assert!(outcome.is_err());
        assert!(run(&mut program("no-such-program-anywhere")).is_err());
    }
}
