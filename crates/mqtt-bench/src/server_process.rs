//! What a process has cost so far: processor time and resident memory, out of `/proc`.
//!
//! Read by process identifier, so that the same figures exist for every server, whoever wrote it.

use std::{
    fs, process,
    time::{Duration, Instant},
};

/// One reading of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// User and system time of all its threads, in seconds.
    pub(crate) cpu_secs: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) peak_resident_bytes: u64,
}

/// The server, where its process is known, and the generator, at one point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    at: Instant,
    server: Option<Reading>,
    generator: Reading,
}

/// What a stretch of time has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) time: Duration,
    pub(crate) server: Option<Usage>,
    pub(crate) generator: Usage,
}

/// What one process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_secs: f64,
    pub(crate) peak_resident_bytes: u64,
}

impl Sample {
    pub(crate) fn now(server_pid: Option<u32>) -> Self {
        let server = server_pid.and_then(read);
        Self { server, generator: read(process::id()).unwrap_or_default(), at: Instant::now() }
    }

    /// The same costs as of an earlier time, since which nothing has happened; unless that is before `began`.
    pub(crate) fn as_of(self, at: Instant, began: &Self) -> Self {
        Self { at: if at > began.at { at } else { self.at }, ..self }
    }

    pub(crate) fn since(&self, earlier: &Self) -> Spent {
        let usage = |before: Reading, after: Reading| Usage {
            cpu_secs: after.cpu_secs - before.cpu_secs,
            peak_resident_bytes: after.peak_resident_bytes,
        };
        Spent {
            time: self.at - earlier.at,
            server: earlier.server.zip(self.server).map(|(before, after)| usage(before, after)),
            generator: usage(earlier.generator, self.generator),
        }
    }
}

/// Reads process `pid`; `None` where there is no such process or no `/proc`.
pub(crate) fn read(pid: u32) -> Option<Reading> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse(&stat, &status, ticks_per_second())
}

fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Reading> {
    // The command stands in parentheses and may hold anything, so count fields from behind it.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Reading {
        cpu_secs: (user + system) as f64 / ticks_per_second as f64,
        resident_bytes: kibibytes(status, "VmRSS:")?,
        peak_resident_bytes: kibibytes(status, "VmHWM:")?,
    })
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let count: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(count * 1024)
}

#[cfg(target_os = "linux")]
fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

#[cfg(not(target_os = "linux"))]
fn ticks_per_second() -> u64 {
    100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_and_spaces_is_no_trouble() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 9 9 9";
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let reading = parse(stat, status, 100).unwrap();
        assert!((reading.cpu_secs - 2.0).abs() < 1e-9);
        assert_eq!((reading.resident_bytes, reading.peak_resident_bytes), (1 << 20, 2 << 20));
    }
}
