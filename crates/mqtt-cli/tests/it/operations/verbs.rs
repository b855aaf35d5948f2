//! Each verb of `gmqtt admin` against the real broker: what it prints, and what the log says of each change.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;

use super::{World, path};
use crate::{
    fake_api,
    harness::{Gmqtt, STUCK, start_client},
};

/// With a client `dev` that is connected, and has a session of its own.
fn world() -> (World, Gmqtt) {
    let world = World::start("");
    let client = start_client(world.mqtt, &["sub", "-t", "x/#", "-q", "1", "-i", "dev", "-c", "-d"], b"");
    client.await_stderr("received SUBACK");
    (world, client)
}

#[test]
fn each_verb_that_looks_prints_a_table_and_json() {
    let (world, _client) = world();
    world.admin(&["publish", "kept", "word", "--retain"]).output();
    world.admin(&["ban", "--user", "nobody"]).output();
    let verbs: [(&[&str], &str); 11] = [
        (&["overview"], "connections"),
        (&["clients"], "dev"),
        (&["sessions"], "dev"),
        (&["client", "dev"], "dev"),
        (&["subscriptions"], "x/#"),
        (&["retained"], "kept"),
        (&["queue", "dev"], ""),
        (&["events", "dev"], "connected"),
        (&["bans"], "nobody"),
        (&["config"], "max_inflight"),
        (&["log-level"], "info"),
    ];
    for (verb, part) in verbs {
        let table = world.admin(verb).output().join("\n");
        assert!(table.contains(part), "{verb:?}: {table}");
        assert!(serde_json::from_str::<Value>(&table).is_err(), "{verb:?} is for people: {table}");
        let value = world.json(verb);
        assert!(value.is_object() || value.is_array(), "{verb:?}: {value}");
        assert!(value.to_string().contains(part), "{verb:?}: {value}");
    }
}

#[test]
fn as_many_retained_messages_are_shown_as_were_asked_for() {
    let (world, _client) = world();
    let mut socket = TcpStream::connect(world.mqtt).unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    let mut packets = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01r".to_vec();
    // More than a page of the API.
    for number in 1..=1_100_u16 {
        packets.extend(format!("\x33\x0b\0\x06r/{number:04}").into_bytes());
        packets.extend(number.to_be_bytes());
        packets.push(b'x');
    }
    socket.write_all(&packets).unwrap();
    socket.read_exact(&mut [0; 4 + 4 * 1_100]).unwrap();
    for (limit, rows) in [("1001", 1_001), ("5000", 1_100)] {
        let shown = world.json(&["retained", "r/#", "--limit", limit]);
        let topics: Vec<&str> =
            shown.as_array().unwrap().iter().filter_map(|row| row["topic"].as_str()).collect();
        assert_eq!((topics.len(), topics[1_000]), (rows, "r/1001"));
    }
    // The API shows the beginning of a queue, and no more.
    let complaint = world.admin(&["queue", "dev", "--limit", "1001"]).complaint(2);
    assert!(complaint.contains("1..=1000"), "{complaint}");
}

/// Where the next page begins may be longer than a request can be.
#[test]
fn retained_messages_that_came_are_shown_though_the_rest_does_not_come() {
    let answers = &[r#"{"list": [{"topic": "came"}], "next_after": "came"}"#];
    let (ended, requests) = fake_api::admin(&["retained"], answers);
    assert!(ended.stdout.join("\n").contains("came"), "{:?}", ended.stdout);
    assert!(ended.complaint(1).contains("narrow the filter"), "{requests:?}");
}

#[test]
fn deleting_ends_when_nothing_is_left() {
    let answers =
        &[r#"{"forgotten": 100000, "may_be_more": true}"#, r#"{"forgotten": 500, "may_be_more": false}"#];
    let (ended, requests) = fake_api::admin(&["delete-retained", "r/#"], answers);
    assert_eq!((ended.output(), requests.len()), (vec!["100500 deleted".to_owned()], 2));
    assert!(requests.iter().all(|request| request.contains("?filter=r%2F%23")), "{requests:?}");
}

#[test]
fn a_ban_is_not_shorter_than_it_was_asked_for() {
    for (time, seconds) in [("500ms", 1), ("2s", 2), ("2s 1ms", 3)] {
        let (ended, requests) = fake_api::admin(&["ban", "--client", "zz", "--for", time], &["{}"]);
        assert_eq!(ended.output(), ["zz is banned"]);
        assert!(requests[0].contains(&format!("\"seconds\":{seconds}}}")), "{requests:?}");
    }
    let (ended, _) = fake_api::admin(&["ban", "--client", "zz", "--for", "0s"], &[]);
    assert!(ended.complaint(2).contains("no time at all"));
}

#[test]
fn each_change_is_a_line_of_the_audit_log() {
    let (world, client) = world();
    let changes: [(&[&str], &str, &str); 14] = [
        (
            &["subscribe", "dev", "more/#"],
            "POST /api/v1/subscribe",
            "subscribe \\\"dev\\\" to \\\"more/#\\\"",
        ),
        (&["unsubscribe", "dev", "more/#"], "POST /api/v1/unsubscribe", "unsubscribe \\\"dev\\\""),
        (&["publish", "t", "secret", "--retain"], "POST /api/v1/publish", "publish to \\\"t\\\""),
        (&["broadcast", "news", "secret"], "POST /api/v1/broadcast", "broadcast \\\"news\\\""),
        (&["delete-retained", "t"], "DELETE /api/v1/retained", "forget retained messages of \\\"t\\\""),
        (&["ban", "--user", "nobody"], "POST /api/v1/bans", "ban user"),
        (&["unban", "--user", "nobody"], "DELETE /api/v1/bans", "end the ban of user"),
        (&["log-level", "info,mqtt_admin=debug"], "PUT /api/v1/log-level", "info,mqtt_admin=debug"),
        (&["reload"], "POST /api/v1/reload", "status=200"),
        (&["backup", "copy"], "POST /api/v1/backup", "backup copy"),
        (&["disconnect", "dev"], "DELETE /api/v1/client/dev", "disconnect \\\"dev\\\""),
        (&["end-session", "dev"], "DELETE /api/v1/session/dev", "end the session of \\\"dev\\\""),
        // What was refused, and what failed, too.
        (&["disconnect", "nobody"], "DELETE /api/v1/client/nobody", "status=404"),
        (&["backup", "../copy"], "POST /api/v1/backup", "status=400"),
    ];
    for (verb, request, what) in changes {
        let ended = world.admin(verb);
        assert_eq!(ended.status.success(), !what.starts_with("status=4"), "{ended:?}");
        let line = world.broker.await_stderr("gmqtt::audit");
        let request = format!("method={}\"", request.replace(' ', " path=\""));
        assert!(line.contains("token=\"admin-token\"") && line.contains(&request), "{request}: {line}");
        assert!(line.contains(what) && line.contains("status="), "{what}: {line}");
        assert!(!line.contains("secret"), "{line}");
    }
    drop(client);
    // A token for reading changes nothing, and that it was tried is written down.
    let (tokens, shown) = (world.folder.path().join("tokens"), world.folder.path().join("shown"));
    let create = ["admin", "token", "create", "--name", "reader", "--role", "read", "--file", path(&tokens)];
    fs::write(&shown, Gmqtt::start(&create).ended().output().join("")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[admin]\ntoken_file = \"{}\"\n", tokens.display());
    let other = World::start_in(folder, &text, "http");
    let refused = other.admin(&["publish", "t", "x", "--token-file", path(&shown)]).complaint(1);
    assert!(refused.contains("role write"), "{refused}");
    let line = other.broker.await_stderr("gmqtt::audit");
    assert!(line.contains("token=\"reader\"") && line.contains("refused"), "{line}");
}

#[test]
fn what_goes_on_is_printed_as_it_happens() {
    let (world, _client) = world();
    let data = world.folder.path().join("data");
    let place = ["--url", &world.url, "--data-dir", path(&data)];
    let follow = |arguments: &[&str]| Gmqtt::start(&[&["admin"], arguments, &place].concat());
    world.admin(&["publish", "kept", "word", "--retain"]).output();
    assert_eq!(follow(&["watch", "kept"]).line(), "kept word");
    let json: Value = serde_json::from_str(&follow(&["watch", "kept", "--json"]).line()).unwrap();
    assert_eq!((&json["topic"], &json["retain"]), (&"kept".into(), &true.into()));

    let (trace, as_json) =
        (follow(&["trace", "--client", "dev"]), follow(&["trace", "--client", "dev", "--json"]));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // A trace begins when it begins.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let publish = ["admin", "publish", "x/1", "secret"];
                Gmqtt::start(&[&publish[..], &place].concat()).ended().output();
            }
        });
        let (line, json) = (trace.line(), as_json.line());
        done.store(true, Ordering::Relaxed);
        assert!(line.contains("dev") && line.contains("x/1") && !line.contains("secret"), "{line}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["client_id"], &json["topic"]), (&"dev".into(), &"x/1".into()));
    });
}
