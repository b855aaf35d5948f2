//! [`Broker`]: the real binary on one data directory, started and killed again and again.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::rng::Rng;

/// Nothing here takes so long: whatever does is stuck.
pub(crate) const STUCK: Duration = Duration::from_mins(1);

pub(crate) struct Broker {
    rng: Rng,
    directory: PathBuf,
    process: Option<Child>,
}

impl Broker {
    /// It keeps its data, its log and itself below this directory: what failed can be looked at, whatever is built since.
    pub(crate) fn new(directory: &Path, rng: Rng) -> Self {
        fs::copy(env!("CARGO_BIN_EXE_gmqtt"), directory.join("gmqtt")).unwrap();
        Self { rng, directory: directory.to_owned(), process: None }
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&mut self) -> Result<(SocketAddr, Duration), String> {
        let begun = Instant::now();
        let lines = self.spawn();
        while let Ok(line) = lines.recv_timeout(STUCK) {
            let address = line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(" (tcp)"));
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                return Ok((address, begun.elapsed()));
            }
        }
        Err(format!("the broker does not start: see {}", self.log_path().display()))
    }

    /// Starts it, and kills it after so long, however far it is.
    pub(crate) fn start_and_kill(&mut self, after: Duration) -> Result<(), String> {
        drop(self.spawn());
        thread::sleep(after);
        self.kill()
    }

    /// SIGKILL. An error if it had ended by itself.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let ended = process.try_wait().unwrap();
        let _ = process.kill();
        let _ = process.wait();
        match ended {
            None => Ok(()),
            Some(status) => {
                Err(format!("the broker ended by itself ({status}): see {}", self.log_path().display()))
            }
        }
    }

    /// SIGTERM, and a good end.
    #[cfg(unix)]
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = process.wait().unwrap();
        if status.success() { Ok(()) } else { Err(format!("an orderly shutdown ended with {status}")) }
    }

    /// There is no such signal here.
    #[cfg(not(unix))]
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        self.kill()
    }

    /// How many sorted files the store has ever made: those that flushes and compactions wrote are numbered.
    pub(crate) fn sorted_files(&self) -> u64 {
        fn largest(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let number = |path: &Path| path.file_name()?.to_str()?.parse().ok();
            let of = |path: PathBuf| if path.is_dir() { largest(&path) } else { number(&path).unwrap_or(0) };
            entries.map(|entry| of(entry.path())).max().unwrap_or(0)
        }
        largest(&self.directory.join("data/db/keyspaces"))
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("broker.log")
    }

    fn spawn(&mut self) -> Receiver<String> {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        // A kill of the process takes nothing from either.
        let durability = if self.rng.percent(50) { "sync" } else { "os" };
        // So small that the store sorts and compacts its files all the time, and that queues are read back from it.
        let memtable = "32KiB";
        let window = if self.rng.percent(50) { "2KiB" } else { "256KiB" };
        let mut process = Command::new(self.directory.join("gmqtt"))
            .args(["serve", "--listen", "127.0.0.1:0", "--durability", durability, "--data-dir"])
            .arg(self.directory.join("data"))
            // A queue that drops by its limits would look like a loss.
            .args(["--max-queued-messages", "10000000", "--max-queued-bytes", "4GiB", "--log-level", "warn"])
            .args(["--memtable-bytes", memtable, "--queue-window-bytes", window])
            .env_remove("GMQTT_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        // Reads on when nobody listens any more: a full pipe would stop the broker.
        thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        self.process = Some(process);
        lines
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
