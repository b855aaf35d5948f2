//! Who may connect, and what he may do there: the rules that are in force, made of what stands in the files.

use std::{collections::HashSet, future::ready};

use mqtt_access::{
    Access, AccessControl, Certificates, Failures, Identity, IdentityProvider, PasswordChecks, Passwords,
    Verdict,
};
use mqtt_admin::ClientEvents;
use mqtt_broker::{ConnectRequest, HookFuture};

use crate::config::{Config, Files};

/// The rules in force, and what outlives a reload of them.
#[derive(Clone)]
pub(super) struct Rules {
    events: ClientEvents,
    checks: PasswordChecks,
    failures: Failures,
    control: AccessControl,
}

impl Rules {
    /// `None` if nobody is asked anything, so that the broker need not ask either.
    ///
    /// What they decide becomes a part of what is known of a client.
    pub(super) fn new(config: &Config, files: &Files, events: ClientEvents) -> Option<Self> {
        if files.passwords.is_none() && files.acl.is_none() {
            return None;
        }
        let (checks, failures) = (PasswordChecks::default(), Failures::default());
        let control = AccessControl::new(rules(config, files, &checks, &failures, &events));
        Some(Self { events, checks, failures, control })
    }

    pub(super) fn control(&self) -> &AccessControl {
        &self.control
    }

    /// Puts other rules into force.
    pub(super) fn replace(&self, config: &Config, files: &Files) {
        self.control.replace(rules(config, files, &self.checks, &self.failures, &self.events));
    }
}

fn rules(
    config: &Config,
    files: &Files,
    checks: &PasswordChecks,
    failures: &Failures,
    events: &ClientEvents,
) -> Access {
    let events = events.clone();
    let listeners = config.listeners.iter().filter(|listener| listener.allow_anonymous);
    let anonymous = Anonymous { listeners: listeners.map(|listener| listener.name.clone()).collect() };
    let mut access = Access::new()
        .failures(failures)
        .tell(move |client, decision| events.decided(&client.client_id, client.peer, decision))
        .identify(anonymous)
        .identify(Certificates);
    if let Some(passwords) = &files.passwords {
        access = access.identify(Passwords::new(passwords.clone(), checks.clone()));
    }
    if let Some(acl) = &files.acl {
        access = access.authorize(acl.clone());
    }
    access
}

/// Lets in whoever gives neither a name nor a password, where the listener allows it.
struct Anonymous {
    listeners: HashSet<String>,
}

impl IdentityProvider for Anonymous {
    fn name(&self) -> &'static str {
        "allow_anonymous of its listener"
    }

    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict> {
        let client = &request.client;
        let is_anonymous = client.user_name.is_none() && request.password.is_none();
        let is_allowed = client.listener.as_deref().is_some_and(|name| self.listeners.contains(name));
        Box::pin(ready(if is_anonymous && is_allowed {
            Verdict::Allow(Identity::default())
        } else {
            Verdict::NoOpinion
        }))
    }
}
