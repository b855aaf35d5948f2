//! `gmqtt pub` and `gmqtt sub` against `gmqtt serve`.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use super::harness::Broker;

#[test]
fn each_qos_makes_the_round_trip() {
    let broker = Broker::start();
    for qos in ["0", "1", "2"] {
        let sub = broker.subscribed(&["-t", "a/+", "-q", qos, "-C", "2", "-F", "%t %p %q %r"]);
        broker.publish(&["-t", "a/b", "-m", "first", "-q", qos]);
        broker.publish(&["-t", "a/c", "-m", "second", "-q", "2"]);
        let ended = sub.ended();
        assert!(ended.status.success());
        assert_eq!(ended.stdout, [format!("a/b first {qos} 0"), format!("a/c second {qos} 0")]);
    }
}

/// [MQTT-7.1.2-1]
#[test]
fn lines_arrive_in_their_order_and_whole() {
    let broker = Broker::start();
    for qos in ["0", "1", "2"] {
        let sub = broker.subscribed(&["-t", "lines", "-q", "2", "-C", "1001"]);
        let lines: Vec<String> = (0..1000).map(|number| format!("line {number}")).collect();
        let input = format!("{}\r\nno end of line", lines.join("\n"));
        let sent = broker.client_with_input(&["pub", "-t", "lines", "-l", "-q", qos], input.as_bytes());
        assert_eq!(sent.ended().output(), [""; 0]);
        let printed = sub.ended().stdout;
        assert_eq!(printed[..1000], lines[..], "QoS {qos}");
        assert_eq!(printed[1000], "no end of line");
    }
}

#[test]
fn a_whole_standard_input_or_file_is_one_message() {
    let broker = Broker::start();
    let sub = broker.subscribed(&["-t", "whole", "-C", "2", "-F", "%x"]);
    let sent = broker.client_with_input(&["pub", "-t", "whole", "-s"], b"a\nb\0\xff");
    assert_eq!(sent.ended().output(), [""; 0]);
    let path = std::env::temp_dir().join(format!("gmqtt-test-{}", std::process::id()));
    std::fs::write(&path, b"\0file\n").unwrap();
    broker.publish(&["-t", "whole", "-f", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(sub.ended().stdout, ["610a6200ff", "0066696c650a"]);
    let missing = broker.client(&["pub", "-t", "whole", "-f", path.to_str().unwrap()]).ended().complaint(1);
    assert!(missing.contains("cannot read") && missing.contains("No such file"), "{missing}");
}

#[test]
fn a_retained_message_is_kept_until_a_null_message_removes_it() {
    let broker = Broker::start();
    broker.publish(&["-t", "kept", "-m", "x", "-r"]);
    let printed = broker.client(&["sub", "-t", "kept", "-C", "1", "-F", "%r %p"]).ended().output();
    assert_eq!(printed, ["1 x"]);
    let null = broker.subscribed(&["-t", "kept", "-R", "-v", "-C", "1"]);
    broker.publish(&["-t", "kept", "-n", "-r"]);
    assert_eq!(null.ended().stdout, ["kept (null)"], "-R leaves the retained one out");
    let nothing = broker.client(&["sub", "-t", "kept", "-W", "0.2"]).ended();
    assert_eq!(nothing.stdout, [""; 0]);
    assert_eq!(nothing.complaint(27), "gmqtt: timed out");
}

#[test]
fn retained_messages_alone() {
    let broker = Broker::start();
    broker.publish(&["-t", "kept/1", "-m", "one", "-r"]);
    broker.publish(&["-t", "kept/2", "-m", "two", "-r"]);
    let sub = broker.client(&["sub", "-t", "kept/#", "--retained-only"]);
    let mut printed = [sub.line(), sub.line()];
    printed.sort();
    assert_eq!(printed, ["one", "two"]);
    broker.publish(&["-t", "kept/1", "-m", "new"]);
    assert_eq!(sub.ended().output(), [""; 0], "a message that is not retained ends it");
}

#[test]
fn topics_are_filtered_out() {
    let broker = Broker::start();
    let sub = broker.subscribed(&["-t", "a/#", "-T", "a/b/+", "-T", "a/c", "-C", "1", "-v", "-N"]);
    for topic in ["a/b/x", "a/c", "a/d"] {
        broker.publish(&["-t", topic, "-m", "x", "-q", "1"]);
    }
    assert_eq!(sub.ended().stdout, ["a/d x"]);
}

#[test]
fn a_message_may_look_like_a_flag() {
    let broker = Broker::start();
    let sub = broker.subscribed(&["-t", "a", "-F", "-%p-", "-C", "1"]);
    broker.publish(&["-t", "a", "-m", "-5"]);
    assert_eq!(sub.ended().stdout, ["--5-"]);
}

#[test]
fn a_message_is_repeated() {
    let broker = Broker::start();
    let sub = broker.subscribed(&["-t", "a", "-C", "3"]);
    broker.publish(&["-t", "a", "-m", "again", "--repeat", "3", "--repeat-delay", "0.01", "-q", "1"]);
    assert_eq!(sub.ended().stdout, ["again"; 3]);
}

#[test]
fn a_stored_session_waits_for_its_client() {
    let broker = Broker::start();
    let session = ["-i", "me", "-c", "-q", "2"];
    let sub = |more: &[&str]| {
        broker.client(&[&["sub", "-t", "stored"], &session[..], more].concat()).ended().output()
    };
    assert_eq!(sub(&["-E"]), [""; 0]);
    broker.publish(&["-t", "stored", "-m", "one", "-q", "2"]);
    broker.publish(&["-t", "stored", "-m", "two", "-q", "1"]);
    assert_eq!(sub(&["-C", "1"]), ["one"]);
    assert_eq!(sub(&["-C", "1"]), ["two"], "what was not printed was not acknowledged");
    assert_eq!(sub(&["-U", "stored", "-E"]), [""; 0]);
}

/// Not acknowledged, so that it comes again: the disk was full, or whoever read the pipe has gone.
#[cfg(target_os = "linux")]
#[test]
fn what_could_not_be_printed_waits_for_the_next() {
    let broker = Broker::start();
    let session = ["-i", "keep", "-c", "-t", "k/#"];
    let (host, port) = (broker.address.ip().to_string(), broker.address.port().to_string());
    for qos in ["1", "2"] {
        let sub = ["sub", "-q", qos];
        broker.client(&[&sub[..], &session, &["-E"]].concat()).ended().output();
        broker.publish(&["-t", "k/1", "-m", "precious", "-q", qos]);
        let closed = std::io::pipe().unwrap().1;
        let full = std::fs::File::create("/dev/full").unwrap();
        for (output, code) in [(Stdio::from(closed), 0), (Stdio::from(full), 1)] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
            command.args(sub).args(session).args(["-C", "5", "-W", "20", "-h", &host, "-p", &port]);
            let status = command.stdout(output).stderr(Stdio::null()).status().unwrap();
            assert_eq!(status.code(), Some(code));
        }
        let printed = broker.client(&[&sub[..], &session, &["-C", "1"]].concat()).ended().output();
        assert_eq!(printed, ["precious"], "QoS {qos}");
    }
}

#[test]
fn several_filters_are_subscribed_to_at_once() {
    let broker = Broker::start();
    let sub = broker.subscribed(&["-t", "a", "-t", "b/+", "-t", "$share/group/c", "-C", "3", "-v"]);
    for topic in ["a", "b/x", "c"] {
        broker.publish(&["-t", topic, "-m", "x", "-q", "1"]);
    }
    assert_eq!(sub.ended().stdout, ["a x", "b/x x", "c x"]);
}

#[test]
fn a_large_message_makes_the_round_trip() {
    let broker = Broker::start();
    let sub = broker.subscribed(&["-t", "large", "-q", "2", "-C", "1", "-F", "%l"]);
    let payload = vec![b'x'; 1024 * 1024];
    let sent = broker.client_with_input(&["pub", "-t", "large", "-s", "-q", "2"], &payload);
    assert_eq!(sent.ended().output(), [""; 0]);
    assert_eq!(sub.ended().stdout, ["1048576"]);
}

#[test]
fn a_will_is_published_when_a_client_is_cut_and_not_when_it_leaves() {
    let broker = Broker::start();
    let sub = broker.subscribed(&["-t", "will/#", "-v"]);
    let will = |topic| ["-t", "x", "--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"];

    // CONNECT with a will, and then nothing but a closed socket.
    let mut socket = broker.socket();
    socket.write_all(b"\x10\x1e\0\x04MQTT\x04\x06\0\0\0\x03raw\0\x08will/raw\0\x03cut").unwrap();
    socket.read_exact(&mut [0; 4]).unwrap();
    drop(socket);
    assert_eq!(sub.line(), "will/raw cut");

    let mut killed = broker.subscribed(&will("will/killed"));
    killed.kill();
    assert_eq!(sub.line(), "will/killed gone");

    #[cfg(unix)]
    {
        let left = broker.subscribed(&will("will/left"));
        left.signal(rustix::process::Signal::INT);
        assert!(left.ended().status.success());
    }
    let counted = broker.subscribed(&[&will("will/counted")[..], &["-C", "1"]].concat());
    broker.publish(&["-t", "x", "-m", "x"]);
    assert!(counted.ended().status.success());
    broker.publish(&["-t", "will/last", "-m", "message"]);
    assert_eq!(sub.line(), "will/last message", "neither left a will");
}

#[test]
fn debug_tells_what_is_sent_and_received() {
    let broker = Broker::start();
    let sent = broker.client(&["pub", "-t", "a", "-m", "x", "-q", "2", "-d"]).ended();
    let packets = ["CONNECT", "CONNACK", "PUBLISH", "PUBREC", "PUBREL", "PUBCOMP", "DISCONNECT"];
    assert_eq!(sent.stderr.len(), packets.len(), "{sent:?}");
    for (line, packet) in sent.stderr.iter().zip(packets) {
        assert!(line.contains(packet), "{line}");
    }
}
