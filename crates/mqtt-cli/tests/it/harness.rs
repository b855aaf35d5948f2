//! The real binary as a child process: its lines, its end, and a broker to talk to.
#![allow(dead_code, reason = "each of the test programs uses its part")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Nothing here takes so long: whatever does is stuck.
pub(crate) const STUCK: Duration = Duration::from_mins(1);

/// `gmqtt`, running.
pub(crate) struct Gmqtt {
    child: Child,
    /// Where it keeps its data, unless the test says otherwise: never in the home of whoever runs the tests.
    data_dir: Option<TempDir>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// `gmqtt`, ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Lines that were not read before.
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

/// A broker on a port of its own.
pub(crate) struct Broker {
    pub(crate) process: Gmqtt,
    pub(crate) address: SocketAddr,
}

impl Gmqtt {
    /// With standard input closed.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with_input(arguments, b"")
    }

    pub(crate) fn start_with_input(arguments: &[&str], input: &[u8]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
        command.args(arguments);
        Self::start_command(command, input)
    }

    pub(crate) fn start_command(mut command: Command, input: &[u8]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        command.env("GMQTT_DATA_DIR", data_dir.path()).env("GMQTT_ADMIN", "off");
        let mut gmqtt = Self::start_prepared(command, input);
        gmqtt.data_dir = Some(data_dir);
        gmqtt
    }

    /// With no other environment than the test prepared.
    pub(crate) fn start_prepared(mut command: Command, input: &[u8]) -> Self {
        // Nothing of the machine's own configuration.
        command.env_remove("GMQTT_LOG").env("GMQTT_CONFIG", "");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        thread::spawn(move || stdin.write_all(&input));
        let (stdout, stderr) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, data_dir: None, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of standard output.
    pub(crate) fn line(&self) -> String {
        self.stdout.recv_timeout(STUCK).expect("a line on standard output")
    }

    /// The next line after the one that a broker begins with: where it keeps its data.
    pub(crate) fn line_after_durability(&self) -> String {
        let durability = self.line();
        assert!(durability.starts_with("durability: "), "{durability}");
        self.line()
    }

    /// Waits for a line on stderr that has `part` in it.
    pub(crate) fn await_stderr(&self, part: &str) -> String {
        let deadline = Instant::now() + STUCK;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(error) => panic!("no `{part}` on stderr: {error}"),
            }
        }
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Without a chance to say good-bye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + STUCK;
        // Both are closed at the end, and nothing is awaited before them: a full pipe would keep the process alive.
        let stdout = rest(&self.stdout, deadline);
        let stderr = rest(&self.stderr, deadline);
        Ended { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Gmqtt {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Ended well and without a word on stderr; what it printed.
    pub(crate) fn output(self) -> Vec<String> {
        assert!(self.status.success() && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    /// Ended with this code; the last line on stderr, after whatever was logged.
    pub(crate) fn last_words(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        self.stderr.last().cloned().unwrap_or_default()
    }

    /// Ended with this code and one line on stderr, which is returned.
    pub(crate) fn complaint(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert_eq!(self.stderr.len(), 1, "{self:?}");
        self.stderr[0].clone()
    }
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::prepared(Gmqtt::start(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()))
    }

    /// Of a broker that was just started.
    pub(crate) fn prepared(process: Gmqtt) -> Self {
        let line = process.line_after_durability();
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(" (tcp)"));
        let address = address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        Self { process, address }
    }

    /// `gmqtt pub` or `gmqtt sub` for this broker.
    pub(crate) fn client(&self, arguments: &[&str]) -> Gmqtt {
        self.client_with_input(arguments, b"")
    }

    pub(crate) fn client_with_input(&self, arguments: &[&str], input: &[u8]) -> Gmqtt {
        start_client(self.address, arguments, input)
    }

    /// `gmqtt pub`, ended well.
    pub(crate) fn publish(&self, arguments: &[&str]) {
        assert_eq!(self.client(&[&["pub"], arguments].concat()).ended().output(), [""; 0]);
    }

    /// `gmqtt sub`, whose subscriptions stand.
    pub(crate) fn subscribed(&self, arguments: &[&str]) -> Gmqtt {
        let sub = self.client(&[&["sub", "-d"], arguments].concat());
        sub.await_stderr("received SUBACK");
        sub
    }

    /// A socket, for bytes that no client of ours would send.
    pub(crate) fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(STUCK)).unwrap();
        socket
    }
}

pub(crate) fn start_client(broker: SocketAddr, arguments: &[&str], input: &[u8]) -> Gmqtt {
    let (host, port) = (broker.ip().to_string(), broker.port().to_string());
    Gmqtt::start_with_input(&[arguments, &["-h", &host, "-p", &port]].concat(), input)
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn rest(lines: &Receiver<String>, deadline: Instant) -> Vec<String> {
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => rest.push(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("the process does not end; so far: {rest:?}"),
        }
    }
}
