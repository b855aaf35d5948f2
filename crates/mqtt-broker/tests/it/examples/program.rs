//! An example as a program: where it is, and one that runs.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Far longer than any example takes to print its next line.
const STUCK: Duration = Duration::from_mins(1);

/// A running example; killed when dropped.
pub(super) struct Example {
    pub(super) process: Child,
    lines: mpsc::Receiver<String>,
    pub(super) address: SocketAddr,
}

impl Example {
    pub(super) fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Every example takes the address as its first argument, and says first where it listens.
    pub(super) fn start_with(name: &str, arguments: &[&Path]) -> Self {
        let mut process = Command::new(executable("mqtt-broker", name))
            .arg("127.0.0.1:0")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let first: String = lines.recv_timeout(STUCK).expect("where it listens");
        let address = first.strip_prefix("listening on ").expect("where it listens");
        Self { process, address: address.parse().expect("an address"), lines }
    }

    pub(super) fn next_line(&mut self) -> String {
        self.lines.recv_timeout(STUCK).expect("a line")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where Cargo puts the example: beside the directory of this test. `cargo test` has built it, unless it was told to build
/// this one target alone, or to make tests of examples.
pub(super) fn executable(package: &str, name: &str) -> PathBuf {
    let own = env::current_exe().expect("the path of this test");
    let profile = own.ancestors().nth(2).expect("target/<profile>/deps/it");
    let path = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates");
    let source = crates.join(package).join("examples").join(format!("{name}.rs"));
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if modified(&path) < modified(&source) {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", package, "--example", name]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success(), "{name} does not build");
    }
    path
}
