//! [`Process`]: what the system and the runtimes say of this process.

use std::{fs, time::Duration};

use tokio::runtime::{Handle, RuntimeMetrics};

/// Figures of this moment; `None` where the system does not tell.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) open_files: Option<usize>,
    pub(crate) cpu_seconds: Option<f64>,
    /// Of the API's runtime and of those that the broker's connections are on, all together.
    pub(crate) workers: usize,
    pub(crate) tasks: usize,
    pub(crate) queued_tasks: usize,
    pub(crate) busy: Duration,
}

/// Linux shows pages and ticks to programs in these sizes, whatever it uses itself, on all that we build for.
const PAGE_BYTES: u64 = 4096;
const TICK_MILLIS: u64 = 10;

impl Process {
    /// `workers` are the broker's; to be called on the API's runtime.
    pub(crate) fn now(workers: &[Handle]) -> Self {
        let own = Handle::try_current().ok();
        // Who gives the broker the runtime that the API is on has one runtime, not two.
        let own = own.as_ref().filter(|own| workers.iter().all(|worker| worker.id() != own.id()));
        let runtimes: Vec<RuntimeMetrics> = workers.iter().chain(own).map(Handle::metrics).collect();
        Self {
            resident_bytes: fs::read_to_string("/proc/self/statm").ok().and_then(|statm| resident(&statm)),
            open_files: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
            cpu_seconds: fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu(&stat)),
            workers: runtimes.iter().map(RuntimeMetrics::num_workers).sum(),
            tasks: runtimes.iter().map(RuntimeMetrics::num_alive_tasks).sum(),
            queued_tasks: runtimes.iter().map(RuntimeMetrics::global_queue_depth).sum(),
            busy: runtimes.iter().map(busy).sum(),
        }
    }
}

fn busy(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}

/// The second figure of `statm`.
fn resident(statm: &str) -> Option<u64> {
    statm.split(' ').nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_BYTES)
}

/// The 14th and 15th figure of `stat`; the second is a name in parentheses, which may hold anything.
fn cpu(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(") ")?.1;
    let mut ticks = after_name.split(' ').skip(11).map(|figure| figure.parse::<u64>().ok());
    let (user, system) = (ticks.next()??, ticks.next()??);
    let millis = user.checked_add(system)?.checked_mul(TICK_MILLIS)?;
    Some(Duration::from_millis(millis).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(resident("1000 250 30 1 0 200 0\n"), Some(250 * 4096));
        let stat = "77 (a ) b) S 1 77 77 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 100 1 2";
        assert_eq!(cpu(stat), Some(2.0));
        let years = "77 (x) S 1 77 77 0 -1 4194560 1 2 3 4 4294967295 4294967305 0 0 20 0 3 0 100 1 2";
        assert_eq!(cpu(years), Some(85_899_346.0));
        assert_eq!((resident(""), cpu(""), cpu("1 (x) S 1")), (None, None, None));
    }
}
