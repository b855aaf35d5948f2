//! A broker started for one command on a free loopback port, and stopped with it.

use crate::process::program;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A start may have a large store to read.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Of a program that has not said yet where it listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Ends its process when dropped.
pub(crate) struct BrokerProcess {
    child: Child,
    addr: SocketAddr,
}

impl BrokerProcess {
    /// Debian's mosquitto with nothing changed but the listener.
    pub(crate) fn mosquitto() -> Result<BrokerProcess> {
        let addr = free_addr()?;
        let folder = std::env::temp_dir().join(format!("gmqtt-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let config = folder.join("mosquitto.conf");
        fs::write(
            &config,
            format!("listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n", addr.port()),
        )?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = program("mosquitto");
        command.env("PATH", format!("{path}:/usr/sbin")).arg("-c").arg(&config).stderr(Stdio::null());
        let outcome = BrokerProcess::at(addr, &mut command);
        let _ = fs::remove_dir_all(&folder);
        outcome
    }

    /// A program that chooses a free port itself and says which: `listening on 127.0.0.1:PORT (tcp)`.
    pub(crate) fn that_says_where(command: &mut Command) -> Result<BrokerProcess> {
        Ok(BrokerProcess::that_says(command, |_| Some(()))?.0)
    }

    /// The same for one that serves HTTP beside, and says where, after that: `on http://127.0.0.1:PORT/`.
    pub(crate) fn that_serves_http(command: &mut Command) -> Result<(BrokerProcess, String)> {
        BrokerProcess::that_says(command, http_on)
    }

    /// A program that chooses a free port itself, and says something else that is `wanted` in that line or after it.
    pub(crate) fn that_says<T>(
        command: &mut Command,
        wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<(BrokerProcess, T)> {
        BrokerProcess::that_says_within(START_LIMIT, command, wanted)
    }

    fn that_says_within<T>(
        limit: Duration,
        command: &mut Command,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<(BrokerProcess, T)> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take();
        // From here on it ends with us.
        let mut broker = BrokerProcess { child, addr: NOWHERE };
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(stdout.context("no standard output")?);
        // To its end: what it prints later must not fill the pipe and stop it.
        thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let (start, mut addr) = (Instant::now(), None);
        loop {
            let line = match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{name} does not say where it listens after {limit:?}")
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = broker.child.kill(); // Unless it is at its end already, as its output is.
                    bail!("{name} ended before it listened ({})", broker.child.wait()?);
                }
            };
            addr = addr.or_else(|| listening_on(&line));
            if let Some(addr) = addr
                && let Some(said) = wanted(&line)
            {
                broker.addr = addr;
                return Ok((broker, said));
            }
        }
    }

    /// A program that was told where to listen.
    pub(crate) fn at(addr: SocketAddr, command: &mut Command) -> Result<BrokerProcess> {
        let name = command.get_program().display().to_string();
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {name}"))?;
        let mut broker = BrokerProcess { child, addr };
        broker.wait_until_it_listens()?;
        Ok(broker)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Ends it by SIGTERM, and waits for a good end.
    pub(crate) fn stop(mut self) -> Result<()> {
        crate::process::signal(&self.child, "TERM")?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("an orderly end of the broker failed ({status})") }
    }

    /// An error if it is no longer there: a broker that a client can bring down has failed, whatever the client saw.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the broker ended during the run ({status})"),
        }
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect_timeout(&self.addr, START_LIMIT).is_err() || !self.listens_itself()? {
            self.still_runs()?;
            if start.elapsed() > START_LIMIT {
                bail!("the broker does not listen on {} after {START_LIMIT:?}", self.addr);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether anybody listens, as a connection to one's own port is one, too. An error if it is another process: the
    /// costs of a script would be taken for those of the server that it started, which would outlive it.
    fn listens_itself(&self) -> Result<bool> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        if tables.iter().all(Result::is_err) {
            return Ok(true); // Nobody can say.
        }
        let listening: Vec<String> =
            tables.iter().flatten().flat_map(|table| listening_sockets(table, self.port())).collect();
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid()))?;
        let is_one = |file: PathBuf| {
            fs::read_link(file).is_ok_and(|to| listening.iter().any(|socket| to == Path::new(socket)))
        };
        if listening.is_empty() || descriptors.flatten().any(|entry| is_one(entry.path())) {
            return Ok(!listening.is_empty());
        }
        bail!("who listens on {} is not the process that was started: let a script `exec` it", self.addr)
    }
}

/// Of a table of the kernel's the sockets that listen on a port, as descriptors are linked to them.
fn listening_sockets(table: &str, port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..] else { return None };
        local.ends_with(&end).then(|| format!("socket:[{inode}]"))
    };
    table.lines().filter_map(socket).collect()
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that is free now: where a program cannot be asked to choose, the worst outcome is a start that fails.
pub(crate) fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split_whitespace().next()?.parse().ok()
}

pub(crate) fn http_on(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" on http://")?;
    Some(format!("http://{}", rest.split('/').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_whose_server_is_another_process_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let outcome = BrokerProcess::at(listener.local_addr().unwrap(), program("sleep").arg("60"));
        let why = outcome.err().unwrap().to_string();
        assert!(why.contains("is not the process that was started"), "{why}");
    }

    #[test]
    fn who_listens_is_read_from_the_kernel_s_table() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 4711 1 0 100\n"
            )
        };
        let table = line("0100007F:075B", "0A") + &line("0100007F:075B", "01") + &line("0100007F:075C", "0A");
        assert_eq!(listening_sockets(&table, 1883), ["socket:[4711]"]);
    }

    #[test]
    fn the_address_is_read_from_the_line_that_names_it() {
        assert_eq!(listening_on("listening on 127.0.0.1:4321 (tcp)"), Some(([127, 0, 0, 1], 4321).into()));
        assert_eq!(listening_on("gmqtt 0.1.0"), None);
        let api = http_on("HTTP API on http://127.0.0.1:4322/ (token in /tmp/x)");
        assert_eq!(api.as_deref(), Some("http://127.0.0.1:4322"));
    }

    #[test]
    fn a_binary_that_does_not_listen_is_an_error() {
        assert!(BrokerProcess::that_says_where(&mut program("/bin/true")).is_err());
    }
    /// It was waited for without an end, and with it the command.
    #[test]
    fn a_program_that_says_nothing_is_given_up_and_ended() {
        let mut silent = program("sh");
        let begin = Instant::now();
        let limit = Duration::from_millis(100);
        let outcome =
            BrokerProcess::that_says_within(limit, silent.args(["-c", "exec sleep 120"]), |_| Some(()));
        let error = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("does not say"), "{error}");
        assert!(begin.elapsed() < Duration::from_mins(1), "nor is its end waited for");
    }
}
