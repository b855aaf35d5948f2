//! `gmqtt top` on a terminal of its own: over the API, and over what a broker publishes below `$SYS`.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Instant,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::harness::{Broker, Gmqtt, STUCK};

/// `gmqtt top`, and the terminal that it believes to be on.
struct Top {
    child: Child,
    keyboard: File,
    /// All that was written, without what only moves and colours.
    screen: Arc<Mutex<String>>,
}

impl Top {
    fn start(arguments: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: 30, ws_col: 130, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        // Not to become the terminal of the tests themselves, whose end would end them.
        let (path, flags) = (name.to_str().unwrap(), OFlags::RDWR | OFlags::NOCTTY);
        let theirs = File::from(open(path, flags, Mode::empty()).unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
        command.arg("top").args(arguments).env_remove("GMQTT_API").env_remove("GMQTT_TOKEN");
        let child = command
            .env("TERM", "xterm")
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(theirs)
            .spawn()
            .unwrap();
        let keyboard = File::from(ours);
        let (mut shown, screen) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let written = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = shown.read(&mut bytes) {
                written.lock().unwrap().push_str(&plain(&String::from_utf8_lossy(&bytes[..n])));
            }
        });
        Self { child, keyboard, screen }
    }

    /// Waits until this stands on the screen.
    fn shows(&self, text: &str) {
        let begun = Instant::now();
        while !self.screen.lock().unwrap().contains(text) {
            assert!(begun.elapsed() < STUCK, "{text:?} is not in\n{}", self.screen.lock().unwrap());
            thread::yield_now();
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn quit(mut self) {
        self.press("q");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without escape sequences; where one moves on, over what is empty already, there is a space.
fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        let end = after.char_indices().skip(1).find(|(_, char)| char.is_ascii_alphabetic());
        plain.extend(end.filter(|(_, char)| *char == 'H').map(|_| ' '));
        rest = end.map_or("", |(at, char)| &after[at + char.len_utf8()..]);
    }
    plain + rest
}

#[test]
fn over_the_api_it_shows_clients_and_disconnects_one() {
    let data = tempfile::tempdir().unwrap();
    let folder: &Path = data.path();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir"];
    let process = Gmqtt::start(&[&arguments[..], &[folder.to_str().unwrap()]].concat());
    let broker = Broker::prepared(process);
    let url = loop {
        if let Some(rest) = broker.process.line().strip_prefix("dashboard and HTTP API on ") {
            break rest.split(' ').next().unwrap().to_owned();
        }
    };
    let sensor = broker.subscribed(&["-t", "a/#", "-i", "sensor-77"]);
    let token = folder.join("admin-token");
    let mut top = Top::start(&["--url", &url, "--token-file", token.to_str().unwrap(), "-d", "100ms"]);
    top.shows("sensor-77");
    top.press("d");
    top.shows("disconnect sensor-77?");
    top.press("y");
    top.shows("sensor-77 is disconnected");
    sensor.await_stderr("connect");
    top.quit();
}

/// An API with more clients than are shown at a time, which disconnects nobody before it may.
fn slow_api(may_disconnect: mpsc::Receiver<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let may_disconnect = Arc::new(Mutex::new(may_disconnect));
    thread::spawn(move || {
        for socket in listener.incoming() {
            let may_disconnect = Arc::clone(&may_disconnect);
            thread::spawn(move || answer(&socket.unwrap(), &may_disconnect));
        }
    });
    url
}

fn answer(mut socket: &TcpStream, may_disconnect: &Mutex<mpsc::Receiver<()>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if socket.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let clients = |id: &str| format!(r#"{{"list":[{{"client_id":"{id}"}}]}}"#);
    let answer = match head.split("/api/v1/").nth(1).unwrap() {
        _ if head.starts_with("DELETE") => {
            let _ = may_disconnect.lock().unwrap().recv();
            String::new()
        }
        path if path.starts_with("clients") && path.contains("client_id=far") => clients("far-behind"),
        path if path.starts_with("clients") => clients("among-the-first"),
        _ => "{}".to_owned(),
    };
    let len = answer.len();
    let _ = write!(socket, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{answer}");
}

#[test]
fn it_searches_among_all_clients_and_does_not_stand_still_while_one_is_disconnected() {
    let (let_it, may_disconnect) = mpsc::channel();
    let url = slow_api(may_disconnect);
    let token = tempfile::NamedTempFile::new().unwrap();
    let mut top = Top::start(&["--url", &url, "--token-file", token.path().to_str().unwrap(), "-d", "100ms"]);
    top.shows("among-the-first");
    top.press("/far\r");
    top.shows("far-behind");
    top.press("d");
    top.shows("disconnect far-behind?");
    top.press("y");
    top.press("?");
    top.shows("sort by another column");
    let_it.send(()).unwrap();
    top.shows("far-behind is disconnected");
    top.press("?");
    top.quit();
}

#[test]
fn without_an_api_it_shows_what_a_broker_publishes_below_sys() {
    let broker = Broker::start_with(&["--sys-interval", "1s"]);
    let top = Top::start(&["--mqtt", &broker.address.to_string()]);
    top.shows(&format!("$SYS of {}", broker.address));
    // What is drawn later is only the figures that have changed.
    for figure in ["gmqtt 0.", "connections", "subscriptions", "so far"] {
        top.shows(figure);
    }
    top.quit();
}

/// On an address of this machine that is nobody else's, for the port is given.
#[test]
fn where_no_api_answers_it_falls_back_to_sys_of_the_same_host() {
    let [.., a, b] = std::process::id().to_be_bytes();
    let host = format!("127.77.{a}.{b}");
    let address = format!("{host}:1883");
    let arguments = ["serve", "--listen", &address, "--sys-interval", "1s", "--durability", "memory"];
    let _broker = Broker::prepared(Gmqtt::start(&arguments));
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("admin-token"), "gmqtt_of-no-use").unwrap();
    let (url, token) = (format!("http://{host}:18083"), data.path().join("admin-token"));
    let top = Top::start(&["--url", &url, "--token-file", token.to_str().unwrap()]);
    top.shows(&format!("$SYS of {address}"));
    top.shows("not the API, but $SYS");
    top.shows("subscriptions");
    top.quit();
}
