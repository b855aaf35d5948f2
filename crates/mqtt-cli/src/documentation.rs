//! What the documentation says one can type can be typed: every `gmqtt …` in code, by its subcommand and options. Only a test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};

use crate::arguments::Arguments;

#[test]
fn every_command_in_the_documentation_is_one() {
    let mut command = Arguments::command();
    command.build();
    let (mut seen, mut faults) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in commands(&text) {
            seen += 1;
            if let Err(fault) = check(&command, line) {
                faults.push(format!("{}: `gmqtt {line}`: {fault}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(seen > 100, "{seen}");
}

#[test]
fn what_is_no_command_is_found() {
    let mut command = Arguments::command();
    command.build();
    let page = "`gmqtt sub -v --topic a`, the `gmqtt` binary\n\n```sh\nsudo -u x target/release/gmqtt store backup A B # --x\n\
                gmqtt bench p2p -n 1 | gmqtt admin --data-dir D overview\n```\n\n```text\ngmqtt is a broker\n```\n";
    let found: Vec<&str> = commands(page).collect();
    assert_eq!(
        found,
        ["sub -v --topic a", "store backup A B", "bench p2p -n 1 ", "admin --data-dir D overview"]
    );
    for line in found {
        assert_eq!(check(&command, line), Ok(()), "{line}");
    }
    for line in ["sob -v", "sub --nothing", "sub -Y", "store --listen 1", "admin look", "bench p2p --nothing"]
    {
        assert!(check(&command, line).is_err(), "{line}");
    }
}

/// All that is for users; what was decided and what has changed may speak of what is gone.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md"), root.join("SECURITY.md"), root.join("CONTRIBUTING.md")];
    for folder in
        ["docs", "docs/operations", "docs/benchmarks", "crates/mqtt-cli", "crates/mqtt-cli/packaging"]
    {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            pages.extend(path.extension().is_some_and(|extension| extension == "md").then_some(path));
        }
    }
    pages
}

/// What stands behind `gmqtt` where it is a command: at the beginning of code in a line, and anywhere in a block for a shell.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let mut block = None;
    page.lines().flat_map(move |line| {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language) };
            return Vec::new();
        }
        match block {
            Some("sh") => in_shell(line),
            Some(_) => Vec::new(),
            None => {
                line.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("gmqtt ")).collect()
            }
        }
    })
}

/// A name or a tag that is `gmqtt` too, as an image's may be, has no subcommand behind it.
fn in_shell(line: &str) -> Vec<&str> {
    let line = line.split(" #").next().unwrap_or_default();
    let behind = |command: &'_ str| {
        let at = command.rfind("gmqtt ")?;
        let is_word = matches!(command[..at].chars().next_back(), None | Some(' ' | '/'));
        let rest = at + "gmqtt ".len();
        (is_word && command[rest..].starts_with(|first: char| first.is_ascii_lowercase())).then_some(rest)
    };
    line.split(['|', ';', '&']).filter_map(|command| command.get(behind(command)?..)).collect()
}

/// Subcommands and the names of options alone: values are often the reader's.
fn check(mut command: &Command, line: &str) -> Result<(), String> {
    let mut is_value = false;
    for word in line.split_whitespace().take_while(|word| !matches!(*word, ">" | "…")) {
        let name = command.get_name();
        if let Some(option) = word.strip_prefix("--") {
            let long = option.split('=').next().unwrap_or_default();
            has(command, |argument| {
                argument.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long))
            })
            .ok_or_else(|| format!("{name} has no --{long}"))?;
        } else if let Some(option) = word.strip_prefix('-') {
            has(command, |argument| option.starts_with(|letter| argument.get_short() == Some(letter)))
                .ok_or_else(|| format!("{name} has no -{option}"))?;
        } else if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        } else if command.get_positionals().next().is_none() && !is_value {
            return Err(format!("{name} has no {word}"));
        }
        is_value = word.starts_with('-');
    }
    Ok(())
}

fn has(command: &Command, is_it: impl Fn(&clap::Arg) -> bool) -> Option<()> {
    command.get_arguments().any(is_it).then_some(())
}
