//! Words that may not stand in a layer's code: its clock, its runtime, its locks; and words that may stand nowhere.

use super::Finding;
use crate::source::SourceFile;

pub(super) fn check(file: &SourceFile, findings: &mut Vec<Finding>) {
    tokio_stays_in_net(file, findings);
    no_clock_below_net(file, findings);
    codec_is_sans_io(file, findings);
    nothing_unfinished(file, findings);
    ignored_tests_say_why(file, findings);
}

fn tokio_stays_in_net(file: &SourceFile, findings: &mut Vec<Finding>) {
    if !is_below_net(file) {
        return;
    }
    for line in file.code_lines_with(&["tokio"]) {
        let remedy = "move it to net/, or take what it gives as an argument";
        findings.push(Finding::in_file(file, line, "tokio outside net/", remedy));
    }
}

fn no_clock_below_net(file: &SourceFile, findings: &mut Vec<Finding>) {
    const CLOCKS: [&[&str]; 3] =
        [&["Instant", ":", ":", "now"], &["SystemTime", ":", ":", "now"], &[".", "elapsed", "("]];
    if !is_below_net(file) {
        return;
    }
    for line in CLOCKS.iter().flat_map(|clock| file.code_lines_with(clock)) {
        findings.push(Finding::in_file(file, line, "a clock below net/", "take the time as an argument"));
    }
}

fn codec_is_sans_io(file: &SourceFile, findings: &mut Vec<Finding>) {
    const FOREIGN: [&str; 8] =
        ["Instant", "SystemTime", "Mutex", "RwLock", "TcpStream", "TcpListener", "UdpSocket", "SocketAddr"];
    if !file.path.starts_with("crates/mqtt-codec/src/") {
        return;
    }
    for word in FOREIGN {
        for line in file.code_lines_with(&[word]) {
            let what = format!("`{word}` in mqtt-codec");
            let remedy = "the codec has no time, no lock and no socket: it belongs above";
            findings.push(Finding::in_file(file, line, what, remedy));
        }
    }
}

fn nothing_unfinished(file: &SourceFile, findings: &mut Vec<Finding>) {
    for word in ["todo", "unimplemented", "dbg"] {
        for line in file.lines_with(&[word, "!"]) {
            findings.push(Finding::in_file(file, line, format!("`{word}!`"), "finish it or take it out"));
        }
    }
}

fn ignored_tests_say_why(file: &SourceFile, findings: &mut Vec<Finding>) {
    for line in file.lines_with(&["#", "[", "ignore", "]"]) {
        let remedy = "say why: #[ignore = \"reason\"], or let it run";
        findings.push(Finding::in_file(file, line, "a test that is ignored without a reason", remedy));
    }
}

/// Code that must work without runtime and clock: all of the codec and the router, and the broker but for `net/`.
fn is_below_net(file: &SourceFile) -> bool {
    let broker = "crates/mqtt-broker/src/";
    let net =
        file.path.starts_with("crates/mqtt-broker/src/net/") || file.path == "crates/mqtt-broker/src/net.rs";
    let lower = ["crates/mqtt-codec/src/", "crates/mqtt-router/src/", broker];
    !net && lower.iter().any(|folder| file.path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::super::findings_of;
    use super::*;

    const BELOW: &str = "crates/mqtt-broker/src/session/outbox.rs";
    const NET: &str = "crates/mqtt-broker/src/net/tcp.rs";

    #[test]
    fn tokio_is_found_outside_net_alone() {
        let code = "use tokio::net::TcpStream;\nfn f() { tokio::spawn(async {}); }\n";
        assert_eq!(findings_of(tokio_stays_in_net, BELOW, code).len(), 2);
        assert_eq!(findings_of(tokio_stays_in_net, NET, code), [""; 0]);
        assert_eq!(findings_of(tokio_stays_in_net, "crates/mqtt-broker/tests/it/main.rs", code), [""; 0]);
        let test = "/// Needs `tokio::main`.\n#[cfg(test)]\nmod tests { use tokio::net; }\n";
        assert_eq!(findings_of(tokio_stays_in_net, BELOW, test), [""; 0]);
    }

    #[test]
    fn each_spelling_of_the_clock_is_found_below_net() {
        for code in ["Instant::now()", "std::time::SystemTime::now()", "start.elapsed()"] {
            let code = format!("fn f() {{ {code}; }}");
            for path in [BELOW, "crates/mqtt-codec/src/a.rs", "crates/mqtt-router/src/a.rs"] {
                assert_eq!(findings_of(no_clock_below_net, path, &code).len(), 1, "{path}: {code}");
            }
            assert_eq!(findings_of(no_clock_below_net, NET, &code), [""; 0]);
        }
        assert_eq!(findings_of(no_clock_below_net, BELOW, "fn f(now: Instant) {}"), [""; 0]);
    }

    #[test]
    fn sockets_time_and_locks_are_found_in_the_codec() {
        let code = "use std::{net::TcpStream, sync::Mutex};";
        assert_eq!(findings_of(codec_is_sans_io, "crates/mqtt-codec/src/a.rs", code).len(), 2);
        assert_eq!(findings_of(codec_is_sans_io, "crates/mqtt-router/src/a.rs", code), [""; 0]);
    }

    #[test]
    fn unfinished_work_is_found_in_tests_too() {
        let code = "#[test]\nfn f() { todo!(); dbg!(1); unimplemented!() }";
        assert_eq!(findings_of(nothing_unfinished, "crates/a/tests/b.rs", code).len(), 3);
    }

    #[test]
    fn a_test_ignored_without_a_reason_is_found() {
        assert_eq!(findings_of(ignored_tests_say_why, BELOW, "#[test]\n#[ignore]\nfn f() {}").len(), 1);
        assert_eq!(findings_of(ignored_tests_say_why, BELOW, "#[ignore = \"slow\"]\nfn f() {}"), [""; 0]);
    }
}
