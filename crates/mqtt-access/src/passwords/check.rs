//! [`Passwords`]: asks a password file, on threads that are few, so that a flood of CONNECTs stalls nothing else.

use std::sync::Arc;

use mqtt_broker::{ConnectRefusal, ConnectRequest, HookFuture};
use tokio::task::spawn_blocking;

use super::PasswordFile;
use crate::{
    identity::{Identity, IdentityProvider, Verdict},
    turns::Turns,
};

/// The threads on which passwords are checked. All clones are the same: one set serves every listener, before and after
/// a reload.
#[derive(Clone)]
pub struct PasswordChecks(Arc<Turns>);

/// Who knows a user's password in this file is that user. Of users who are not in it, it has no opinion.
pub struct Passwords {
    file: Arc<PasswordFile>,
    checks: PasswordChecks,
}

impl PasswordChecks {
    /// So many checks at a time; each takes a core for some tens of milliseconds, and 19 MiB. 64 may wait for each of
    /// them; further ones are refused at once.
    pub fn new(at_a_time: usize) -> Self {
        Self(Arc::new(Turns::new(at_a_time)))
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
        let (file, checks) = (Arc::clone(&self.file), self.checks.clone());
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

impl PasswordChecks {
    /// `None` if too many wait already.
    async fn run<T: Send + 'static>(&self, check: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = self.0.take().await?;
        let checked = spawn_blocking(move || {
            let _turn = turn;
            check()
        });
        checked.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinSet;

    use super::*;
    use crate::turns::WAITING_FOR_EACH;

    /// The thread is held; 64 wait, and the next one is told at once that there is no room.
    #[tokio::test]
    async fn no_more_wait_than_may_and_at_last_all_are_checked() {
        let checks = PasswordChecks::new(1);
        let run = |check: fn()| {
            let checks = checks.clone();
            async move { checks.run(check).await }
        };
        let (release, held) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let checks = checks.clone();
            async move { checks.run(move || held.recv().is_ok()).await }
        });
        while checks.0.free() > 0 {
            tokio::task::yield_now().await;
        }
        let mut waiting = JoinSet::new();
        for _ in 0..WAITING_FOR_EACH {
            waiting.spawn(run(|| ()));
        }
        while checks.0.waiting() < WAITING_FOR_EACH {
            tokio::task::yield_now().await;
        }
        assert_eq!(checks.run(|| ()).await, None);
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Some(true));
        assert!(waiting.join_all().await.iter().all(Option::is_some));
        assert_eq!(checks.0.waiting(), 0);
    }
}
