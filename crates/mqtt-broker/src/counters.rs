//! What the broker has done, in numbers.
//!
//! [`Counts`] is a plain set of numbers: what one burst did, and what a snapshot returns. [`Counters`] is the broker's
//! total, to which a burst is added once, at its end, so that counting costs the data path no shared memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{admission::RefusalReason, event::DropReason};

/// Packet types are 4 bits wide.
const PACKET_TYPES: usize = 16;

macro_rules! counters {
    (
        $($(#[doc = $doc:literal])+ $name:ident,)+
        ;
        $($(#[doc = $array_doc:literal])+ $array:ident: $len:expr,)+
    ) => {
        /// Numbers since the broker started.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
            $($(#[doc = $array_doc])+ pub $array: [u64; $len],)+
        }

        #[derive(Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)+
            $($array: [AtomicU64; $len],)+
        }

        impl Counters {
            /// Adds what a burst did.
            pub(crate) fn add(&self, counts: &Counts) {
                $(add(&self.$name, counts.$name);)+
                $(for (total, &count) in self.$array.iter().zip(&counts.$array) {
                    add(total, count);
                })+
            }

            pub(crate) fn snapshot(&self) -> Counts {
                let mut counts = Counts::default();
                $(counts.$name = self.$name.load(Relaxed);)+
                $(for (count, total) in counts.$array.iter_mut().zip(&self.$array) {
                    *count = total.load(Relaxed);
                })+
                counts
            }
        }
    };
}

counters! {
    /// Connections that a listener accepted.
    connections_accepted,
    /// Connections that were closed at once: too many, or a hook said no.
    connections_refused,
    /// CONNECT packets answered with CONNACK 0.
    connects_accepted,
    /// CONNECT packets answered with another code.
    connects_refused,
    /// Sessions that began.
    sessions_created,
    /// Sessions resumed by a new connection.
    sessions_resumed,
    /// Live connections that lost their session to a newer one.
    sessions_taken_over,
    /// Persistent sessions that were absent for too long.
    sessions_expired,
    /// Topic filters answered with 0x80 because of a limit.
    filters_refused,
    /// Times that a client was not read from, because it had published faster than it may.
    publishers_delayed,
    /// Bytes read.
    bytes_received,
    /// Bytes handed to sockets.
    bytes_sent,
    /// QoS 1 and 2 deliveries completed.
    messages_acknowledged,
    ;
    /// Packets received, by packet type (3 is PUBLISH).
    packets_received: PACKET_TYPES,
    /// Packets sent, by packet type.
    packets_sent: PACKET_TYPES,
    /// PUBLISH packets received, by QoS.
    publishes_received: 3,
    /// PUBLISH packets sent, by QoS.
    publishes_sent: 3,
    /// Connections and CONNECT packets that were not let in, by [`RefusalReason`] in the order of [`RefusalReason::ALL`].
    refused: RefusalReason::ALL.len(),
    /// Messages dropped, by [`DropReason`] in the order of [`DropReason::ALL`].
    dropped: DropReason::ALL.len(),
}

impl Counts {
    /// Messages dropped for this reason.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }

    /// Connections and CONNECT packets that were not let in for this reason.
    pub fn refused_for(&self, reason: RefusalReason) -> u64 {
        self.refused.get(reason as usize).copied().unwrap_or_default()
    }

    pub(crate) fn refuse_one(&mut self, reason: RefusalReason) {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(crate) fn drop_some(&mut self, reason: DropReason, messages: u64) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += messages;
        }
    }
}

fn add(total: &AtomicU64, count: u64) {
    if count != 0 {
        total.fetch_add(count, Relaxed);
    }
}
