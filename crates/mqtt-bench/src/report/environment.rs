//! Where and how a result came to be: without it a figure says nothing.

use std::{env, fs, thread, time::SystemTime};

use serde::{Deserialize, Serialize};

/// The machine, the software and the command of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's name.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// The operating system and its version.
    pub system: String,
    /// This program's version.
    pub generator: String,
    /// The command line of the server, where its process is known.
    pub server: String,
    /// The command line of the generator.
    pub command: String,
    /// When it began, RFC 3339, UTC.
    pub at: String,
}

impl Environment {
    /// Reads what this machine says of itself; passwords on the command line are left out.
    pub(crate) fn read(server_pid: Option<u32>) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kibibytes = field(&text("/proc/meminfo"), "MemTotal:").and_then(|value| {
            value.split_ascii_whitespace().next().and_then(|count| count.parse::<u64>().ok())
        });
        Self {
            processor: field(&text("/proc/cpuinfo"), "model name")
                .unwrap_or_else(|| env::consts::ARCH.into()),
            processors: thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kibibytes.unwrap_or(0) * 1024,
            system: format!("{} {}", env::consts::OS, text("/proc/sys/kernel/osrelease").trim()),
            generator: concat!("mqtt-bench ", env!("CARGO_PKG_VERSION")).into(),
            server: server_pid.map(|pid| words(&text(&format!("/proc/{pid}/cmdline")))).unwrap_or_default(),
            command: without_passwords(env::args_os().map(|word| word.to_string_lossy().into_owned())),
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        }
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim_start_matches([':', ' ', '\t']).trim().into())
}

fn words(command_line: &str) -> String {
    without_passwords(command_line.split('\0').filter(|word| !word.is_empty()).map(String::from))
}

fn without_passwords(words: impl Iterator<Item = String>) -> String {
    let mut hide_next = false;
    let shown = words.map(|word| {
        let hide = std::mem::take(&mut hide_next);
        let short = short_password(&word);
        hide_next = !hide && (short == Some("") || matches!(word.as_str(), "-pwd" | "--pwd" | "--password"));
        let joined =
            word.split_once('=').filter(|(flag, _)| flag.ends_with("password") || flag.ends_with("pwd"));
        match (short.filter(|password| !password.is_empty()), joined) {
            _ if hide => "***".into(),
            // There may be anything in it, what looks like a flag too.
            (Some(password), _) => format!("{}***", word.strip_suffix(password).unwrap_or_default()),
            (None, Some((flag, _))) => format!("{flag}=***"),
            (None, None) => word,
        }
    });
    shown.collect::<Vec<String>>().join(" ")
}

/// What stands behind `-P` in the same word, be it after `-q`, the one flag that may come before it.
fn short_password(word: &str) -> Option<&str> {
    word.strip_prefix('-')?.trim_start_matches('q').strip_prefix('P')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_kept() {
        let line = ["bench", "-P", "secret", "--password=secret", "-pwd", "secret", "-p", "1883"];
        let shown = without_passwords(line.into_iter().map(String::from));
        assert_eq!(shown, "bench -P *** --password=*** -pwd *** -p 1883");
        let line = [
            "bench",
            "-Psecret",
            "-P=secret",
            "-qPsecret",
            "-qP",
            "secret",
            "-Ppwd=x",
            "-hP.org",
            "-pwd=secret",
        ];
        let shown = without_passwords(line.into_iter().map(String::from));
        assert_eq!(shown, "bench -P*** -P*** -qP*** -qP *** -P*** -hP.org -pwd=***");
    }
}
