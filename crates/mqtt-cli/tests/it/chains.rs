//! Listeners that ask different ones about their clients: tokens, a web server, proxies; and what a reload of that changes.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use tempfile::TempDir;

use super::harness::{Broker, Gmqtt};

/// Signed with `SECRET` by HS256: the user anna, until 2100.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwfQ.\
                     0Z1T53zkJ6aTuEqCb5zGfQkYfFpWzsOT8dtFBVlQVZQ";
const SECRET: &str = "a secret of forty bytes, hard to guess!!";

/// A folder with a configuration.
struct Folder(TempDir);

impl Folder {
    fn new(configuration: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("gmqtt.toml", configuration);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    /// The broker, and the addresses of its listeners in their order.
    fn serve(&self, listeners: usize) -> (Broker, Vec<String>) {
        let path = self.0.path().join("gmqtt.toml").display().to_string();
        let process = Gmqtt::start(&["serve", "--config", &path]);
        process.line();
        let mut lines = vec![process.line_after_durability()];
        lines.resize_with(listeners, || process.line());
        process.line(); // The limits: by then it listens to signals too.
        let address = |line: &String| line.split(' ').nth(2).unwrap().to_owned();
        let addresses: Vec<String> = lines.iter().map(address).collect();
        (Broker { address: addresses[0].parse().unwrap(), process }, addresses)
    }
}

/// The exit code of a client that publishes to a topic.
fn publish(address: &str, topic: &str, who: &[&str]) -> Option<i32> {
    let (host, port) = address.rsplit_once(':').unwrap();
    let arguments = ["pub", "-h", host, "-p", port, "-t", topic, "-m", "x", "-q", "1"];
    Gmqtt::start(&[&arguments[..], who].concat()).ended().status.code()
}

/// A web server that lets in and allows whoever is called `anna`, and changes its mind about one topic; how often it was asked.
fn web_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || answer_all(BufReader::new(stream), &count));
        }
    });
    (url, asked)
}

fn answer_all(mut stream: BufReader<TcpStream>, asked: &AtomicUsize) {
    loop {
        let (mut header, mut len) = (String::new(), 0);
        while header != "\r\n" {
            header.clear();
            if stream.read_line(&mut header).is_ok_and(|count| count == 0) {
                return;
            }
            let line = header.trim_end().to_ascii_lowercase();
            len = line.strip_prefix("content-length: ").map_or(len, |text| text.parse().unwrap());
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).unwrap();
        let has_changed_its_mind = asked.fetch_add(1, SeqCst) >= 3;
        let question: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let is_allowed = question["user_name"] == "anna"
            && question["topic"] != "no"
            && !(question["topic"] == "at first" && has_changed_its_mind);
        let body = format!("{{\"result\":\"{}\"}}", if is_allowed { "allow" } else { "deny" });
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn each_listener_asks_its_own_chain() {
    let (url, _) = web_server();
    let folder = Folder::new(&format!(
        "[access]\npassword_file = \"users\"\nacl_file = \"rights\"\n\
         [access.token]\nkey_file = \"key\"\nalgorithm = \"HS256\"\n\
         [access.http]\nconnect_url = \"{url}\"\nacl_url = \"{url}\"\n\
         [[listener]]\nname = \"tokens\"\naddress = \"127.0.0.1:0\"\n\
         [listener.access]\nidentify = [\"token\"]\nauthorize = [\"acl\"]\n\
         [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [listener.access]\nidentify = [\"http\"]\nauthorize = [\"http\"]\n\
         [[listener]]\nname = \"own\"\naddress = \"127.0.0.1:0\"\n\
         [listener.access]\nidentify = [\"password\"]\nauthorize = []\npassword_file = \"others\"\n\
         [[listener]]\nname = \"rights\"\naddress = \"127.0.0.1:0\"\n\
         [listener.access]\nidentify = [\"password\"]\nauthorize = [\"acl\"]\n\
         password_file = \"others\"\nacl_file = \"others' rights\"\n"
    ));
    folder.write("others' rights", "user berta\ntopic write b\n");
    folder.write("key", SECRET);
    folder.write("rights", "user anna\ntopic a\n");
    folder.write("users", "");
    folder.write("others", "");
    let others = folder.0.path().join("others").display().to_string();
    Gmqtt::start_with_input(&["passwd", "--stdin", &others, "berta"], b"secret").ended().output();
    let (broker, addresses) = folder.serve(4);
    let sub = broker.subscribed(&["-t", "a", "-u", "x", "-P", TOKEN, "-C", "3"]);
    let [tokens, web, own, rights] = &addresses[..] else { panic!("{addresses:?}") };
    // By another list than the one of the others: `a` is not passed on, `b` is.
    let (host, port) = own.rsplit_once(':').unwrap();
    let watch =
        ["sub", "-d", "-v", "-t", "#", "-C", "1", "-u", "berta", "-P", "secret", "-h", host, "-p", port];
    let watch = Gmqtt::start(&watch);
    watch.await_stderr("received SUBACK");
    for topic in ["a", "b"] {
        assert_eq!(publish(rights, topic, &["-u", "berta", "-P", "secret"]), Some(0));
    }
    assert_eq!(watch.ended().stdout, ["b x"]);
    for (address, who, expected) in [
        (tokens, ["-u", "x", "-P", TOKEN], Some(0)),
        (tokens, ["-u", "anna", "-P", "secret"], Some(1)),
        (web, ["-u", "anna", "-P", "whatever"], Some(0)),
        (web, ["-u", "berta", "-P", "secret"], Some(1)),
        (own, ["-u", "berta", "-P", "secret"], Some(0)),
        (own, ["-u", "x", "-P", TOKEN], Some(1)),
    ] {
        assert_eq!(publish(address, "a", &who), expected, "{address} {who:?}");
    }
    assert_eq!(sub.ended().stdout.len(), 3);
}

#[cfg(unix)]
#[test]
fn a_reload_keeps_what_the_server_has_said_unless_it_is_asked_otherwise() {
    use rustix::process::Signal;

    let (url, asked) = web_server();
    let text = |more: &str| {
        format!(
            "[access.http]\nconnect_url = \"{url}\"\nacl_url = \"{url}\"\n{more}\
             [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n"
        )
    };
    let folder = Folder::new(&text(""));
    let (broker, addresses) = folder.serve(1);
    let anna = ["-u", "anna", "-P", "p", "-i", "c1"];
    assert_eq!(publish(&addresses[0], "a", &anna), Some(0));
    assert_eq!(asked.load(SeqCst), 2);
    for (more, expected) in [("", 2), ("cache_entries = 7\n", 4)] {
        folder.write("gmqtt.toml", &text(more));
        broker.process.signal(Signal::HUP);
        broker.process.await_stderr("reloaded");
        assert_eq!(publish(&addresses[0], "a", &anna), Some(0));
        assert_eq!(asked.load(SeqCst), expected, "{more}");
    }
}

/// Where it still listened, it let in whomever the others let in, or went on by what had stood in files before.
#[cfg(unix)]
#[test]
fn a_listener_that_the_file_no_longer_names_in_its_place_keeps_its_rules() {
    let keys = "[access.token]\nkey_file = \"key\"\nalgorithm = \"HS256\"\n";
    let listener = |name: &str, address: &str, is_open: bool| {
        format!("[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\nallow_anonymous = {is_open}\n")
    };
    let free = "127.0.0.1:0";
    let (public, inside) = (listener("public", free, false), listener("inside", free, true));
    let folder = Folder::new(&format!("{keys}{public}{inside}"));
    folder.write("key", SECRET);
    let (broker, addresses) = folder.serve(2);
    let with_token = ["-u", "anna", "-P", TOKEN];
    let moved = listener("public", "127.0.0.1:1", true);
    for (listeners, key, expected) in [
        (inside.clone(), SECRET, Some(0)),
        (moved, SECRET, Some(0)),
        (listener("other", free, false) + &inside, "another secret of forty bytes, hard to guess", Some(1)),
    ] {
        folder.write("gmqtt.toml", &format!("{keys}{listeners}"));
        folder.write("key", key);
        broker.process.signal(rustix::process::Signal::HUP);
        broker.process.await_stderr("reloaded: ");
        assert_eq!(publish(&addresses[0], "a", &[]), Some(1), "{listeners}");
        assert_eq!(publish(&addresses[0], "a", &with_token), expected, "{listeners}");
        assert_eq!(publish(&addresses[1], "a", &[]), Some(0), "{listeners}");
    }
}

/// Nobody says a word, and no file changes.
#[test]
fn a_right_that_the_server_takes_back_is_gone_in_time() {
    let (url, _) = web_server();
    let folder = Folder::new(&format!(
        "[access.http]\nconnect_url = \"{url}\"\nacl_url = \"{url}\"\ncache_ttl = \"0s\"\nrecheck_interval = \"1s\"\n\
         [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n"
    ));
    let (broker, addresses) = folder.serve(1);
    let anna = ["-u", "anna", "-P", "p"];
    let sub = broker.subscribed(&[&["-t", "at first", "-t", "a", "-C", "1"][..], &anna].concat());
    let line = broker.process.await_stderr("no longer allowed: unsubscribed");
    assert!(line.contains("at first"), "{line}");
    assert_eq!(publish(&addresses[0], "a", &anna), Some(0));
    assert_eq!(sub.ended().stdout, ["x"], "the other one is still allowed");
}

#[test]
fn behind_a_proxy_the_client_is_whom_the_proxy_names() {
    let folder = Folder::new(
        "[[listener]]\nname = \"proxied\"\naddress = \"127.0.0.1:0\"\nallow_anonymous = true\n\
         proxy_protocol_from = [\"127.0.0.0/8\"]\n",
    );
    let (broker, _) = folder.serve(1);
    let mut socket = broker.socket();
    let connect = b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02c1";
    socket.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\n").unwrap();
    socket.write_all(connect).unwrap();
    let mut connack = [0; 4];
    socket.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    let line = broker.process.await_stderr(" connected");
    assert!(line.contains("192.0.2.7:4711"), "{line}");
}
