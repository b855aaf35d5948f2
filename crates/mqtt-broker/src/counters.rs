//! What the broker has done, in numbers.
//!
//! [`Counts`] is a plain set of numbers: what a snapshot returns. [`Counters`] is the broker's total. What happens with every
//! packet is first counted in a [`Tally`], which belongs to one burst and is added to the total once, at its end, so that
//! counting costs the data path no shared memory; what is rare is counted in the total at once.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use mqtt_codec::{ConnectRefusal, PacketType, QoS};

use crate::{admission::RefusalReason, close_reason::CloseReason, event::DropReason};

/// Packet types are 4 bits wide.
const PACKET_TYPES: usize = 16;
/// Return codes of CONNACK, 0 included.
const RETURN_CODES: usize = 6;
/// The residence times that are told apart: up to 16 µs, 32 µs and so on up to 67 s, and beyond.
const RESIDENCE_BUCKETS: usize = 24;
/// The first bound is 2 to this power, in microseconds.
const FIRST_BOUND: u32 = 4;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

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
            $(pub(crate) $name: Counter,)+
            $($array: [Counter; $len],)+
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Counts {
                Counts {
                    $($name: self.$name.get(),)+
                    $($array: std::array::from_fn(|index| self.$array[index].get()),)+
                }
            }
        }
    };
}

impl Counters {
    /// Packets received and sent.
    pub(crate) fn packets(&self) -> u64 {
        self.packets_received.iter().chain(&self.packets_sent).map(Counter::get).sum()
    }
}

counters! {
    /// Connections that a listener accepted.
    connections_accepted,
    /// Connections that were closed at once: too many, or a hook said no.
    connections_refused,
    /// Times that a listener let nobody in for a moment, because the system had no open file left.
    accept_pauses,
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
    /// The residence times of all messages in `residence`, added up, in microseconds.
    residence_micros,
    ;
    /// Packets received, by packet type (3 is PUBLISH).
    packets_received: PACKET_TYPES,
    /// Their bytes.
    packet_bytes_received: PACKET_TYPES,
    /// Packets sent, by packet type.
    packets_sent: PACKET_TYPES,
    /// Their bytes.
    packet_bytes_sent: PACKET_TYPES,
    /// PUBLISH packets received, by QoS.
    publishes_received: 3,
    /// PUBLISH packets sent, by QoS.
    publishes_sent: 3,
    /// Connections and CONNECT packets that were not let in, by [`RefusalReason`] in the order of [`RefusalReason::ALL`].
    refused: RefusalReason::ALL.len(),
    /// CONNECT packets that [`crate::Hooks::on_connect`] was asked about, by what came of it, in the order of
    /// [`Counts::AUTHENTICATIONS`].
    authentications: Counts::AUTHENTICATIONS.len(),
    /// Messages handed to a receiver's outbox, by the QoS that the receiver gets them with.
    delivered: 3,
    /// CONNACK packets, by return code.
    connacks: RETURN_CODES,
    /// Connections ended, by [`CloseReason`] in the order of [`CloseReason::NAMES`].
    closed: CloseReason::NAMES.len(),
    /// Messages dropped, by [`DropReason`] in the order of [`DropReason::ALL`].
    dropped: DropReason::ALL.len(),
    /// Messages by their time in the broker, from the reading of the PUBLISH to the hand-over to the receiver's socket, in
    /// the buckets of [`Counts::residence_bounds`] and one more for what is beyond. Those sent in one batch all count with the
    /// time of the oldest; what waited in a queue for the receiver's window or return is left out.
    residence: RESIDENCE_BUCKETS,
}

/// What came of asking the hook about a CONNECT.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Authentication {
    Accepted,
    Refused,
    Failed,
}

impl Counts {
    /// The outcomes in `authentications`: the hook accepted, it refused, it failed or took too long.
    pub const AUTHENTICATIONS: [&'static str; 3] = ["accepted", "refused", "failed"];

    /// Messages dropped for this reason.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }

    /// Connections and CONNECT packets that were not let in for this reason.
    pub fn refused_for(&self, reason: RefusalReason) -> u64 {
        self.refused.get(reason as usize).copied().unwrap_or_default()
    }

    /// Connections ended for this reason.
    pub fn closed_for(&self, reason: &CloseReason) -> u64 {
        self.closed.get(reason.index()).copied().unwrap_or_default()
    }

    /// The upper bounds of all buckets of `residence` but the last, which has none.
    pub fn residence_bounds() -> impl Iterator<Item = Duration> {
        (0..RESIDENCE_BUCKETS as u32 - 1).map(|bucket| Duration::from_micros(1 << (FIRST_BOUND + bucket)))
    }
}

impl Counters {
    pub(crate) fn connack(&self, refusal: Option<ConnectRefusal>) {
        let code = refusal.map_or(0, |refusal| usize::from(refusal.as_u8()));
        if let Some(counter) = self.connacks.get(code) {
            counter.one();
        }
        let outcome = if refusal.is_some() { &self.connects_refused } else { &self.connects_accepted };
        outcome.one();
    }

    pub(crate) fn authentication(&self, outcome: Authentication) {
        if let Some(counter) = self.authentications.get(outcome as usize) {
            counter.one();
        }
    }

    pub(crate) fn refused(&self, reason: RefusalReason) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.one();
        }
    }

    pub(crate) fn dropped(&self, reason: DropReason, messages: u64) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.add(messages);
        }
    }

    pub(crate) fn closed(&self, reason: &CloseReason) {
        if let Some(counter) = self.closed.get(reason.index()) {
            counter.one();
        }
    }
}

/// False in a build that only measures what counting costs.
const COUNTS: bool = cfg!(not(feature = "uncounted"));

/// What one burst did with packets.
#[derive(Default)]
pub(crate) struct Tally {
    received: Packets,
    sent: Packets,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    publishes_received: [u32; 3],
    publishes_sent: [u32; 3],
    delivered: [u32; 3],
    acknowledged: u64,
    dropped: [u32; DropReason::ALL.len()],
    has_dropped: bool,
    residence: Option<Residence>,
}

/// Packets by type. Most bursts have one type or two, so it is noted which, and only those are looked at.
#[derive(Default)]
struct Packets {
    touched: u32,
    counts: [u32; PACKET_TYPES],
    bytes: [u64; PACKET_TYPES],
}

/// Messages with a residence time of the same bucket.
struct Residence {
    bucket: usize,
    messages: u32,
    micros: u64,
}

impl Tally {
    pub(crate) fn received(&mut self, packet_type: PacketType, len: usize) {
        if COUNTS {
            self.received.add(packet_type, 1, len);
        }
    }

    pub(crate) fn sent(&mut self, packet_type: PacketType, packets: u32, len: usize) {
        if COUNTS {
            self.sent.add(packet_type, packets, len);
        }
    }

    pub(crate) fn publish_received(&mut self, qos: QoS) {
        self.publishes_received[usize::from(qos.as_u8())] += 1;
    }

    /// PUBLISH packets received so far, of any QoS.
    pub(crate) fn publishes_received(&self) -> u32 {
        self.publishes_received.iter().sum()
    }

    pub(crate) fn publishes_sent(&mut self, by_qos: [u32; 3]) {
        for (total, sent) in self.publishes_sent.iter_mut().zip(by_qos) {
            *total += sent;
        }
    }

    pub(crate) fn delivered(&mut self, qos: QoS) {
        if COUNTS {
            self.delivered[usize::from(qos.as_u8())] += 1;
        }
    }

    pub(crate) fn acknowledged(&mut self) {
        self.acknowledged += 1;
    }

    pub(crate) fn dropped(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
            self.has_dropped = true;
        }
    }

    /// Messages that left together, the oldest after so long.
    pub(crate) fn resided(&mut self, messages: u32, oldest: Duration, totals: &Counters) {
        if !COUNTS {
            return;
        }
        let micros = u64::try_from(oldest.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros);
        let micros = micros.saturating_mul(u64::from(messages));
        match &mut self.residence {
            Some(residence) if residence.bucket == bucket => {
                residence.messages += messages;
                residence.micros = residence.micros.saturating_add(micros);
            }
            other => {
                if let Some(residence) = other.replace(Residence { bucket, messages, micros }) {
                    residence.settle(totals);
                }
            }
        }
    }

    /// Adds all of it to the totals, and begins anew.
    pub(crate) fn settle(&mut self, totals: &Counters) {
        if !COUNTS {
            return;
        }
        let Self { received, sent, .. } = self;
        received.settle(&totals.packets_received, &totals.packet_bytes_received);
        sent.settle(&totals.packets_sent, &totals.packet_bytes_sent);
        settle(&mut self.bytes_received, &totals.bytes_received);
        settle(&mut self.bytes_sent, &totals.bytes_sent);
        settle_all(&mut self.publishes_received, &totals.publishes_received);
        settle_all(&mut self.publishes_sent, &totals.publishes_sent);
        settle_all(&mut self.delivered, &totals.delivered);
        settle(&mut self.acknowledged, &totals.messages_acknowledged);
        if std::mem::take(&mut self.has_dropped) {
            settle_all(&mut self.dropped, &totals.dropped);
        }
        if let Some(residence) = self.residence.take() {
            residence.settle(totals);
        }
    }
}

impl Packets {
    fn add(&mut self, packet_type: PacketType, packets: u32, len: usize) {
        let place = packet_type as usize % PACKET_TYPES;
        self.touched |= 1 << place;
        self.counts[place] += packets;
        self.bytes[place] += len as u64;
    }

    fn settle(&mut self, packets: &[Counter; PACKET_TYPES], bytes: &[Counter; PACKET_TYPES]) {
        while self.touched != 0 {
            let place = self.touched.trailing_zeros() as usize % PACKET_TYPES;
            self.touched &= self.touched - 1;
            packets[place].add(std::mem::take(&mut self.counts[place]).into());
            bytes[place].add(std::mem::take(&mut self.bytes[place]));
        }
    }
}

impl Residence {
    fn settle(&self, totals: &Counters) {
        if let Some(counter) = totals.residence.get(self.bucket) {
            counter.add(self.messages.into());
        }
        totals.residence_micros.add(self.micros);
    }
}

fn settle(count: &mut u64, total: &Counter) {
    if *count != 0 {
        total.add(std::mem::take(count));
    }
}

fn settle_all(counts: &mut [u32], totals: &[Counter]) {
    for (count, total) in counts.iter_mut().zip(totals) {
        if *count != 0 {
            total.add(std::mem::take(count).into());
        }
    }
}

/// The bucket of a residence time: the first whose bound is not less.
fn bucket_of(micros: u64) -> usize {
    let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(FIRST_BOUND) as usize).min(RESIDENCE_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_residence_time_is_in_the_first_bucket_that_holds_it() {
        let bounds: Vec<u64> = Counts::residence_bounds().map(|bound| bound.as_micros() as u64).collect();
        for micros in [0, 1, 15, 16, 17, 32, 33, 1_000, 1 << 26, (1 << 26) + 1, u64::MAX] {
            let first = bounds.iter().position(|bound| micros <= *bound).unwrap_or(bounds.len());
            assert_eq!(bucket_of(micros), first, "{micros}");
        }
    }

    #[test]
    fn a_tally_is_added_once() {
        let (totals, mut tally) = (Counters::default(), Tally::default());
        tally.received(PacketType::Publish, 10);
        tally.received(PacketType::Publish, 20);
        tally.received(PacketType::Disconnect, 2);
        tally.sent(PacketType::Puback, 1, 4);
        tally.publish_received(QoS::AtLeastOnce);
        tally.acknowledged();
        tally.dropped(DropReason::SessionEnded);
        tally.resided(3, Duration::from_micros(20), &totals);
        tally.resided(1, Duration::from_micros(10), &totals);
        tally.settle(&totals);
        let once = totals.snapshot();
        tally.settle(&totals);
        assert_eq!(totals.snapshot(), once);
        assert_eq!(totals.packets(), 4);
        assert_eq!((once.packets_received[3], once.packet_bytes_received[3]), (2, 30));
        assert_eq!((once.packets_received[14], once.packets_sent[4], once.packet_bytes_sent[4]), (1, 1, 4));
        assert_eq!((once.publishes_received, once.messages_acknowledged), ([0, 1, 0], 1));
        assert_eq!(once.dropped_for(DropReason::SessionEnded), 1);
        assert_eq!((once.residence[0], once.residence[1], once.residence_micros), (1, 3, 70));
    }
}
