//! [`Broker`]: the real binary on one data directory, started and killed again and again.

use std::{
    fs::{self, OpenOptions},
    io::BufReader,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    rng::Rng,
    watch::{LOG_LEVEL, Seen, Watch},
};

/// Nothing here takes so long: whatever does is stuck.
pub(crate) const STUCK: Duration = Duration::from_mins(1);

pub(crate) struct Broker {
    rng: Rng,
    directory: PathBuf,
    process: Option<Running>,
}

struct Running {
    child: Child,
    watch: Arc<Watch>,
    /// Ends with what the process prints.
    readers: [JoinHandle<()>; 2],
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
        let watch = self.spawn();
        watch.wait(STUCK, |seen| seen.listens.is_some());
        let address = watch.seen().listens.ok_or_else(|| self.told("the broker does not start"))?;
        Ok((address, begun.elapsed()))
    }

    /// Starts it, and kills it after so long, however far it is.
    pub(crate) fn start_and_kill(&mut self, after: Duration) -> Result<(), String> {
        self.spawn();
        thread::sleep(after);
        self.kill()
    }

    /// Starts it, and kills it so long after it has begun to read what the one before left. Whether it was still at that,
    /// and did not listen yet.
    pub(crate) fn start_and_kill_in_recovery(&mut self, after: Duration) -> Result<bool, String> {
        if !self.spawn().wait(STUCK, |seen| seen.recovery_begun) {
            return Err(self.told("the broker does not come to its store"));
        }
        thread::sleep(after);
        Ok(self.end()?.listens.is_none())
    }

    /// SIGKILL as soon as the store merges sorted files, or after so long if it does not. Whether it was merging.
    pub(crate) fn kill_in_compaction(&mut self, patience: Duration) -> Result<bool, String> {
        if let Some(running) = &self.process {
            running.watch.wait(patience, Seen::merges);
        }
        Ok(self.end()?.merges())
    }

    /// SIGKILL. An error if it had ended by itself.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        if self.process.is_some() { self.end().map(drop) } else { Ok(()) }
    }

    /// SIGKILL, and everything that it had said by then.
    fn end(&mut self) -> Result<Seen, String> {
        let mut running = self.process.take().ok_or("there is no broker to kill")?;
        let ended = running.child.try_wait().unwrap();
        let _ = running.child.kill();
        let _ = running.child.wait();
        match ended {
            None => Ok(running.last_words()),
            Some(status) => Err(self.told(&format!("the broker ended by itself ({status})"))),
        }
    }

    /// SIGTERM, and a good end.
    #[cfg(unix)]
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        let Some(mut running) = self.process.take() else { return Ok(()) };
        let pid = rustix::process::Pid::from_child(&running.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = running.child.wait().unwrap();
        running.last_words();
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

    fn told(&self, what: &str) -> String {
        format!("{what}: see {}", self.log_path().display())
    }

    fn spawn(&mut self) -> Arc<Watch> {
        let kept = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        // A kill of the process takes nothing from either.
        let durability = if self.rng.percent(50) { "sync" } else { "os" };
        // So small that the store sorts and compacts its files all the time, and that queues are read back from it.
        let memtable = "32KiB";
        let window = if self.rng.percent(50) { "2KiB" } else { "256KiB" };
        let mut child = Command::new(self.directory.join("gmqtt"))
            .args(["serve", "--listen", "127.0.0.1:0", "--durability", durability, "--data-dir"])
            .arg(self.directory.join("data"))
            // A queue that drops by its limits would look like a loss.
            .args([
                "--max-queued-messages",
                "10000000",
                "--max-queued-bytes",
                "4GiB",
                "--log-level",
                LOG_LEVEL,
            ])
            .args(["--memtable-bytes", memtable, "--queue-window-bytes", window])
            .env_remove("GMQTT_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let watch = Arc::new(Watch::default());
        // Both are read to the end: a full pipe would stop the broker.
        let (theirs, output) = (Arc::clone(&watch), BufReader::new(child.stdout.take().unwrap()));
        let output = thread::spawn(move || theirs.read_output(output));
        let (theirs, log) = (Arc::clone(&watch), BufReader::new(child.stderr.take().unwrap()));
        let log = thread::spawn(move || theirs.read_log(log, kept));
        self.process = Some(Running { child, watch: Arc::clone(&watch), readers: [output, log] });
        watch
    }
}

impl Running {
    /// What it had said when it ended.
    fn last_words(self) -> Seen {
        self.readers.into_iter().for_each(|reader| reader.join().unwrap());
        self.watch.seen()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
