//! [`Way`]: what a listener gives to the connections that come, and the calls that change it while it listens.
//!
//! A connection keeps what it was given: nobody who is connected notices.

use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::{listener::Listener, transport::Transport};
use crate::{broker::Broker, entrance::Entrance, limits::Limits};

/// One listener, as it is now.
pub(super) struct Way {
    in_force: RwLock<InForce>,
}

struct InForce {
    listener: Listener,
    entrance: Arc<Entrance>,
}

/// All listeners of a broker.
#[derive(Default)]
pub(super) struct Ways(Mutex<Known>);

#[derive(Default)]
struct Known {
    all: Vec<Weak<Way>>,
    /// In place of the core's, for connections that come.
    limits: Option<Limits>,
}

impl Way {
    /// For a connection that has come.
    pub(super) fn now(&self) -> (Arc<Entrance>, Transport) {
        let in_force = self.in_force.read();
        (Arc::clone(&in_force.entrance), in_force.listener.transport().clone())
    }

    fn replace(&self, other: Option<&Listener>, limits: &Limits) {
        let mut in_force = self.in_force.write();
        if let Some(other) = other {
            in_force.listener = in_force.listener.with_those_of(other);
        }
        in_force.entrance = Arc::new(in_force.listener.entrance(limits));
    }
}

impl Ways {
    /// A new listener.
    pub(super) fn open(&self, listener: Listener, of_the_broker: &Limits) -> Arc<Way> {
        let mut known = self.0.lock();
        let entrance = Arc::new(listener.entrance(known.limits.as_ref().unwrap_or(of_the_broker)));
        let way = Arc::new(Way { in_force: RwLock::new(InForce { listener, entrance }) });
        known.all.retain(|way| way.strong_count() > 0);
        known.all.push(Arc::downgrade(&way));
        way
    }
}

impl Broker {
    /// Gives connections that come from now on what this listener says, by all that listen under its name: another transport,
    /// other limits. Its address stays. `false` if nobody listens under that name.
    pub fn replace_listener(&self, listener: impl Into<Listener>) -> bool {
        let listener = listener.into();
        let known = self.tasks().ways.0.lock();
        let limits = known.limits.as_ref().unwrap_or(&self.core().limits);
        let mut is_there = false;
        for way in known.all.iter().filter_map(Weak::upgrade) {
            if way.in_force.read().listener.name() == listener.name() {
                way.replace(Some(&listener), limits);
                is_there = true;
            }
        }
        is_there
    }

    /// Holds connections that come from now on, by whichever listener, to other limits. Those that are there keep theirs.
    ///
    /// That goes for what a connection is held to alone, and for who is let in: `max_connections`, those of a listener, of an
    /// address and of a user, `connect_timeout`, the sizes of packets, `max_client_id_len`, `max_user_name_len`, `max_keep_alive_secs`, the rates of publishing, `max_filters_per_packet`,
    /// `max_unreleased`, `retry_interval` and `hook_timeout`. What connections have in common (sessions, their queues, retained
    /// messages, topics, bans, `$SYS`) stays as it was when the broker began.
    pub fn replace_limits(&self, limits: Limits) {
        let mut known = self.tasks().ways.0.lock();
        known.all.iter().filter_map(Weak::upgrade).for_each(|way| way.replace(None, &limits));
        known.limits = Some(limits);
    }
}
