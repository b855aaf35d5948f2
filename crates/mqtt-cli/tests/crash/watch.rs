//! [`Watch`]: what a broker says, as far as somebody waits for it who wants to kill it then.

use std::{
    io::{BufRead, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// The engine tells of each merge of sorted files when it begins to read them and when its result counts, and of each
/// start when it begins to read its journal.
pub(crate) const LOG_LEVEL: &str = "warn,fjall::db=trace,lsm_tree::compaction=trace";
/// These lines are not kept.
const ENGINE: [&str; 2] = [" fjall::db: ", " lsm_tree::compaction"];
const RECOVERY_BEGINS: &str = "Replaying active journal";
const MERGE_BEGINS: &str = "Blob file GC preparation done";
/// With a result, or without one: its files were gone meanwhile, or the broker ends.
const MERGE_ENDS: [&str; 3] =
    ["Compaction successful", "skipping result installation", "Stopping amidst compaction"];

#[derive(Default)]
pub(crate) struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// What it has said so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// It reads what the one before has left.
    pub(crate) recovery_begun: bool,
    pub(crate) listens: Option<SocketAddr>,
    merges_begun: u64,
    merges_ended: u64,
    is_over: bool,
}

impl Seen {
    /// Whether sorted files are being merged.
    pub(crate) fn merges(&self) -> bool {
        self.merges_begun > self.merges_ended
    }
}

impl Watch {
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock()
    }

    /// Waits until it is so, but not for longer than this, nor when nothing more can come. Whether it is.
    pub(crate) fn wait(&self, patience: Duration, is_so: impl Fn(&Seen) -> bool) -> bool {
        let until = Instant::now() + patience;
        let mut seen = self.seen.lock();
        while !is_so(&seen) && !seen.is_over {
            if self.changed.wait_until(&mut seen, until).timed_out() {
                break;
            }
        }
        is_so(&seen)
    }

    /// Reads its standard output to the end.
    pub(crate) fn read_output(&self, output: impl BufRead) {
        for line in output.lines().map_while(Result::ok) {
            let address = line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(" (tcp)"));
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                self.note(|seen| seen.listens = Some(address));
            }
        }
    }

    /// Reads its log to the end, and keeps what is not the engine's chatter.
    pub(crate) fn read_log(&self, log: impl BufRead, mut kept: impl Write) {
        for line in log.lines().map_while(Result::ok) {
            if !ENGINE.iter().any(|engine| line.contains(engine))
                || line.contains(" WARN ")
                || line.contains(" ERROR ")
            {
                writeln!(kept, "{line}").unwrap();
            } else if line.contains(RECOVERY_BEGINS) {
                self.note(|seen| seen.recovery_begun = true);
            } else if line.contains(MERGE_BEGINS) {
                self.note(|seen| seen.merges_begun += 1);
            } else if MERGE_ENDS.iter().any(|ends| line.contains(ends)) {
                self.note(|seen| seen.merges_ended += 1);
            }
        }
        self.note(|seen| seen.is_over = true);
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock());
        self.changed.notify_all();
    }
}
