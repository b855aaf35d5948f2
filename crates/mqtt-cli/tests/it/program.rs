//! What is the same in every subcommand: help, version, mistakes, completions, closed pipes.

use std::process::{Command, Stdio};

use super::harness::{Broker, Gmqtt};

fn run(arguments: &[&str]) -> super::harness::Ended {
    Gmqtt::start(arguments).ended()
}

#[test]
fn version_names_the_commit() {
    let version = run(&["--version"]).output();
    let commit = version[0].strip_prefix(concat!("gmqtt ", env!("CARGO_PKG_VERSION"), " (")).unwrap();
    let commit = commit.strip_suffix(')').unwrap();
    let is_commit = commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{version:?}");
}

#[test]
fn help_is_there_for_all_and_tells_the_exit_codes() {
    let help = run(&["--help"]).output().join("\n");
    for word in ["serve", "pub", "sub", "completions", "Exit codes"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    for subcommand in ["serve", "pub", "sub", "completions"] {
        assert!(!run(&[subcommand, "--help"]).output().is_empty());
    }
    let limits = run(&["serve", "--help"]).output().join("\n");
    // However its lines are broken.
    let limits = limits.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(limits.contains("--max-packet-size <SIZE>") && limits.contains("[default: 2MiB]"), "{limits}");
}

#[test]
fn a_mistake_is_one_line_and_exit_code_2() {
    let table: [(&[&str], &str); 10] = [
        (&["--frobnicate"], "--frobnicate"),
        (&["pub"], "--topic"),
        (&["pub", "-t", "a"], "--message"),
        (&["pub", "-t", "a", "-m", "x", "-n"], "cannot be used with"),
        (&["pub", "-t", "a/#", "-m", "x"], "wildcards"),
        (&["pub", "-t", "a", "-m", "x", "-q", "3"], "a QoS is 0, 1 or 2"),
        (&["pub", "-t", "a", "-m", "x", "-c"], "-c takes -i"),
        (&["sub", "-t", "a", "-F", "%z"], "%z means nothing here"),
        (&["sub", "-t", "a", "-V", "5"], "only MQTT 3.1.1"),
        (&["serve", "--max-packet-size", "2 apples"], "not a size"),
    ];
    for (arguments, part) in table {
        let line = run(arguments).complaint(2);
        assert!(line.starts_with("gmqtt: ") && line.contains(part), "{arguments:?}: {line}");
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    for (shell, part) in
        [("bash", "complete -F _gmqtt"), ("zsh", "#compdef gmqtt"), ("fish", "complete -c gmqtt")]
    {
        let script = run(&["completions", shell]).output().join("\n");
        assert!(script.contains(part) && script.contains("max-inflight"), "{shell}");
    }
    assert!(run(&["completions", "cobol"]).complaint(2).contains("possible values"));
}

#[test]
fn manual_pages_are_written_for_each_subcommand() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("man1");
    assert_eq!(run(&["man", inner.to_str().unwrap()]).output(), [""; 0]);
    for (page, part) in
        [("gmqtt.1", "Exit codes"), ("gmqtt-serve.1", "max\\-inflight"), ("gmqtt-pub.1", "SYNOPSIS")]
    {
        let text = std::fs::read_to_string(inner.join(page)).unwrap();
        assert!(text.contains(part), "{page}: {text}");
    }
    assert!(run(&["man", "/dev/null/here"]).complaint(1).contains("cannot make /dev/null/here"));
}

/// A pipe that is closed at its other end from the beginning.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn nobody_reading_is_no_error() {
    let broker = Broker::start();
    broker.publish(&["-t", "kept", "-m", "x", "-r"]);
    let port = broker.address.port().to_string();
    let endless: [&[&str]; 3] = [
        &["completions", "bash"],
        &["serve", "--help"],
        &["sub", "-h", "127.0.0.1", "-p", &port, "-t", "kept"],
    ];
    for arguments in endless {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
        let ended = command.args(arguments).stdin(Stdio::null()).stdout(closed_pipe()).output().unwrap();
        assert!(ended.status.success(), "{arguments:?} {ended:?}");
        assert!(ended.stderr.is_empty(), "{arguments:?} {ended:?}");
    }
}
