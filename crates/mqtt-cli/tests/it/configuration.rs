//! The configuration file: served, checked, shown, and read again while the broker runs.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::harness::{Broker, Gmqtt};

/// A configuration file in a folder of its own.
struct File(TempDir);

impl File {
    fn new(text: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.write(text);
        file
    }

    fn path(&self) -> String {
        self.folder().join("gmqtt.toml").display().to_string()
    }

    fn folder(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// As most editors do: a new file takes the place of the old one.
    fn write(&self, text: &str) {
        let new = self.folder().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// A broker by this file, on the port that its first listener took.
    fn serve(&self, arguments: &[&str]) -> Broker {
        let process = Gmqtt::start(&[&["serve", "--config", &self.path()], arguments].concat());
        assert_eq!(process.line(), format!("configuration: {}", self.path()));
        Broker::prepared(process)
    }
}

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";

fn check(arguments: &[&str]) -> super::harness::Ended {
    Gmqtt::start(&[&["check-config"], arguments].concat()).ended()
}

#[test]
fn the_containers_configuration_makes_sense_once_it_says_who_may_connect() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/container.toml");
    assert!(check(&[file]).complaint(2).contains("without a password"));
    let users = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
    command.args(["check-config", file]).env("GMQTT_ACCESS_PASSWORD_FILE", users.path());
    Gmqtt::start_command(command, b"").ended().output();
}

#[test]
fn a_broker_is_as_its_file_says() {
    let text = "[limits]\nmax_packet_size = \"1KiB\"\n[storage]\ndurability = \"memory\"\n[log]\nformat = \"json\"\nlevel = \"debug\"\n";
    let file = File::new(&format!("{text}{LISTENER}"));
    let process = Gmqtt::start(&["serve", "-c", &file.path()]);
    assert_eq!(process.line(), format!("configuration: {}", file.path()));
    let durability = process.line();
    assert_eq!(durability, "durability: memory, nothing outlives this process");
    let listening = process.line();
    assert!(listening.starts_with("listening on 127.0.0.1:") && listening.ends_with(" (tcp)"), "{listening}");
    let limits = process.line();
    assert!(limits.contains("packets of 1KiB"), "{limits}");

    let address = listening.trim_start_matches("listening on ").trim_end_matches(" (tcp)").parse().unwrap();
    let broker = Broker { process, address };
    let refused = broker.client(&["pub", "-t", "a", "-m", &"x".repeat(1100), "-q", "1"]).ended();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let line = broker.process.await_stderr("disconnected");
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
}

#[test]
fn who_is_banned_in_the_file_is_let_in_again_once_it_says_so() {
    let bans = |who: &str| format!("[bans]\nclient_ids = [{who}]\nusers = [\"eve\"]\n{LISTENER}");
    let file = File::new(&bans("\"a\""));
    let broker = file.serve(&["--durability", "memory"]);
    let publishes = |arguments: &[&str]| {
        broker.client(&[&["pub", "-t", "t", "-m", "x"], arguments].concat()).ended().status.success()
    };
    assert!(!publishes(&["-i", "a"]) && !publishes(&["-u", "eve"]) && publishes(&["-i", "b"]));
    file.write(&bans("\"b\""));
    broker.process.await_stderr("reloaded");
    assert!(publishes(&["-i", "a"]) && !publishes(&["-u", "eve"]) && !publishes(&["-i", "b"]));
}

#[test]
fn bans_that_cannot_be_are_found() {
    let too_long = "x".repeat(65_536);
    let file = File::new(&format!(
        "[limits]\nmax_bans = 1\n[bans]\nnetworks = [\"192.0.2.0/33\"]\nclient_ids = [\"a\", \"b\"]\nusers = [\"{too_long}\"]\n",
    ));
    let ended = check(&[&file.path()]);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(2), 3), "{ended:?}");
    let found = [
        "4: `networks` names what is not an address",
        "5: with `client_ids` there are 3 bans",
        "6: bans a name",
    ];
    for (part, line) in found.iter().zip(&ended.stderr) {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn arguments_and_environment_are_stronger_than_the_file() {
    let file = File::new(
        "[limits]\nmax_inflight = 1\nmax_packet_size = 1000\n[[listener]]\naddress = \"127.0.0.1:1\"\n",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
    command.args(["serve", "-c", &file.path(), "--listen", "127.0.0.1:0", "--max-packet-size", "3000"]);
    command.env("GMQTT_LIMITS_MAX_INFLIGHT", "2").env("GMQTT_LIMITS_MAX_PACKET_SIZE", "2000");
    let process = Gmqtt::start_command(command, b"");
    process.line();
    process.line_after_durability();
    let limits = process.line();
    assert!(limits.contains("packets of 3000B, 2 messages inflight"), "{limits}");
}

#[test]
fn the_environment_may_name_the_file() {
    let file = File::new("[limits]\nmax_inflight = 9\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
    command.arg("check-config").env("GMQTT_CONFIG", file.path()).env("GMQTT_DATA_DIR", "/nowhere");
    let shown = command.output().unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains("max_inflight = 9\n"));
}

#[test]
fn every_mistake_is_a_line_and_the_exit_code_is_2() {
    let text = "[limits]\nmax_inflght = 1\nmax_sessions = -1\n[access]\npassword_file = \"users\"\n";
    let file = File::new(text);
    for command in [&["check-config", &file.path()][..], &["serve", "-c", &file.path()]] {
        let ended = Gmqtt::start(command).ended();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert_eq!(ended.stderr.len(), 2, "{ended:?}");
        let path = file.path();
        assert!(
            ended.stderr[0].starts_with(&format!("gmqtt: {path}:2: there is no `max_inflght`")),
            "{ended:?}"
        );
        assert!(
            ended.stderr[1].starts_with(&format!("gmqtt: {path}:3: `max_sessions` has to be")),
            "{ended:?}"
        );
    }
    file.write("[access]\npassword_file = \"users\"\n");
    let line = check(&[&file.path()]).complaint(2);
    assert!(line.contains(":2: cannot use the password file") && line.contains("users"), "{line}");
    let line = check(&["/nowhere.toml"]).complaint(2);
    assert!(line.contains("cannot read the configuration /nowhere.toml"), "{line}");
}

#[test]
fn a_checked_configuration_is_shown_as_toml_or_json() {
    let file =
        File::new("[limits]\nmax_inflight = 9\n[[listener]]\nname = \"a\"\naddress = \"localhost:0\"\n");
    let shown = check(&[&file.path()]).output().join("\n");
    assert!(shown.contains("[[listener]]\nname = \"a\"\naddress = \"localhost:0\"\n"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&check(&["--json", &file.path()]).output().join("\n")).unwrap();
    assert_eq!(json["limits"]["max_inflight"], 9);
    assert_eq!(json["listener"][0]["name"], "a");
    file.write(&shown);
    // But for the data directory, which is another one for each program that a test starts.
    let without_data_dir =
        |text: &str| text.lines().filter(|line| !line.starts_with("data_dir")).collect::<Vec<_>>().join("\n");
    let again = check(&[&file.path()]).output().join("\n");
    assert_eq!(without_data_dir(&again), without_data_dir(&shown), "it can be read again");
}

#[test]
fn the_example_is_good_as_it_is() {
    let example = Gmqtt::start(&["config", "example"]).ended().output().join("\n");
    let file = File::new(&example);
    check(&[&file.path()]).output();
}

/// Mend it with: cargo run -p mqtt-cli -- config reference > docs/configuration.md
#[test]
fn the_documentation_has_every_key() {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md")).unwrap();
    let made = Gmqtt::start(&["config", "reference"]).ended().output().join("\n") + "\n";
    assert!(page == made, "run: cargo run -p mqtt-cli -- config reference > docs/configuration.md");
}

#[cfg(unix)]
#[test]
fn a_connection_is_a_line_each_and_no_log_has_a_secret() {
    let file = File::new("");
    let users = file.folder().join("users").display().to_string();
    let set = Gmqtt::start_with_input(&["passwd", "--stdin", &users, "anna"], b"hush-password");
    assert_eq!(set.ended().output(), [""; 0]);
    file.write(&format!(
        "[log]\nlevel = \"trace\"\n[access]\npassword_file = \"users\"\n{LISTENER}name = \"front\"\n"
    ));
    let process = Gmqtt::start(&["serve", "-c", &file.path()]);
    process.line();
    let listening = process.line_after_durability();
    let address =
        listening.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(" (tcp, front)")).unwrap();
    let broker = Broker { address: address.parse().unwrap(), process };
    let publish = |user: &str, password: &str| {
        let arguments =
            ["pub", "-i", "it", "-t", "a", "-m", "hush-payload", "-r", "-q", "2", "-u", user, "-P", password];
        broker.client(&arguments).ended().status.code()
    };
    assert_eq!(publish("anna", "hush-password"), Some(0));
    assert_eq!(publish("anna", "hush-wrong"), Some(1));
    let Broker { process, .. } = broker;
    process.signal(rustix::process::Signal::TERM);
    let log = process.ended().stderr;
    for what in [" connected", "disconnected"] {
        let line = log
            .iter()
            .find(|line| line.contains(what) && line.contains("client_id"))
            .unwrap_or_else(|| panic!("{what}: {log:#?}"));
        for part in ["\"it\"", "127.0.0.1:", "\"anna\"", "\"front\""] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(line.contains("reason=the client disconnected"), what == "disconnected", "{line}");
    }
    assert!(!log.iter().any(|line| line.contains("hush")), "{log:#?}");
}

#[test]
fn a_configuration_of_mosquitto_is_migrated() {
    let file = File::new(
        "persistence true\nlog_dest file /var/log/mosquitto.log\ninclude_dir conf.d\nallow_anonymous true\nlistener 1883 127.0.0.1\n",
    );
    let migrated = Gmqtt::start(&["migrate", &file.path()]).ended();
    assert_eq!(migrated.status.code(), Some(0));
    assert!(migrated.stderr.iter().any(|line| line.contains("gmqtt.toml:2: log_dest: ")), "{migrated:?}");
    let toml = migrated.stdout.join("\n");
    assert!(toml.contains("gmqtt.toml:3: include_dir: "), "{toml}");
    file.write(&toml);
    let shown = check(&[&file.path()]).output().join("\n");
    assert!(shown.contains("address = \"127.0.0.1:1883\""), "{shown}");
}

#[cfg(unix)]
mod reload {
    use std::{io::Write, sync::mpsc::channel, thread};

    use rustix::process::Signal;

    use super::{super::harness::STUCK, *};

    /// A broker that has read its files, and waits for somebody to write its bans before it listens.
    struct Starting {
        process: Gmqtt,
        bans: fs::File,
        _data: TempDir,
    }

    impl Starting {
        fn by(file: &File) -> Self {
            let data = tempfile::tempdir().unwrap();
            let bans = data.path().join("bans.json");
            assert!(Command::new("mkfifo").arg(&bans).status().unwrap().success());
            let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
            command.args(["serve", "--config", &file.path()]);
            command.env("GMQTT_DATA_DIR", data.path()).env("GMQTT_ADMIN", "off");
            let process = Gmqtt::start_prepared(command, b"");
            let (sender, opened) = channel();
            // Opened when the broker opens it too.
            thread::spawn(move || sender.send(fs::OpenOptions::new().write(true).open(bans)));
            let bans = opened.recv_timeout(STUCK).expect("the broker reads its bans").unwrap();
            Self { process, bans, _data: data }
        }

        fn go_on(&mut self) {
            self.bans.write_all(b"{\"bans\": []}").unwrap();
            self.bans = tempfile::tempfile().unwrap();
        }
    }

    #[test]
    fn a_hangup_during_the_start_is_a_reload_after_it() {
        let file = File::new(&format!("watch_files = false\n{LISTENER}"));
        let mut starting = Starting::by(&file);
        starting.process.signal(Signal::HUP);
        starting.go_on();
        starting.process.await_stderr("reloaded: ");
    }

    #[test]
    fn a_change_during_the_start_is_seen_after_it() {
        let file = File::new(LISTENER);
        let mut starting = Starting::by(&file);
        file.write(&format!("[log]\nlevel = \"debug\"\n{LISTENER}"));
        starting.go_on();
        starting.process.await_stderr("log.level");
    }

    /// Where files are brought one by one, the configuration may come first.
    #[test]
    fn a_file_that_comes_after_the_configuration_that_names_it_is_seen() {
        let file = File::new(LISTENER);
        let broker = file.serve(&[]);
        broker.process.line();
        file.write(&format!("[access]\nacl_file = \"rights\"\n{LISTENER}"));
        broker.process.await_stderr("not reloaded");
        fs::write(file.folder().join("rights"), "pattern readwrite #\n").unwrap();
        broker.process.await_stderr("reloaded: ");
    }

    #[test]
    fn what_takes_no_restart_comes_into_force_and_the_rest_is_named() {
        let file = File::new(LISTENER);
        let broker = file.serve(&[]);
        let sub = broker.subscribed(&["-t", "a", "-C", "1"]);
        broker.process.line(); // The limits: by then it listens to signals too.
        file.write(&format!("[limits]\nmax_inflight = 3\n[log]\nlevel = \"debug\"\n{LISTENER}"));
        broker.process.signal(Signal::HUP);
        let line = broker.process.await_stderr("reloaded");
        assert!(line.contains("limits.max_inflight") && line.contains("log.level"), "{line}");
        let line = broker.process.await_stderr("a restart is needed");
        assert!(line.contains("limits.max_inflight") && !line.contains("log.level"), "{line}");
        drop(broker.socket());
        broker.process.await_stderr("connection ended"); // At debug: the level is in force.
        broker.publish(&["-t", "a", "-m", "still there"]);
        assert_eq!(sub.ended().stdout, ["still there"]);
    }

    #[test]
    fn a_change_is_seen_without_a_signal() {
        let file = File::new(LISTENER);
        let broker = file.serve(&[]);
        broker.process.line();
        file.write(&format!("[log]\nlevel = \"debug\"\n{LISTENER}"));
        broker.process.await_stderr("log.level");
    }

    /// Two on whatever port is free have one address. At a reload the first spoke what the second was to speak.
    #[test]
    fn listeners_without_names_stay_apart() {
        let text = format!("{LISTENER}{LISTENER}protocol = \"ws\"\n");
        let file = File::new(&text);
        let broker = file.serve(&[]);
        let sub = broker.subscribed(&["-t", "a", "-C", "1"]);
        while !broker.process.line().starts_with("limits") {} // By then it listens to signals too.
        broker.process.signal(Signal::HUP);
        broker.process.await_stderr("reloaded");
        broker.publish(&["-t", "a", "-m", "still MQTT"]);
        assert_eq!(sub.ended().stdout, ["still MQTT"]);
    }

    #[test]
    fn new_connections_have_new_limits_and_old_ones_stay() {
        let file = File::new(LISTENER);
        let broker = file.serve(&[]);
        let sub = broker.subscribed(&["-t", "a", "-C", "1"]);
        broker.process.line();
        let reload = |text: &str| {
            file.write(text);
            broker.process.signal(Signal::HUP);
            broker.process.await_stderr("reloaded")
        };
        let publish = |message: &str| {
            broker.client(&["pub", "-t", "a", "-m", message, "-q", "1"]).ended().status.code()
        };
        let large = "x".repeat(1100);
        let line = reload(&format!("[limits]\nmax_packet_size = \"1KiB\"\n{LISTENER}"));
        assert!(line.contains("limits.max_packet_size"), "{line}");
        assert_eq!(publish(&large), Some(1));
        let line = reload(&format!("{LISTENER}max_connections = 1\n"));
        assert!(line.contains("listener 127.0.0.1:0: max_connections"), "{line}");
        assert_eq!(publish("x"), Some(1));
        reload(LISTENER);
        assert_eq!(publish(&large), Some(0));
        assert_eq!(sub.ended().stdout.len(), 1);
    }

    /// As Kubernetes does with a `ConfigMap`: every file is a link through `..data`, which is turned to another folder.
    #[test]
    fn a_folder_that_is_swapped_is_read_without_a_signal() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let version = |name: &str, user: &str, right: &str, level: &str| {
            fs::create_dir(path(name)).unwrap();
            let users = path(name).join("users").display().to_string();
            let set = Gmqtt::start_with_input(&["passwd", "--stdin", &users, user], b"secret");
            assert_eq!(set.ended().output(), [""; 0]);
            fs::write(path(name).join("rights"), format!("pattern {right} #\n")).unwrap();
            let text = format!(
                "[log]\nlevel = \"{level}\"\n[access]\npassword_file = \"users\"\nacl_file = \"rights\"\n{LISTENER}"
            );
            fs::write(path(name).join("gmqtt.toml"), text).unwrap();
        };
        version("..1", "anna", "readwrite", "info");
        symlink("..1", path("..data")).unwrap();
        for name in ["gmqtt.toml", "users", "rights"] {
            symlink(format!("..data/{name}"), path(name)).unwrap();
        }
        let config = path("gmqtt.toml").display().to_string();
        let process = Gmqtt::start(&["serve", "--config", &config]);
        process.line();
        let broker = Broker::prepared(process);
        let publish = |user: &str| {
            let arguments = ["pub", "-t", "a", "-m", "x", "-q", "1", "-u", user, "-P", "secret"];
            broker.client(&arguments).ended().status.code()
        };
        assert_eq!((publish("anna"), publish("berta")), (Some(0), Some(1)));
        let sub = broker.subscribed(&["-t", "a", "-u", "anna", "-P", "secret"]);

        version("..2", "berta", "write", "debug");
        symlink("..2", path("..new")).unwrap();
        fs::rename(path("..new"), path("..data")).unwrap();
        broker.process.await_stderr("by the rules in force now it would not be let in");
        drop(sub);
        assert_eq!((publish("anna"), publish("berta")), (Some(1), Some(0)));
        let refused = broker.client(&["sub", "-t", "a", "-u", "berta", "-P", "secret"]).ended();
        assert_ne!(refused.status.code(), Some(0), "the new access list lets nobody read");
    }

    #[test]
    fn a_bad_file_changes_nothing() {
        let file = File::new(LISTENER);
        let broker = file.serve(&[]);
        broker.process.line();
        file.write("[log]\nlevel = \"debug\"\nlevl = 1\n");
        broker.process.signal(Signal::HUP);
        let line = broker.process.await_stderr("not reloaded");
        assert!(line.contains("gmqtt.toml:3: there is no `levl`"), "{line}");
        file.write(&format!("[log]\nlevel = \"info\"\n{LISTENER}"));
        broker.process.signal(Signal::HUP);
        assert!(broker.process.await_stderr("reloaded").contains("changed=\"nothing\""));
    }

    #[test]
    fn rights_come_into_force() {
        let file = File::new("");
        let users = file.folder().join("users").display().to_string();
        let set = |user: &str| {
            let set = Gmqtt::start_with_input(&["passwd", "--stdin", &users, user], b"secret");
            assert_eq!(set.ended().output(), [""; 0]);
        };
        set("anna");
        file.write(&format!("[access]\npassword_file = \"users\"\n{LISTENER}"));
        let broker = file.serve(&[]);
        broker.process.line();
        let berta = ["pub", "-t", "a", "-m", "x", "-q", "1", "-u", "berta", "-P", "secret"];
        assert_eq!(broker.client(&berta).ended().status.code(), Some(1));
        set("berta");
        broker.process.signal(Signal::HUP);
        broker.process.await_stderr("reloaded");
        broker.client(&berta).ended().output();
        // Nobody is asked for a name any more, but the file says so for that listener alone.
        let nobody = ["pub", "-t", "a", "-m", "x", "-q", "1"];
        assert_eq!(broker.client(&nobody).ended().status.code(), Some(1));
        file.write(&format!("[access]\npassword_file = \"users\"\n{LISTENER}allow_anonymous = true\n"));
        broker.process.signal(Signal::HUP);
        broker.process.await_stderr("listener 127.0.0.1:0: allow_anonymous");
        broker.client(&nobody).ended().output();
    }
}
