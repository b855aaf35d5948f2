//! A broker started for one command on a free loopback port, and stopped with it.

use crate::process::program;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(10);

/// Ends its process when dropped.
pub(crate) struct BrokerProcess {
    child: Child,
    addr: SocketAddr,
}

impl BrokerProcess {
    /// Debian's mosquitto with nothing changed but the listener.
    pub(crate) fn mosquitto() -> Result<BrokerProcess> {
        // The port is free now and mosquitto cannot be asked to choose: the worst outcome is a start that fails.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = std::env::temp_dir().join(format!("gmqtt-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let config = folder.join("mosquitto.conf");
        fs::write(
            &config,
            format!("listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n", addr.port()),
        )?;
        let path = std::env::var("PATH").unwrap_or_default();
        let child = program("mosquitto")
            .env("PATH", format!("{path}:/usr/sbin"))
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start mosquitto")?;
        let mut broker = BrokerProcess { child, addr };
        let outcome = broker.wait_until_it_listens();
        let _ = fs::remove_dir_all(&folder);
        outcome.map(|()| broker)
    }

    /// Our own binary, which chooses a free port itself and says which: `listening on 127.0.0.1:PORT (tcp)`.
    pub(crate) fn gmqtt(binary: &Path) -> Result<BrokerProcess> {
        let mut child = program(binary)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let addr = lines.by_ref().find_map(|line| line.ok().and_then(|line| listening_on(&line)));
        let Some(addr) = addr else {
            let status = child.wait()?;
            bail!("gmqtt ended before it listened ({status})");
        };
        // What it prints from now on must not fill the pipe and stop it.
        thread::spawn(move || lines.for_each(drop));
        Ok(BrokerProcess { child, addr })
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
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
        while TcpStream::connect_timeout(&self.addr, START_LIMIT).is_err() {
            self.still_runs()?;
            if start.elapsed() > START_LIMIT {
                bail!("the broker does not listen on {} after {START_LIMIT:?}", self.addr);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_line_that_names_it() {
        assert_eq!(listening_on("listening on 127.0.0.1:4321 (tcp)"), Some(([127, 0, 0, 1], 4321).into()));
        assert_eq!(listening_on("gmqtt 0.1.0"), None);
    }

    #[test]
    fn a_binary_that_does_not_listen_is_an_error() {
        assert!(BrokerProcess::gmqtt(Path::new("/bin/true")).is_err());
    }
}
