//! Who may connect, and what he may do there: the rules that are in force, made of what stands in the files.

use std::time::Duration;

use mqtt_access::{
    Access, AccessControl, AccessRules, Certificates, Failures, Http, PasswordChecks, Passwords, Tokens,
};
use mqtt_admin::ClientEvents;
use mqtt_broker::Broker;

use crate::config::{Authority, Config, Files, Listener, ListenerAccess, Provider, Servers};

/// The rules in force, and what outlives a reload of them.
pub(super) struct Rules {
    events: ClientEvents,
    checks: PasswordChecks,
    failures: Failures,
    servers: Servers,
    control: AccessControl,
}

impl Rules {
    /// `None` if nobody is asked anything, so that the broker need not ask either.
    ///
    /// What they decide becomes a part of what is known of a client.
    pub(super) fn new(config: &Config, files: &Files, events: ClientEvents) -> Option<Self> {
        if config.asks_nothing() {
            return None;
        }
        let most_checks = config.access.max_password_checks;
        let rules = Self {
            checks: most_checks.map_or_else(PasswordChecks::default, PasswordChecks::new),
            failures: Failures::new(config.access.failures),
            servers: files.servers.clone(),
            control: AccessControl::new(Access::new()),
            events,
        };
        rules.control.replace(rules.of(&config.listeners, config, files));
        Some(rules)
    }

    pub(super) fn control(&self) -> &AccessControl {
        &self.control
    }

    /// Has the subscriptions of all who are connected asked about again and again, as after a reload: a web server does not
    /// say when it has changed its mind.
    pub(super) fn recheck_every(&self, interval: Duration, broker: &Broker) {
        let (control, broker) = (self.control.clone(), broker.clone());
        let interval = interval.max(Duration::from_secs(1));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                control.recheck(&broker).await;
            }
        });
    }

    /// Puts other rules into force: `listeners` are those that listen, each as the file has last named it.
    pub(super) fn replace(&mut self, listeners: &[Listener], config: &Config, files: &Files) {
        keep_if_alike(&mut self.servers.connect, files.servers.connect.as_ref());
        keep_if_alike(&mut self.servers.acl, files.servers.acl.as_ref());
        self.control.replace(self.of(listeners, config, files));
    }

    fn of(&self, listeners: &[Listener], config: &Config, files: &Files) -> AccessRules {
        let access_of = |listener| self.of_listener(listener, config, files).unwrap_or_default();
        let alike =
            |a: &Listener, b: &Listener| a.access == b.access && a.allow_anonymous == b.allow_anonymous;
        match listeners.split_first() {
            // No message has to wait for a look at a listener's name.
            Some((first, others)) if others.iter().all(|other| alike(first, other)) => {
                access_of(first).into()
            }
            _ => listeners.iter().fold(AccessRules::default(), |rules, listener| {
                rules.listener(&listener.name, access_of(listener))
            }),
        }
    }

    /// `None` if anything is missing that has to be asked: better nobody is let in than everybody.
    fn of_listener(&self, listener: &Listener, config: &Config, files: &Files) -> Option<Access> {
        let ListenerAccess { identify, authorize, password_file, acl_file } = &listener.access;
        let events = self.events.clone();
        let mut access = Access::new()
            .failures(&self.failures)
            .tell(move |client, decision| events.decided(&client.client_id, client.peer, decision))
            .allow_anonymous(listener.allow_anonymous);
        for provider in identify {
            access = match provider {
                Provider::Certificate => access.identify(Certificates),
                Provider::Token => {
                    let options = config.access.token_options.clone();
                    access.identify(Tokens::new(files.token_keys.clone()?, options))
                }
                Provider::Password => {
                    let file = files.passwords.get(password_file.value.as_ref()?)?;
                    access.identify(Passwords::new(file.clone(), self.checks.clone()))
                }
                Provider::Http => access.identify(self.servers.connect.clone()?),
            };
        }
        for authority in authorize {
            access = match authority {
                Authority::Acl => access.authorize(files.acls.get(acl_file.value.as_ref()?)?.clone()),
                Authority::Http => access.authorize(self.servers.acl.clone()?),
            };
        }
        Some(access)
    }
}

/// What a server has answered is remembered, unless it is another one now.
fn keep_if_alike(kept: &mut Option<Http>, new: Option<&Http>) {
    let is_alike = kept.as_ref().zip(new).is_some_and(|(kept, new)| kept.asks_like(new));
    if !is_alike {
        *kept = new.cloned();
    }
}
