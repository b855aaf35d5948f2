//! [`Entrance`]: what of a listener those need to know who have no socket. Its name, and the numbers that are its own.
//!
//! The listener itself, with its address and what is spoken there, is in [`crate::net`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{complaints::Complaints, limits::Limits};

/// What a listener has of its own in place of the broker's [`Limits`]; `None` takes the broker's.
///
/// Only what belongs to a connection is here. A session outlives its connection and may go on by another listener, so
/// what waits for it is the same whichever way its client comes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListenerLimits {
    /// Connections of this listener at a time, within [`Limits::max_connections`]. In place of
    /// [`Limits::max_connections_per_listener`].
    pub max_connections: Option<usize>,
    /// See [`Limits::connect_timeout`].
    pub connect_timeout: Option<Duration>,
    /// See [`Limits::max_connect_packet_size`].
    pub max_connect_packet_size: Option<usize>,
    /// See [`Limits::max_packet_size`].
    pub max_packet_size: Option<usize>,
    /// See [`Limits::max_keep_alive_secs`]; 0 is no limit, whatever the broker's is.
    pub max_keep_alive_secs: Option<u16>,
}

/// By which way a connection came, and the limits that it is held to: those that were in force then.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Of the listener; none for connections that came by none.
    pub(crate) name: Option<Arc<str>>,
    /// The broker's, but for what the listener has of its own.
    pub(crate) limits: Limits,
    max_connections: usize,
    connections: Arc<AtomicUsize>,
    /// About handshakes below MQTT.
    pub(crate) failed_handshakes: Complaints,
    /// About clients that speak what this listener does not.
    pub(crate) mistaken_ports: Complaints,
}

impl Entrance {
    /// `connections` is their number, which other entrances may share.
    pub(crate) fn new(
        name: Arc<str>,
        own: &ListenerLimits,
        limits: &Limits,
        connections: Arc<AtomicUsize>,
    ) -> Self {
        let most_connections = own.max_connections.or(limits.max_connections_per_listener);
        Self {
            name: Some(name),
            max_connections: most_connections.unwrap_or(usize::MAX),
            connections,
            ..Self::without_listener(own.in_place_of(limits))
        }
    }

    /// For connections that come by no listener.
    pub(crate) fn without_listener(mut limits: Limits) -> Self {
        // Cut to nothing, every keep alive would be none; and what is repeated after no time keeps everybody busy.
        limits.max_keep_alive_secs = limits.max_keep_alive_secs.filter(|secs| *secs > 0);
        limits.retry_interval = limits.retry_interval.filter(|interval| !interval.is_zero());
        Self {
            name: None,
            limits,
            max_connections: usize::MAX,
            connections: Arc::default(),
            failed_handshakes: Complaints::default(),
            mistaken_ports: Complaints::default(),
        }
    }

    /// Takes a place among the connections of this listener; `false` if it has none left.
    pub(crate) fn enter(&self) -> bool {
        let grown = |connections| (connections < self.max_connections).then(|| connections + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }

    /// Gives the place back.
    pub(crate) fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ListenerLimits {
    fn in_place_of(&self, limits: &Limits) -> Limits {
        let mut limits = limits.clone();
        limits.connect_timeout = self.connect_timeout.unwrap_or(limits.connect_timeout);
        limits.max_connect_packet_size =
            self.max_connect_packet_size.unwrap_or(limits.max_connect_packet_size);
        limits.max_packet_size = self.max_packet_size.unwrap_or(limits.max_packet_size);
        limits.max_keep_alive_secs = self.max_keep_alive_secs.or(limits.max_keep_alive_secs);
        limits
    }
}
