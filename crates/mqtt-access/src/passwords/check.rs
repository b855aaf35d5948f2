//! [`Passwords`]: asks a password file, on threads that are few, so that a flood of CONNECTs stalls nothing else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mqtt_broker::{ConnectRefusal, ConnectRequest, HookFuture};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::PasswordFile;
use crate::identity::{Identity, IdentityProvider, Verdict};

/// How many checks may wait for each thread that makes them.
const WAITING_A_THREAD: usize = 64;

/// The threads on which passwords are checked. All clones are the same: one set serves every listener, before and after
/// a reload.
#[derive(Clone)]
pub struct PasswordChecks(Arc<Checks>);

struct Checks {
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// Who knows a user's password in this file is that user. Of users who are not in it, it has no opinion.
pub struct Passwords {
    file: Arc<PasswordFile>,
    checks: PasswordChecks,
}

impl PasswordChecks {
    /// So many checks at a time; each takes a core for some tens of milliseconds, and 19 MiB. 64 may wait for each of
    /// them; further ones are refused at once.
    pub fn new(at_a_time: usize) -> Self {
        let at_a_time = at_a_time.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Checks {
            threads: Arc::new(Semaphore::new(at_a_time)),
            waiting: AtomicUsize::new(0),
            most_waiting: at_a_time.saturating_mul(WAITING_A_THREAD),
        }))
    }
}

impl Default for PasswordChecks {
    /// Half of the machine's cores: the broker has the others.
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2))
    }
}

impl Passwords {
    /// Asks this file, on these threads.
    pub fn new(file: PasswordFile, checks: PasswordChecks) -> Self {
        Self { file: Arc::new(file), checks }
    }
}

impl IdentityProvider for Passwords {
    fn name(&self) -> &'static str {
        "the password file"
    }

    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict> {
        let Some(user_name) = request.client.user_name.clone() else {
            return Box::pin(std::future::ready(Verdict::NoOpinion));
        };
        let (file, checks) = (Arc::clone(&self.file), Arc::clone(&self.checks.0));
        // A user without a password is asked for the empty one, which nobody has; it takes the same time.
        let password = request.password.clone().unwrap_or_default();
        Box::pin(async move {
            let users = Arc::clone(&file);
            let name = Arc::clone(&user_name);
            let checked = checks.run(move || users.verify(&name, &password)).await;
            match checked {
                Some(Some(true)) => {
                    let proof = file.proof(&user_name).map(Into::into);
                    Verdict::Allow(Identity { proof, ..Identity::default() })
                }
                Some(Some(false)) => Verdict::Deny(ConnectRefusal::BadUserNameOrPassword),
                Some(None) => Verdict::NoOpinion,
                None => Verdict::Deny(ConnectRefusal::ServerUnavailable),
            }
        })
    }

    /// The proof is the hash: another password has another one.
    fn still_holds(&self, user_name: &str, proof: &str) -> bool {
        self.file.proof(user_name).is_some_and(|current| current == proof)
    }
}

impl Checks {
    /// `None` if too many wait already.
    async fn run<T: Send + 'static>(
        self: Arc<Self>,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let place = Place::take(&self)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await.ok()?;
        drop(place);
        let checked = spawn_blocking(move || {
            let _thread = thread;
            check()
        });
        checked.await.ok()
    }
}

/// A place among those that wait, until it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(checks: &'a Checks) -> Option<Self> {
        let grown = |waiting| (waiting < checks.most_waiting).then_some(waiting + 1);
        checks.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok()?;
        Some(Self(&checks.waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinSet;

    use super::*;

    /// The thread is held; 64 wait, and the next one is told at once that there is no room.
    #[tokio::test]
    async fn no_more_wait_than_may_and_at_last_all_are_checked() {
        let checks = PasswordChecks::new(1).0;
        let (release, held) = mpsc::channel::<()>();
        let first = tokio::spawn(Arc::clone(&checks).run(move || held.recv().is_ok()));
        while checks.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut waiting = JoinSet::new();
        for n in 0..WAITING_A_THREAD {
            waiting.spawn(Arc::clone(&checks).run(move || n));
        }
        while checks.waiting.load(Ordering::Relaxed) < WAITING_A_THREAD {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::clone(&checks).run(|| ()).await, None);
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Some(true));
        assert!(waiting.join_all().await.iter().all(Option::is_some));
        assert_eq!(checks.waiting.load(Ordering::Relaxed), 0);
    }
}
