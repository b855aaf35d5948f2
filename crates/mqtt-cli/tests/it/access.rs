//! `gmqtt passwd`, `gmqtt acl`, and a broker that asks their files.

use std::{fs, path::Path, process::Command};

use rustix::process::Signal;
use tempfile::TempDir;

use super::harness::{Broker, Gmqtt};

/// A folder with a password file and an access list.
struct Files(TempDir);

impl Files {
    fn new(acl: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        fs::write(files.path("rights"), acl).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn set_password(&self, user: &str, password: &str) {
        let set =
            Gmqtt::start_with_input(&["passwd", "--stdin", &self.path("users"), user], password.as_bytes());
        assert_eq!(set.ended().output(), [""; 0]);
    }

    fn broker(&self) -> Broker {
        Broker::start_with(&["--password-file", &self.path("users"), "--acl-file", &self.path("rights")])
    }
}

const AS_ANNA: [&str; 4] = ["-u", "anna", "-P", "secret"];

fn publish(broker: &Broker, who: &[&str], topic: &str) -> Gmqtt {
    broker.client(&[&["pub", "-t", topic, "-m", "x", "-q", "1"], who].concat())
}

#[test]
fn a_complaint_of_a_file_says_why_once() {
    let files = Files::new("topik a\n");
    fs::write(files.path("users"), "anna\n").unwrap();
    let (users, rights, nowhere) = (files.path("users"), files.path("rights"), files.path("nowhere"));
    for (arguments, part) in [
        (&["passwd", "check", &nowhere][..], "os error 2"),
        (&["passwd", "check", &users], "users:1"),
        (&["passwd", "--delete", &users, "bob"], "users:1"),
        (&["passwd", "--delete", &files.path(""), "bob"], "os error 21"),
        (&["acl", "explain", "--acl-file", &nowhere, "publish", "a"], "os error 2"),
        (&["acl", "explain", "--acl-file", &rights, "publish", "a"], "rights:1"),
    ] {
        let complaint = Gmqtt::start(arguments).ended().complaint(1);
        assert_eq!(complaint.matches(part).count(), 1, "{complaint}");
    }
}

#[test]
fn clients_need_the_right_password_and_rights() {
    let files = Files::new("user anna\ntopic a/#\nuser berta\ntopic read a/#\n");
    files.set_password("anna", "secret");
    files.set_password("berta", "geheim");
    let broker = files.broker();
    for wrong in [&["-u", "anna", "-P", "Secret"][..], &["-u", "anna"], &["-u", "nobody", "-P", "secret"]] {
        let line = publish(&broker, wrong, "a/b").ended().complaint(1);
        assert!(line.contains("user name or password"), "{line}");
    }
    let line = publish(&broker, &[], "a/b").ended().complaint(1);
    assert!(line.contains("not authorized"), "{line}");
    let refused = broker.client(&["sub", "-t", "b", "-u", "berta", "-P", "geheim"]).ended();
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");

    let sub = broker.subscribed(&["-t", "a/#", "-v", "-C", "1", "-u", "berta", "-P", "geheim"]);
    for (who, topic) in [(&AS_ANNA[..], "b"), (&["-u", "berta", "-P", "geheim"], "a/x"), (&AS_ANNA, "a/b")] {
        publish(&broker, who, topic).ended().output();
    }
    assert_eq!(sub.ended().stdout, ["a/b x"]);
}

#[test]
fn a_hangup_reads_the_files_again_and_keeps_the_old_ones_if_the_new_are_bad() {
    let files = Files::new("user anna\ntopic a\n");
    files.set_password("anna", "secret");
    let broker = files.broker();
    broker.process.line(); // The limits: by then it listens to signals too.
    fs::write(files.path("rights"), "user anna\ntopic read write a\nnonsense\n").unwrap();
    files.set_password("anna", "other");
    broker.process.signal(Signal::HUP);
    let line = broker.process.await_stderr("all stays as it was");
    assert!(line.contains("rights:3: `nonsense`"), "{line}");
    publish(&broker, &AS_ANNA, "a").ended().output();

    fs::write(files.path("rights"), "user anna\ntopic a\n").unwrap();
    broker.process.signal(Signal::HUP);
    broker.process.await_stderr("reloaded: ");
    publish(&broker, &AS_ANNA, "a").ended().complaint(1);
    publish(&broker, &["-u", "anna", "-P", "other"], "a").ended().output();
}

#[test]
fn a_bad_file_is_named_and_the_broker_does_not_start() {
    let files = Files::new("");
    fs::write(files.path("users"), "anna:$6$x\n").unwrap();
    let listen = ["serve", "--listen", "127.0.0.1:0", "--password-file", &files.path("users")];
    let line = Gmqtt::start(&listen).ended().last_words(2);
    assert!(line.contains("users:1: the password of anna: not of a known format"), "{line}");
    // A list of rights that is not there is none that allows everything.
    let missing = files.path("missing");
    let line =
        Gmqtt::start(&["serve", "--listen", "127.0.0.1:0", "--acl-file", &missing]).ended().last_words(2);
    assert!(line.contains(&missing), "{line}");
}

#[test]
fn an_empty_access_list_allows_nothing() {
    let files = Files::new("");
    let broker = Broker::start_with(&["--acl-file", &files.path("rights")]);
    let refused = broker.client(&["sub", "-t", "a"]).ended();
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");
    publish(&broker, &[], "a").ended().output(); // Acknowledged and dropped: MQTT 3.1.1 has no other answer.
    broker.process.await_stderr(" connected");
}

#[test]
fn who_fails_too_often_is_not_listened_to() {
    let files = Files::new("pattern readwrite #\n");
    files.set_password("anna", "secret");
    let broker =
        Broker::start_with(&["--password-file", &files.path("users"), "--max-failures-per-address", "2"]);
    let publish = |password| publish(&broker, &["-u", "anna", "-P", password], "a").ended().complaint(1);
    for _ in 0..2 {
        let line = publish("wrong");
        assert!(line.contains("user name or password"), "{line}");
    }
    let line = publish("secret");
    assert!(line.contains("not available"), "{line}");
    broker.process.await_stderr("too many failed attempts");
}

/// What `mosquitto_passwd` of Debian writes is read as it is.
#[test]
fn passwords_of_mosquitto() {
    let files = Files::new("");
    let users = files.path("users");
    fs::write(&users, "").unwrap();
    for (format, user) in [("sha512-pbkdf2", "anna"), ("sha512", "berta")] {
        let made =
            Command::new("mosquitto_passwd").args(["-H", format, "-b", &users, user, "gehe im"]).output();
        let Ok(made) = made else {
            eprintln!("mosquitto_passwd is not installed: Debian's package mosquitto has it");
            return;
        };
        assert!(made.status.success(), "{made:?}");
    }
    for user in ["anna", "berta"] {
        let check = |password: &str| {
            Gmqtt::start_with_input(&["passwd", "check", &users, user, "--stdin"], password.as_bytes())
                .ended()
        };
        assert_eq!(check("gehe im\n").output(), [format!("{user}: the password is right")]);
        assert!(check("geheim").complaint(1).ends_with("the password is wrong"));
    }
    files.set_password("carl", "x");
    let summary = Gmqtt::start(&["passwd", "check", &users]).ended().output();
    assert!(
        summary[0].ends_with(
            ": 3 users, 1 with argon2id, 1 with mosquitto $6$ (one round of SHA-512: weak), 1 with mosquitto $7$ (PBKDF2)"
        ),
        "{summary:?}"
    );
}

#[test]
fn passwd_removes_and_says_what_is_wrong() {
    let files = Files::new("");
    let users = files.path("users");
    assert_eq!(Gmqtt::start(&["passwd", &users, "anna", "--batch", "x"]).ended().output(), [""; 0]);
    assert_eq!(Gmqtt::start(&["passwd", &users, "anna", "--delete"]).ended().output(), [""; 0]);
    assert_eq!(fs::read_to_string(&users).unwrap(), "");
    for (arguments, code, part) in [
        (&[&users[..], "anna", "--delete"][..], 1, "no such user"),
        (&[&users, "anna", "--batch", ""], 1, "the password is empty"),
        (&[&users, "a:b", "--batch", "x"], 1, "user name"),
        (&[&users, "anna"], 2, "--stdin"),
        (&[&users], 2, "required"),
        (&["check", "/nonexistent/users"], 1, "/nonexistent/users"),
    ] {
        let line = Gmqtt::start(&[&["passwd"], arguments].concat()).ended().complaint(code);
        assert!(line.contains(part), "{line}");
    }
    assert!(!Path::new(&format!("{users}.new")).exists());
}

#[test]
fn acl_explain_names_the_line_that_decides() {
    let files =
        Files::new("topic read news\nuser anna\ntopic a/#\ntopic deny a/secret\npattern read dev/%c/#\n");
    let explain = |arguments: &[&str]| {
        Gmqtt::start(&[&["acl", "explain", "--acl-file", &files.path("rights")], arguments].concat()).ended()
    };
    let allowed = explain(&["--user", "anna", "--client", "c1", "publish", "a/b", "--retain"]);
    assert_eq!(allowed.output(), ["allowed by line 3: topic a/#"]);
    let allowed = explain(&["--user", "anna", "--client", "c1", "subscribe", "dev/c1/+"]);
    assert_eq!(allowed.output(), ["allowed by line 5: pattern read dev/%c/#"]);
    let refused = explain(&["--user", "anna", "receive", "a/secret"]).complaint(1);
    assert_eq!(refused, "gmqtt: refused by line 4: topic deny a/secret");
    let refused = explain(&["--client", "c1", "publish", "news"]).complaint(1);
    assert_eq!(refused, "gmqtt: refused: no line allows it");
    explain(&["publish", "a/#"]).complaint(2);
}
