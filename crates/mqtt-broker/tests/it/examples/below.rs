//! The examples of the crates below, mqtt-codec and mqtt-router. They are tried here because two of them need a broker.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::program::executable;

/// What a program makes of its standard input.
fn filtered(program: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example");
    process.stdin.take().expect("a pipe").write_all(input).expect("the input");
    process.wait_with_output().expect("its end")
}

#[test]
fn dump_prints_a_packet_a_line() {
    let output = filtered(&executable("mqtt-codec", "dump"), &[], b"\x32\x09\0\x03a/b\0\x01hi\xc0\0");
    let lines = "       0  PUBLISH (11 bytes) topic \"a/b\", QoS 1, retain false, payload of 2 bytes\n      11  PINGREQ (2 bytes)\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
    assert!(output.status.success());
}

#[test]
fn dump_says_where_bytes_are_no_packet() {
    for (bytes, what) in
        [(&b"\xc0\0\xf0\0"[..], "2  "), (&b"\xc0\0\x30\x09\0"[..], "2  a packet that is cut off")]
    {
        let output = filtered(&executable("mqtt-codec", "dump"), &[], bytes);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(what), "{errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "       0  PINGREQ (2 bytes)\n");
    }
}

#[test]
fn matching_names_the_filters_of_each_topic() {
    let topics = b"room/1/light\nroom/2/door\n$SYS/uptime\n";
    let output = filtered(&executable("mqtt-router", "matching"), &["room/+/light", "#"], topics);
    let lines = "room/1/light: #, room/+/light\nroom/2/door: #\n$SYS/uptime: -\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
    assert!(output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_codecs_clients_get_their_answers() {
    let broker = mqtt_broker::Broker::builder().build();
    let address = broker.listen("127.0.0.1:0").await.unwrap().to_string();
    let accepted = "Connack(Accepted { session_present: false })\n";
    for (name, printed) in [
        (
            "client",
            "Suback(Suback { packet_id: PacketId(1), return_codes: [Granted(AtMostOnce)] })\ngreetings/world: hello\n",
        ),
        ("async_client", &format!("{accepted}Pingresp\n")),
    ] {
        let mut client = Command::new(executable("mqtt-codec", name));
        client.arg(&address);
        let output = tokio::task::spawn_blocking(move || client.output()).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{name}");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
