//! What the HTTP API can do with the program itself: its configuration, a reload, the log, a backup, and its certificate.

mod verbs;

use std::{fs, net::SocketAddr, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;
use test_certificates::{Authority, Files};

use super::harness::{Broker, Ended, Gmqtt, start_client};

/// A broker with an API and a data directory of its own, by a file.
struct World {
    folder: TempDir,
    broker: Gmqtt,
    mqtt: SocketAddr,
    url: String,
}

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";

impl World {
    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, text, "http")
    }

    fn start_in(folder: TempDir, text: &str, scheme: &str) -> Self {
        write(&folder, text);
        Self::serve(folder, scheme)
    }

    fn serve(folder: TempDir, scheme: &str) -> Self {
        let (file, data) = (folder.path().join("gmqtt.toml"), folder.path().join("data"));
        let arguments = ["serve", "-c", path(&file), "--admin", "127.0.0.1:0", "--data-dir", path(&data)];
        Self::of(folder, Gmqtt::start(&arguments), scheme)
    }

    fn of(folder: TempDir, broker: Gmqtt, scheme: &str) -> Self {
        let after = |beginning: &str| loop {
            if let Some(rest) = broker.line().strip_prefix(beginning) {
                return rest.split([' ', '/']).next().unwrap().to_owned();
            }
        };
        let mqtt = after("listening on ").parse().unwrap();
        let address: SocketAddr = after(&format!("dashboard and HTTP API on {scheme}://")).parse().unwrap();
        Self { url: format!("{scheme}://localhost:{}", address.port()), folder, broker, mqtt }
    }

    /// The same again, after a kill.
    fn restart(self) -> Self {
        let Self { folder, broker, .. } = self;
        drop(broker);
        Self::serve(folder, "http")
    }

    /// `gmqtt pub` with QoS 1, ended.
    fn publish(&self, who: &[&str]) -> Ended {
        start_client(self.mqtt, &[&["pub", "-t", "a", "-m", "x", "-q", "1"], who].concat(), b"").ended()
    }

    /// `gmqtt admin` for it, ended.
    fn admin(&self, arguments: &[&str]) -> Ended {
        let data = self.folder.path().join("data");
        let place = ["--url", &self.url, "--data-dir", path(&data)];
        Gmqtt::start(&[&["admin"], arguments, &place].concat()).ended()
    }

    /// The same, ended well, with JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.admin(&[arguments, &["--json"]].concat()).output().join("\n")).unwrap()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(folder: &TempDir, text: &str) {
    fs::write(folder.path().join("gmqtt.toml"), format!("watch_files = false\n{text}{LISTENER}")).unwrap();
}

#[test]
fn the_configuration_is_shown_without_a_secret_and_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    Gmqtt::start_with_input(&["passwd", "--stdin", path(&users), "ann"], b"secret-word").ended().output();
    let text = "[access]\npassword_file = \"users\"\n[limits]\nmax_inflight = 7\n";
    let world = World::start_in(folder, text, "http");
    let config = world.json(&["config"]);
    assert_eq!((&config["limits"]["max_inflight"], &config["watch_files"]), (&7.into(), &false.into()));
    let (shown, hash) = (config.to_string(), fs::read_to_string(&users).unwrap());
    let token = fs::read_to_string(world.folder.path().join("data/admin-token")).unwrap();
    for secret in ["secret-word", hash.split(':').nth(1).unwrap().trim(), token.trim()] {
        assert!(!shown.contains(secret), "{shown}");
    }

    write(&world.folder, &text.replace('7', "9"));
    let report = world.admin(&["reload"]).output().join("\n");
    assert_eq!(
        report,
        "reloaded; changed: limits.max_inflight; a restart is needed for: limits.max_inflight"
    );
    write(&world.folder, &text.replace('7', "-1"));
    let refused = world.admin(&["reload"]).complaint(1);
    assert!(refused.contains("all stays as it was") && refused.contains("max_inflight"), "{refused}");
    assert_eq!(world.json(&["config"])["limits"]["max_inflight"], 9);
}

/// Whoever took a user away, and was told that nothing has changed, would look for what went wrong.
#[test]
fn a_reload_names_the_key_whose_file_holds_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let (users, rights) = (folder.path().join("users"), folder.path().join("rights"));
    for user in ["ann", "bob"] {
        Gmqtt::start_with_input(&["passwd", "--stdin", path(&users), user], b"x").ended().output();
    }
    fs::write(&rights, "topic a\n").unwrap();
    let text = "[access]\npassword_file = \"users\"\nacl_file = \"rights\"\n";
    let world = World::start_in(folder, text, "http");
    let reload = || world.admin(&["reload"]).output().join("\n");
    assert_eq!(reload(), "reloaded; changed: nothing");
    Gmqtt::start(&["passwd", path(&users), "bob", "--delete"]).ended().output();
    // What was not reloaded is not in force, and is a change still.
    fs::write(&rights, "topik a\n").unwrap();
    world.admin(&["reload"]).complaint(1);
    fs::write(&rights, "topic a\n").unwrap();
    assert_eq!(reload(), "reloaded; changed: access.password_file (its content)");
    assert_eq!(reload(), "reloaded; changed: nothing");
}

#[test]
fn the_log_says_more_and_less_at_once_and_a_reload_leaves_it_alone() {
    let world = World::start("");
    assert_eq!(world.json(&["log-level"])["level"], "info");
    assert_eq!(world.json(&["log-level", "warn,mqtt_admin=trace"])["level"], "warn,mqtt_admin=trace");
    write(&world.folder, "[limits]\nmax_inflight = 9\n");
    world.admin(&["reload"]).output();
    assert_eq!(world.json(&["log-level"])["level"], "warn,mqtt_admin=trace");
    write(&world.folder, "[log]\nlevel = \"error\"\n");
    world.admin(&["reload"]).output();
    assert_eq!(world.json(&["log-level"])["level"], "error");
    let refused = world.admin(&["log-level", "loud=loud"]).complaint(1);
    assert!(refused.contains("`level` is no level"), "{refused}");
}

#[test]
fn a_backup_of_a_running_broker_is_a_data_directory() {
    let world = World::start("");
    world.admin(&["publish", "kept", "word", "--retain", "--qos", "1"]).output();
    world.admin(&["ban", "--client", "noisy"]).output();
    let report = world.admin(&["backup", "first"]).output().join("\n");
    let copy = world.folder.path().join("data/backups/first");
    assert_eq!(report, format!("the store is copied to {}", copy.display()));
    let again = world.admin(&["backup", "first"]).complaint(1);
    assert!(again.contains("take another name"), "{again}");
    let wrong = world.admin(&["backup", "../out"]).complaint(1);
    assert!(wrong.contains("`name` must be"), "{wrong}");
    let other = Broker::start_with(&["--data-dir", path(&copy)]);
    let received = other.client(&["sub", "-t", "kept", "-C", "1"]).ended().output();
    assert_eq!(received, ["word"]);
    assert!(fs::read_to_string(copy.join("bans.json")).unwrap().contains("noisy"));

    let memory = World::start("[storage]\ndurability = \"memory\"\n");
    assert!(memory.admin(&["backup", "a"]).complaint(1).contains("nothing to back up"));
}

#[test]
fn what_waits_for_a_client_is_read_from_the_disk() {
    let world = World::start("");
    let subscribe = ["sub", "-t", "t/#", "-q", "1", "-i", "away", "-c", "-C", "1"];
    let subscriber = start_client(world.mqtt, &[&subscribe[..], &["-d"]].concat(), b"");
    subscriber.await_stderr("received SUBACK");
    world.admin(&["publish", "t/0", "first", "--qos", "1"]).output();
    assert!(subscriber.ended().status.success());
    let other = start_client(world.mqtt, &["sub", "-t", "other", "-C", "1", "-v", "-d"], b"");
    other.await_stderr("received SUBACK");
    world.admin(&["broadcast", "news", "for all"]).output();
    assert_eq!(other.ended().stdout, ["news for all"]);
    for n in 1..=3 {
        world.admin(&["publish", &format!("t/{n}"), "later", "--qos", "1"]).output();
    }
    let table = world.admin(&["queue", "away"]).output();
    let topics: Vec<&str> = table.iter().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(topics, ["t/1", "t/2", "t/3"]);
    let world = world.restart();
    assert_eq!(world.json(&["queue", "away", "--limit", "2"]).as_array().unwrap().len(), 2);
    assert!(world.admin(&["queue", "nobody"]).complaint(1).contains("has no session"));
}

#[test]
fn the_api_speaks_tls_with_the_certificate_that_is_there_now() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let install = |folder: &Path, authority: &Authority| {
        let Files { certificates, private_key } = authority.server("");
        fs::copy(certificates, folder.join("cert.pem")).unwrap();
        fs::copy(private_key, folder.join("key.pem")).unwrap();
    };
    install(folder.path(), &first);
    let text = "[admin]\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n";
    let world = World::start_in(folder, text, "https");
    let trusting = |authority: &Authority, arguments: &[&str]| {
        world.admin(&[arguments, &["--ca-file", path(&authority.bundle())]].concat())
    };
    assert!(!trusting(&first, &["overview"]).output().is_empty());
    assert!(trusting(&second, &["overview"]).complaint(1).contains("cannot ask"));
    install(world.folder.path(), &second);
    trusting(&first, &["reload"]).output();
    assert!(!trusting(&second, &["overview"]).output().is_empty());
    assert!(trusting(&first, &["overview"]).complaint(1).contains("cannot ask"));

    write(&world.folder, "");
    let report = trusting(&second, &["reload"]).output().join("\n");
    assert!(report.contains("a restart is needed for: admin.certificate, admin.private_key"), "{report}");
    let plain = world.url.replace("https", "http");
    let data = world.folder.path().join("data");
    let plainly = ["admin", "overview", "--url", &plain, "--data-dir", path(&data)];
    assert!(Gmqtt::start(&plainly).ended().complaint(1).contains("cannot ask"));
    world.broker.await_stderr("a restart is needed");
}

#[test]
fn a_certificate_of_the_api_that_is_no_use_is_said_at_once() {
    for (text, part) in [
        ("[admin]\ncertificate = \"a\"\n", ":3: `certificate` of the API needs its `private_key` too"),
        ("[admin]\ncertificate = \"a\"\nprivate_key = \"b\"\n", ":3: cannot use TLS for the API: "),
        ("[admin]\ntoken_file = \"nothing\"\n", ":3: cannot use the tokens of the API: "),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, text);
        let line =
            Gmqtt::start(&["check-config", path(&folder.path().join("gmqtt.toml"))]).ended().complaint(2);
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn tokens_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let make = |name: &str| {
        let create = ["admin", "token", "create", "--name", name, "--role", "write", "--file", path(&tokens)];
        let secret = Gmqtt::start(&create).ended().output().join("");
        let file = folder.path().join(name);
        fs::write(&file, secret).unwrap();
        file
    };
    let (ann, bob) = (make("ann"), make("bob"));
    let world = World::start_in(folder, "[admin]\ntoken_file = \"tokens\"\n", "http");
    let with =
        |token: &Path, arguments: &[&str]| world.admin(&[arguments, &["--token-file", path(token)]].concat());
    assert!(!with(&ann, &["overview"]).output().is_empty());
    let without_ann: Vec<String> =
        fs::read_to_string(&tokens).unwrap().lines().skip(1).map(str::to_owned).collect();
    fs::write(&tokens, without_ann.join("\n")).unwrap();
    with(&bob, &["reload"]).output();
    assert!(with(&ann, &["overview"]).complaint(1).contains("no longer"));
    assert!(!with(&bob, &["overview"]).output().is_empty());
}

#[test]
fn a_token_of_its_own_that_is_no_use_stops_a_reload() {
    let world = World::start("");
    let file = world.folder.path().join("data/admin-token");
    let token = fs::read_to_string(&file).unwrap();
    // Its bearer shows it; the file is not for him.
    let shown = world.folder.path().join("shown");
    fs::write(&shown, &token).unwrap();
    let as_before = ["--token-file", path(&shown)];
    fs::write(&file, "word").unwrap();
    write(&world.folder, "[limits]\nmax_inflight = 9\n");
    let refused = world.admin(&[&["reload"], &as_before[..]].concat()).complaint(1);
    assert!(
        refused.contains("all stays as it was") && refused.contains("admin-token: delete it"),
        "{refused}"
    );
    let config = world.admin(&[&["config", "--json"], &as_before[..]].concat()).output().join("\n");
    assert!(!config.contains("\"max_inflight\": 9"), "{config}");
}

/// Another data directory takes a restart, and so does the token in it.
#[test]
fn the_token_is_where_the_start_found_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = |data: &str| format!("[storage]\ndata_dir = \"{data}\"\n[admin]\naddress = \"127.0.0.1:0\"\n");
    write(&folder, &text("data"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
    command.args(["serve", "-c", path(&folder.path().join("gmqtt.toml"))]);
    let world = World::of(folder, Gmqtt::start_prepared(command, b""), "http");
    write(&world.folder, &text("other"));
    let report = world.admin(&["reload"]).output().join("\n");
    assert!(report.contains("a restart is needed for: storage.data_dir"), "{report}");
    world.admin(&["config"]).output();
}

#[test]
fn bans_outlive_a_restart_until_they_are_ended() {
    let world = World::start("");
    world.admin(&["ban", "--client", "bad one", "--reason", "floods"]).output();
    let line = world.broker.await_stderr("gmqtt::audit");
    for part in ["token=\"admin-token\"", "method=POST", "ban client \\\"bad one\\\"", "status=204"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(world.publish(&["-i", "bad one"]).status.code(), Some(1));
    let world = world.restart();
    let bans = world.json(&["bans"]);
    let ban = &bans[0];
    assert_eq!(
        (&ban["value"], &ban["reason"], &ban["seconds_left"]),
        (&"bad one".into(), &"floods".into(), &Value::Null)
    );
    assert_eq!(world.publish(&["-i", "bad one"]).status.code(), Some(1));
    world.admin(&["unban", "--client", "bad one"]).output();
    let world = world.restart();
    assert_eq!(world.json(&["bans"]), Value::Array(Vec::new()));
    world.publish(&["-i", "bad one"]).output();
}

#[test]
fn which_rule_has_decided_is_part_of_what_is_known_of_a_client() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    Gmqtt::start_with_input(&["passwd", "--stdin", path(&users), "ann"], b"secret").ended().output();
    let world = World::start_in(folder, "[access]\npassword_file = \"users\"\n", "http");
    world.publish(&["-i", "sensor", "-u", "ann", "-P", "secret"]).output();
    world.publish(&["-i", "sensor", "-u", "ann", "-P", "wrong"]).complaint(1);
    world.publish(&["-i", "sensor"]).complaint(1);
    let events = world.json(&["events", "sensor"]);
    let decided = events.as_array().unwrap().iter().filter(|event| event["event"] == "decided");
    let decided: Vec<&str> = decided.map(|event| event["detail"].as_str().unwrap()).collect();
    for (detail, part) in decided.iter().zip([
        "let in by the password file, from 127.0.0.1:",
        "refused by the password file: bad user name or password, from 127.0.0.1:",
        "refused: no rule lets it in, from 127.0.0.1:",
    ]) {
        assert!(detail.starts_with(part), "{detail}");
    }
    assert_eq!(decided.len(), 3, "{decided:?}");
}

#[test]
fn whether_a_client_sees_what_is_below_sys_is_for_the_access_list_to_say() {
    let folder = tempfile::tempdir().unwrap();
    for user in ["ann", "bob"] {
        let users = folder.path().join("users");
        Gmqtt::start_with_input(&["passwd", "--stdin", path(&users), user], b"secret").ended().output();
    }
    let rights = "user ann\ntopic read $SYS/broker/#\nuser bob\ntopic a/#\n";
    fs::write(folder.path().join("rights"), rights).unwrap();
    let text =
        "[access]\npassword_file = \"users\"\nacl_file = \"rights\"\n[limits]\nsys_interval = \"1s\"\n";
    let world = World::start_in(folder, text, "http");
    let subscribe = |user: &str| {
        let sub = ["sub", "-t", "$SYS/broker/version", "-C", "1", "-u", user, "-P", "secret"];
        start_client(world.mqtt, &sub, b"").ended()
    };
    assert!(subscribe("ann").output()[0].contains("gmqtt"));
    assert_ne!(subscribe("bob").status.code(), Some(0));
}
