//! How large the parts of a release are: printed, and if wished kept in the page about installing.

use super::{Release, name_of};
use crate::machine;
use crate::marked::Marks;
use crate::process;
use anyhow::Result;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the binary with everything in it should stay below.
const WANTED_BINARY_BYTES: u64 = 12 * 1024 * 1024;

const PAGE: &str = "docs/operations/install.md";
const MARKS: Marks =
    Marks { begin: "<!-- sizes: written by cargo xtask dist --record -->", end: "<!-- end of sizes -->" };

pub(super) struct Sizes {
    target: String,
    /// What the binary says of itself.
    version: String,
    binary_bytes: u64,
    /// Names and bytes of what is made of it.
    files: Vec<(String, u64)>,
    /// The newest that the binary asks for; `None` if it is static.
    glibc: Option<String>,
}

impl Sizes {
    pub(super) fn of(release: &Release, binary: &Path, files: &[&Path]) -> Result<Self> {
        let size = |file: &&Path| Ok((name_of(file), fs::metadata(file)?.len()));
        Ok(Self {
            target: release.target.name.clone(),
            version: super::first_line(Command::new(binary).arg("--version"))?,
            binary_bytes: fs::metadata(binary)?.len(),
            files: files.iter().map(size).collect::<Result<_>>()?,
            glibc: newest_glibc(binary),
        })
    }

    pub(super) fn print(&self) {
        println!("\nin {}:", super::folder().display());
        for (name, size) in &self.files {
            println!("{:>10}  {name}", mebibytes(*size));
        }
        println!("{:>10}  gmqtt itself, stripped, for {}", mebibytes(self.binary_bytes), self.target);
        if let Some(version) = &self.glibc {
            println!("it runs where the GNU C library is {version} or newer");
        }
        if self.binary_bytes > WANTED_BINARY_BYTES {
            println!("the aim, {}, is not met", mebibytes(WANTED_BINARY_BYTES));
        }
    }

    pub(super) fn keep(&self) -> Result<()> {
        let compiler = machine::output("rustc", &["--version"]);
        let day = machine::now().split('T').next().unwrap_or_default().to_owned();
        MARKS.write(&process::root().join(PAGE), &self.markdown(&compiler, &day))?;
        println!("kept in {PAGE}");
        Ok(())
    }

    fn markdown(&self, compiler: &str, day: &str) -> String {
        let mut text = "| file | size |\n|---|---:|\n".to_owned();
        let binary = ("gmqtt".to_owned(), self.binary_bytes);
        for (name, size) in [&binary].into_iter().chain(&self.files) {
            let _ = writeln!(text, "| `{name}` | {} |", mebibytes(*size));
        }
        let library = match &self.glibc {
            Some(version) => format!("for glibc {version} or newer"),
            None => "linked statically".to_owned(),
        };
        let exactly = self.binary_bytes;
        let _ = writeln!(text, "\n{}: {exactly} bytes stripped, {library}; {compiler}; {day}.", self.version);
        text
    }
}

fn mebibytes(count: u64) -> String {
    let hundredths = (count * 100 + 512 * 1024) / (1024 * 1024);
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}

fn newest_glibc(binary: &Path) -> Option<String> {
    let output = Command::new("objdump").arg("-T").arg(binary).output().ok()?;
    newest_glibc_of(&String::from_utf8_lossy(&output.stdout))
}

/// Of a list of symbols such as `0000 DF *UND* 0000 (GLIBC_2.34) pthread_join`.
fn newest_glibc_of(symbols: &str) -> Option<String> {
    let versions = symbols.split(['(', ')', ' ']).filter_map(|word| word.strip_prefix("GLIBC_"));
    let numbers =
        |version: &str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    versions.max_by_key(|version| numbers(version)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number() {
        let symbols = "0 DF *UND* 0 (GLIBC_2.9) a\n0 DF *UND* 0 (GLIBC_2.34) b\n0 DF *UND* 0 (GCC_3.0) c\n";
        assert_eq!(newest_glibc_of(symbols).as_deref(), Some("2.34"));
        assert_eq!(newest_glibc_of("0 DF .text 0 Base d\n"), None);
    }

    #[test]
    fn what_is_kept_says_of_what_it_is() {
        let sizes = Sizes {
            target: "x".into(),
            version: "gmqtt 1.0 (abc)".into(),
            binary_bytes: 12_052_384,
            files: vec![("gmqtt-1.0-x.deb".into(), 3 * 1024 * 1024)],
            glibc: None,
        };
        assert_eq!(
            sizes.markdown("rustc 1.95.0", "2026-11-26"),
            "| file | size |\n|---|---:|\n| `gmqtt` | 11.49 MiB |\n| `gmqtt-1.0-x.deb` | 3.00 MiB |\n\n\
             gmqtt 1.0 (abc): 12052384 bytes stripped, linked statically; rustc 1.95.0; 2026-11-26.\n"
        );
    }
}
