//! What hooks and observers noted, to be compared and to be waited for.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// Far longer than anything takes: only a defect comes near it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines, in the order in which they were noted. All clones are the same journal.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
    changed: Arc<Notify>,
}

impl Journal {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push(line.into());
        self.changed.notify_waiters();
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many lines begin like this.
    pub(crate) fn count(&self, head: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.starts_with(head)).count()
    }

    /// Waits until `times` lines begin like this.
    pub(crate) async fn until(&self, times: usize, head: &str) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.count(head) >= times {
                    return;
                }
                changed.await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "waited in vain for {times} times {head:?} in {:#?}", self.lines());
    }
}

/// Waits for what is sure to come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits for a state that nobody announces.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, waiting).await;
}
